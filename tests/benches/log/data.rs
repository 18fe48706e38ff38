//! What is appended: batches as a client sends them.

use anyhow::{Context, Result};
use broker_core::record::{BatchBuilder, Compression};
use broker_core::{Broker, NewTopic, PartitionHandle};
use bytes::{Bytes, BytesMut};

use crate::args::{Args, Case};

/// Different batches are made up to this size, then they come again.
const DISTINCT_BYTES: usize = 8 << 20;
pub const TOPIC: &str = "log";

pub struct Data {
    batches: Vec<Bytes>,
    /// How many of them a run appends, over and over.
    count: usize,
}

impl Data {
    pub fn new(case: Case, value_bytes: usize) -> Result<Self> {
        let compression = Compression::new(case.codec).context("a codec that is not built in")?;
        let mut builder = BatchBuilder::new().compression(compression);
        let (mut text, mut batches, mut made) = (Text(1), Vec::new(), 0);
        let count = (value_bytes / (case.value_bytes * case.batch_records)).max(1);
        while batches.is_empty() || made < DISTINCT_BYTES && batches.len() < count {
            for _ in 0..case.batch_records {
                builder.append(now_ms(), None, Some(&text.value(case.value_bytes)), &[]);
            }
            made += case.value_bytes * case.batch_records;
            batches.push(Bytes::copy_from_slice(&builder.build()));
        }
        Ok(Self { batches, count })
    }

    /// The batches of a run, each in bytes of its own, as they come from a socket.
    pub fn fresh(&self) -> Vec<BytesMut> {
        self.batches.iter().cycle().take(self.count).map(|batch| BytesMut::from(&batch[..])).collect()
    }

    pub fn first(&self) -> BytesMut {
        BytesMut::from(&self.batches[0][..])
    }

    pub fn bytes(&self) -> usize {
        self.batches.iter().cycle().take(self.count).map(Bytes::len).sum()
    }
}

/// Words in no order: as compressible as text.
struct Text(u64);

impl Text {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn value(&mut self, bytes: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = ["order", "customer", "cents", "address", "note", "carrier", "delay", "flight"];
        let mut value = Vec::with_capacity(bytes + 32);
        while value.len() < bytes {
            value.extend_from_slice(WORDS[self.next() as usize % WORDS.len()].as_bytes());
            value.extend_from_slice(format!("={};", self.next() % 100_000).as_bytes());
        }
        value.truncate(bytes);
        value
    }
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A broker in a folder of its own, and the topic's partitions.
pub struct Opened {
    pub partitions: Vec<PartitionHandle>,
    _broker: Broker,
    pub dir: tempfile::TempDir,
}

pub fn open(args: &Args, case: Case) -> Result<Opened> {
    let dir = args.temporary()?;
    let broker = Broker::open(dir.path())?;
    let mut topic = NewTopic::new(TOPIC).partitions(case.partitions);
    topic.configs.insert("max.message.bytes".into(), (64 << 20).to_string());
    if case.durability.is_synced() {
        topic.configs.insert("flush.messages".into(), "1".into());
    }
    broker.create_topic(&topic)?;
    let partitions = (0..case.partitions).map(|partition| broker.partition(TOPIC, partition));
    let partitions = partitions.collect::<Result<Vec<_>, _>>()?;
    Ok(Opened { partitions, _broker: broker, dir })
}
