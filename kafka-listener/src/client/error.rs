use std::error::Error as StdError;
use std::fmt;

use super::TopicPartition;

/// What went wrong, for decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// A setting is unknown or ill-typed.
    Config,
    /// The call does not fit the client's state, for example `seek` on a partition that is not assigned.
    IllegalState,
    /// The client was closed.
    Closed,
    /// No committed offset, and `auto.offset.reset` is `none`.
    NoOffsetForPartition,
    /// The position lies outside the log, and `auto.offset.reset` is `none`.
    OffsetOutOfRange,
    /// The topic or partition does not exist.
    UnknownTopicOrPartition,
    /// The topic exists already.
    TopicExists,
    /// The member was fenced or is unknown to the group: its partitions are lost, the commit will never succeed.
    Fenced,
    /// The group is rebalancing: the same commit may succeed after the next `poll`.
    RebalanceInProgress,
    /// A passing fault: the same call may succeed.
    Retriable,
    /// Something did not finish in its time.
    Timeout,
    /// The record is larger than a limit.
    RecordTooLarge,
    /// The key or value could not be encoded.
    Serialization,
    /// Stored bytes are damaged.
    Corrupt,
    /// Anything else that the broker refused.
    Broker,
}

/// The one error of the client traits. Its text names the thing and the limit.
#[derive(Debug, Clone)]
pub struct ClientError(std::sync::Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ClientErrorKind,
    message: String,
    partition: Option<TopicPartition>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ClientError {
    /// An error of a kind, with a text that names what failed.
    pub fn new(kind: ClientErrorKind, message: impl Into<String>) -> Self {
        Self(std::sync::Arc::new(Inner { kind, message: message.into(), partition: None, source: None }))
    }

    /// The same, caused by another error.
    pub fn with_source(
        kind: ClientErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(std::sync::Arc::new(Inner { kind, message: message.into(), partition: None, source: Some(source.into()) }))
    }

    /// The same, about one partition.
    pub fn on_partition(kind: ClientErrorKind, partition: TopicPartition, message: impl Into<String>) -> Self {
        Self(std::sync::Arc::new(Inner { kind, message: message.into(), partition: Some(partition), source: None }))
    }

    /// What went wrong.
    pub fn kind(&self) -> ClientErrorKind {
        self.0.kind
    }

    /// The partition it is about, if it is about one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        self.0.partition.as_ref()
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.partition {
            Some(partition) => write!(f, "{partition}: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}
