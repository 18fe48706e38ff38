use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use super::data_folder::Found;
use super::internal::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, is_internal};
use super::manifest::Manifest;
use super::producer_ids::ProducerIds;
use super::store::{Records, Store};
use super::topic_map::TopicMap;
use super::topics::Topic;
use super::{Broker, Inner};
use crate::config::BrokerConfig;
use crate::error::{Error, ErrorCode};
use crate::id::{TopicId, TopicPartition};
use crate::partition::Surroundings;
use crate::runtime::{
    Bell, Driver, Intervals, Kept, Looks, Participants, Random, Shard, ShardConfig, Syncer, TransactionCoordinator,
    TransactionShard, Upkeep, shard_of,
};
use crate::storage::{Disk, FileDisk, MemoryDisk};
use crate::time::{Clock, SystemClock};

/// Describes a broker before it opens.
#[derive(Debug, Default)]
pub struct BrokerBuilder {
    config: BrokerConfig,
    clock: Option<Arc<dyn Clock>>,
    dir: Option<PathBuf>,
    disk: Option<Arc<dyn Disk>>,
    seed: Option<u64>,
}

impl Broker {
    /// A durable broker in this folder, which is made if it is not there, and locked against a second process. What was
    /// acknowledged before the last process ended, however it ended, is there.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().dir(dir.as_ref()).open()
    }

    /// A broker in memory: nothing outlives it.
    pub fn in_memory() -> Self {
        Self::builder().open().expect("nothing can fail in memory with the default settings")
    }

    /// A broker with settings of its own.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }
}

impl BrokerBuilder {
    /// The broker's settings.
    pub fn config(mut self, config: BrokerConfig) -> Self {
        self.config = config;
        self
    }

    /// Where time comes from; the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Keeps the data in this folder; in memory by default.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Keeps the data on this disk: for tests.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Where member ids start; from the system otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens it: recovers logs, reads topics, groups and offsets back.
    pub fn open(self) -> Result<Broker, Error> {
        let problems = self.config.validate();
        if !problems.is_empty() {
            return Err(Error::new(ErrorCode::InvalidConfig, problems.join("; ")));
        }
        let storage = |error| Error::with_source(ErrorCode::KafkaStorageError, "the data cannot be opened", error);
        let durable = self.dir.is_some() || self.disk.is_some();
        let (disk, found) = match (self.disk, self.dir) {
            (None, Some(dir)) => {
                let disk = FileDisk::lock(dir, self.config.log_open_files_max).map_err(storage)?;
                let found = Found::look(&disk)?;
                disk.sign().map_err(storage)?;
                (Arc::new(disk) as Arc<dyn Disk>, found)
            }
            (disk, _) => {
                let disk = disk.unwrap_or_else(|| Arc::new(MemoryDisk::new()));
                let found = Found::look(disk.as_ref())?;
                (disk, found)
            }
        };
        let folder = found.take_over(&disk)?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::default()));
        let seed = self.seed.unwrap_or_else(system_seed);
        let bell = Arc::new(Bell::default());
        let syncer = Syncer::new(disk.is_slow(), bell.clone());
        let surroundings = Arc::new(Surroundings { disk: disk.clone(), clock: clock.clone(), flusher: syncer.flusher() });
        let mut counts: BTreeMap<String, i32> = BTreeMap::new();
        for folder in disk.folders().map_err(storage)? {
            if let Some((topic, partition)) = partition_of(&folder) {
                let count = counts.entry(topic.to_owned()).or_default();
                *count = (*count).max(partition + 1);
            }
        }
        let offsets = counts.remove(OFFSETS_TOPIC).unwrap_or(0);
        let transactions = counts.remove(TRANSACTIONS_TOPIC).unwrap_or(0);
        // Another stream than the member ids': who sees one must not guess the other.
        let random = Random::new(!seed);
        let mut topics = TopicMap::default();
        for (name, count) in counts {
            if Topic::finish_delete(disk.as_ref(), &name, count)? {
                continue;
            }
            let (id, partitions, overrides) = Manifest::load(disk.as_ref(), &name, &self.config.topic_defaults)?;
            let known = id.is_some() && partitions.is_some();
            let id = id.unwrap_or_else(|| TopicId::random(random.next(), random.next()));
            let manifest = Manifest { id, partitions: count.max(partitions.unwrap_or(0)), overrides };
            if !known {
                manifest.store(disk.as_ref(), &name)?;
            }
            topics.insert(Topic::open(&surroundings, &name, manifest, &self.config, Some(&found))?);
        }
        let producer_ids = ProducerIds::load(&disk)?;
        #[cfg(feature = "server")]
        let (users, quotas) = (crate::security::Users::load(&disk)?, crate::quota::Quotas::load(&disk)?);
        #[cfg(feature = "server")]
        let acls = crate::security::Acls::load(&disk)?;
        let shards = open_shards(&surroundings, &self.config, offsets, &found)?;
        let looks = Looks {
            offsets_retention_ms: i64::from(self.config.offsets_retention_minutes) * 60_000,
            offsets_ms: self.config.offsets_retention_check_interval_ms,
            transactions_ms: self.config.transaction_abort_timed_out_transaction_cleanup_interval_ms,
            transactional_ids_ms: self.config.transaction_remove_expired_transaction_cleanup_interval_ms,
        };
        let topics = Arc::new(RwLock::new(topics));
        let records = Arc::new(Records { topics: topics.clone(), shards: shards.clone() });
        let transactions = open_transactions(&surroundings, &self.config, transactions, &found, records.clone())?;
        let driver = Driver::new(shards.clone(), transactions.clone(), clock.clone(), seed, looks);
        let store = Store { folder, topics: topics.clone(), shards: shards.clone(), transactions: transactions.clone(), durable };
        let store = Arc::new(store);
        let intervals = Intervals {
            retention_ms: self.config.log_retention_check_interval_ms,
            checkpoint_ms: self.config.log_flush_offset_checkpoint_interval_ms,
            compaction_ms: self.config.log_cleaner_backoff_ms,
            dedupe_bytes: self.config.log_cleaner_dedupe_buffer_size,
        };
        let upkeep = Upkeep::new(store.clone(), intervals, clock.clone(), bell, disk.is_slow());
        let broker = Broker(Arc::new(Inner {
            upkeep,
            syncer,
            disk,
            surroundings,
            store,
            config: self.config,
            clock,
            topics,
            changing: Mutex::default(),
            metadata: Arc::default(),
            producer_ids,
            random,
            shards,
            transactions,
            records,
            driver,
            durable,
            closed: AtomicBool::new(false),
            #[cfg(feature = "server")]
            users,
            #[cfg(feature = "server")]
            quotas,
            #[cfg(feature = "server")]
            acls,
        }));
        if found.speaks_of_others(|id| broker.partition(&id.topic, id.partition).is_ok() || is_internal(&id.topic)) {
            broker.0.store.checkpoint()?;
        }
        broker.0.upkeep.start();
        Ok(broker)
    }
}

