use std::collections::BTreeMap;

use super::config::TopicConfig;
use super::definition::{definition, definitions};
use crate::error::{Error, ErrorCode};

/// What a topic sets itself; the broker's defaults hold for the rest. Every value in it was found fine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Checks settings: an error lists every problem.
    pub fn new(topic: &str, values: &BTreeMap<String, String>, defaults: &TopicConfig) -> Result<Self, Error> {
        let (mut problems, mut config) = (Vec::new(), defaults.clone());
        for (name, value) in values {
            match definition(name) {
                Some(found) => {
                    problems.extend(found.set(&mut config, value).err().map(|problem| format!("{name} = \"{value}\": {problem}")))
                }
                None => problems.push(format!("{name} is no topic setting{}", hint(name))),
            }
        }
        problems.extend(config.problems());
        if problems.is_empty() {
            return Ok(Self(values.iter().map(|(name, value)| (name.clone(), value.trim().to_owned())).collect()));
        }
        Err(Error::new(ErrorCode::InvalidConfig, format!("topic '{topic}': {}", problems.join("; "))))
    }

    /// Of the topic that is the broker's own. They are described, and cannot be changed.
    pub fn internal(values: &[(&str, String)]) -> Self {
        Self(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    /// By name.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The settings in force.
    pub fn resolve(&self, defaults: &TopicConfig) -> TopicConfig {
        let mut config = defaults.clone();
        for found in definitions() {
            if let Some(value) = self.0.get(found.name) {
                found.set(&mut config, value).expect("it was found fine when it was set");
            }
        }
        config
    }

    /// As lines of a file.
    pub fn encode(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    /// From the lines of a file; an error if one is no setting, or its value is none any more.
    pub fn decode(topic: &str, text: &str, defaults: &TopicConfig) -> Result<Self, Error> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let values = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self::new(topic, &values, defaults)
    }
}

/// A name that was likely meant.
fn hint(name: &str) -> String {
    match definitions().find(|definition| definition.broker_name == name) {
        Some(found) => format!("; for a topic it is {}", found.name),
        None => String::new(),
    }
}
