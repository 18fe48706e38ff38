//! The one public API, used alike by clients in the process and, later, by the wire server.

mod configs;
mod data_folder;
mod groups;
mod manifest;
mod open;
mod producer_ids;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use open::BrokerBuilder;
pub use topics::{NewTopic, TopicDescription};

use crate::config::BrokerConfig;
use crate::error::{Error, ErrorCode};
use crate::partition::PartitionHandle;
use crate::runtime::{Counter, Driver, Random, Shard};
use crate::storage::Disk;
use crate::time::Clock;

/// An embedded broker. Cheap to clone; all clones are the same broker.
///
/// ```
/// use broker_core::{Broker, NewTopic, record::BatchBuilder};
///
/// let broker = Broker::in_memory();
/// broker.create_topic(&NewTopic::new("orders").partitions(1))?;
/// let orders = broker.partition("orders", 0)?;
/// let mut batch = BatchBuilder::new();
/// batch.append(broker.clock().wall_ms(), Some(b"ann"), Some(b"42"), &[]);
/// assert_eq!(orders.produce(batch.build())?.base_offset, 0);
/// assert_eq!(orders.end_offset(), 1);
/// # Ok::<(), broker_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    folder: data_folder::DataFolder,
    config: BrokerConfig,
    clock: Arc<dyn Clock>,
    topics: RwLock<BTreeMap<Arc<str>, topics::Topic>>,
    /// Counts changes of topics and partitions.
    metadata: Arc<Counter>,
    producer_ids: producer_ids::ProducerIds,
    /// For topic ids.
    random: Random,
    shards: Arc<Vec<Mutex<Shard>>>,
    driver: Driver,
    durable: bool,
    closed: AtomicBool,
}

impl Broker {
    /// The clock that stamps records and measures time-outs.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// In words: in memory, or the folder.
    pub fn describe(&self) -> String {
        if self.0.durable { format!("files in {}", self.0.disk.describe()) } else { "in memory".to_owned() }
    }

    /// The broker's settings.
    pub fn config(&self) -> &BrokerConfig {
        &self.0.config
    }

    /// A partition to write and read: a client keeps it. An error if it does not exist.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<PartitionHandle, Error> {
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        let found = topics.get(topic).and_then(|topic| topic.partitions.get(usize::try_from(partition).ok()?));
        found.cloned().ok_or_else(|| {
            let have = topics
                .get(topic)
                .map_or_else(|| "no such topic".to_owned(), |topic| format!("it has {}", topic.partitions.len()));
            Error::new(ErrorCode::UnknownTopicOrPartition, format!("{topic}-{partition} does not exist: {have}"))
        })
    }

    /// Counts changes of topics and partitions.
    pub fn metadata_epoch(&self) -> u64 {
        self.0.metadata.count()
    }

    /// Completes when [`metadata_epoch`](Self::metadata_epoch) is another than `seen`, and returns it; cancel-safe.
    pub fn metadata_changed(&self, seen: u64) -> impl Future<Output = u64> + Send + use<> {
        let metadata = self.0.metadata.clone();
        async move { metadata.changed(seen).await }
    }

    /// Ends the broker's own task and makes everything durable. Idempotent; clones go on reading, later writes go on too but
    /// are as durable as the page cache.
    pub async fn close(&self) -> Result<(), Error> {
        self.0.closed.store(true, Ordering::Release);
        self.0.driver.close().await;
        if self.0.durable { self.sync() } else { Ok(()) }
    }

    /// Makes everything durable that was acknowledged before: safe from a power cut, not only from the process's end.
    pub fn sync(&self) -> Result<(), Error> {
        let all = self.all_partitions();
        // All of them, whatever one says: a failed partition must not cost the others their durability.
        all.iter().map(PartitionHandle::close).fold(Ok(()), Result::and)?;
        self.checkpoint()?;
        self.0.folder.mark_clean().map_err(|error| self.folder_error(error))
    }

    /// Every partition that has a log, internal ones included.
    fn all_partitions(&self) -> Vec<PartitionHandle> {
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<PartitionHandle> = topics.values().flat_map(|topic| topic.partitions.iter().cloned()).collect();
        drop(topics);
        for shard in self.0.shards.iter() {
            all.extend(shard.lock().unwrap_or_else(PoisonError::into_inner).partition().cloned());
        }
        all
    }

    /// Keeps up to where each log is durable, and where it starts.
    fn checkpoint(&self) -> Result<(), Error> {
        let all = self.all_partitions();
        let offsets = |of: fn(&PartitionHandle) -> i64| all.iter().map(|one| (one.topic_partition().clone(), of(one))).collect();
        let (points, starts) = (offsets(PartitionHandle::recovery_point), offsets(PartitionHandle::log_start));
        self.0.folder.checkpoint(&points, &starts).map_err(|error| self.folder_error(error))
    }

    fn folder_error(&self, error: std::io::Error) -> Error {
        let text = format!("a checkpoint in {} cannot be written", self.0.disk.describe());
        Error::with_source(ErrorCode::KafkaStorageError, text, error)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("storage", &self.describe()).finish_non_exhaustive()
    }
}
