//! What is written, and by what rules: every batch is known beforehand, so what a log may hold is known too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use broker_core::record::{BatchBuilder, batches};
use broker_core::{Broker, BrokerConfig, NewTopic, PartitionHandle};
use bytes::BytesMut;

/// When the day begins.
pub const NOW: i64 = 1_767_225_600_000;
pub const GROUP: &str = "group";

/// A topic of the script, and what its settings promise.
pub struct Plan {
    pub name: &'static str,
    pub partitions: i32,
    pub settings: &'static [(&'static str, &'static str)],
    /// How many acknowledged records a power cut may take; `None` for any number.
    pub may_lose: Option<i64>,
    pub compacted: bool,
}

pub const PLANS: [Plan; 6] = [
    Plan { name: "cached", partitions: 2, settings: &[("retention.bytes", "3000")], may_lose: None, compacted: false },
    Plan { name: "synced", partitions: 2, settings: &[("flush.messages", "1")], may_lose: Some(0), compacted: false },
    Plan { name: "some", partitions: 1, settings: &[("flush.messages", "5")], may_lose: Some(4), compacted: false },
    Plan { name: "timed", partitions: 1, settings: &[("flush.ms", "500")], may_lose: None, compacted: false },
    Plan {
        name: "loose",
        partitions: 1,
        settings: &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01")],
        may_lose: None,
        compacted: true,
    },
    Plan {
        name: "keyed",
        partitions: 1,
        settings: &[("cleanup.policy", "compact"), ("flush.messages", "1"), ("min.cleanable.dirty.ratio", "0.01")],
        may_lose: Some(0),
        compacted: true,
    },
];

/// What the broker has told until now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promised {
    pub partitions: BTreeMap<(String, i32), Told>,
    /// Topics that are there, and those of which it is not told yet whether they are.
    pub topics: BTreeMap<String, bool>,
    pub gone: Vec<String>,
    /// The offset that was committed, and the one that is being committed.
    pub committed: (Option<i64>, i64),
    pub producer_id: Option<i64>,
    /// The topics with transactions.
    pub transactions: BTreeMap<&'static str, super::transactions::Told>,
}

/// Of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub batches: usize,
    /// Behind the last record that was acknowledged, and behind the last that is durable although nobody waited for it.
    pub end: i64,
    pub durable: i64,
    /// Nothing before it may be there, if it was told so; and nothing behind the second may be missing.
    pub start: i64,
    pub start_at_most: i64,
}

/// No partition gets more.
const BATCHES_MAX: usize = 1000;
/// So that segments are full soon.
const FILLING: &str = "...............................................................................";

#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = String::from_utf8_lossy(self.value.as_deref().unwrap_or_default());
        write!(f, "{}: {}={}", self.offset, String::from_utf8_lossy(&self.key), value.trim_end_matches(['.', ' ']))
    }
}

/// The records of a partition's n-th batch, without their offsets.
fn records(number: usize) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    (0..number % 3 + 1).map(move |index| {
        let value = (number % 7 != 6).then(|| format!("{number}.{index} {FILLING}").into_bytes());
        (format!("k{}", (number * 2 + index) % 5).into_bytes(), value)
    })
}

/// The first offset of a partition's n-th batch: one, two, three records, and again.
pub fn base_of(number: usize) -> i64 {
    (number / 3 * 6 + [0, 1, 3][number % 3]) as i64
}

/// What a partition's first `count` batches hold.
pub fn written(count: usize) -> &'static [Record] {
    static ALL: OnceLock<Vec<Record>> = OnceLock::new();
    let number = |(offset, (key, value)): (usize, (Vec<u8>, Option<Vec<u8>>))| Record { offset: offset as i64, key, value };
    let all = ALL.get_or_init(|| (0..BATCHES_MAX).flat_map(records).enumerate().map(number).collect());
    &all[..base_of(count) as usize]
}

/// A partition's n-th batch, of its own producer.
pub fn batch(now: i64, producer: i64, number: usize) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(producer, 0, base_of(number) as i32);
    for (key, value) in records(number) {
        builder.append(now, Some(&key), value.as_deref(), &[]);
    }
    builder.build()
}

/// Which producer writes to a partition.
pub fn producer_of(topic: &str, partition: i32) -> i64 {
    1000 + i64::from(topic.as_bytes()[0]) * 10 + i64::from(partition)
}

/// Everything that may be read of a partition.
pub fn read(partition: &PartitionHandle) -> Vec<Record> {
    let (mut all, mut next) = (Vec::new(), partition.log_start());
    while next < partition.end_offset() {
        let before = next;
        for run in partition.fetch(next, 1 << 20).expect("fetched").batches {
            for batch in batches(&run) {
                let batch = batch.expect("a batch");
                batch.verify_crc().expect("sound");
                next = batch.last_offset() + 1;
                for record in batch.records() {
                    let record = record.expect("sound");
                    if record.offset >= partition.log_start() {
                        let (key, value) = (record.key().unwrap_or_default().to_vec(), record.value().map(<[u8]>::to_vec));
                        all.push(Record { offset: record.offset, key, value });
                    }
                }
            }
        }
        assert!(next > before, "{partition:?}: nothing at {next}");
    }
    all
}

/// Everything happens soon.
pub fn config() -> BrokerConfig {
    BrokerConfig {
        offsets_topic_num_partitions: 1,
        offsets_topic_segment_bytes: 2000,
        log_retention_check_interval_ms: 1900,
        log_flush_offset_checkpoint_interval_ms: 2700,
        log_cleaner_backoff_ms: 3100,
        ..BrokerConfig::default()
    }
}

pub fn new_topic(plan: &Plan) -> NewTopic {
    let mut topic = NewTopic::new(plan.name).partitions(plan.partitions);
    let small = [("segment.bytes", "1024"), ("index.interval.bytes", "150"), ("file.delete.delay.ms", "400")];
    for (name, value) in small.iter().chain(plan.settings) {
        topic.configs.insert((*name).to_owned(), (*value).to_owned());
    }
    topic
}

pub fn committed(broker: &Broker) -> Option<i64> {
    let asked = [broker_core::TopicPartition::new("synced", 0)];
    broker.fetch_offsets(GROUP, Some(&asked)).remove(0).1.map(|stored| stored.offset)
}
