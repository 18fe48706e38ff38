use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Broker;
use super::data_folder::{Checkpoints, DataFolder};
use super::open::OFFSETS_TOPIC;
use super::topic_map::TopicMap;
use crate::error::{Error, ErrorCode};
use crate::partition::PartitionHandle;
use crate::runtime::{Kept, Shard};

/// The open topics.
pub(super) type Topics = RwLock<TopicMap>;

/// Everything of a broker that is on its disk. Whoever keeps house holds it without holding the broker.
pub(super) struct Store {
    pub folder: DataFolder,
    pub topics: Arc<Topics>,
    pub shards: Arc<Vec<Mutex<Shard>>>,
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
        if topic == OFFSETS_TOPIC {
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
