use std::collections::{BTreeMap, BTreeSet};

use super::config::TopicConfig;
use super::definition::definition;
use super::describe::ConfigKind;
use super::overrides::Overrides;
use crate::error::{Error, ErrorCode};

/// What is done to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterConfig {
    /// It gets this value.
    Set(String),
    /// The broker's default holds again.
    Delete,
    /// These are added to a list.
    Append(String),
    /// These are taken out of a list.
    Subtract(String),
}

/// One change of a topic's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// The setting's name.
    pub name: String,
    /// What is done to it.
    pub change: AlterConfig,
}

impl ConfigChange {
    /// A change of one setting.
    pub fn new(name: impl Into<String>, change: AlterConfig) -> Self {
        Self { name: name.into(), change }
    }
}

impl Overrides {
    /// All changes, or none: an error says why not.
    pub fn altered(&self, topic: &str, changes: &[ConfigChange], defaults: &TopicConfig) -> Result<Self, Error> {
        let mut names = BTreeSet::new();
        let mut values = self.values().clone();
        for ConfigChange { name, change } in changes {
            if !names.insert(name) {
                return Err(Error::new(ErrorCode::InvalidRequest, format!("topic '{topic}': {name} is changed twice at once")));
            }
            match change {
                AlterConfig::Set(value) => drop(values.insert(name.clone(), value.clone())),
                AlterConfig::Delete if definition(name).is_none() => {
                    return Err(Error::new(ErrorCode::InvalidConfig, format!("topic '{topic}': {name} is no topic setting")));
                }
                AlterConfig::Delete => drop(values.remove(name)),
                AlterConfig::Append(parts) => drop(self.change_list(topic, name, &mut values, defaults, parts, true)?),
                AlterConfig::Subtract(parts) => drop(self.change_list(topic, name, &mut values, defaults, parts, false)?),
            }
        }
        Self::new(topic, &values, defaults)
    }

    fn change_list(
        &self,
        topic: &str,
        name: &str,
        values: &mut BTreeMap<String, String>,
        defaults: &TopicConfig,
        parts: &str,
        append: bool,
    ) -> Result<Option<String>, Error> {
        let Some(found) = definition(name).filter(|found| found.kind == ConfigKind::List) else {
            let text = format!("topic '{topic}': {name} is no list, nothing can be appended to it or subtracted from it");
            return Err(Error::new(ErrorCode::InvalidConfig, text));
        };
        let now = found.get(&self.resolve(defaults));
        let mut list: Vec<&str> = now.split(',').filter(|part| !part.is_empty()).collect();
        for part in parts.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            list.retain(|one| *one != part);
            if append {
                list.push(part);
            }
        }
        Ok(values.insert(name.to_owned(), list.join(",")))
    }
}
