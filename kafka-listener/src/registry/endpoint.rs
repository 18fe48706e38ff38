use crate::client::BoxFuture;
use crate::error::ListenerResult;
use crate::extract::Param;
use crate::handler::Delivery;

/// A listener as plain data: exactly what the attribute says. Every value is its text, since each may hold `${name}` or
/// `${name:default}`, which the app's configuration resolves at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSpec {
    /// The function's name.
    pub function: &'static str,
    /// The module it stands in.
    pub module: &'static str,
    /// The package it stands in.
    pub package: &'static str,
    /// The file it stands in.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
    /// The container's id; the function's name if none.
    pub id: Option<&'static str>,
    /// Topics to subscribe to.
    pub topics: &'static [&'static str],
    /// A regular expression of topics to subscribe to, in place of `topics`.
    pub topic_pattern: Option<&'static str>,
    /// Explicit partitions, in place of `topics`.
    pub partitions: &'static [PartitionSpec],
    /// The consumer group.
    pub group_id: Option<&'static str>,
    /// The stem of the consumers' `client.id`.
    pub client_id_prefix: Option<&'static str>,
    /// The name of a container factory.
    pub container_factory: Option<&'static str>,
    /// How many consumers: a number, or `auto`.
    pub concurrency: Option<&'static str>,
    /// Whether the listener takes batches: must agree with its parameters.
    pub batch: Option<&'static str>,
    /// The ack mode's name.
    pub ack_mode: Option<&'static str>,
    /// Records, for `Count` and `CountTime`.
    pub ack_count: Option<&'static str>,
    /// A duration such as `5s`, for `Time` and `CountTime`.
    pub ack_time: Option<&'static str>,
    /// Whether the container starts with the app: `true` (the default) or `false`.
    pub auto_startup: Option<&'static str>,
    /// Consumer settings, each as `key=value`, over the factory's.
    pub properties: &'static [&'static str],
}

impl ListenerSpec {
    /// Nothing set: the start of a specification written by hand.
    pub const EMPTY: Self = Self {
        function: "",
        module: "",
        package: "",
        file: "",
        line: 0,
        id: None,
        topics: &[],
        topic_pattern: None,
        partitions: &[],
        group_id: None,
        client_id_prefix: None,
        container_factory: None,
        concurrency: None,
        batch: None,
        ack_mode: None,
        ack_count: None,
        ack_time: None,
        auto_startup: None,
        properties: &[],
    };
}

/// Explicit partitions of a topic and where each start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSpec {
    /// The topic.
    pub topic: &'static str,
    /// Partition numbers: `0`, `0-5`, or `0-5, 7`.
    pub partitions: &'static str,
    /// Where to start: `committed` (the default), `beginning`, `end`, an offset, `-10` (ten before the end), or
    /// `timestamp:` and milliseconds since 1970.
    pub offset: Option<&'static str>,
}

/// A listener function as the attribute leaves it: its specification, its parameters, and how to call it.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// What the attribute says.
    pub spec: ListenerSpec,
    /// What the parameters take, in order.
    pub params: &'static [Param],
    /// Extracts the parameters and calls the function. The future owns the delivery, and the parameters borrow from it.
    pub invoke: fn(Delivery) -> BoxFuture<'static, ListenerResult>,
}
