//! One partition's open batch, and who sends it when its `linger.ms` has passed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use broker_core::PartitionHandle;
use broker_core::record::{BatchBuilder, Compression};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client_error;
use crate::client::config::Acks;
use crate::client::{ClientError, ClientErrorKind, RawProducerRecord, SendCell, SendHandle, TopicPartition};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One partition's open batch. Records go into it, and it into the log, under one short lock, so order is the order of sends.
pub(super) struct Queue {
    partition: TopicPartition,
    pub handle: PartitionHandle,
    acks: Acks,
    /// How large a batch may become: `batch.size`; and no more than the topic takes at once, which may change.
    limit: usize,
    /// The idempotent producer's id and epoch.
    identity: Option<(i64, i16)>,
    /// What all open batches of the producer may grow to.
    reserved: Arc<AtomicUsize>,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    builder: BatchBuilder,
    cell: Option<Arc<SendCell>>,
    /// Of the open batch's first record: sequences go up by one a record that was appended, and past the largest start at 0.
    sequence: i32,
    /// Which batch this is.
    batch: u64,
    /// When the open batch has waited long enough.
    due: Option<Instant>,
    /// Whether the linger task knows this queue.
    listed: bool,
    closed: bool,
}

impl Queue {
    pub fn new(
        partition: TopicPartition,
        handle: PartitionHandle,
        acks: Acks,
        limit: usize,
        compression: Compression,
        identity: Option<(i64, i16)>,
        reserved: Arc<AtomicUsize>,
    ) -> Self {
        let state = QueueState { builder: BatchBuilder::new().compression(compression), ..QueueState::default() };
        Self { partition, handle, acks, limit, identity, reserved, state: Mutex::new(state) }
    }

    /// Encodes a record of at most `size` bytes into the open batch; a batch that is full goes to the log at once.
    pub fn append(
        self: &Arc<Self>,
        record: &RawProducerRecord<'_>,
        timestamp: i64,
        size: usize,
        linger: &Arc<Linger>,
    ) -> Result<SendHandle, ClientError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(closed(record.topic));
        }
        let limit = self.limit.min(self.handle.max_batch_bytes());
        if !state.builder.is_empty() && state.builder.size() + size > limit {
            self.flush_open(&mut state);
        }
        let index = state.builder.append(timestamp, record.key, record.value, record.headers);
        let (cell, opened) = match &state.cell {
            Some(cell) => (cell.clone(), false),
            None => (self.open(&mut state), true),
        };
        if state.builder.size() >= limit || (opened && !linger.waits(self, &mut state)) {
            self.flush_open(&mut state);
        }
        drop(state);
        if opened {
            linger.make_room(&self.reserved);
        }
        Ok(SendHandle::in_batch(cell, index, timestamp))
    }

    fn open(self: &Arc<Self>, state: &mut QueueState) -> Arc<SendCell> {
        let (kicked, batch) = (Arc::downgrade(self), state.batch);
        // Whoever waits for the batch sends it: nothing is in flight here that it would have to wait for.
        let kick = move || {
            if let Some(queue) = kicked.upgrade() {
                let mut state = lock(&queue.state);
                if state.batch == batch {
                    queue.flush_open(&mut state);
                }
            }
        };
        let cell = SendCell::new(self.partition.clone(), Some(Box::new(kick)));
        state.cell = Some(cell.clone());
        self.reserved.fetch_add(self.limit, Ordering::Relaxed);
        cell
    }

    /// Appends the open batch to the log and gives its sends their result.
    fn flush_open(&self, state: &mut QueueState) {
        let Some(cell) = state.cell.take() else { return };
        state.batch += 1;
        self.reserved.fetch_sub(self.limit, Ordering::Relaxed);
        let count = state.builder.count() as i64;
        if let Some((id, epoch)) = self.identity {
            state.builder.producer(id, epoch, state.sequence);
        }
        let result = self.handle.produce(state.builder.build());
        if result.is_ok() {
            state.sequence = ((i64::from(state.sequence) + count) % (i64::from(i32::MAX) + 1)) as i32;
        }
        match result {
            Ok(_) if self.acks == Acks::Zero => cell.complete(Ok((-1, None))),
            Ok(produced) => {
                let placed = (produced.base_offset, produced.log_append_time);
                // At once, unless the topic asks for the disk: then whoever syncs it tells.
                let end = produced.end_offset;
                self.handle.when_acknowledged(end, move |durable| cell.complete(durable.map(|()| placed).map_err(client_error)));
            }
            Err(error) => cell.complete(Err(client_error(error))),
        }
    }

    pub fn flush(&self) {
        self.flush_open(&mut lock(&self.state));
    }

    /// Flushes; later appends are refused.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.flush_open(&mut state);
    }

    /// Flushes what is due, and says when to look again if a younger batch is open.
    fn flush_due(&self, now: Instant) -> Option<Instant> {
        let mut state = lock(&self.state);
        let due = state.due.filter(|due| state.cell.is_some() && *due > now);
        if due.is_none() {
            self.flush_open(&mut state);
            state.listed = false;
        }
        due
    }
}

