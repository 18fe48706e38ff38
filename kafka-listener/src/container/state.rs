//! What a container was asked for (cold data).

use std::collections::BTreeSet;

use crate::client::TopicPartition;

/// What its workers shall do; they watch it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intent {
    pub stop: Stop,
    pub paused: bool,
    pub paused_partitions: BTreeSet<TopicPartition>,
}

/// How far a stop goes. Only ever rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    #[default]
    No,
    /// Finish what was polled.
    Drain,
    /// Finish the record or batch in hand.
    Immediate,
    /// Drop the call in hand at its next await.
    Abandon,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerState {
    /// Not started yet, or stopped.
    Stopped,
    /// Its workers run.
    Running,
    /// It was asked to stop, or one of its workers has failed: the workers end.
    Stopping,
    /// It ended by a failure.
    Failed(super::StopReason),
}
