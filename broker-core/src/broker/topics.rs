use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError, RwLockReadGuard};

use super::Broker;
use super::data_folder::Found;
use super::internal::is_internal;
use super::manifest::Manifest;
use super::topic_map::TopicMap;
use crate::config::BrokerConfig;
use crate::error::{Error, ErrorCode};
use crate::id::{TopicId, TopicPartition};
use crate::log::Opening;
use crate::partition::{PartitionConfig, PartitionHandle, Surroundings};
use crate::runtime::Kept;
use crate::storage::Disk;
use crate::topic_config::Overrides;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name: 1 to 249 letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// How many partitions; `num.partitions` if none.
    pub partitions: Option<i32>,
    /// Settings by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the default number of partitions.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, configs: BTreeMap::new() }
    }

    /// Sets the number of partitions.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

/// A topic as the broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether it is one of Kafka's own.
    pub internal: bool,
    /// Its id.
    pub id: TopicId,
}

/// An open topic.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub name: Arc<str>,
    pub partitions: Vec<PartitionHandle>,
    pub id: TopicId,
    pub overrides: Overrides,
}

/// The most partitions that one topic may have.
const PARTITIONS_MAX: i32 = 100_000;

/// The file in partition 0's folder that says the topic is being deleted.
const DELETED_FILE: &str = "topic.deleted";

pub(super) fn storage(topic: &str, what: &str, error: io::Error) -> Error {
    Error::with_source(ErrorCode::KafkaStorageError, format!("topic '{topic}': {what}"), error)
}

impl Topic {
    /// Opens its partitions, or makes them.
    pub fn open(
        surroundings: &Arc<Surroundings>,
        name: &str,
        manifest: Manifest,
        broker: &BrokerConfig,
        found: Option<&Found>,
    ) -> Result<Self, Error> {
        let Manifest { id, partitions, overrides } = manifest;
        let mut topic = Self { name: Arc::from(name), partitions: Vec::new(), id, overrides };
        topic.partitions = topic.open_partitions(surroundings, partitions, broker, found)?;
        Ok(topic)
    }

    /// Opens the partitions that it does not have yet, up to `count` of them all.
    fn open_partitions(
        &self,
        surroundings: &Arc<Surroundings>,
        count: i32,
        broker: &BrokerConfig,
        found: Option<&Found>,
    ) -> Result<Vec<PartitionHandle>, Error> {
        let (mut added, config) = (Vec::new(), Arc::new(self.partition_config(broker)));
        for number in (self.partitions.len() as i32..count).rev() {
            let id = TopicPartition::new(self.name.clone(), number);
            Manifest::store_metadata(self.id, surroundings.disk.as_ref(), &self.name, number)?;
            let opening = found.map_or_else(Opening::default, |found| found.opening(&id));
            added.push(PartitionHandle::open(surroundings.clone(), id, config.clone(), opening)?);
        }
        added.reverse();
        Ok(added)
    }

    pub fn partition_config(&self, broker: &BrokerConfig) -> PartitionConfig {
        PartitionConfig::new(self.overrides.resolve(&broker.topic_defaults), broker)
    }

    fn describe(&self) -> TopicDescription {
        TopicDescription { name: self.name.clone(), partitions: self.partitions.len() as i32, internal: false, id: self.id }
    }

    /// Finishes a deletion that a crash cut short; false if there was none.
    pub fn finish_delete(disk: &dyn Disk, name: &str, count: i32) -> Result<bool, Error> {
        let marked = disk.files(&format!("{name}-0")).map_err(|error| storage(name, "cannot be listed", error))?;
        if !marked.iter().any(|file| file == DELETED_FILE) {
            return Ok(false);
        }
        Self::remove_folders(disk, name, count).map_err(|error| storage(name, "cannot be removed", error))?;
        Ok(true)
    }

