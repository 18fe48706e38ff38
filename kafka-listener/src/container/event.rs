//! What containers tell the app: a bounded stream that anybody may subscribe to, and that tracing records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::client::TopicPartition;

/// How many events a slow subscriber may lag behind before it misses the oldest.
pub const EVENT_BUFFER: usize = 1024;

/// Something that happened to a container.
#[derive(Debug, Clone)]
pub struct ContainerEvent {
    /// The container's id.
    pub listener_id: Arc<str>,
    /// Which of its workers; none for the container as a whole.
    pub worker: Option<usize>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A worker is about to poll.
    Started,
    /// A worker or, without a worker's number, the container ended.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// The container could not start.
    FailedToStart {
        /// Why.
        error: String,
    },
    /// Partitions were added.
    Assigned {
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// Partitions were given up, after the last commit.
    Revoked {
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// Partitions were taken away: somebody else owns them.
    Lost {
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// Records of these partitions are not delivered for now.
    Paused {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// Why.
        reason: PauseReason,
    },
    /// They are delivered again.
    Resumed {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// What they were paused for.
        reason: PauseReason,
    },
    /// Nothing came for a while.
    Idle {
        /// For how long.
        idle_for: Duration,
    },
    /// A record came after an idle event.
    NoLongerIdle,
    /// Nothing came from one partition for a while.
    PartitionIdle {
        /// Which.
        partition: TopicPartition,
        /// For how long.
        idle_for: Duration,
    },
    /// A call of the listener takes longer than `max.poll.interval.ms`: the member left its group. Explicit partitions have none, and stay.
    NonResponsive {
        /// The record in hand, or the first of the batch.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// The listener failed.
    ListenerFailed {
        /// The record, or the first of the batch.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Which delivery of it failed.
        attempt: u32,
        /// The error and its sources.
        error: String,
    },
    /// The error handler recovered or skipped a record; it is done.
    Recovered {
        /// The record.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// The error handler's recoverer failed.
    RecoveryFailed {
        /// The record.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Why.
        error: String,
    },
    /// A commit failed after its retries; the next one covers it.
    CommitFailed {
        /// What it would have stored.
        offsets: Vec<(TopicPartition, i64)>,
        /// Why.
        error: String,
    },
    /// An acknowledgment is missing for longer than `ack_timeout`, or was dropped unused.
    AckMissing {
        /// The record.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Whether it was dropped.
        dropped: bool,
    },
    /// A poll failed; it is tried again.
    PollFailed {
        /// Why.
        error: String,
    },
    /// How many records lie between the group and the end of each owned partition.
    Lag {
        /// Partition and records.
        partitions: Vec<(TopicPartition, i64)>,
    },
}

/// Why records of a partition are not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PauseReason {
    /// The container was paused.
    Container,
    /// The partition was paused through the registry.
    Partition,
    /// The listener paused it through its consumer handle.
    Listener,
    /// A record waits out its back-off or its nack.
    BackOff,
    /// Too many records are unacknowledged (`max_unacked`).
    Unacked,
}

/// Why a worker or a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to.
    Normal,
    /// No committed offset, and `auto.offset.reset` is `none`.
    NoOffset(String),
    /// The error handler said stop, or a recoverer failed too often.
    ErrorHandler(String),
    /// The consumer failed in a way that does not pass.
    Consumer(String),
    /// A worker panicked: a bug in this library.
    Panicked(String),
}

impl StopReason {
    /// Whether it was a failure.
    pub fn is_failure(&self) -> bool {
        *self != StopReason::Normal
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Normal => f.write_str("normal"),
            StopReason::NoOffset(text) => write!(f, "no offset: {text}"),
            StopReason::ErrorHandler(text) => write!(f, "stopped by the error handler: {text}"),
            StopReason::Consumer(text) => write!(f, "the consumer failed: {text}"),
            StopReason::Panicked(text) => write!(f, "panicked: {text}"),
        }
    }
}

/// Where containers put their events.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Arc<ContainerEvent>>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(EVENT_BUFFER))
    }
}

impl Events {
    /// All events from now on.
    pub fn subscribe(&self) -> EventStream {
        EventStream(self.0.subscribe())
    }

    pub(crate) fn emit(&self, listener_id: &Arc<str>, worker: Option<usize>, kind: EventKind) {
        record(listener_id, worker, &kind);
        // Without a subscriber there is nobody to tell.
        let _ = self.0.send(Arc::new(ContainerEvent { listener_id: listener_id.clone(), worker, kind }));
    }
}

/// Events in the order in which they happened.
#[derive(Debug)]
pub struct EventStream(broadcast::Receiver<Arc<ContainerEvent>>);

impl EventStream {
    /// The next event; `None` when the app is gone. A subscriber that lags more than [`EVENT_BUFFER`] events behind misses the
    /// oldest. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<ContainerEvent>> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(target: "kafka_listener::event", missed, "a subscriber of container events is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn record(listener: &Arc<str>, worker: Option<usize>, kind: &EventKind) {
    let worker = worker.map_or(-1, |worker| worker as i64);
    match kind {
        EventKind::CommitFailed { .. } | EventKind::AckMissing { .. } | EventKind::PollFailed { .. } => {
            tracing::warn!(target: "kafka_listener::container", %listener, worker, event = ?kind);
        }
        EventKind::NonResponsive { .. } | EventKind::FailedToStart { .. } | EventKind::RecoveryFailed { .. } => {
            tracing::error!(target: "kafka_listener::container", %listener, worker, event = ?kind);
        }
        EventKind::Stopped { reason } if reason.is_failure() => {
            tracing::error!(target: "kafka_listener::container", %listener, worker, %reason, "stopped");
        }
        EventKind::Started
        | EventKind::Stopped { .. }
        | EventKind::Assigned { .. }
        | EventKind::Revoked { .. }
        | EventKind::Lost { .. } => {
            tracing::info!(target: "kafka_listener::container", %listener, worker, event = ?kind);
        }
        _ => tracing::debug!(target: "kafka_listener::container", %listener, worker, event = ?kind),
    }
}
