//! Housekeeping: retention, files that are to go, flushes that are due, checkpoints. One thread does it where a disk takes its time, one task on the
//! runtime's clock where it does not. What is done when is decided in one place, for both.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::Error;
use crate::partition::PartitionHandle;
use crate::time::Clock;

/// When retention is looked at for the first time.
const FIRST_RETENTION_MS: u64 = 30_000;

/// What there is to look after.
pub(crate) trait Kept: Send + Sync {
    /// All partitions that have a log.
    fn partitions(&self) -> Vec<PartitionHandle>;
    /// Keeps up to where each log is durable, and where it starts.
    fn checkpoint(&self) -> Result<(), Error>;
}

/// How often each thing is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    pub retention_ms: u64,
    pub checkpoint_ms: u64,
    /// Between two looks at what may be compacted, and how much memory a compaction may take for keys.
    pub compaction_ms: u64,
    pub dedupe_bytes: usize,
}

/// What is due when, by the clock that measures time-outs.
#[derive(Debug)]
struct Plan {
    intervals: Intervals,
    retention_at: u64,
    checkpoint_at: u64,
    compaction_at: u64,
}

impl Plan {
    fn new(intervals: Intervals, now: u64) -> Self {
        let first = FIRST_RETENTION_MS.min(intervals.retention_ms);
        let (checkpoint_at, compaction_at) = (now + intervals.checkpoint_ms, now + intervals.compaction_ms);
        Self { intervals, retention_at: now + first, checkpoint_at, compaction_at }
    }

    /// Does what is due; when to come again. What fails is said and tried again the next time: the partition's own writes tell
    /// whoever makes them.
    fn step(&mut self, kept: &dyn Kept, now: u64) -> u64 {
        let say: fn(Error) = |error| tracing::error!(target: "broker_core::upkeep", %error, "upkeep failed");
        let retain = now >= self.retention_at;
        let mut next = u64::MAX;
        for partition in kept.partitions() {
            if retain {
                partition.retain().unwrap_or_else(say);
            }
            match partition.remove_files() {
                Ok(at) => next = next.min(at.unwrap_or(u64::MAX)),
                Err(error) => say(error),
            }
            next = next.min(partition.flush_in_time().unwrap_or(u64::MAX));
        }
        if retain {
            self.retention_at = now + self.intervals.retention_ms;
        }
        if now >= self.compaction_at {
            compact(kept, self.intervals.dedupe_bytes, say);
            self.compaction_at = now + self.intervals.compaction_ms;
        }
        if now >= self.checkpoint_at {
            self.checkpoint_at = now + self.intervals.checkpoint_ms;
            kept.checkpoint().unwrap_or_else(say);
        }
        next.min(self.retention_at).min(self.checkpoint_at).min(self.compaction_at)
    }
}

/// Compacts what needs it, the neediest first. One partition's failure does not keep the others waiting.
fn compact(kept: &dyn Kept, dedupe_bytes: usize, say: fn(Error)) {
    let mut needy = Vec::new();
    for partition in kept.partitions() {
        match partition.compaction_need() {
            Ok(Some(need)) => needy.push((need, partition)),
            Ok(None) => {}
            Err(error) => say(error),
        }
    }
    needy.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (_, partition) in needy {
        compact_one(kept, &partition, dedupe_bytes).unwrap_or_else(say);
    }
}

fn compact_one(kept: &dyn Kept, partition: &PartitionHandle, dedupe_bytes: usize) -> Result<(), Error> {
    if partition.compacted_to().is_none() {
        // To be known before there is the first gap: whoever looks the log through after a crash takes gaps for damage.
        partition.may_have_gaps();
        kept.checkpoint().inspect_err(|_| partition.has_no_gaps())?;
    }
    if let Some(done) = partition.compact(dedupe_bytes)? {
        let (id, before, after) = (partition.topic_partition(), done.bytes_before, done.bytes_after);
        tracing::info!(target: "broker_core::compaction", partition = %id, to = done.to, before, after, "compacted");
        kept.checkpoint()?;
    }
    Ok(())
}

/// Wakes the one who works.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<BellState>,
    thread: Condvar,
    task: Notify,
}

#[derive(Debug, Default)]
struct BellState {
    rung: bool,
    over: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, BellState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be due sooner than was thought.
    pub fn ring(&self) {
        self.state().rung = true;
        self.thread.notify_all();
        self.task.notify_one();
    }

    fn end(&self) {
        self.state().over = true;
        self.ring();
    }

    /// Waits on a thread until it is rung, so long at most; false when it is over.
    fn wait(&self, time: Duration) -> bool {
        let mut state = self.state();
        if !state.rung {
            (state, _) = self.thread.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
        }
        state.rung = false;
        !state.over
    }
}

#[derive(Debug)]
enum Worker {
    None,
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

/// The housekeeping of one broker. Ends when it is dropped.
pub(crate) struct Upkeep {
    kept: Arc<dyn Kept>,
    intervals: Intervals,
    clock: Arc<dyn Clock>,
    on_thread: bool,
    bell: Arc<Bell>,
    worker: Mutex<Worker>,
}

impl Upkeep {
    /// Nothing is done before it is started.
    pub fn new(kept: Arc<dyn Kept>, intervals: Intervals, clock: Arc<dyn Clock>, bell: Arc<Bell>, on_thread: bool) -> Self {
        Self { kept, intervals, clock, on_thread, bell, worker: Mutex::new(Worker::None) }
    }

    /// Starts it, if it is not running. A task needs a runtime: where there is none, somebody who has one calls again.
    pub fn start(&self) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match &*worker {
            Worker::None => false,
            Worker::Thread(_) => true,
            Worker::Task(task) => !task.is_finished(),
        };
        if running || self.bell.state().over {
            return;
        }
        let (kept, clock, bell) = (self.kept.clone(), self.clock.clone(), self.bell.clone());
        let plan = Plan::new(self.intervals, clock.monotonic_ms());
        if self.on_thread {
            let work = move || on_thread(plan, kept.as_ref(), clock.as_ref(), &bell);
            match thread::Builder::new().name("broker-upkeep".to_owned()).spawn(work) {
                Ok(thread) => *worker = Worker::Thread(thread),
                Err(error) => tracing::error!(target: "broker_core::upkeep", %error, "no thread: old records stay"),
            }
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            *worker = Worker::Task(runtime.spawn(on_runtime(plan, kept, clock, bell)));
        }
    }

    /// Ends it, and returns when it has ended.
    pub fn close(&self) {
        self.bell.end();
        match std::mem::replace(&mut *self.worker.lock().unwrap_or_else(PoisonError::into_inner), Worker::None) {
            Worker::None => {}
            Worker::Thread(thread) => drop(thread.join()),
            Worker::Task(task) => task.abort(),
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.close();
    }
}

fn on_thread(mut plan: Plan, kept: &dyn Kept, clock: &dyn Clock, bell: &Bell) {
    loop {
        let now = clock.monotonic_ms();
        let wait = plan.step(kept, now).saturating_sub(now);
        if !bell.wait(Duration::from_millis(wait)) {
            return;
        }
    }
}

async fn on_runtime(mut plan: Plan, kept: Arc<dyn Kept>, clock: Arc<dyn Clock>, bell: Arc<Bell>) {
    loop {
        let now = clock.monotonic_ms();
        let wait = plan.step(kept.as_ref(), now).saturating_sub(now);
        tokio::select! {
            biased;
            // First whether it was rung: it may be over, and then what is due is nobody's.
            () = bell.task.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
        }
        if bell.state().over {
            return;
        }
    }
}
