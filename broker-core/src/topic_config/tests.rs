use std::collections::BTreeMap;

use super::{AlterConfig, CleanupPolicy, ConfigChange, ConfigKind, ConfigSource, Overrides, TopicCompression, TopicConfig};
use crate::error::ErrorCode;
use crate::record::Codec;

fn overrides(pairs: &[(&str, &str)]) -> Result<Overrides, String> {
    overrides_over(&TopicConfig::default(), pairs)
}

fn overrides_over(defaults: &TopicConfig, pairs: &[(&str, &str)]) -> Result<Overrides, String> {
    let values: BTreeMap<String, String> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Overrides::new("t", &values, defaults).map_err(|error| {
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
        error.to_string()
    })
}

fn resolved(pairs: &[(&str, &str)]) -> TopicConfig {
    overrides(pairs).expect("fine").resolve(&TopicConfig::default())
}

#[test]
fn each_setting_is_taken_as_it_is_described() {
    let defaults = TopicConfig::default();
    for entry in Overrides::default().describe(&defaults) {
        let set = overrides(&[(entry.name, &entry.value)]).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        assert_eq!(set.resolve(&defaults), defaults, "{}", entry.name);
        let described = set.describe(&defaults).into_iter().find(|other| other.name == entry.name).expect("described");
        assert_eq!((described.value, described.source), (entry.value, ConfigSource::DynamicTopic), "{}", entry.name);
    }
}

#[test]
fn settings_are_read_into_their_fields() {
    let read = resolved(&[
        ("compression.type", "gzip"),
        ("compression.gzip.level", "9"),
        ("max.message.bytes", " 2000 "),
        ("message.timestamp.type", "LogAppendTime"),
        ("segment.bytes", "4096"),
        ("message.timestamp.before.max.ms", "5"),
    ]);
    let expected = TopicConfig {
        compression_type: TopicCompression::Always(Codec::Gzip),
        compression_gzip_level: 9,
        max_message_bytes: 2000,
        log_append_time: true,
        segment_bytes: 4096,
        message_timestamp_before_max_ms: 5,
        ..TopicConfig::default()
    };
    assert_eq!(read, expected);
    assert_eq!(resolved(&[("compression.type", "uncompressed")]).compression_type, TopicCompression::Always(Codec::None));
    assert_eq!(resolved(&[]), TopicConfig::default());
}

#[test]
fn every_problem_is_told_by_name() {
    for (name, value, part) in [
        ("max.message.bytes", "60", "whole number from 61 to 2147483647"),
        ("segment.bytes", "1023", "from 1024"),
        ("message.timestamp.type", "Mine", "CreateTime or LogAppendTime"),
        ("compression.type", "brotli", "uncompressed, gzip"),
        ("compression.lz4.level", "18", "1 to 17"),
        ("cleanup.policy", "forget", "delete, compact"),
        ("min.cleanable.dirty.ratio", "1.5", "from 0 to 1"),
        ("min.cleanable.dirty.ratio", "NaN", "from 0 to 1"),
        ("preallocate", "true", "it may be \"false\""),
        ("remote.storage.enable", "true", "no remote storage"),
        ("log.segment.bytes", "5000", "for a topic it is segment.bytes"),
        ("segment.byte", "5000", "no topic setting"),
    ] {
        let error = overrides(&[(name, value)]).expect_err(name);
        assert!(error.contains(&format!("topic 't': {name}")) && error.contains(part), "{name}={value}: {error}");
    }
    let error = overrides(&[("max.message.bytes", "x"), ("segment.bytes", "y"), ("z", "1")]).expect_err("three");
    assert_eq!(error.matches("; ").count(), 2, "{error}");
    let error = overrides(&[("compression.type", "lz4"), ("compression.lz4.level", "17")]).expect_err("no such level");
    assert!(error.contains("compression.type: "), "{error}");
}

fn altered(before: &[(&str, &str)], changes: &[(&str, AlterConfig)]) -> Result<BTreeMap<String, String>, ErrorCode> {
    let changes: Vec<_> = changes.iter().map(|(name, change)| ConfigChange::new(*name, change.clone())).collect();
    let altered = overrides(before).expect("fine").altered("t", &changes, &TopicConfig::default());
    altered.map(|altered| altered.values().clone()).map_err(|error| error.code())
}

#[test]
fn settings_are_set_and_deleted() {
    let set = |value: &str| AlterConfig::Set(value.to_owned());
    let after = altered(
        &[("segment.bytes", "2000"), ("max.message.bytes", "100")],
        &[("segment.bytes", AlterConfig::Delete), ("max.message.bytes", set("200")), ("retention.ms", AlterConfig::Delete)],
    );
    assert_eq!(after, Ok(BTreeMap::from([("max.message.bytes".to_owned(), "200".to_owned())])));
    for (changes, code) in [
        (&[("segment.bytes", set("1"))][..], ErrorCode::InvalidConfig),
        (&[("nothing", AlterConfig::Delete)], ErrorCode::InvalidConfig),
        (&[("segment.bytes", AlterConfig::Append("1".to_owned()))], ErrorCode::InvalidConfig),
        (&[("segment.bytes", set("2000")), ("segment.bytes", AlterConfig::Delete)], ErrorCode::InvalidRequest),
    ] {
        assert_eq!(altered(&[], changes), Err(code), "{changes:?}");
    }
}

#[test]
fn the_brokers_defaults_hold_where_a_topic_says_nothing() {
    let mut defaults = TopicConfig::default();
    assert_eq!(defaults.set_default("log.segment.bytes", "5000"), Some(Ok(())));
    assert_eq!(defaults.set_default("message.max.bytes", "100"), Some(Ok(())));
    assert_eq!(defaults.set_default("segment.bytes", "5000"), None);
    assert!(defaults.set_default("log.segment.bytes", "many").expect("known").is_err());
    let set = overrides_over(&defaults, &[("segment.bytes", "6000")]).expect("fine");
    assert_eq!((set.resolve(&defaults).segment_bytes, set.resolve(&defaults).max_message_bytes), (6000, 100));
    let entries = set.describe(&defaults);
    let entry = |name: &str| entries.iter().find(|entry| entry.name == name).expect("described");
    let segment = entry("segment.bytes");
    assert_eq!((segment.value.as_str(), segment.source, segment.kind), ("6000", ConfigSource::DynamicTopic, ConfigKind::Int));
    let synonyms: Vec<_> = segment.synonyms.iter().map(|(name, value, source)| (*name, value.as_str(), *source)).collect();
    let expected = [
        ("segment.bytes", "6000", ConfigSource::DynamicTopic),
        ("log.segment.bytes", "5000", ConfigSource::StaticBroker),
        ("log.segment.bytes", "1073741824", ConfigSource::Default),
    ];
    assert_eq!(synonyms, expected);
    assert_eq!(
        (entry("max.message.bytes").source, entry("index.interval.bytes").source),
        (ConfigSource::StaticBroker, ConfigSource::Default)
    );
    let wrong = TopicConfig { segment_bytes: 1, cleanup_policy: CleanupPolicy { delete: true, compact: false }, ..defaults };
    assert_eq!(wrong.validate(), ["log.segment.bytes is 1: expected a whole number from 1024 to 2147483647"]);
}
