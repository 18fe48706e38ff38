use crate::topic_config::TopicConfig;

/// A log's settings, by the names that topics have for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// `segment.bytes`: a segment's size before the next one starts; 1 GiB.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment's age before the next one starts; no bound.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: by how much less that may be, so that not all segments start at once; 0.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: bytes between two index entries; 4096.
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`: an index's size at which the next segment starts; 10 MiB.
    pub index_bytes: u64,
    /// Whether `cleanup.policy` says `delete`: the next two count only then.
    pub delete: bool,
    /// `retention.bytes`: what a log may grow to before its oldest segments go; -1 for no bound.
    pub retention_bytes: i64,
    /// `retention.ms`: the age at which segments go; -1 for no bound.
    pub retention_ms: i64,
    /// `flush.messages`: how many records may not be durable; no bound.
    pub flush_messages: i64,
    /// `message.decompressed.bytes.max`: the most that a compressed batch is unpacked to; no bound.
    pub decompressed_bytes_max: usize,
    /// `file.delete.delay.ms`: how long a removed segment's files stay, for who reads them; one minute.
    pub file_delete_delay_ms: u64,
}

impl Default for LogConfig {
    /// Keeps everything.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: i64::MAX,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_bytes: 10 << 20,
            delete: true,
            retention_bytes: -1,
            retention_ms: -1,
            flush_messages: i64::MAX,
            decompressed_bytes_max: usize::MAX,
            file_delete_delay_ms: 60_000,
        }
    }
}

impl LogConfig {
    /// What a topic's settings, and this one of the broker's, say of its logs.
    pub fn of(topic: &TopicConfig, decompressed_bytes_max: usize) -> Self {
        Self {
            segment_bytes: topic.segment_bytes as u64,
            // What is appended to is never compacted: it ends in time for that.
            segment_ms: match topic.cleanup_policy.compact {
                true => topic.segment_ms.min(topic.max_compaction_lag_ms),
                false => topic.segment_ms,
            },
            segment_jitter_ms: topic.segment_jitter_ms,
            index_interval_bytes: topic.index_interval_bytes as u64,
            index_bytes: topic.segment_index_bytes as u64,
            delete: topic.cleanup_policy.delete,
            retention_bytes: topic.retention_bytes,
            retention_ms: topic.retention_ms,
            flush_messages: topic.flush_messages,
            decompressed_bytes_max,
            file_delete_delay_ms: topic.file_delete_delay_ms as u64,
        }
    }
}
