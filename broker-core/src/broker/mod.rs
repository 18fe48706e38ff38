//! The one public API, used alike by clients in the process and, later, by the wire server.

#[cfg(feature = "server")]
mod acls;
mod configs;
mod data_folder;
mod groups;
mod internal;
mod manifest;
mod open;
mod producer_ids;
mod store;
mod topic_map;
mod topics;
#[cfg(test)]
mod topics_tests;
mod transactions;
#[cfg(feature = "server")]
mod users;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use open::BrokerBuilder;
pub use topics::{NewTopic, TopicDescription};
#[cfg(feature = "server")]
pub(crate) use transactions::{Counts, writer};

use crate::config::BrokerConfig;
use crate::error::{Error, ErrorCode, Named};
use crate::partition::{DataSignal, PartitionHandle, Surroundings, WatchGuard};
use crate::runtime::{Counter, Driver, Kept, Random, Shard, Syncer, TransactionCoordinator, TransactionShard, Upkeep};
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
    /// First, so that it ends before what it works on goes.
    upkeep: Upkeep,
    syncer: Arc<Syncer>,
    disk: Arc<dyn Disk>,
    surroundings: Arc<Surroundings>,
    store: Arc<store::Store>,
    config: BrokerConfig,
    clock: Arc<dyn Clock>,
    topics: Arc<store::Topics>,
    /// Held by who changes topics, while the disk takes it: who produces and reads does not wait for that.
    changing: Mutex<()>,
    /// Counts changes of topics and partitions.
    metadata: Arc<Counter>,
    producer_ids: producer_ids::ProducerIds,
    /// For topic ids.
    random: Random,
    shards: Arc<Vec<Mutex<Shard>>>,
    transactions: Arc<TransactionCoordinator>,
    records: Arc<store::Records>,
    driver: Driver,
    durable: bool,
    closed: AtomicBool,
    #[cfg(feature = "server")]
    users: crate::security::Users,
    #[cfg(feature = "server")]
    quotas: crate::quota::Quotas,
    /// What the port's clients may do, where rights are looked at.
    #[cfg(feature = "server")]
    acls: crate::security::Acls,
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
        self.0.upkeep.start();
        if self.0.transactions.is_used() {
            // Somebody ends those whose producers are gone.
            self.0.driver.attend();
        }
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        let found = topics.get(topic).and_then(|topic| topic.partitions.get(usize::try_from(partition).ok()?));
        found.cloned().ok_or_else(|| {
            let have = topics
                .get(topic)
                .map_or_else(|| "no such topic".to_owned(), |topic| format!("it has {}", topic.partitions.len()));
            Error::new(ErrorCode::UnknownTopicOrPartition, format!("{}-{partition} does not exist: {have}", Named(topic)))
        })
    }

    /// A partition to read only, which may be one of the broker's own topics: of those, one that holds nothing yet is `None`.
    pub fn partition_to_read(&self, topic: &str, partition: i32) -> Result<Option<PartitionHandle>, Error> {
        match topic {
            internal::OFFSETS_TOPIC => Ok(self.offsets_shard(partition)?.partition().cloned()),
            internal::TRANSACTIONS_TOPIC if self.0.transactions.is_used() => {
                Ok(self.transactions_shard(partition)?.partition().cloned())
            }
            _ => self.partition(topic, partition).map(Some),
        }
    }

    /// Calls `signal` on every append to a partition, and when it is deleted, until the guard is dropped. Of the broker's own topics a
    /// partition that holds nothing yet can be watched, too.
    pub fn watch(&self, topic: &str, partition: i32, signal: &Arc<DataSignal>) -> Result<WatchGuard, Error> {
        match topic {
            internal::OFFSETS_TOPIC => Ok(self.offsets_shard(partition)?.watch(signal)),
            internal::TRANSACTIONS_TOPIC if self.0.transactions.is_used() => {
                Ok(self.transactions_shard(partition)?.watch(signal))
            }
            _ => Ok(self.partition(topic, partition)?.watch(signal)),
        }
    }

    fn offsets_shard(&self, partition: i32) -> Result<MutexGuard<'_, Shard>, Error> {
        let shard = usize::try_from(partition).ok().and_then(|number| self.0.shards.get(number));
        let shard = shard.ok_or_else(|| absent(internal::OFFSETS_TOPIC, partition, self.0.shards.len()))?;
        Ok(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn transactions_shard(&self, partition: i32) -> Result<MutexGuard<'_, TransactionShard>, Error> {
        let mut shards = self.0.transactions.shards();
        let have = shards.len();
        let shard = usize::try_from(partition).ok().and_then(|number| shards.nth(number));
        shard.ok_or_else(|| absent(internal::TRANSACTIONS_TOPIC, partition, have))
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
        self.0.upkeep.close();
        self.0.syncer.close();
        if !self.0.durable {
            return Ok(());
        }
        // All of them, whatever one says: a failed partition must not cost the others their durability.
        self.0.store.partitions().iter().map(PartitionHandle::close).fold(Ok(()), Result::and)?;
        self.0.store.checkpoint()?;
        self.0.store.mark_clean()
    }

    /// Makes everything durable that was acknowledged before: safe from a power cut, not only from the process's end.
    pub fn sync(&self) -> Result<(), Error> {
        self.0.store.partitions().iter().map(PartitionHandle::sync).fold(Ok(()), Result::and)?;
        self.0.store.checkpoint()
    }
}

fn absent(topic: &str, partition: i32, have: usize) -> Error {
    let text = format!("{topic}-{partition} does not exist: it has {have}");
    Error::new(ErrorCode::UnknownTopicOrPartition, text)
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("storage", &self.describe()).finish_non_exhaustive()
    }
}
