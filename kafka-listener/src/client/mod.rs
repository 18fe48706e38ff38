//! What a listener needs of Kafka, as three traits: [`Consumer`], [`Producer`], [`Admin`], and the [`Backend`] that makes them.
//!
//! The contract of a backend, in prose:
//!
//! - All traits are object-safe and know bytes only. Types live in the codecs.
//! - A [`Consumer`] has one owner, the worker. Nothing happens to its assignment outside `poll` and `close`: a rebalance is
//!   *returned* by `poll` ([`Polled::Revoked`], [`Polled::Lost`], [`Polled::Assigned`]), never a callback. After `Revoked` the partitions
//!   are still owned, and commits for them are still accepted, until the next call of `poll`, which lets them go. After `Lost` they
//!   are owned by somebody else already.
//! - `rebalance_pending` stays true after `Revoked` until that next `poll`. If its time-out is zero it lets go and hands out no
//!   record ([`Polled::Woken`]): who still has records of kept partitions need not take more to answer the group.
//! - `poll` is cancel-safe: dropping its future loses no record and no event.
//! - `commit` takes effect, in call order, when it is called; the returned future is only the result.
//! - Heartbeats are the consumer's own task, so a worker that runs a long handler keeps its membership until
//!   `max.poll.interval.ms` has passed since the last `poll` or [`Consumer::mark_progress`].

pub mod config;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(not(feature = "embedded"))]
#[path = "embedded/disabled.rs"]
pub mod embedded;
mod error;
mod offsets;
mod properties;
mod record;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use error::{ClientError, ClientErrorKind};
pub use offsets::{CommitFuture, CommitOffset, OffsetAndMetadata, SeekTo, StartOffset, TopicPartition};
pub use properties::Properties;
pub use record::{
    ConsumerRecords, Headers, PartitionRecords, RawProducerRecord, RawRecord, RecordMetadata, SendCell, SendHandle, TimestampType,
};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a consumer listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// These topics, through the group.
    Topics(Vec<Arc<str>>),
    /// Every topic whose whole name matches the regular expression, through the group; new topics are picked up.
    Pattern(String),
}

/// A partition that a consumer was given, and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedPartition {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The offset of the next record that `poll` returns.
    pub position: i64,
    /// Whether the position is the group's committed offset; else it came from `auto.offset.reset` or an explicit start.
    pub committed: bool,
}

/// What one call of [`Consumer::poll`] brought.
#[derive(Debug)]
pub enum Polled {
    /// Records, grouped by partition, in offset order; empty when the time-out passed.
    Records(ConsumerRecords),
    /// These partitions must be given up: commit what is done, then poll again, which lets them go.
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone: somebody else may own them already. Nothing may be committed for them.
    Lost(Vec<TopicPartition>),
    /// These partitions were added to the assignment (possibly none).
    Assigned(Vec<AssignedPartition>),
    /// [`Wakeup::wake`] was called, or partitions were let go by a poll with time-out zero.
    Woken,
}

/// Interrupts a [`Consumer::poll`] from anywhere.
pub trait Wakeup: Send + Sync {
    /// The running poll, or else the next one, returns [`Polled::Woken`].
    fn wake(&self);
}

/// One member of a group, or a reader of explicit partitions. See the [module](self) for the contract.
pub trait Consumer: Send + 'static {
    /// Joins the group on the next `poll`. An error if partitions were assigned by hand.
    fn subscribe(&mut self, subscription: Subscription) -> Result<(), ClientError>;
    /// Reads these partitions without a group's rebalances. An error if subscribed.
    fn assign(&mut self, partitions: Vec<(TopicPartition, StartOffset)>) -> Result<(), ClientError>;
    /// The next records or the next step of a rebalance; cancel-safe. At most `max.poll.records` records.
    fn poll(&mut self, timeout: Duration) -> BoxFuture<'_, Result<Polled, ClientError>>;
    /// Whether `poll` has a rebalance step to return, so that a worker can answer it between two records. Cheap.
    fn rebalance_pending(&self) -> bool;
    /// Completes when [`Consumer::rebalance_pending`] becomes true; cancel-safe.
    fn rebalance_signal(&self) -> BoxFuture<'static, ()>;
    /// The worker is alive: restarts the `max.poll.interval.ms` clock as `poll` does. Cheap.
    fn mark_progress(&self);
    /// Stores offsets for the group; accepted in call order. Empty offsets do nothing.
    fn commit(&mut self, offsets: &[CommitOffset]) -> CommitFuture;
    /// The group's stored offsets, in the order asked.
    fn committed(&mut self, partitions: &[TopicPartition]) -> BoxFuture<'_, Result<Vec<Option<OffsetAndMetadata>>, ClientError>>;
    /// The offset of the next record that `poll` returns for the partition; an error when it is not assigned.
    fn position(&self, partition: &TopicPartition) -> Result<i64, ClientError>;
    /// Moves the position of an assigned partition; what was prefetched of it is dropped.
    fn seek(&mut self, partition: &TopicPartition, to: SeekTo) -> Result<i64, ClientError>;
    /// Stops handing out records of these assigned partitions; the pause ends with the assignment.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError>;
    /// Undoes [`Consumer::pause`].
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError>;
    /// What is owned now.
    fn assignment(&self) -> Vec<TopicPartition>;
    /// The log's end for an assigned partition, if known: lag is its distance from the position.
    fn end_offset(&self, partition: &TopicPartition) -> Option<i64>;
    /// A handle that interrupts `poll`.
    fn wakeup(&self) -> Arc<dyn Wakeup>;
    /// The member left or must leave (`max.poll.interval.ms` passed): leaves the group now; `poll` then returns
    /// [`Polled::Lost`] and joins anew.
    fn leave(&mut self) -> BoxFuture<'_, Result<(), ClientError>>;
    /// Waits for commits under way, leaves the group, ends the consumer's own tasks. Commits nothing by itself, except
    /// with `enable.auto.commit`.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClientError>>;
}

