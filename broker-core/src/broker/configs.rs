use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::Broker;
use super::internal::{OFFSETS_TOPIC, is_internal};
use super::topics::check_name;
use crate::error::{Error, ErrorCode};
use crate::topic_config::{ConfigChange, ConfigEntry, Overrides, TopicConfig};

fn internal(name: &str) -> Result<(), Error> {
    if is_internal(name) {
        let settings = if name == OFFSETS_TOPIC { "offsets.topic" } else { "transaction.state.log" };
        let text = format!("'{name}' is internal: the broker's {settings} settings hold");
        return Err(Error::new(ErrorCode::InvalidTopic, text));
    }
    Ok(())
}

/// No topic is there of this name, or none can be.
fn unknown(name: &str) -> Error {
    check_name(name).err().unwrap_or_else(|| absent(name))
}

fn absent(name: &str) -> Error {
    Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
}

impl Broker {
    /// All settings of a topic: values in force, and where they come from.
    pub fn describe_configs(&self, topic: &str) -> Result<Vec<ConfigEntry>, Error> {
        if is_internal(topic) && self.topic(topic).is_some() {
            return Ok(self.internal_overrides(topic).describe(&self.0.config.topic_defaults));
        }
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        let found = topics.get(topic).ok_or_else(|| unknown(topic))?;
        Ok(found.overrides.describe(&self.0.config.topic_defaults))
    }

    /// All settings of the broker that it was started with: its own, and the defaults of topics.
    pub fn describe_broker_configs(&self) -> Vec<ConfigEntry> {
        self.0.config.describe()
    }

    fn internal_overrides(&self, topic: &str) -> Overrides {
        let config = &self.0.config;
        let segment_bytes = match topic == OFFSETS_TOPIC {
            true => config.offsets_topic_segment_bytes,
            false => config.transaction_state_log_segment_bytes,
        };
        Overrides::internal(&[
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("segment.bytes", segment_bytes.to_string()),
        ])
    }

    /// The settings that a topic's partitions act by.
    pub fn topic_config(&self, topic: &str) -> Result<TopicConfig, Error> {
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        let found = topics.get(topic).ok_or_else(|| unknown(topic))?;
        Ok(found.overrides.resolve(&self.0.config.topic_defaults))
    }

    /// Changes some settings of a topic: all of them or, on an error, none. They hold at once, and after a restart. With
    /// `validate_only` it is only said whether they could be changed.
    pub fn alter_configs(&self, topic: &str, changes: &[ConfigChange], validate_only: bool) -> Result<(), Error> {
        let defaults = &self.0.config.topic_defaults;
        self.change_configs(topic, validate_only, |overrides| overrides.altered(topic, changes, defaults))
    }

    /// Replaces all settings of a topic: those that are not named have the broker's defaults again.
    pub fn replace_configs(&self, topic: &str, configs: &BTreeMap<String, String>, validate_only: bool) -> Result<(), Error> {
        let defaults = &self.0.config.topic_defaults;
        self.change_configs(topic, validate_only, |_| Overrides::new(topic, configs, defaults))
    }

    fn change_configs(
        &self,
        topic: &str,
        validate_only: bool,
        change: impl FnOnce(&Overrides) -> Result<Overrides, Error>,
    ) -> Result<(), Error> {
        internal(topic)?;
        {
            let _alone = self.changes_topics();
            let mut manifest = self.manifest(topic).ok_or_else(|| unknown(topic))?;
            let overrides = change(&manifest.overrides)?;
            if validate_only || overrides == manifest.overrides {
                return Ok(());
            }
            manifest.overrides = overrides;
            manifest.store(self.0.disk.as_ref(), topic)?;
            let mut topics = self.0.topics.write().unwrap_or_else(PoisonError::into_inner);
            let found = topics.get_mut(topic).ok_or_else(|| unknown(topic))?;
            found.overrides = manifest.overrides;
            let config = Arc::new(found.partition_config(&self.0.config));
            found.partitions.iter().for_each(|partition| partition.reconfigure(config.clone()));
        }
        self.changed();
        Ok(())
    }
}
