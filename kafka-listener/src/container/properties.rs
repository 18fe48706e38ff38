use std::sync::Arc;
use std::time::Duration;

use crate::ack::AckMode;
use crate::client::{Properties, StartOffset, Subscription, TopicPartition};

/// The longest that anything waits: who says [`Duration::MAX`] means without end, and an instant so far away does not exist.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Everything a container needs to know, resolved: the attribute over the factory over the defaults.
#[derive(Debug, Clone)]
pub struct ContainerProperties {
    /// The container's name in the registry, in events and in logs.
    pub id: Arc<str>,
    /// The consumer group; none only for explicit partitions without commits.
    pub group_id: Option<Arc<str>>,
    /// What it listens to.
    pub source: Source,
    /// How many consumers.
    pub concurrency: Concurrency,
    /// Whether the listener takes the records of a poll at once.
    pub batch: bool,
    /// When offsets are committed.
    pub ack_mode: AckMode,
    /// Records, for `Count` and `CountTime`; without meaning elsewhere.
    pub ack_count: u64,
    /// For `Time` and `CountTime`; without meaning elsewhere.
    pub ack_time: Duration,
    /// Acknowledgments may come from other tasks and in any order; false.
    pub async_acks: bool,
    /// With async acks: unacknowledged records a partition before that partition pauses; 1000.
    pub max_unacked: usize,
    /// With async acks: how long an acknowledgment may be missing before an event says so; 60 s.
    pub ack_timeout: Duration,
    /// Whether a commit is awaited before the loop goes on; true.
    pub sync_commits: bool,
    /// How often a commit is tried again after a passing fault; 3.
    pub commit_retries: u32,
    /// How long one commit may take; 60 s, Kafka's `default.api.timeout.ms`.
    pub sync_commit_timeout: Duration,
    /// How long one poll waits for records; 5 s.
    pub poll_timeout: Duration,
    /// How long a stop waits for what was polled, and for missing async acknowledgments, before calls are dropped; 10 s.
    pub shutdown_timeout: Duration,
    /// How long to wait after a poll failed before the next; 1 s.
    pub poll_error_back_off: Duration,
    /// Raises an idle event each time nothing came for this long; off.
    pub idle_event_interval: Option<Duration>,
    /// The same for each partition; off.
    pub idle_partition_event_interval: Option<Duration>,
    /// Raises an event with the lag of each partition this often; off.
    pub lag_event_interval: Option<Duration>,
    /// Whether a missing topic refuses the start; false.
    pub missing_topics_fatal: bool,
    /// Whether the container starts with the app; true.
    pub auto_startup: bool,
    /// Kafka's consumer settings, the container's own included.
    pub consumer: Properties,
    /// `max.poll.interval.ms`: bounds one call of the listener.
    pub max_poll_interval: Duration,
    /// `enable.auto.commit`: the container then commits nothing.
    pub auto_commit: bool,
    /// Whether a group without a committed offset starts at the end: its starting position is then committed at once.
    pub reset_latest: bool,
}

/// What a container listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Through the group.
    Subscribed(Subscription),
    /// These partitions, without rebalances.
    Partitions(Vec<(TopicPartition, StartOffset)>),
}

/// How many consumers a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// This many.
    Fixed(usize),
    /// One for each partition of the subscribed topics, growing with them.
    Auto,
}

impl ContainerProperties {
    /// The defaults for a listener of this id.
    pub fn new(id: impl Into<Arc<str>>, source: Source) -> Self {
        Self {
            id: id.into(),
            group_id: None,
            source,
            concurrency: Concurrency::Fixed(1),
            batch: false,
            ack_mode: AckMode::default(),
            ack_count: 1,
            ack_time: Duration::from_secs(5),
            async_acks: false,
            max_unacked: 1000,
            ack_timeout: Duration::from_secs(60),
            sync_commits: true,
            commit_retries: 3,
            sync_commit_timeout: Duration::from_secs(60),
            poll_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(10),
            poll_error_back_off: Duration::from_secs(1),
            idle_event_interval: None,
            idle_partition_event_interval: None,
            lag_event_interval: None,
            missing_topics_fatal: false,
            auto_startup: true,
            consumer: Properties::new(),
            max_poll_interval: Duration::from_secs(300),
            auto_commit: false,
            reset_latest: true,
        }
    }
}
