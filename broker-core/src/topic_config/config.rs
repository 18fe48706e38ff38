use crate::record::{Codec, CodecError, Compression};

use super::definition::definitions;

/// What a topic's partitions act by. Numbers are Kafka's: milliseconds, bytes, -1 for no bound where Kafka has that.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`; delete.
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`; producer.
    pub compression_type: TopicCompression,
    /// `compression.gzip.level`; -1, gzip's own.
    pub compression_gzip_level: i64,
    /// `compression.lz4.level`; 9.
    pub compression_lz4_level: i64,
    /// `compression.zstd.level`; 3.
    pub compression_zstd_level: i64,
    /// `delete.retention.ms`: how long a tombstone of a compacted topic can be read; one day.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`: how long the file of a removed segment stays; one minute.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: how many records may not be durable yet before writes wait until they are; no bound. 1 is a sync for
    /// every write: who writes at the same time shares it. `__consumer_offsets` does not follow it: a commit that a power cut
    /// takes costs only that its records are delivered again.
    pub flush_messages: i64,
    /// `flush.ms`: how long a record may wait for the next sync; no bound.
    pub flush_ms: i64,
    /// `index.interval.bytes`: bytes between two index entries; 4096.
    pub index_interval_bytes: i64,
    /// `max.compaction.lag.ms`: when a record is compacted at the latest; no bound.
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`: the largest batch, compressed; 1,048,588.
    pub max_message_bytes: i64,
    /// `message.timestamp.after.max.ms`: how far a record's timestamp may lie in the future; one hour.
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`: how far it may lie in the past; no bound.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`: whether it is `LogAppendTime`, the broker's; false is `CreateTime`, the producer's.
    pub log_append_time: bool,
    /// `min.cleanable.dirty.ratio`: the part of a log that is not compacted yet, before it is; 0.5.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: how long a record stays uncompacted at least; 0.
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`; 1. No more than there are replicas are asked for, and there is one.
    pub min_insync_replicas: i64,
    /// `retention.bytes`: how large a partition may grow before its oldest segment goes; -1, no bound.
    pub retention_bytes: i64,
    /// `retention.ms`: how old a segment's youngest record may become before it goes; one week, -1 for no bound.
    pub retention_ms: i64,
    /// `segment.bytes`: how large a segment may become; 1 GiB.
    pub segment_bytes: i64,
    /// `segment.index.bytes`: how large its offset index may become; 10 MiB.
    pub segment_index_bytes: i64,
    /// `segment.jitter.ms`: by how much at most a segment ends before `segment.ms`; 0.
    pub segment_jitter_ms: i64,
    /// `segment.ms`: how long a segment is appended to; one week.
    pub segment_ms: i64,
}

/// What becomes of old records. Neither: they stay for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Whole segments go, by `retention.ms` and `retention.bytes`.
    pub delete: bool,
    /// Only the newest record of each key stays.
    pub compact: bool,
}

/// How a topic's batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicCompression {
    /// As the producer sent them.
    Producer,
    /// With this codec, whatever the producer sent; with none for `uncompressed`.
    Always(Codec),
}

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            compression_type: TopicCompression::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            message_timestamp_after_max_ms: 3_600_000,
            message_timestamp_before_max_ms: i64::MAX,
            log_append_time: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 1,
            retention_bytes: -1,
            retention_ms: WEEK_MS,
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: WEEK_MS,
        }
    }
}

impl TopicConfig {
    /// Sets a broker's default by the broker's name for it, for example `log.retention.ms`; `None` if there is no such name.
    pub fn set_default(&mut self, name: &str, value: &str) -> Option<Result<(), String>> {
        let found = definitions().find(|definition| definition.broker_name == name)?;
        Some(found.set(self, value).map_err(|problem| format!("{name} = \"{value}\": {problem}")))
    }

    /// Whether these can be a broker's defaults: every problem, by the broker's names.
    pub(crate) fn validate(&self) -> Vec<String> {
        let one = |found: &super::definition::Definition| {
            let (mut config, value) = (self.clone(), found.get(self));
            found.set(&mut config, &value).err().map(|problem| format!("{} is {value}: {problem}", found.broker_name))
        };
        definitions().filter_map(one).chain(self.problems()).collect()
    }

    /// What batches are compressed with; `None` leaves them as they were sent.
    pub(crate) fn compression(&self) -> Result<Option<Compression>, CodecError> {
        let TopicCompression::Always(codec) = self.compression_type else { return Ok(None) };
        let made = Compression::new(codec)?;
        let level = match codec {
            Codec::None | Codec::Snappy => return Ok(Some(made)),
            Codec::Gzip => self.compression_gzip_level,
            Codec::Lz4 => self.compression_lz4_level,
            Codec::Zstd => self.compression_zstd_level,
        };
        made.with_level(level as i32).map(Some)
    }

    /// What settings that are fine one by one do together: every problem.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = self.compression() {
            problems.push(format!("compression.type: {error}"));
        }
        if self.max_compaction_lag_ms < self.min_compaction_lag_ms {
            problems.push(format!(
                "max.compaction.lag.ms ({}) is below min.compaction.lag.ms ({})",
                self.max_compaction_lag_ms, self.min_compaction_lag_ms
            ));
        }
        problems
    }
}

impl CleanupPolicy {
    /// Kafka's text.
    pub(super) fn text(self) -> &'static str {
        match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, true) => "delete",
            (false, false) => "",
        }
    }
}

impl TopicCompression {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Always(Codec::None) => "uncompressed",
            Self::Always(codec) => codec.name(),
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        let all = [Self::Producer].into_iter().chain(Codec::ALL.map(Self::Always));
        all.into_iter().find(|one| one.text() == text)
    }
}
