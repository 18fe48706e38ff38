use crate::topic_config::TopicConfig;

/// A log's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// `segment.bytes`: a segment's size before the next one starts; 1 GiB.
    pub segment_bytes: u64,
    /// `index.interval.bytes`: bytes between two index entries; 4096.
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`: an index's size at which the next segment starts; 10 MiB.
    pub index_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 1 << 30, index_interval_bytes: 4096, index_bytes: 10 << 20 }
    }
}

impl LogConfig {
    /// What a topic's settings say of its logs.
    pub fn of(topic: &TopicConfig) -> Self {
        Self {
            segment_bytes: topic.segment_bytes as u64,
            index_interval_bytes: topic.index_interval_bytes as u64,
            index_bytes: topic.segment_index_bytes as u64,
        }
    }
}
