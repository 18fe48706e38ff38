use std::time::Duration;

use super::{Endpoint, ListenerSpec, PartitionSpec};
use crate::ack::AckMode;
use crate::handler::ErasedHandler;
use crate::listener::IntoListener;

/// A [`ListenerSpec`] that owns its values: every listener of an app, annotated or made at run time. Every value is its text
/// and may hold `${name}` or `${name:default}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedListenerSpec {
    /// The function's name; empty for a listener made at run time.
    pub function: String,
    /// The module it stands in.
    pub module: String,
    /// The package it stands in.
    pub package: String,
    /// The file it stands in.
    pub file: String,
    /// The line of the attribute.
    pub line: u32,
    /// The container's id; the function's name if none.
    pub id: Option<String>,
    /// Topics to subscribe to.
    pub topics: Vec<String>,
    /// A regular expression of topics to subscribe to, in place of `topics`.
    pub topic_pattern: Option<String>,
    /// Explicit partitions, in place of `topics`.
    pub partitions: Vec<OwnedPartitionSpec>,
    /// The consumer group.
    pub group_id: Option<String>,
    /// The stem of the consumers' `client.id`.
    pub client_id_prefix: Option<String>,
    /// The name of a container factory.
    pub container_factory: Option<String>,
    /// How many consumers: a number, or `auto`.
    pub concurrency: Option<String>,
    /// Whether the listener takes batches: must agree with its parameters.
    pub batch: Option<String>,
    /// The ack mode's name.
    pub ack_mode: Option<String>,
    /// Records, for `Count` and `CountTime`.
    pub ack_count: Option<String>,
    /// A duration such as `5s`, for `Time` and `CountTime`.
    pub ack_time: Option<String>,
    /// Whether the container starts with the app: `true` (the default) or `false`.
    pub auto_startup: Option<String>,
    /// Consumer settings, each as `key=value`, over the factory's.
    pub properties: Vec<String>,
}

/// A [`PartitionSpec`] that owns its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedPartitionSpec {
    /// The topic.
    pub topic: String,
    /// Partition numbers: `0`, `0-5`, or `0-5, 7`.
    pub partitions: String,
    /// Where to start, as in [`PartitionSpec::offset`].
    pub offset: Option<String>,
}

impl From<&PartitionSpec> for OwnedPartitionSpec {
    fn from(spec: &PartitionSpec) -> Self {
        Self { topic: spec.topic.to_owned(), partitions: spec.partitions.to_owned(), offset: spec.offset.map(str::to_owned) }
    }
}

impl From<&ListenerSpec> for OwnedListenerSpec {
    fn from(spec: &ListenerSpec) -> Self {
        let own = |text: &[&str]| text.iter().map(|text| (*text).to_owned()).collect();
        Self {
            function: spec.function.to_owned(),
            module: spec.module.to_owned(),
            package: spec.package.to_owned(),
            file: spec.file.to_owned(),
            line: spec.line,
            id: spec.id.map(str::to_owned),
            topics: own(spec.topics),
            topic_pattern: spec.topic_pattern.map(str::to_owned),
            partitions: spec.partitions.iter().map(OwnedPartitionSpec::from).collect(),
            group_id: spec.group_id.map(str::to_owned),
            client_id_prefix: spec.client_id_prefix.map(str::to_owned),
            container_factory: spec.container_factory.map(str::to_owned),
            concurrency: spec.concurrency.map(str::to_owned),
            batch: spec.batch.map(str::to_owned),
            ack_mode: spec.ack_mode.map(str::to_owned),
            ack_count: spec.ack_count.map(str::to_owned),
            ack_time: spec.ack_time.map(str::to_owned),
            auto_startup: spec.auto_startup.map(str::to_owned),
            properties: own(spec.properties),
        }
    }
}

/// A listener as the app takes it: what it wants, and how to call it.
#[derive(Debug, Clone)]
pub struct OwnedListener {
    /// What it wants.
    pub spec: OwnedListenerSpec,
    /// How to call it.
    pub handler: ErasedHandler,
}

impl OwnedListener {
    /// The container's id: the explicit one, else the function's name.
    pub fn id(&self) -> &str {
        self.spec.id.as_deref().unwrap_or(&self.spec.function)
    }
}

