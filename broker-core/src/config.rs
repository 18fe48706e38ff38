/// The broker's settings, by Kafka's names with `_` for `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `num.partitions`: partitions of a topic that is created without a number; 1.
    pub num_partitions: i32,
    /// `auto.create.topics.enable`: whether a topic is made when it is first used; true.
    pub auto_create_topics_enable: bool,
    /// `log.segment.bytes`: a segment file's size before the next one starts; 1 GiB. A topic's `segment.bytes` wins.
    pub log_segment_bytes: u64,
    /// `log.index.interval.bytes`: bytes between two index entries; 4096.
    pub log_index_interval_bytes: u64,
    /// `log.open.files.max`: log files kept open at a time; 500. A broker may have any number of them; Kafka keeps all open.
    pub log_open_files_max: usize,
    /// `message.max.bytes`: the largest batch; 1,048,588. A topic's `max.message.bytes` wins.
    pub message_max_bytes: usize,
    /// `message.decompressed.bytes.max`: how many bytes the records of one compressed batch may take; 128 MiB. This broker's
    /// own: in Kafka nothing but memory bounds them.
    pub message_decompressed_bytes_max: usize,
    /// `log.message.timestamp.after.max.ms`: how far a record's timestamp may lie in the future; one hour.
    pub log_message_timestamp_after_max_ms: i64,
    /// `producer.id.expiration.ms`: how long a partition remembers a producer that writes nothing; one day.
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`: how often it looks for such ones; ten minutes.
    pub producer_id_expiration_check_interval_ms: i64,
    /// `offsets.topic.num.partitions`: partitions of `__consumer_offsets`; 50. Fixed once groups are stored.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.segment.bytes`: how much a shard of `__consumer_offsets` grows before it is rewritten; 100 MiB.
    pub offsets_topic_segment_bytes: u64,
    /// `offset.metadata.max.bytes`: the longest text beside an offset; 4096.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`: how long offsets of a group without members, or of a topic that its members no longer read,
    /// are kept; 10080 (a week).
    pub offsets_retention_minutes: u32,
    /// `offsets.retention.check.interval.ms`: how often that is looked at; 600,000.
    pub offsets_retention_check_interval_ms: u64,
    /// `group.min.session.timeout.ms`: 6000.
    pub group_min_session_timeout_ms: u64,
    /// `group.max.session.timeout.ms`: 1,800,000.
    pub group_max_session_timeout_ms: u64,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members; 0, where Kafka has 3000: in one
    /// process nobody is late.
    pub group_initial_rebalance_delay_ms: u64,
    /// `group.max.size`: members of one group; no bound of its own by default.
    pub group_max_size: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            num_partitions: 1,
            auto_create_topics_enable: true,
            log_segment_bytes: 1 << 30,
            log_index_interval_bytes: 4096,
            log_open_files_max: crate::storage::FileDisk::OPEN_FILES_MAX,
            message_max_bytes: 1_048_588,
            message_decompressed_bytes_max: 128 << 20,
            log_message_timestamp_after_max_ms: 3_600_000,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_check_interval_ms: 600_000,
            offsets_topic_num_partitions: 50,
            offsets_topic_segment_bytes: 100 << 20,
            offset_metadata_max_bytes: 4096,
            offsets_retention_minutes: 10_080,
            offsets_retention_check_interval_ms: 600_000,
            group_min_session_timeout_ms: 6000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 0,
            group_max_size: i32::MAX as usize,
        }
    }
}

impl BrokerConfig {
    /// Every setting that makes no sense, one text each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, text: String| {
            if !fine {
                problems.push(text);
            }
        };
        check(self.num_partitions >= 1, format!("num.partitions is {}: at least 1", self.num_partitions));
        check(
            (1..=i32::MAX as u64).contains(&self.log_segment_bytes),
            format!("log.segment.bytes is {}: 1 to 2147483647", self.log_segment_bytes),
        );
        check(
            (1..=i32::MAX as u64).contains(&self.offsets_topic_segment_bytes),
            format!("offsets.topic.segment.bytes is {}: 1 to 2147483647", self.offsets_topic_segment_bytes),
        );
        check(self.log_open_files_max >= 1, format!("log.open.files.max is {}: at least 1", self.log_open_files_max));
        check(
            (61..=i32::MAX as usize).contains(&self.message_max_bytes),
            format!("message.max.bytes is {}: 61 to 2147483647", self.message_max_bytes),
        );
        check(
            (1..=i32::MAX as usize).contains(&self.message_decompressed_bytes_max),
            format!("message.decompressed.bytes.max is {}: 1 to 2147483647", self.message_decompressed_bytes_max),
        );
        for (name, time) in [
            ("producer.id.expiration.ms", self.producer_id_expiration_ms),
            ("producer.id.expiration.check.interval.ms", self.producer_id_expiration_check_interval_ms),
        ] {
            check(time >= 1, format!("{name} is {time}: at least 1"));
        }
        check(
            self.offsets_topic_num_partitions >= 1,
            format!("offsets.topic.num.partitions is {}: at least 1", self.offsets_topic_num_partitions),
        );
        check(
            self.group_min_session_timeout_ms <= self.group_max_session_timeout_ms,
            format!(
                "group.min.session.timeout.ms is {}, over group.max.session.timeout.ms ({})",
                self.group_min_session_timeout_ms, self.group_max_session_timeout_ms
            ),
        );
        check(
            self.offsets_retention_minutes >= 1 && self.offsets_retention_check_interval_ms >= 1,
            format!(
                "offsets.retention.minutes is {} and offsets.retention.check.interval.ms {}: each at least 1",
                self.offsets_retention_minutes, self.offsets_retention_check_interval_ms
            ),
        );
        check(self.group_max_size >= 1, format!("group.max.size is {}: at least 1", self.group_max_size));
        problems
    }
}
