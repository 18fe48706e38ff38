//! One partition: its log behind one short lock, validation in front of it, readers woken behind it.

mod aborted;
mod append;
mod append_records;
mod compaction;
mod flush;
mod producer_snapshot;
mod producer_state;
mod signal;
mod transactions;
mod upkeep;

#[cfg(test)]
mod compaction_tests;
#[cfg(test)]
mod compression_tests;
#[cfg(test)]
mod flush_tests;
#[cfg(test)]
mod producer_snapshot_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transactions_tests;
#[cfg(test)]
mod upkeep_tests;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};

use bytes::{Bytes, BytesMut};

pub use aborted::{AbortedTransaction, CommittedOnly};
pub(crate) use flush::Flusher;
use flush::{Ask, Flushing};
use producer_state::{Appended, ProducerBatch, ProducerStates};
pub(crate) use signal::Watchers;
pub use signal::{DataSignal, WatchGuard};
pub use transactions::TransactionEnd;

use crate::config::BrokerConfig;
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::log::{Log, LogConfig, Opening};
use crate::record::Compression;
use crate::storage::Disk;
use crate::time::Clock;
use crate::topic_config::TopicConfig;

/// What a produced batch was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Its first record's offset.
    pub base_offset: i64,
    /// Behind its last record: what [`PartitionHandle::acknowledged`] waits for.
    pub end_offset: i64,
    /// The broker's timestamp, where the topic says `LogAppendTime`.
    pub log_append_time: Option<i64>,
    /// Whether the producer had sent the same batch before: nothing was appended, the offset is that of then.
    pub duplicate: bool,
}

/// What a fetch found.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Runs of whole batches, in order. The first batch holds the offset asked for, and may start before it.
    pub batches: Vec<Bytes>,
    /// Behind the last offset that may be read.
    pub high_watermark: i64,
    /// Behind the last offset whose records are decided: what is behind it may belong to an open transaction.
    pub last_stable: i64,
    /// The first offset.
    pub log_start: i64,
    /// The aborted transactions that reach into the batches; told only to who asks for committed records.
    pub aborted: Vec<AbortedTransaction>,
}

/// An idempotent producer, as a partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence of its last record; -1 before the first one.
    pub last_sequence: i32,
    /// The timestamp of its last batch; -1 before the first one.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that ended its last transaction; -1 before the first one ended.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub transaction_start: Option<i64>,
}

/// A partition's settings.
#[derive(Debug, Clone)]
pub(crate) struct PartitionConfig {
    pub topic: TopicConfig,
    /// What batches are compressed with, from the topic's settings.
    pub compression: Option<Compression>,
    pub decompressed_bytes_max: usize,
    pub producer_id_expiration_ms: i64,
    pub producer_id_expiration_check_interval_ms: i64,
    /// Made of the others when the first log asks, for all of them.
    log: OnceLock<Arc<LogConfig>>,
}

impl PartitionConfig {
    /// Settings that were found fine before.
    pub fn new(topic: TopicConfig, broker: &BrokerConfig) -> Self {
        Self {
            compression: topic.compression().ok().flatten(),
            topic,
            decompressed_bytes_max: broker.message_decompressed_bytes_max,
            producer_id_expiration_ms: broker.producer_id_expiration_ms,
            producer_id_expiration_check_interval_ms: broker.producer_id_expiration_check_interval_ms,
            log: OnceLock::new(),
        }
    }

    fn log(&self) -> Arc<LogConfig> {
        self.log.get_or_init(|| Arc::new(LogConfig::of(&self.topic, self.decompressed_bytes_max))).clone()
    }

    fn max_batch_bytes(&self) -> usize {
        self.topic.max_message_bytes.min(self.topic.segment_bytes) as usize
    }
}

/// What all partitions of a broker share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub flusher: Arc<dyn Flusher>,
}

/// A partition of the broker. Cheap to clone; a client keeps it.
#[derive(Clone)]
pub struct PartitionHandle(Arc<Partition>);