impl From<&'static Endpoint> for OwnedListener {
    fn from(endpoint: &'static Endpoint) -> Self {
        Self { spec: OwnedListenerSpec::from(&endpoint.spec), handler: ErasedHandler::from_fn(endpoint.params, endpoint.invoke) }
    }
}

impl From<Listener> for OwnedListener {
    fn from(listener: Listener) -> Self {
        listener.0
    }
}

/// A listener made at run time: a struct with one of the eight [listener traits](crate::listener), a closure, or a function.
/// It takes what the attribute takes.
///
/// ```
/// use kafka_listener::codec::Json;
/// use kafka_listener::registry::Listener;
///
/// let doubles = Listener::new("doubles", |Json(number): Json<u64>| async move { println!("{}", 2 * number) })
///     .topic("numbers")
///     .group_id("doubles");
/// # let _ = doubles;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a listener runs when it is given to an app"]
pub struct Listener(OwnedListener);

impl Listener {
    /// A listener with this id, which is also its group if no other is set.
    pub fn new<Marker>(id: impl Into<String>, listener: impl IntoListener<Marker>) -> Self {
        let spec = OwnedListenerSpec { id: Some(id.into()), ..OwnedListenerSpec::default() };
        Self(OwnedListener { spec, handler: listener.into_handler() })
    }

    /// Subscribes to a topic; may be called again for more.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.0.spec.topics.push(topic.into());
        self
    }

    /// Subscribes to topics.
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.spec.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Subscribes to every topic whose whole name matches the regular expression.
    pub fn topic_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.0.spec.topic_pattern = Some(pattern.into());
        self
    }

    /// Reads explicit partitions (`0-2`) from the group's committed offsets, without rebalances; may be called again.
    pub fn partitions(mut self, topic: impl Into<String>, partitions: impl Into<String>) -> Self {
        let (topic, partitions) = (topic.into(), partitions.into());
        self.0.spec.partitions.push(OwnedPartitionSpec { topic, partitions, offset: None });
        self
    }

    /// Reads explicit partitions from a position, on each start: see [`PartitionSpec::offset`].
    pub fn partitions_from(mut self, topic: impl Into<String>, partitions: impl Into<String>, offset: impl Into<String>) -> Self {
        let (topic, partitions) = (topic.into(), partitions.into());
        self.0.spec.partitions.push(OwnedPartitionSpec { topic, partitions, offset: Some(offset.into()) });
        self
    }

    /// The consumer group.
    pub fn group_id(mut self, group: impl Into<String>) -> Self {
        self.0.spec.group_id = Some(group.into());
        self
    }

    /// The stem of the consumers' `client.id`.
    pub fn client_id_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.0.spec.client_id_prefix = Some(prefix.into());
        self
    }

    /// The name of a container factory; the app's default one if none.
    pub fn container_factory(mut self, factory: impl Into<String>) -> Self {
        self.0.spec.container_factory = Some(factory.into());
        self
    }

    /// How many consumers: a number, or `auto` for one a partition. The factory's if not set.
    pub fn concurrency(mut self, consumers: impl ToString) -> Self {
        self.0.spec.concurrency = Some(consumers.to_string());
        self
    }

    /// Whether the listener takes batches: needed where its parameters do not say so, as with a raw function.
    pub fn batch(mut self, batch: bool) -> Self {
        self.0.spec.batch = Some(batch.to_string());
        self
    }

    /// When the container commits. The factory's if not set.
    pub fn ack_mode(mut self, mode: AckMode) -> Self {
        self.0.spec.ack_mode = Some(mode.name().to_owned());
        self
    }

    /// Records, for `Count` and `CountTime`.
    pub fn ack_count(mut self, records: u64) -> Self {
        self.0.spec.ack_count = Some(records.to_string());
        self
    }

    /// The time between commits, for `Time` and `CountTime`.
    pub fn ack_time(mut self, time: Duration) -> Self {
        self.0.spec.ack_time = Some(humantime::format_duration(time).to_string());
        self
    }

    /// Whether the container starts with the app; true if not set.
    pub fn auto_startup(mut self, start: bool) -> Self {
        self.0.spec.auto_startup = Some(start.to_string());
        self
    }

    /// A consumer setting by Kafka's name, over the factory's.
    pub fn property(mut self, key: impl AsRef<str>, value: impl ToString) -> Self {
        self.0.spec.properties.push(format!("{}={}", key.as_ref(), value.to_string()));
        self
    }
}
