use super::config::{CleanupPolicy, TopicCompression, TopicConfig};
use super::describe::ConfigKind;

/// How a setting is read into its field.
#[derive(Debug, Clone, Copy)]
enum Field {
    /// A whole number from one bound to the other.
    Number(fn(&mut TopicConfig) -> &mut i64, i64, i64),
    /// A number from 0 to 1.
    Ratio(fn(&mut TopicConfig) -> &mut f64),
    CleanupPolicy,
    Compression,
    TimestampType,
    /// No field: only these values say what the broker does.
    Only(&'static [&'static str], &'static str),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Definition {
    pub name: &'static str,
    /// The broker's name for its default.
    pub broker_name: &'static str,
    pub kind: ConfigKind,
    field: Field,
    /// Why it may only have its default, if so.
    not_built: Option<&'static str>,
}

const INT_MAX: i64 = i32::MAX as i64;

/// All settings of a topic in Kafka 4, by name.
const DEFINITIONS: &[Definition] = &[
    setting("cleanup.policy", "log.cleanup.policy", ConfigKind::List, Field::CleanupPolicy, None),
    number("compression.gzip.level", "compression.gzip.level", |c| &mut c.compression_gzip_level, -1, 9, None),
    number("compression.lz4.level", "compression.lz4.level", |c| &mut c.compression_lz4_level, 1, 17, None),
    setting("compression.type", "compression.type", ConfigKind::String, Field::Compression, None),
    number("compression.zstd.level", "compression.zstd.level", |c| &mut c.compression_zstd_level, -131_072, 22, None),
    long("delete.retention.ms", "log.cleaner.delete.retention.ms", |c| &mut c.delete_retention_ms, 0, None),
    long("file.delete.delay.ms", "log.segment.delete.delay.ms", |c| &mut c.file_delete_delay_ms, 0, None),
    long("flush.messages", "log.flush.interval.messages", |c| &mut c.flush_messages, 1, None),
    long("flush.ms", "log.flush.interval.ms", |c| &mut c.flush_ms, 0, None),
    only("follower.replication.throttled.replicas", ConfigKind::List, &[""], "there are no followers"),
    number("index.interval.bytes", "log.index.interval.bytes", |c| &mut c.index_interval_bytes, 0, INT_MAX, None),
    only("leader.replication.throttled.replicas", ConfigKind::List, &[""], "there are no followers"),
    only("local.retention.bytes", ConfigKind::Long, &["-2"], "there is no remote storage"),
    only("local.retention.ms", ConfigKind::Long, &["-2"], "there is no remote storage"),
    long("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", |c| &mut c.max_compaction_lag_ms, 1, None),
    number("max.message.bytes", "message.max.bytes", |c| &mut c.max_message_bytes, 61, INT_MAX, None),
    long(
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
        |c| &mut c.message_timestamp_after_max_ms,
        0,
        None,
    ),
    long(
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        |c| &mut c.message_timestamp_before_max_ms,
        0,
        None,
    ),
    setting("message.timestamp.type", "log.message.timestamp.type", ConfigKind::String, Field::TimestampType, None),
    setting(
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
        ConfigKind::Double,
        Field::Ratio(|c| &mut c.min_cleanable_dirty_ratio),
        None,
    ),
    long("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", |c| &mut c.min_compaction_lag_ms, 0, None),
    number("min.insync.replicas", "min.insync.replicas", |c| &mut c.min_insync_replicas, 1, INT_MAX, None),
    only("preallocate", ConfigKind::Boolean, &["false"], "files grow as they are written"),
    only("remote.log.copy.disable", ConfigKind::Boolean, &["false"], "there is no remote storage"),
    only("remote.log.delete.on.disable", ConfigKind::Boolean, &["false"], "there is no remote storage"),
    only("remote.storage.enable", ConfigKind::Boolean, &["false"], "there is no remote storage"),
    long("retention.bytes", "log.retention.bytes", |c| &mut c.retention_bytes, -1, None),
    long("retention.ms", "log.retention.ms", |c| &mut c.retention_ms, -1, None),
    // Kafka 4 wants a megabyte at least: less makes many files, which is the user's to decide here.
    number("segment.bytes", "log.segment.bytes", |c| &mut c.segment_bytes, 1024, INT_MAX, None),
    number("segment.index.bytes", "log.index.size.max.bytes", |c| &mut c.segment_index_bytes, 4, INT_MAX, None),
    long("segment.jitter.ms", "log.roll.jitter.ms", |c| &mut c.segment_jitter_ms, 0, None),
    long("segment.ms", "log.roll.ms", |c| &mut c.segment_ms, 1, None),
    // With one replica there is never an election, clean or not.
    only("unclean.leader.election.enable", ConfigKind::Boolean, &["false", "true"], ""),
];

