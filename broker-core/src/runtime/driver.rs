//! The one task of a broker: steps the group machines when their time has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Counter, GroupChanges, Random, Shard};
use crate::coordinator::group::ReplyToken;
use crate::time::Clock;

/// How long offsets are kept that nobody needs, and how often that is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffsetsRetention {
    pub retention_ms: i64,
    pub check_interval_ms: u64,
}

pub(crate) struct Driver {
    retention: OffsetsRetention,
    shards: Arc<Vec<Mutex<Shard>>>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    tokens: AtomicU64,
    random: Random,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Counts what may have begun a rebalance.
    changes: Arc<Counter>,
}

impl Driver {
    pub fn new(shards: Arc<Vec<Mutex<Shard>>>, clock: Arc<dyn Clock>, seed: u64, retention: OffsetsRetention) -> Self {
        let (tokens, random) = (AtomicU64::new(0), Random::new(seed));
        Self { retention, shards, clock, wake: Arc::default(), tokens, random, task: Mutex::new(None), changes: Arc::default() }
    }

    pub fn token(&self) -> ReplyToken {
        ReplyToken(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// A new member's id: `<client id>-<random>`.
    pub fn member_id(&self, client_id: &str) -> String {
        let (high, low) = (self.random.next(), self.random.next());
        format!("{client_id}-{high:016x}{low:016x}")
    }

    /// A deadline may have moved: the task looks again. It is started with the first member, since a broker may be opened
    /// outside a runtime, and again if its runtime ended.
    pub fn wake(&self) {
        self.changes.raise();
        self.wake.notify_one();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shards, clock, wake) = (self.shards.clone(), self.clock.clone(), self.wake.clone());
            *task = Some(runtime.spawn(run(shards, clock, wake, self.changes.clone(), self.retention)));
        }
    }

    pub fn changes(&self) -> GroupChanges {
        GroupChanges::new(self.changes.clone())
    }

    pub async fn close(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn run(
    shards: Arc<Vec<Mutex<Shard>>>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    changes: Arc<Counter>,
    retention: OffsetsRetention,
) {
    let locked =
        |shard: &Mutex<Shard>, step: &mut dyn FnMut(&mut Shard)| step(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
    let mut look_at = clock.monotonic_ms() + retention.check_interval_ms;
    loop {
        if clock.monotonic_ms() >= look_at {
            shards.iter().for_each(|shard| locked(shard, &mut |shard| expire_offsets(shard, retention.retention_ms)));
            look_at = clock.monotonic_ms() + retention.check_interval_ms;
        }
        let mut deadline: Option<u64> = None;
        for shard in shards.iter() {
            locked(shard, &mut |shard| deadline = [deadline, shard.next_deadline()].into_iter().flatten().min());
        }
        let next = deadline.map_or(look_at, |at| at.min(look_at));
        let due = tokio::time::sleep(Duration::from_millis(next.saturating_sub(clock.monotonic_ms())));
        tokio::select! {
            biased;
            // First what is due: a flood of wake-ups must not keep a silent member in its group.
            () = due => {
                shards.iter().for_each(|shard| locked(shard, &mut Shard::expire));
                changes.raise();
            }
            () = wake.notified() => {}
        }
    }
}

fn expire_offsets(shard: &mut Shard, retention_ms: i64) {
    if let Err(error) = shard.expire_offsets(retention_ms) {
        tracing::error!(target: "broker_core::group", %error, "offsets that have had their time could not be taken away");
    }
}