struct Partition {
    id: TopicPartition,
    /// Shared by a topic's partitions: a broker may have very many of them.
    config: RwLock<Arc<PartitionConfig>>,
    max_batch_bytes: AtomicUsize,
    surroundings: Arc<Surroundings>,
    state: Mutex<State>,
    start: AtomicI64,
    end: AtomicI64,
    /// The first offset that is not decided; behind every offset if there is no such transaction.
    unstable: AtomicI64,
    deleted: AtomicBool,
    /// Held by who changes files without the partition's lock. Taken before that.
    housework: Mutex<()>,
    /// Held by who makes files durable. Taken behind the housework, before the partition's lock.
    syncing: Mutex<()>,
    watchers: signal::Watchers,
}

/// What the partition's lock guards.
struct State {
    log: Log,
    producers: ProducerStates,
    /// The offset of the newest snapshot of the producers.
    snapshot: Option<i64>,
    flushing: Flushing,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl PartitionHandle {
    pub(crate) fn open(
        surroundings: Arc<Surroundings>,
        id: TopicPartition,
        config: impl Into<Arc<PartitionConfig>>,
        opening: Opening,
    ) -> Result<Self, Error> {
        Self::open_watched(surroundings, id, config, opening, Watchers::default())
    }

    /// The same where somebody watches already.
    pub(crate) fn open_watched(
        surroundings: Arc<Surroundings>,
        id: TopicPartition,
        config: impl Into<Arc<PartitionConfig>>,
        opening: Opening,
        watchers: Watchers,
    ) -> Result<Self, Error> {
        let config = config.into();
        let failed = |error| storage(&id, "cannot be opened", error);
        let (disk, clock) = (surroundings.disk.clone(), &surroundings.clock);
        let mut log = Log::open(disk, id.to_string(), config.log(), opening).map_err(failed)?;
        let loaded = producer_snapshot::load(&mut log, clock.wall_ms(), config.producer_id_expiration_ms);
        let producer_snapshot::Loaded { producers, snapshot } = loaded.map_err(failed)?;
        let (start, end) = (AtomicI64::new(log.start()), AtomicI64::new(log.end()));
        let unstable = AtomicI64::new(producers.transactions.first_unstable());
        let deleted = AtomicBool::new(false);
        let mut flushing = Flushing::default();
        flushing.arm(&log, config.topic.flush_ms, clock.monotonic_ms());
        let state = Mutex::new(State { log, producers, snapshot, flushing });
        let max_batch_bytes = AtomicUsize::new(config.max_batch_bytes());
        let config = RwLock::new(config);
        Ok(Self(Arc::new(Partition {
            id,
            config,
            max_batch_bytes,
            surroundings,
            state,
            start,
            end,
            unstable,
            deleted,
            housework: Mutex::default(),
            syncing: Mutex::default(),
            watchers,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Arc<PartitionConfig> {
        self.0.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings from now on.
    pub(crate) fn reconfigure(&self, config: Arc<PartitionConfig>) {
        let flush_ms = config.topic.flush_ms;
        let mut state = self.state();
        state.log.reconfigure(config.log());
        self.0.max_batch_bytes.store(config.max_batch_bytes(), Ordering::Relaxed);
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        let State { log, flushing, .. } = &mut *state;
        let in_time = flushing.arm(log, flush_ms, self.0.surroundings.clock.monotonic_ms());
        drop(state);
        if in_time {
            self.0.surroundings.flusher.look_again();
        }
    }

    fn check_there(&self) -> Result<(), Error> {
        if self.is_deleted() {
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, format!("{} was deleted", self.0.id)));
        }
        Ok(())
    }

    /// Which partition it is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.0.id
    }

    /// How large a batch it takes: the topic's `max.message.bytes`, and no more than a segment.
    pub fn max_batch_bytes(&self) -> usize {
        self.0.max_batch_bytes.load(Ordering::Relaxed)
    }

    /// How many bytes the records of one compressed batch may take: `message.decompressed.bytes.max`.
    pub fn decompressed_bytes_max(&self) -> usize {
        self.config().decompressed_bytes_max
    }

    /// Whether its topic was deleted: the handle is of no more use.
    pub fn is_deleted(&self) -> bool {
        self.0.deleted.load(Ordering::Acquire)
    }

    /// The first offset.
    pub fn log_start(&self) -> i64 {
        self.0.start.load(Ordering::Acquire)
    }

    /// Behind the last offset that may be read.
    pub fn end_offset(&self) -> i64 {
        self.0.end.load(Ordering::Acquire)
    }

    /// How many bytes its log holds.
    pub fn size(&self) -> u64 {
        self.state().log.size()
    }

    /// The idempotent producers that it remembers, by id.
    pub fn producers(&self) -> Vec<ProducerDescription> {
        self.state().producers.describe().collect()
    }

    /// Appends exactly one batch: checks it, gives it its offsets, writes it, wakes readers. Nothing is appended on an error.
    /// What is there survives the end of the process, not of the machine; where the topic's `flush.messages` asks for more, it counts
    /// only when it is durable: [`acknowledged`](Self::acknowledged) tells.
    pub fn produce(&self, mut batch: BytesMut) -> Result<Produced, Error> {
        self.check_there()?;
        let (now, config) = (self.0.surroundings.clock.wall_ms(), self.config());
        let checked = append::check(&mut batch, &config, now).map_err(|refusal| refusal.on(&self.0.id))?;
        let append_time = config.topic.log_append_time;
        let max_timestamp = if append_time { now } else { checked.max_timestamp };
        append::stamp_time(&mut batch, max_timestamp, append_time);
        let producer = ProducerBatch::of(&batch);
        let mut state = self.state();
        // Again, under the lock: a deleted log must not come back by a write that was on its way.
        self.check_there()?;
        if let Some(producer) = producer
            && let Some(before) = state.producers.check(producer).map_err(|refusal| refusal.on(&self.0.id))?
        {
            let log_append_time = append_time.then_some(before.timestamp);
            let (base_offset, end_offset) = (before.base_offset(), before.last_offset + 1);
            return Ok(Produced { base_offset, end_offset, log_append_time, duplicate: true });
        }
        let base_offset = state.log.end();
        let ask = self.append_of(producer, &mut state, batch, (checked.count, max_timestamp, now), &config, false)?;
        self.tell(state);
        self.ask(ask);
        let end_offset = base_offset + i64::from(checked.count);
        Ok(Produced { base_offset, end_offset, log_append_time: append_time.then_some(now), duplicate: false })
    }

    /// The same for a batch of the broker's own, straight from its builder and to a partition of its own: what `produce` would
    /// check is known, and a commit pays for no second checksum.
    pub(crate) fn produce_own(&self, batch: BytesMut) -> Result<(), Error> {
        self.produce_ours(batch, false)
    }

    /// The same, but it counts only when it is durable, as if the topic's `flush.messages` asked for that.
    pub(crate) fn produce_own_durable(&self, batch: BytesMut) -> Result<(), Error> {
        self.produce_ours(batch, true)
    }

    fn produce_ours(&self, batch: BytesMut, durable: bool) -> Result<(), Error> {
        if i32::try_from(batch.len()).is_err() {
            let text = format!("{}: a batch of {} bytes: the format has no room for its length", self.0.id, batch.len());
            return Err(Error::new(ErrorCode::RecordListTooLarge, text));
        }
        debug_assert!(
            append::check(&mut batch.clone(), &self.config(), i64::MAX).is_ok(),
            "{}: the broker's own batch is unsound",
            self.0.id
        );
        let (count, max_timestamp) = append::told(&batch);
        let mut state = self.state();
        self.check_there()?;
        // Its records' time is now.
        self.write(&mut state, batch, count, (max_timestamp, max_timestamp))?;
        if durable {
            state.flushing.must = state.log.end();
        }
        let ask = self.appended(&mut state, i64::MAX);
        self.tell(state);
        self.ask(ask);
        Ok(())
    }

    /// Writes a sound batch, perhaps of a producer, whose sequence is as it should be.
    fn append_of(
        &self,
        producer: Option<ProducerBatch>,
        state: &mut State,
        batch: BytesMut,
        (count, max_timestamp, now): (i32, i64, i64),
        config: &PartitionConfig,
        durable: bool,
    ) -> Result<Ask, Error> {
        let base_offset = state.log.end();
        let appended = Appended::of(&batch, base_offset);
        if producer.is_some_and(|producer| producer.transactional) {
            // Before the end that shows it.
            self.0.unstable.fetch_min(base_offset, Ordering::Release);
        }
        let written = self.write(state, batch, count, (max_timestamp, now));
        if written.is_err() {
            self.settle_transactions(&mut state.producers, self.end_offset());
        }
        written?;
        if let Some(producer) = producer {
            // Before anything is settled: what this batch begins is undecided.
            state.producers.expire(now, config.producer_id_expiration_ms, config.producer_id_expiration_check_interval_ms);
            state.producers.note(producer, appended, now);
        }
        if durable {
            state.flushing.must = state.log.end();
        }
        Ok(self.appended(state, config.topic.flush_ms))
    }

    /// Unlocks the partition and tells the watchers. Whether there are any is looked at under the lock: a watcher takes it before
    /// it first looks for data, and so either is seen here or sees what was written.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let watched = self.0.watchers.any();
        drop(state);
        if watched {
            self.0.watchers.notify();
        }
    }

    /// Gives a sound batch the next offsets and writes it.
    fn write(&self, state: &mut State, mut batch: BytesMut, count: i32, (max_timestamp, now): (i64, i64)) -> Result<(), Error> {
        let base_offset = state.log.end();
        append::stamp_offset(&mut batch, base_offset);
        let last_offset = base_offset + i64::from(count) - 1;
        let written = state.append(batch.freeze(), last_offset, max_timestamp, now);
        written.map_err(|error| storage(&self.0.id, "takes no writes", error))
    }

    /// Whole batches from the one that holds `offset` on; empty at the end. At least one batch whatever `max_bytes` says.
    pub fn fetch(&self, offset: i64, max_bytes: usize) -> Result<Fetched, Error> {
        let found = self.bounds(offset)?;
        if offset == found.high_watermark {
            return Ok(found);
        }
        let batches = self.reading(crate::log::read(|look| self.with_log(look), offset, found.high_watermark, max_bytes))?;
        Ok(Fetched { batches, ..found })
    }

    /// Hands the log out to who reads, for a moment. Not a deleted one's: an index that is made anew would bring its folder back.
    fn with_log(&self, look: &mut dyn FnMut(&mut Log)) {
        let mut state = self.state();
        if !self.is_deleted() {
            look(&mut state.log);
        }
    }

    /// What was read so: worth nothing if the partition was deleted meanwhile.
    fn reading<T>(&self, read: io::Result<T>) -> Result<T, Error> {
        self.check_there()?;
        read.map_err(|error| storage(&self.0.id, "cannot be read", error))
    }

    /// What may be read, if the offset lies within; no batch.
    fn bounds(&self, offset: i64) -> Result<Fetched, Error> {
        self.check_there()?;
        let found = self.fetched_nothing();
        let Fetched { log_start, high_watermark, .. } = found;
        if offset < log_start || offset > high_watermark {
            let text = format!("{}: offset {offset} is outside the log, which holds {log_start} to {high_watermark}", self.0.id);
            return Err(Error::new(ErrorCode::OffsetOutOfRange, text));
        }
        Ok(found)
    }

    /// What may be read, and no batch.
    pub(crate) fn fetched_nothing(&self) -> Fetched {
        let (log_start, high_watermark) = (self.log_start(), self.end_offset());
        let last_stable = self.stable_before(high_watermark);
        Fetched { batches: Vec::new(), high_watermark, last_stable, log_start, aborted: Vec::new() }
    }

    /// The first record with this timestamp (milliseconds since 1970) or a later one: its offset and timestamp.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(i64, i64)>, Error> {
        self.check_there()?;
        let found = self.reading(crate::log::find_timestamp(|look| self.with_log(look), timestamp))?;
        Ok(found.filter(|(offset, _)| *offset < self.end_offset()))
    }

    /// The first of the records with the latest timestamp: its offset and timestamp.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<(i64, i64)>, Error> {
        self.check_there()?;
        let mut largest = Ok(-1);
        self.with_log(&mut |log| largest = log.max_timestamp());
        let largest = self.reading(largest)?;
        if largest < 0 { Ok(None) } else { self.offset_for_timestamp(largest) }
    }

    /// Calls `signal` on every append, and when the partition is deleted, until the guard is dropped.
    pub fn watch(&self, signal: &Arc<DataSignal>) -> WatchGuard {
        let guard = self.0.watchers.add(signal);
        drop(self.state());
        guard
    }

    /// Makes everything durable, so that nothing has to be looked through when it is opened again.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let syncing = self.syncing();
        let mut state = self.state();
        if self.is_deleted() {
            return Ok(());
        }
        let closed = state.snapshot().and_then(|()| state.log.close());
        drop(syncing);
        self.settle_all(state);
        closed.map_err(|error| storage(&self.0.id, "cannot be synced", error))
    }

