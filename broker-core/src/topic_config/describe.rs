use super::config::TopicConfig;
use super::definition::{Definition, definitions};
use super::overrides::Overrides;

/// One setting as it is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: &'static str,
    /// The value in force.
    pub value: String,
    /// Where that comes from.
    pub source: ConfigSource,
    /// What kind of value it is.
    pub kind: ConfigKind,
    /// Where a value could come from, by name there: the one in force first, then those that it hides.
    pub synonyms: Vec<(&'static str, String, ConfigSource)>,
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic sets it.
    DynamicTopic,
    /// The broker was started with it.
    StaticBroker,
    /// Nobody sets it.
    Default,
}

/// Kafka's types of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kafka's names")]
pub enum ConfigKind {
    Boolean,
    String,
    Int,
    Long,
    Double,
    List,
}

impl ConfigSource {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

impl ConfigKind {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

impl ConfigEntry {
    /// A setting of the broker, which is its own and hides none.
    pub(crate) fn of_broker(name: &'static str, kind: ConfigKind, value: String, default: &str) -> Self {
        let source = if value == default { ConfigSource::Default } else { ConfigSource::StaticBroker };
        let mut synonyms = vec![(name, value.clone(), source)];
        if source == ConfigSource::StaticBroker {
            synonyms.push((name, default.to_owned(), ConfigSource::Default));
        }
        Self { name, value, source, kind, synonyms }
    }
}

impl TopicConfig {
    /// What holds for topics by default, by the broker's names for it.
    pub(crate) fn describe_defaults(&self) -> impl Iterator<Item = ConfigEntry> {
        let kafkas = Self::default();
        // What has no name of its own there is no setting of the broker.
        let named = definitions().filter(|found| found.is_brokers());
        named.map(move |found| ConfigEntry::of_broker(found.broker_name, found.kind, found.get(self), &found.get(&kafkas)))
    }
}

impl Overrides {
    /// All settings, by name.
    pub fn describe(&self, defaults: &TopicConfig) -> Vec<ConfigEntry> {
        let kafkas = TopicConfig::default();
        let describe = |found: &Definition| {
            let (default, broker) = (found.get(&kafkas), found.get(defaults));
            let mut synonyms = Vec::new();
            if let Some(value) = self.values().get(found.name) {
                synonyms.push((found.name, value.clone(), ConfigSource::DynamicTopic));
            }
            if broker != default {
                synonyms.push((found.broker_name, broker, ConfigSource::StaticBroker));
            }
            synonyms.push((found.broker_name, default, ConfigSource::Default));
            let (_, value, source) = synonyms[0].clone();
            ConfigEntry { name: found.name, value, source, kind: found.kind, synonyms }
        };
        definitions().map(describe).collect()
    }
}