    /// Partition 0, which holds the mark, last.
    fn remove_folders(disk: &dyn Disk, name: &str, count: i32) -> io::Result<()> {
        (0..count).rev().try_for_each(|number| disk.remove_folder(&format!("{name}-{number}")))
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    check_legal(name)?;
    if is_internal(name) {
        return Err(Error::new(ErrorCode::InvalidTopic, format!("'{name}' is internal")));
    }
    Ok(())
}

fn check_legal(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.chars().all(legal) {
        let text = format!("'{name}' is no topic name: 1 to 249 letters, digits, '.', '_' and '-'");
        return Err(Error::new(ErrorCode::InvalidTopic, text));
    }
    Ok(())
}

/// By how many partitions a topic grows to have `total`, if it may.
fn check_total(topics: &TopicMap, name: &str, total: i32) -> Result<i32, Error> {
    if is_internal(name) {
        return Err(Error::new(ErrorCode::InvalidTopic, format!("'{name}' is internal: it stays as it is")));
    }
    let Some(topic) = topics.get(name) else {
        return Err(Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'")));
    };
    let have = topic.partitions.len() as i32;
    if total <= have || total > PARTITIONS_MAX {
        let text = format!("topic '{name}' has {have} partitions: {total} is not more ({PARTITIONS_MAX} at most)");
        return Err(Error::new(ErrorCode::InvalidPartitions, text));
    }
    Ok(total - have)
}

impl Broker {
    /// To be held by who changes topics. The topics' own lock is held for no longer than it takes to look or to put in.
    pub(super) fn changes_topics(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics_now(&self) -> RwLockReadGuard<'_, TopicMap> {
        self.0.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a topic, if it is there.
    pub(super) fn manifest(&self, name: &str) -> Option<Manifest> {
        let topics = self.topics_now();
        let Topic { partitions, id, overrides, .. } = topics.get(name)?;
        Some(Manifest { id: *id, partitions: partitions.len() as i32, overrides: overrides.clone() })
    }

    pub(super) fn changed(&self) {
        self.0.metadata.raise();
    }

    /// Creates a topic. An error if it is there, or its name or a setting is illegal.
    pub fn create_topic(&self, topic: &NewTopic) -> Result<TopicDescription, Error> {
        let description = {
            let _alone = self.changes_topics();
            let (count, overrides) = self.check_new(&self.topics_now(), topic)?;
            if self.0.store.folder.is_behind() {
                self.0.store.checkpoint()?;
            }
            let made = self.make(&topic.name, count, overrides).inspect_err(|_| {
                // What is there of it would be a topic after the next start.
                let _ = Topic::remove_folders(self.0.disk.as_ref(), &topic.name, count);
            })?;
            let description = made.describe();
            self.0.topics.write().unwrap_or_else(PoisonError::into_inner).insert(made);
            description
        };
        self.changed();
        Ok(description)
    }

    fn make(&self, name: &str, partitions: i32, overrides: Overrides) -> Result<Topic, Error> {
        let id = TopicId::random(self.0.random.next(), self.0.random.next());
        let manifest = Manifest { id, partitions, overrides };
        manifest.store(self.0.disk.as_ref(), name)?;
        Topic::open(&self.0.surroundings, name, manifest, &self.0.config, None)
    }

    /// Whether a topic could be created, and what it would be. Nothing is made.
    pub fn check_topic(&self, topic: &NewTopic) -> Result<TopicDescription, Error> {
        let (partitions, _) = self.check_new(&self.topics_now(), topic)?;
        Ok(TopicDescription { name: Arc::from(topic.name.as_str()), partitions, internal: false, id: TopicId::NONE })
    }

    /// Whether there may be so many more partitions.
    fn check_room(&self, topics: &TopicMap, more: i32) -> Result<(), Error> {
        let (have, most) = (topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(), self.0.config.partitions_max);
        if have + more as usize > most {
            let text = format!("{more} more partitions: there are {have}, and partitions.max is {most}");
            return Err(Error::new(ErrorCode::PolicyViolation, text));
        }
        Ok(())
    }

    /// How many partitions a new topic gets, and its settings, if it may be.
    fn check_new(&self, topics: &TopicMap, topic: &NewTopic) -> Result<(i32, Overrides), Error> {
        check_name(&topic.name)?;
        let count = topic.partitions.unwrap_or(self.0.config.num_partitions);
        if !(1..=PARTITIONS_MAX).contains(&count) {
            let text = format!("topic '{}': {count} partitions; 1 to {PARTITIONS_MAX} are possible", topic.name);
            return Err(Error::new(ErrorCode::InvalidPartitions, text));
        }
        let overrides = Overrides::new(&topic.name, &topic.configs, &self.0.config.topic_defaults)?;
        if topics.get(&topic.name).is_some() {
            return Err(Error::new(ErrorCode::TopicAlreadyExists, format!("topic '{}' exists already", topic.name)));
        }
        self.check_room(topics, count)?;
        let plain = |byte: u8| if byte == b'.' { b'_' } else { byte };
        let alike = |other: &str| other.len() == topic.name.len() && other.bytes().map(plain).eq(topic.name.bytes().map(plain));
        if let Some(other) = topics.iter().map(|other| &other.name).find(|other| alike(other)) {
            let text = format!("topic '{}' collides with '{other}': '.' and '_' count as the same in metrics", topic.name);
            return Err(Error::new(ErrorCode::InvalidTopic, text));
        }
        Ok((count, overrides))
    }

    /// The topic, made with the defaults if it is not there and `auto.create.topics.enable` allows it.
    pub fn topic_or_create(&self, name: &str) -> Result<TopicDescription, Error> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        if !self.0.config.auto_create_topics_enable {
            check_legal(name)?;
            let text = format!("topic '{name}' does not exist, and auto.create.topics.enable is false");
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, text));
        }
        match self.create_topic(&NewTopic::new(name)) {
            Ok(made) => {
                tracing::info!(target: "broker_core::topics", topic = name, partitions = made.partitions, "topic made by its first use");
                Ok(made)
            }
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => self.topic(name).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Deletes a topic, its data and the offsets stored for it.
    pub fn delete_topic(&self, name: &str) -> Result<(), Error> {
        if is_internal(name) {
            return Err(Error::new(ErrorCode::InvalidTopic, format!("'{name}' is internal: it stays")));
        }
        let alone = self.changes_topics();
        let Some(topic) = self.topics_now().get(name).cloned() else {
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'")));
        };
        let folder = format!("{name}-0");
        self.0.disk.open(&folder, DELETED_FILE).map_err(|error| storage(name, "cannot be deleted", error))?;
        topic.partitions.iter().for_each(PartitionHandle::delete);
        let count = topic.partitions.len() as i32;
        Topic::remove_folders(self.0.disk.as_ref(), name, count).map_err(|error| storage(name, "cannot be removed", error))?;
        let gone = self.0.topics.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        drop((gone, topic));
        self.changed();
        // Before there may be another topic of that name, which must not inherit this one's offsets.
        let kept = self.0.store.checkpoint();
        let deleted = self.delete_offsets_of(name);
        drop(alone);
        kept.and(deleted)
    }

    /// Grows a topic to `total` partitions; a topic never shrinks.
    pub fn create_partitions(&self, name: &str, total: i32) -> Result<(), Error> {
        {
            let _alone = self.changes_topics();
            self.check_partitions(name, total)?;
            let topic = self.topics_now().get(name).cloned().expect("checked above");
            let manifest = Manifest { id: topic.id, partitions: total, overrides: topic.overrides.clone() };
            manifest.store(self.0.disk.as_ref(), name)?;
            let added = topic.open_partitions(&self.0.surroundings, total, &self.0.config, None)?;
            let mut topics = self.0.topics.write().unwrap_or_else(PoisonError::into_inner);
            topics.get_mut(name).expect("nobody else changes it").partitions.extend(added);
        }
        self.changed();
        Ok(())
    }

    /// Whether a topic could grow to `total` partitions. Nothing is made.
    pub fn check_partitions(&self, name: &str, total: i32) -> Result<(), Error> {
        let topics = self.topics_now();
        self.check_room(&topics, check_total(&topics, name, total)?)
    }

    /// One topic, if it is there.
    pub fn topic(&self, name: &str) -> Option<TopicDescription> {
        if is_internal(name) {
            return self.internal_topics().find(|topic| &*topic.name == name);
        }
        self.topics_now().get(name).map(Topic::describe)
    }

    /// The same; if it is not there, whether it could be.
    #[cfg(feature = "server")]
    pub(crate) fn known_topic(&self, name: &str) -> Result<TopicDescription, Error> {
        let absent = || Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"));
        self.topic(name).ok_or_else(|| check_legal(name).err().unwrap_or_else(absent))
    }

    /// The topic of an id, if it is there.
    pub fn topic_by_id(&self, id: TopicId) -> Option<TopicDescription> {
        let found = self.topics_now().by_id(id).map(Topic::describe);
        found.or_else(|| self.internal_topics().find(|topic| topic.id == id))
    }

    /// All topics, by name, the internal ones included.
    pub fn topics(&self) -> Vec<TopicDescription> {
        let topics = self.topics_now();
        let mut all: Vec<_> = topics.iter().map(Topic::describe).chain(self.internal_topics()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub(super) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        let topics = self.topics_now();
        topics.get(topic).is_some_and(|topic| (0..topic.partitions.len() as i32).contains(&partition))
    }
}