    /// Everything before it is durable.
    pub(crate) fn recovery_point(&self) -> i64 {
        self.state().log.recovery_point()
    }

    /// Refuses everything from now on. Nothing is being written any more, nor made durable, when this returns: the files may go.
    pub(crate) fn delete(&self) {
        let state = self.state();
        self.0.deleted.store(true, Ordering::Release);
        drop(state);
        // Housework that is under way sees it and ends.
        drop(self.0.housework.lock().unwrap_or_else(PoisonError::into_inner));
        drop(self.syncing());
        self.settle();
    }

    /// Starts a new segment: what is before it can be compacted.
    pub(crate) fn roll(&self) -> Result<(), Error> {
        self.roll_locked(&mut self.state())
    }

    fn roll_locked(&self, state: &mut State) -> Result<(), Error> {
        let rolled = state.log.roll();
        // Whoever was here before the segments go must be known after.
        let kept = if state.producers.len() > 0 { rolled.and_then(|()| state.snapshot()) } else { rolled };
        kept.map_err(|error| storage(&self.0.id, "takes no writes", error))
    }

    /// Starts a new segment and fills it by `write`. When that is durable, all segments before it go: that is left to who makes
    /// partitions durable, since whoever rewrites holds a lock that a commit takes. A crash before leaves both: read in order, they
    /// give the same. False, with nothing done, while somebody changes files.
    pub(crate) fn rewrite(&self, write: impl FnOnce(&Self) -> Result<(), Error>) -> Result<bool, Error> {
        let alone = self.0.housework.try_lock();
        if matches!(alone, Err(TryLockError::WouldBlock)) {
            return Ok(false);
        }
        let base = {
            let mut state = self.state();
            self.roll_locked(&mut state)?;
            state.log.end()
        };
        write(self)?;
        drop(alone);
        self.supersede(base);
        Ok(true)
    }
}

