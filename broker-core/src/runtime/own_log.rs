//! The log of a coordinator's shard: opened when it is first used, read back when the broker is opened, and rewritten when most of
//! it is superseded.

use std::sync::Arc;

use crate::config::BrokerConfig;
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::partition::{DataSignal, PartitionConfig, PartitionHandle, Surroundings, WatchGuard, Watchers};
use crate::record::{BatchBuilder, RecordView, batches};
use crate::topic_config::{CleanupPolicy, TopicConfig};

/// How large a batch of a rewrite grows.
const SNAPSHOT_BATCH_BYTES: usize = 256 * 1024;
/// How much is read at a time when a shard is read back.
const LOAD_BYTES: usize = 1 << 20;

pub(super) struct OwnLog {
    surroundings: Arc<Surroundings>,
    id: TopicPartition,
    config: PartitionConfig,
    opening: Opening,
    handle: Option<PartitionHandle>,
    /// Who waits for its first record, and for those after it.
    watchers: Watchers,
    builder: BatchBuilder,
    /// How much it grows at least before it is rewritten.
    rewrite_bytes: u64,
    /// Bytes since the last rewrite, and what that rewrite took.
    appended: u64,
    snapshot: u64,
}

impl OwnLog {
    pub fn new(
        surroundings: Arc<Surroundings>,
        broker: &BrokerConfig,
        id: TopicPartition,
        opening: Opening,
        rewrite_bytes: u64,
    ) -> Self {
        let topic = TopicConfig {
            // It never rolls by itself: a rewrite does.
            segment_bytes: i64::from(i32::MAX),
            segment_ms: i64::MAX,
            // The newest record of a key stays, however old it is.
            cleanup_policy: CleanupPolicy { delete: false, compact: true },
            max_message_bytes: i64::from(i32::MAX),
            message_timestamp_after_max_ms: i64::MAX,
            index_interval_bytes: broker.topic_defaults.index_interval_bytes,
            ..TopicConfig::default()
        };
        let (config, builder) = (PartitionConfig::new(topic, broker), BatchBuilder::new());
        Self {
            surroundings,
            id,
            config,
            opening,
            handle: None,
            watchers: Watchers::default(),
            builder,
            rewrite_bytes,
            appended: 0,
            snapshot: 0,
        }
    }

    pub fn wall_ms(&self) -> i64 {
        self.surroundings.clock.wall_ms()
    }

    pub fn monotonic_ms(&self) -> u64 {
        self.surroundings.clock.monotonic_ms()
    }

    pub fn id(&self) -> &TopicPartition {
        &self.id
    }

    /// Its log, if it has one yet.
    pub fn partition(&self) -> Option<&PartitionHandle> {
        self.handle.as_ref()
    }

    /// Calls `signal` on every append, the first one too, until the guard is dropped.
    pub fn watch(&self, signal: &Arc<DataSignal>) -> WatchGuard {
        self.handle.as_ref().map_or_else(|| self.watchers.add(signal), |log| log.watch(signal))
    }

    fn open(&mut self) -> Result<&PartitionHandle, Error> {
        if self.handle.is_none() {
            let (surroundings, id, watchers) = (self.surroundings.clone(), self.id.clone(), self.watchers.clone());
            self.handle = Some(PartitionHandle::open_watched(surroundings, id, self.config.clone(), self.opening, watchers)?);
        }
        Ok(self.handle.as_ref().expect("set above"))
    }

    /// Reads all records, oldest first.
    pub fn read(&mut self, mut each: impl FnMut(RecordView<'_>)) -> Result<(), Error> {
        let log = self.open()?.clone();
        let mut next = log.log_start();
        while next < log.end_offset() {
            for run in log.fetch(next, LOAD_BYTES)?.batches {
                for batch in batches(&run) {
                    let corrupt = |error| Error::with_source(ErrorCode::CorruptMessage, format!("{}", self.id), error);
                    let batch = batch.map_err(corrupt)?;
                    self.appended += batch.size() as u64;
                    next = batch.last_offset() + 1;
                    for record in batch.records() {
                        each(record.map_err(corrupt)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a record into the batch that [`append`](Self::append) writes.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let wall = self.wall_ms();
        self.builder.append(wall, Some(key), value, &[]);
    }

    /// Writes what was put; none of it is there if it fails. What has to be durable counts only then: whoever waits for that does so
    /// later. A disk that is not slow makes it so here and now, under whatever lock this is called; any other, on a thread of its own.
    pub fn append(&mut self, durable: bool) -> Result<(), Error> {
        let batch = self.builder.build();
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch.len() as u64;
        let log = self.open()?;
        if durable {
            log.produce_own_durable(batch)?
        } else {
            log.produce_own(batch)?
        }
        self.appended += bytes;
        Ok(())
    }

    /// Whether it is worth while to write what is current into a new segment, and to drop the rest.
    pub fn is_rewrite_due(&self) -> bool {
        self.appended >= self.rewrite_bytes.max(2 * self.snapshot)
    }

    /// Writes what is current, and drops the rest. `record` fills a key and a value, until there are no more.
    pub fn rewrite(&mut self, mut record: impl FnMut(&mut Vec<u8>, &mut Vec<u8>) -> bool) -> Result<(), Error> {
        let (wall, log) = (self.wall_ms(), self.open()?.clone());
        let (builder, mut written) = (&mut self.builder, 0);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let done = log.rewrite(|log| {
            loop {
                let more = record(&mut key, &mut value);
                if more {
                    builder.append(wall, Some(&key), Some(&value), &[]);
                }
                if builder.size() > if more { SNAPSHOT_BATCH_BYTES } else { 0 } {
                    let batch = builder.build();
                    written += batch.len() as u64;
                    if !batch.is_empty() {
                        log.produce_own(batch)?;
                    }
                }
                if !more {
                    return Ok(());
                }
            }
        })?;
        if done {
            (self.appended, self.snapshot) = (written, written);
        }
        Ok(())
    }
}