const fn setting(
    name: &'static str,
    broker_name: &'static str,
    kind: ConfigKind,
    field: Field,
    not_built: Option<&'static str>,
) -> Definition {
    Definition { name, broker_name, kind, field, not_built }
}

const fn number(
    name: &'static str,
    broker_name: &'static str,
    field: fn(&mut TopicConfig) -> &mut i64,
    least: i64,
    most: i64,
    not_built: Option<&'static str>,
) -> Definition {
    setting(name, broker_name, ConfigKind::Int, Field::Number(field, least, most), not_built)
}

const fn long(
    name: &'static str,
    broker_name: &'static str,
    field: fn(&mut TopicConfig) -> &mut i64,
    least: i64,
    not_built: Option<&'static str>,
) -> Definition {
    setting(name, broker_name, ConfigKind::Long, Field::Number(field, least, i64::MAX), not_built)
}

const fn only(name: &'static str, kind: ConfigKind, values: &'static [&'static str], why: &'static str) -> Definition {
    setting(name, name, kind, Field::Only(values, why), None)
}

/// All of them, by name.
pub(super) fn definitions() -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter()
}

/// The one of a name.
pub(super) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

impl Definition {
    /// Whether a broker can be given a default.
    pub fn is_brokers(&self) -> bool {
        !matches!(self.field, Field::Only(..))
    }

    /// Reads a value into its field, or says what is wrong with it.
    pub fn set(&self, config: &mut TopicConfig, value: &str) -> Result<(), String> {
        let value = value.trim();
        let mut changed = config.clone();
        match self.field {
            Field::Number(field, least, most) => {
                let number = value.parse().ok().filter(|number| (least..=most).contains(number));
                *field(&mut changed) = number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))?;
            }
            Field::Ratio(field) => {
                let number = value.parse().ok().filter(|number| (0.0..=1.0).contains(number));
                *field(&mut changed) = number.ok_or_else(|| "expected a number from 0 to 1".to_owned())?;
            }
            Field::CleanupPolicy => changed.cleanup_policy = policy(value)?,
            Field::Compression => {
                let of = TopicCompression::of(value);
                changed.compression_type =
                    of.ok_or_else(|| "expected producer, uncompressed, gzip, snappy, lz4 or zstd".to_owned())?;
            }
            Field::TimestampType => {
                changed.log_append_time = match value {
                    "CreateTime" => false,
                    "LogAppendTime" => true,
                    _ => return Err("expected CreateTime or LogAppendTime".to_owned()),
                }
            }
            Field::Only(values, why) if !values.contains(&value) => {
                return Err(format!("{why}; it may be \"{}\"", values.join("\" or \"")));
            }
            Field::Only(..) => {}
        }
        if let Some(why) = self.not_built {
            let default = TopicConfig::default();
            if self.get(&changed) != self.get(&default) {
                return Err(format!("{why}; it may be \"{}\"", self.get(&default)));
            }
        }
        *config = changed;
        Ok(())
    }

    /// The value in force.
    pub fn get(&self, config: &TopicConfig) -> String {
        let mut config = config.clone();
        match self.field {
            Field::Number(field, ..) => field(&mut config).to_string(),
            Field::Ratio(field) => field(&mut config).to_string(),
            Field::CleanupPolicy => config.cleanup_policy.text().to_owned(),
            Field::Compression => config.compression_type.text().to_owned(),
            Field::TimestampType => if config.log_append_time { "LogAppendTime" } else { "CreateTime" }.to_owned(),
            Field::Only(values, _) => values[0].to_owned(),
        }
    }
}

fn policy(value: &str) -> Result<CleanupPolicy, String> {
    let mut policy = CleanupPolicy { delete: false, compact: false };
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part {
            "delete" => policy.delete = true,
            "compact" => policy.compact = true,
            _ => return Err("expected delete, compact, both with a comma between, or nothing".to_owned()),
        }
    }
    Ok(policy)
}