impl State {
    /// Appends a batch, and keeps what the producers had written before it if it starts a segment.
    fn append(&mut self, batch: Bytes, last_offset: i64, max_timestamp: i64, now: i64) -> io::Result<()> {
        self.make_room(batch.len(), last_offset, max_timestamp, now)?;
        self.log.append_here(batch, last_offset, max_timestamp, now)
    }

    fn make_room(&mut self, bytes: usize, last_offset: i64, max_timestamp: i64, now: i64) -> io::Result<()> {
        if self.log.make_room(bytes as u64, last_offset, max_timestamp, now)? { self.snapshot() } else { Ok(()) }
    }

    /// Keeps what the producers have written so far, unless that is kept or there is nothing yet.
    fn snapshot(&mut self) -> io::Result<()> {
        let end = self.log.end();
        if self.snapshot == Some(end) || end == 0 {
            return Ok(());
        }
        self.log.write_snapshot(end, producer_snapshot::encode(&self.producers))?;
        self.snapshot = Some(end);
        Ok(())
    }
}

fn storage(id: &TopicPartition, what: &str, error: std::io::Error) -> Error {
    Error::with_source(ErrorCode::KafkaStorageError, format!("{id} {what}"), error)
}

impl fmt::Debug for PartitionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionHandle").field("id", &self.0.id).field("end", &self.end_offset()).finish_non_exhaustive()
    }
}
