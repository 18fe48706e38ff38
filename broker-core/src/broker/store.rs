use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Broker;
use super::data_folder::{Checkpoints, DataFolder};
use super::internal::{OFFSETS_TOPIC, is_internal};
use super::topic_map::TopicMap;
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::partition::{PartitionHandle, TransactionEnd};
use crate::runtime::{Kept, Participants, Shard, TransactionCoordinator};

/// The open topics.
pub(super) type Topics = RwLock<TopicMap>;

/// Where clients' records are: topics and groups.
pub(super) struct Records {
    pub topics: Arc<Topics>,
    pub shards: Arc<Vec<Mutex<Shard>>>,
}

impl Records {
    /// A shard of the groups, by its number.
    pub fn shard(&self, number: i32) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(number).ok()?)
    }
}

impl Participants for Records {
    fn partition(&self, id: &TopicPartition) -> Option<PartitionHandle> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(&id.topic)?.partitions.get(usize::try_from(id.partition).ok()?).cloned()
    }

    fn partitions(&self) -> Vec<PartitionHandle> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = topics.iter().flat_map(|topic| &topic.partitions).cloned().collect();
        drop(topics);
        for shard in self.shards.iter() {
            all.extend(shard.lock().unwrap_or_else(PoisonError::into_inner).partition().cloned());
        }
        all
    }

    fn end(
        &self,
        id: &TopicPartition,
        end: &TransactionEnd,
        wrote: i16,
        durable: bool,
    ) -> Result<Option<(PartitionHandle, i64)>, Error> {
        if &*id.topic == OFFSETS_TOPIC {
            let Some(shard) = self.shard(id.partition) else { return Ok(None) };
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = shard.complete_transaction(end, wrote, durable)?;
            return Ok(shard.partition().cloned().map(|partition| (partition, ended)));
        }
        let Some(partition) = self.partition(id) else { return Ok(None) };
        // A topic that asks for it makes it durable itself.
        match partition.complete_transaction(end, wrote, false) {
            Err(_) if partition.is_deleted() => Ok(None),
            told => told.map(|(ended, _)| Some((partition, ended))),
        }
    }
}

/// Everything of a broker that is on its disk. Whoever keeps house holds it without holding the broker.
pub(super) struct Store {
    pub folder: DataFolder,
    pub topics: Arc<Topics>,
    pub shards: Arc<Vec<Mutex<Shard>>>,
    pub transactions: Arc<TransactionCoordinator>,
    /// Whether there is anything that outlives the broker.
    pub durable: bool,
}

impl Store {
    fn failed(&self, error: std::io::Error) -> Error {
        let text = format!("a checkpoint in {} cannot be written", self.folder.describe());
        Error::with_source(ErrorCode::KafkaStorageError, text, error)
    }

    /// Says that the broker was stopped in order.
    pub fn mark_clean(&self) -> Result<(), Error> {
        self.folder.mark_clean().map_err(|error| self.failed(error))
    }
}

impl Kept for Store {
    fn partitions(&self) -> Vec<PartitionHandle> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<PartitionHandle> = topics.iter().flat_map(|topic| topic.partitions.iter().cloned()).collect();
        drop(topics);
        for shard in self.shards.iter() {
            all.extend(shard.lock().unwrap_or_else(PoisonError::into_inner).partition().cloned());
        }
        all.extend(self.transactions.shards().filter_map(|shard| shard.partition().cloned()));
        all
    }

    fn checkpoint(&self) -> Result<(), Error> {
        if !self.durable {
            return Ok(());
        }
        let look = || {
            let all = self.partitions();
            let offsets =
                |of: fn(&PartitionHandle) -> i64| all.iter().map(|one| (one.topic_partition().clone(), of(one))).collect();
            let compacted = all.iter().filter_map(|one| Some((one.topic_partition().clone(), one.compacted_to()?))).collect();
            Checkpoints {
                points: offsets(PartitionHandle::recovery_point),
                starts: offsets(PartitionHandle::log_start),
                compacted,
            }
        };
        self.folder.checkpoint(look).map_err(|error| self.failed(error))
    }
}

impl Broker {
    /// All partitions that have a log: topics' and the broker's own.
    pub fn partitions(&self) -> Vec<PartitionHandle> {
        self.0.store.partitions()
    }

    /// Where the logs are: the folder, or `memory`.
    pub fn log_dir(&self) -> String {
        self.0.disk.describe()
    }

    /// From now on nothing of a partition before this offset can be read; -1 stands for its end. The first offset that can be read
    /// then, over restarts too. The files go with the next retention.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<i64, Error> {
        if is_internal(topic) {
            return Err(Error::new(ErrorCode::InvalidTopic, format!("'{topic}' is internal: its records stay")));
        }
        if !self.topic_config(topic)?.cleanup_policy.delete {
            let text = format!("topic '{topic}': cleanup.policy does not allow that records are deleted");
            return Err(Error::new(ErrorCode::PolicyViolation, text));
        }
        let start = self.partition(topic, partition)?.delete_records(before)?;
        self.0.store.checkpoint()?;
        Ok(start)
    }
}