/// Sends records; shared by everybody.
pub trait Producer: Send + Sync + 'static {
    /// Takes the record's place in its partition's queue, in call order; the handle is only the result, dropping it
    /// un-sends nothing.
    fn send(&self, record: RawProducerRecord<'_>) -> SendHandle;
    /// Completes when everything sent before has its result.
    fn flush(&self) -> BoxFuture<'_, Result<(), ClientError>>;
    /// How many partitions the topic has; creates it where auto-creation is on.
    fn partitions_for(&self, topic: &str) -> BoxFuture<'_, Result<i32, ClientError>>;
    /// Flushes, then ends the producer's tasks; later sends fail.
    fn close(&self) -> BoxFuture<'_, Result<(), ClientError>>;
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the broker's `num.partitions` if none.
    pub partitions: Option<i32>,
    /// Topic settings by Kafka's names.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's default number of partitions.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, configs: Vec::new() }
    }

    /// Sets the number of partitions.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Adds a topic setting by Kafka's name, for example `message.timestamp.type`.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((key.into(), value.into()));
        self
    }
}

/// A topic as the broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether it is one of Kafka's own, such as `__consumer_offsets`.
    pub internal: bool,
}

/// Looks after topics and groups.
pub trait Admin: Send + Sync + 'static {
    /// Creates a topic; [`ClientErrorKind::TopicExists`] if it is there.
    fn create_topic(&self, topic: &NewTopic) -> BoxFuture<'_, Result<(), ClientError>>;
    /// Grows a topic to `total` partitions; fewer than it has is an error.
    fn create_partitions(&self, topic: &str, total: i32) -> BoxFuture<'_, Result<(), ClientError>>;
    /// Deletes a topic and the offsets committed for it.
    fn delete_topic(&self, topic: &str) -> BoxFuture<'_, Result<(), ClientError>>;
    /// One topic, if it exists. Never creates it.
    fn topic(&self, name: &str) -> BoxFuture<'_, Result<Option<TopicInfo>, ClientError>>;
    /// A topic's settings by Kafka's names: all of them, with the values in force. An error if it does not exist.
    fn topic_configs(&self, name: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ClientError>>;
    /// All topics, by name.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, ClientError>>;
    /// First offset and end offset of a partition.
    fn offsets(&self, partition: &TopicPartition) -> BoxFuture<'_, Result<(i64, i64), ClientError>>;
    /// The offsets that a group has stored.
    fn group_offsets(&self, group: &str) -> BoxFuture<'_, Result<Vec<(TopicPartition, OffsetAndMetadata)>, ClientError>>;
    /// Completes when topics or partitions may have changed since the last call with the returned number; cancel-safe.
    fn metadata_changed(&self, seen: u64) -> BoxFuture<'_, u64>;
}

/// Where consumers and producers come from: the embedded broker, or Apache Kafka.
pub trait Backend: Send + Sync + 'static {
    /// In words for the start-up table, for example `embedded broker, in memory`.
    fn describe(&self) -> String;
    /// Checks consumer settings: every problem, or none.
    fn check_consumer(&self, properties: &Properties) -> Vec<ClientError>;
    /// Makes a consumer. Settings are Kafka's consumer configs; one that is unknown or ill-typed is an error that names it.
    fn consumer(&self, properties: &Properties) -> Result<Box<dyn Consumer>, ClientError>;
    /// Makes a producer from Kafka's producer configs.
    fn producer(&self, properties: &Properties) -> Result<Arc<dyn Producer>, ClientError>;
    /// Lets Kafka clients of other processes in at this address, and tells the address that it got (port 0 is one that the
    /// system chooses). Closing the backend ends it.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<SocketAddr, ClientError>> {
        Box::pin(async move {
            let text = format!("{} cannot listen on {address}: only the embedded broker can", self.describe());
            Err(ClientError::new(ClientErrorKind::Config, text))
        })
    }
    /// Topic and group administration.
    fn admin(&self) -> Arc<dyn Admin>;
    /// Ends the backend; the embedded broker flushes and closes if this backend started it.
    fn close(&self) -> BoxFuture<'_, Result<(), ClientError>>;
}