impl Drop for Queue {
    /// Nobody else will send what is open: the topic was deleted, or the producer was dropped. Its sends get their result.
    fn drop(&mut self) {
        let mut state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.flush_open(&mut state);
    }
}

pub(super) fn closed(topic: &str) -> ClientError {
    ClientError::new(ClientErrorKind::Closed, format!("topic '{topic}': the producer is closed"))
}

/// Sends open batches when their `linger.ms` has passed, by one task; and the oldest of them at once when `buffer.memory` is
/// used up, so that a send never waits for room.
pub(super) struct Linger {
    time: Duration,
    buffer_memory: usize,
    state: Mutex<LingerState>,
    wake: Notify,
}

#[derive(Default)]
struct LingerState {
    /// Queues with an open batch, each at most once, by the time at which to look at them.
    due: BTreeMap<(Instant, u64), Weak<Queue>>,
    next: u64,
    task: Option<JoinHandle<()>>,
}

impl LingerState {
    fn list(&mut self, at: Instant, queue: Weak<Queue>) {
        self.next += 1;
        self.due.insert((at, self.next), queue);
    }
}

impl Linger {
    pub fn new(time: Duration, buffer_memory: usize) -> Arc<Self> {
        Arc::new(Self { time, buffer_memory, state: Mutex::default(), wake: Notify::new() })
    }

    /// Whether a batch that was just opened may wait: not without `linger.ms`, and not without a runtime to wait on.
    fn waits(self: &Arc<Self>, queue: &Arc<Queue>, state: &mut QueueState) -> bool {
        if self.time.is_zero() {
            return false;
        }
        let mut linger = lock(&self.state);
        if linger.task.as_ref().is_none_or(JoinHandle::is_finished) {
            let Ok(runtime) = Handle::try_current() else { return false };
            let task = runtime.spawn(flush_in_time(AtEnd(Arc::downgrade(self))));
            if task.is_finished() {
                return false;
            }
            linger.task = Some(task);
        }
        let due = Instant::now() + self.time;
        state.due = Some(due);
        if !std::mem::replace(&mut state.listed, true) {
            let first = linger.due.is_empty();
            linger.list(due, Arc::downgrade(queue));
            if first {
                self.wake.notify_one();
            }
        }
        true
    }

    /// Sends the oldest open batches until those that are left fit into `buffer.memory`.
    fn make_room(&self, reserved: &AtomicUsize) {
        self.flush_while(|| reserved.load(Ordering::Relaxed) > self.buffer_memory);
    }

    fn flush_while(&self, more: impl Fn() -> bool) {
        while more() {
            let oldest = lock(&self.state).due.pop_first();
            let Some((_, queue)) = oldest else { return };
            if let Some(queue) = queue.upgrade() {
                let mut state = lock(&queue.state);
                queue.flush_open(&mut state);
                state.listed = false;
            }
        }
    }

    /// Ends the task.
    pub async fn close(&self) {
        if let Some(task) = self.end() {
            let _ = task.await;
        }
    }

    /// The same, without waiting until it has ended.
    pub fn end(&self) -> Option<JoinHandle<()>> {
        let task = lock(&self.state).task.take();
        task.inspect(JoinHandle::abort)
    }
}

/// Sends what is open when the task's runtime ends, since nothing could send it later.
struct AtEnd(Weak<Linger>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let Some(linger) = self.0.upgrade() else { return };
        // A runtime that is already ending drops the task while `waits` spawns it, under this lock: that batch is sent there.
        let free = linger.state.try_lock().is_ok();
        if free {
            linger.flush_while(|| true);
        }
    }
}

/// The task; the producer ends it.
async fn flush_in_time(at_end: AtEnd) {
    loop {
        let Some(linger) = at_end.0.upgrade() else { return };
        let now = Instant::now();
        let next = lock(&linger.state).due.first_key_value().map(|((at, _), _)| *at);
        match next {
            Some(at) if at <= now => {
                let oldest = lock(&linger.state).due.pop_first();
                let queue = oldest.and_then(|(_, queue)| queue.upgrade());
                if let Some(queue) = queue
                    && let Some(later) = queue.flush_due(now)
                {
                    lock(&linger.state).list(later, Arc::downgrade(&queue));
                }
            }
            Some(at) => {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => {}
                    () = linger.wake.notified() => {}
                }
            }
            None => linger.wake.notified().await,
        }
    }
}
