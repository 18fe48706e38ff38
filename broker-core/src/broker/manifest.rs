use std::io;

use bytes::Bytes;

use super::topics::storage;
use crate::error::{Error, ErrorCode};
use crate::id::TopicId;
use crate::storage::Disk;
use crate::topic_config::{Overrides, TopicConfig};

/// The file in partition 0's folder that says what a topic is. It is there before the partitions are, and changes as a whole: a
/// crash never leaves a topic with half of its partitions or without its settings.
const FILE: &str = "topic.config";
const FRESH: &str = "topic.config.new";
/// Kafka's file in each partition's folder; only written, for Kafka's tools.
const METADATA: &str = "partition.metadata";

/// What is kept of a topic besides its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub id: TopicId,
    pub partitions: i32,
    pub overrides: Overrides,
}

fn folder(topic: &str) -> String {
    format!("{topic}-0")
}

impl Manifest {
    /// What the disk says; without an id and partitions where an older broker kept only settings, `None` where it kept nothing.
    pub fn load(
        disk: &dyn Disk,
        topic: &str,
        defaults: &TopicConfig,
    ) -> Result<(Option<TopicId>, Option<i32>, Overrides), Error> {
        let read = || -> io::Result<String> {
            if disk.size(&folder(topic), FILE)?.is_none() {
                return Ok(String::new());
            }
            let file = disk.open(&folder(topic), FILE)?;
            Ok(String::from_utf8_lossy(&file.read(0, file.size() as usize)?).into_owned())
        };
        let text = read().map_err(|error| storage(topic, "its settings cannot be read", error))?;
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let wrong = |what: &str| Error::new(ErrorCode::KafkaStorageError, format!("topic '{topic}': {FILE} has no {what}"));
        let id = line("#id=").map(|text| TopicId::parse(text).ok_or_else(|| wrong("sound id"))).transpose()?;
        let count = |text: &str| text.parse().ok().filter(|count| *count >= 1).ok_or_else(|| wrong("number of partitions"));
        let partitions = line("#partitions=").map(count).transpose()?;
        let settings: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        Ok((id, partitions, Overrides::decode(topic, &settings, defaults)?))
    }

    /// Keeps it, durably.
    pub fn store(&self, disk: &dyn Disk, topic: &str) -> Result<(), Error> {
        let folder = folder(topic);
        let write = || -> io::Result<()> {
            disk.remove(&folder, FRESH)?;
            let file = disk.open(&folder, FRESH)?;
            let text = format!("#id={}\n#partitions={}\n{}", self.id, self.partitions, self.overrides.encode());
            file.append(Bytes::from(text))?;
            file.sync()?;
            file.keep()?;
            disk.rename(&folder, FRESH, FILE)?;
            disk.sync_folder(&folder)
        };
        write().map_err(|error| storage(topic, "its settings cannot be kept", error))
    }

    /// Writes Kafka's `partition.metadata` into a partition's folder, if it is not there.
    pub fn store_metadata(id: TopicId, disk: &dyn Disk, topic: &str, partition: i32) -> Result<(), Error> {
        let folder = format!("{topic}-{partition}");
        let write = || -> io::Result<()> {
            if disk.size(&folder, METADATA)?.is_some_and(|size| size > 0) {
                return Ok(());
            }
            disk.open(&folder, METADATA)?.append(Bytes::from(format!("version: 0\ntopic_id: {id}\n")))
        };
        write().map_err(|error| storage(topic, "its id cannot be kept", error))
    }
}