/// Ids are found by the number of partitions that they were stored with.
fn check_count(name: &str, wanted: i32, stored: i32, what: &str) -> Result<(), Error> {
    if stored > wanted {
        let text = format!("{name} is {wanted}, but the data was written with at least {stored}: {what} would not be found");
        return Err(Error::new(ErrorCode::InvalidConfig, text));
    }
    Ok(())
}

/// Whether what was read back from this partition is looked for in it.
fn check_places<'a>(
    name: &str,
    wanted: i32,
    index: i32,
    what: &str,
    mut ids: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    let Some(stray) = ids.find(|id| shard_of(id, wanted as usize) != index as usize) else { return Ok(()) };
    let text = format!(
        "{name} is {wanted}, but {what} '{stray}' is in partition {index}, so it was stored with another number: it would not be \
         found. Start with the number of before"
    );
    Err(Error::new(ErrorCode::InvalidConfig, text))
}

fn folders(surroundings: &Surroundings) -> Result<Vec<String>, Error> {
    let failed = |error| Error::with_source(ErrorCode::KafkaStorageError, "the data cannot be listed", error);
    surroundings.disk.folders().map_err(failed)
}

/// Reads transactions back, and completes what was decided.
fn open_transactions(
    surroundings: &Arc<Surroundings>,
    config: &BrokerConfig,
    stored: i32,
    found: &Found,
    participants: Arc<dyn Participants>,
) -> Result<Arc<TransactionCoordinator>, Error> {
    let wanted = config.transaction_state_log_num_partitions;
    check_count("transaction.state.log.num.partitions", wanted, stored, "transactional ids")?;
    let there = folders(surroundings)?;
    let shards = (0..wanted).map(|index| {
        let id = TopicPartition::new(TRANSACTIONS_TOPIC, index);
        let (is_there, opening) = (there.binary_search(&id.to_string()).is_ok(), found.opening(&id));
        let mut shard = TransactionShard::new(surroundings.clone(), config, id, opening, participants.clone());
        if is_there {
            shard.load()?;
            let ids = shard.transactions().iter().map(|(id, _)| id);
            check_places("transaction.state.log.num.partitions", wanted, index, "transactional id", ids)?;
        }
        Ok(shard)
    });
    let coordinator = TransactionCoordinator::new(shards.collect::<Result<_, Error>>()?, participants.clone());
    coordinator.recover(found.is_clean());
    Ok(coordinator)
}

fn open_shards(
    surroundings: &Arc<Surroundings>,
    config: &BrokerConfig,
    stored: i32,
    found: &Found,
) -> Result<Arc<Vec<Mutex<Shard>>>, Error> {
    let wanted = config.offsets_topic_num_partitions;
    check_count("offsets.topic.num.partitions", wanted, stored, "groups")?;
    let there = folders(surroundings)?;
    let shards = (0..wanted).map(|index| {
        let id = TopicPartition::new(OFFSETS_TOPIC, index);
        let is_there = there.binary_search(&id.to_string()).is_ok();
        let opening = found.opening(&id);
        let mut shard = Shard::new(ShardConfig::new(surroundings.clone(), config, id, opening));
        if is_there {
            shard.load()?;
            check_places("offsets.topic.num.partitions", wanted, index, "group", shard.groups().ids())?;
        }
        Ok(Mutex::new(shard))
    });
    Ok(Arc::new(shards.collect::<Result<_, Error>>()?))
}

/// Topic and partition of a folder named as Kafka does.
pub(super) fn partition_of(folder: &str) -> Option<(&str, i32)> {
    let (topic, partition) = folder.rsplit_once('-')?;
    let number: i32 = partition.parse().ok()?;
    (!topic.is_empty() && number >= 0 && number.to_string() == partition).then_some((topic, number))
}

/// Differs from process to process and from broker to broker.
fn system_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
