use crate::topic_config::{ConfigEntry, ConfigKind, TopicConfig};

/// The broker's settings, by Kafka's names with `_` for `.`.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// `num.partitions`: partitions of a topic that is created without a number; 1.
    pub num_partitions: i32,
    /// `partitions.max`: partitions of all topics together; 200,000. This broker's own: whoever may create topics fills the
    /// memory otherwise.
    pub partitions_max: usize,
    /// What holds for a topic that does not say otherwise: `log.segment.bytes`, `message.max.bytes` and so on.
    pub topic_defaults: TopicConfig,
    /// `auto.create.topics.enable`: whether a topic is made when it is first used; true.
    pub auto_create_topics_enable: bool,
    /// `log.retention.check.interval.ms`: how often retention is looked at; 300,000. The first time after 30 seconds.
    pub log_retention_check_interval_ms: u64,
    /// `log.flush.offset.checkpoint.interval.ms`: how often is kept up to where each log is durable, and where it starts; 60,000.
    pub log_flush_offset_checkpoint_interval_ms: u64,
    /// `log.open.files.max`: log files kept open at a time; 500. A broker may have any number of them; Kafka keeps all open.
    pub log_open_files_max: usize,
    /// `message.decompressed.bytes.max`: how many bytes the records of one compressed batch may take; 128 MiB. This broker's
    /// own: in Kafka nothing but memory bounds them.
    pub message_decompressed_bytes_max: usize,
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
    /// `log.cleaner.backoff.ms`: how often compacted topics are looked at; 15,000.
    pub log_cleaner_backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`: how much memory one compaction may take for keys; 128 MiB. What does not fit is left for
    /// the next time.
    pub log_cleaner_dedupe_buffer_size: usize,
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
    /// `transaction.max.timeout.ms`: the longest time-out that a producer may ask for its transactions; 900,000.
    pub transaction_max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: how long a transactional id is remembered that nothing is done with; a week.
    pub transactional_id_expiration_ms: i64,
    /// `transaction.state.log.num.partitions`: partitions of `__transaction_state`; 50. Fixed once transactional ids are stored.
    pub transaction_state_log_num_partitions: i32,
    /// `transaction.state.log.segment.bytes`: how much a shard of `__transaction_state` grows before it is rewritten; 100 MiB.
    pub transaction_state_log_segment_bytes: u64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often transactions are looked at that are open for too
    /// long, or whose end did not reach all their partitions; 10,000.
    pub transaction_abort_timed_out_transaction_cleanup_interval_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often transactional ids are looked at that have had their
    /// time; an hour.
    pub transaction_remove_expired_transaction_cleanup_interval_ms: u64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            num_partitions: 1,
            partitions_max: 200_000,
            topic_defaults: TopicConfig::default(),
            auto_create_topics_enable: true,
            log_retention_check_interval_ms: 300_000,
            log_flush_offset_checkpoint_interval_ms: 60_000,
            log_open_files_max: crate::storage::FileDisk::OPEN_FILES_MAX,
            message_decompressed_bytes_max: 128 << 20,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_check_interval_ms: 600_000,
            offsets_topic_num_partitions: 50,
            offsets_topic_segment_bytes: 100 << 20,
            offset_metadata_max_bytes: 4096,
            offsets_retention_minutes: 10_080,
            log_cleaner_backoff_ms: 15_000,
            log_cleaner_dedupe_buffer_size: 128 << 20,
            offsets_retention_check_interval_ms: 600_000,
            group_min_session_timeout_ms: 6000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 0,
            group_max_size: i32::MAX as usize,
            transaction_max_timeout_ms: 900_000,
            transactional_id_expiration_ms: 604_800_000,
            transaction_state_log_num_partitions: 50,
            transaction_state_log_segment_bytes: 100 << 20,
            transaction_abort_timed_out_transaction_cleanup_interval_ms: 10_000,
            transaction_remove_expired_transaction_cleanup_interval_ms: 3_600_000,
        }
    }
}

/// How a setting is told.
type Told = (&'static str, ConfigKind, fn(&BrokerConfig) -> String);

/// All settings but the topics' defaults, by name.
const SETTINGS: &[Told] = &[
    ("auto.create.topics.enable", ConfigKind::Boolean, |c| c.auto_create_topics_enable.to_string()),
    ("group.initial.rebalance.delay.ms", ConfigKind::Int, |c| c.group_initial_rebalance_delay_ms.to_string()),
    ("group.max.session.timeout.ms", ConfigKind::Int, |c| c.group_max_session_timeout_ms.to_string()),
    ("group.max.size", ConfigKind::Int, |c| c.group_max_size.to_string()),
    ("group.min.session.timeout.ms", ConfigKind::Int, |c| c.group_min_session_timeout_ms.to_string()),
    ("log.cleaner.backoff.ms", ConfigKind::Long, |c| c.log_cleaner_backoff_ms.to_string()),
    ("log.cleaner.dedupe.buffer.size", ConfigKind::Long, |c| c.log_cleaner_dedupe_buffer_size.to_string()),
    ("log.flush.offset.checkpoint.interval.ms", ConfigKind::Int, |c| c.log_flush_offset_checkpoint_interval_ms.to_string()),
    ("log.open.files.max", ConfigKind::Int, |c| c.log_open_files_max.to_string()),
    ("log.retention.check.interval.ms", ConfigKind::Long, |c| c.log_retention_check_interval_ms.to_string()),
    ("message.decompressed.bytes.max", ConfigKind::Int, |c| c.message_decompressed_bytes_max.to_string()),
    ("num.partitions", ConfigKind::Int, |c| c.num_partitions.to_string()),
    ("offset.metadata.max.bytes", ConfigKind::Int, |c| c.offset_metadata_max_bytes.to_string()),
    ("offsets.retention.check.interval.ms", ConfigKind::Long, |c| c.offsets_retention_check_interval_ms.to_string()),
    ("offsets.retention.minutes", ConfigKind::Int, |c| c.offsets_retention_minutes.to_string()),
    ("offsets.topic.num.partitions", ConfigKind::Int, |c| c.offsets_topic_num_partitions.to_string()),
    ("offsets.topic.segment.bytes", ConfigKind::Int, |c| c.offsets_topic_segment_bytes.to_string()),
    ("partitions.max", ConfigKind::Int, |c| c.partitions_max.to_string()),
    ("producer.id.expiration.check.interval.ms", ConfigKind::Int, |c| c.producer_id_expiration_check_interval_ms.to_string()),
    ("producer.id.expiration.ms", ConfigKind::Int, |c| c.producer_id_expiration_ms.to_string()),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", ConfigKind::Int, |c| {
        c.transaction_abort_timed_out_transaction_cleanup_interval_ms.to_string()
    }),
    ("transaction.max.timeout.ms", ConfigKind::Int, |c| c.transaction_max_timeout_ms.to_string()),
    ("transaction.remove.expired.transaction.cleanup.interval.ms", ConfigKind::Int, |c| {
        c.transaction_remove_expired_transaction_cleanup_interval_ms.to_string()
    }),
    ("transaction.state.log.num.partitions", ConfigKind::Int, |c| c.transaction_state_log_num_partitions.to_string()),
    ("transaction.state.log.segment.bytes", ConfigKind::Int, |c| c.transaction_state_log_segment_bytes.to_string()),
    ("transactional.id.expiration.ms", ConfigKind::Int, |c| c.transactional_id_expiration_ms.to_string()),
];

impl BrokerConfig {
    /// All settings, the topics' defaults too: values, and whether they are this broker's defaults.
    pub fn describe(&self) -> Vec<ConfigEntry> {
        let default = Self::default();
        let own = |(name, kind, told): &Told| ConfigEntry::of_broker(name, *kind, told(self), &told(&default));
        SETTINGS.iter().map(own).chain(self.topic_defaults.describe_defaults()).collect()
    }

    /// Every setting that makes no sense, one text each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, text: String| {
            if !fine {
                problems.push(text);
            }
        };
        check(self.partitions_max >= 1, "partitions.max is 0: at least 1".to_owned());
        check(self.num_partitions >= 1, format!("num.partitions is {}: at least 1", self.num_partitions));
        check(
            (1..=i32::MAX as u64).contains(&self.offsets_topic_segment_bytes),
            format!("offsets.topic.segment.bytes is {}: 1 to 2147483647", self.offsets_topic_segment_bytes),
        );
        self.validate_transactions(&mut check);
        for (name, value, least) in [
            ("log.retention.check.interval.ms", self.log_retention_check_interval_ms as i64, 1),
            ("log.cleaner.backoff.ms", self.log_cleaner_backoff_ms as i64, 1),
            ("log.cleaner.dedupe.buffer.size", self.log_cleaner_dedupe_buffer_size as i64, 1),
            ("log.flush.offset.checkpoint.interval.ms", self.log_flush_offset_checkpoint_interval_ms as i64, 1),
        ] {
            check(value >= least, format!("{name} is {value}: at least {least}"));
        }
        check(self.log_open_files_max >= 1, format!("log.open.files.max is {}: at least 1", self.log_open_files_max));
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
        self.topic_defaults.validate().into_iter().for_each(|problem| check(false, problem));
        check(self.group_max_size >= 1, format!("group.max.size is {}: at least 1", self.group_max_size));
        problems
    }

    fn validate_transactions(&self, check: &mut impl FnMut(bool, String)) {
        let (bytes, partitions) = (self.transaction_state_log_segment_bytes, self.transaction_state_log_num_partitions);
        check((1..=i32::MAX as u64).contains(&bytes), format!("transaction.state.log.segment.bytes is {bytes}: 1 to 2147483647"));
        check(partitions >= 1, format!("transaction.state.log.num.partitions is {partitions}: at least 1"));
        for (name, value) in [
            ("transaction.max.timeout.ms", i64::from(self.transaction_max_timeout_ms)),
            ("transactional.id.expiration.ms", self.transactional_id_expiration_ms),
            (
                "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                self.transaction_abort_timed_out_transaction_cleanup_interval_ms as i64,
            ),
            (
                "transaction.remove.expired.transaction.cleanup.interval.ms",
                self.transaction_remove_expired_transaction_cleanup_interval_ms as i64,
            ),
        ] {
            check(value >= 1, format!("{name} is {value}: at least 1"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_told() {
        let told: Vec<_> = BrokerConfig::default().describe().into_iter().map(|entry| entry.name.replace('.', "_")).collect();
        let shown = format!("{:#?}", BrokerConfig::default());
        let fields = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(':')).map(|(field, _)| field);
        let missing: Vec<_> = fields
            .filter(|field| !field.starts_with(' ') && *field != "topic_defaults" && !told.iter().any(|name| name == field))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
