use std::fmt;
use std::sync::Arc;

use super::payload::{decode, payload};
use super::{FromRecord, Param, Timestamp};
use crate::client::{Headers, RawRecord, TimestampType, TopicPartition};
use crate::codec::{Deserializer, Field};
use crate::error::Rejection;
use crate::handler::DeliveredRecord;

/// One record with everything about it, its key and value decoded: `ConsumerRecord<String, Json<Order>>`. A key that may be
/// null is an `Option`, one that nobody looks at is `()`.
#[derive(Clone)]
pub struct ConsumerRecord<K, V> {
    topic_partition: TopicPartition,
    record: RawRecord,
    attempt: u32,
    key: K,
    value: V,
}

impl<K, V> ConsumerRecord<K, V> {
    /// A record made by hand, for calling a listener function in a test.
    pub fn new(topic_partition: TopicPartition, record: RawRecord, key: K, value: V) -> Self {
        Self { topic_partition, record, attempt: 1, key, value }
    }

    /// The topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic_partition.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.topic_partition.partition
    }

    /// Topic and partition together, as the consumer handle takes them.
    pub fn topic_partition(&self) -> TopicPartition {
        self.topic_partition.clone()
    }

    /// The offset in the partition.
    pub fn offset(&self) -> i64 {
        self.record.offset()
    }

    /// When it was made or appended; see [`timestamp_type`](Self::timestamp_type).
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.record.timestamp())
    }

    /// Whose clock the timestamp is.
    pub fn timestamp_type(&self) -> TimestampType {
        self.record.timestamp_type()
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// The value alone.
    pub fn into_value(self) -> V {
        self.value
    }

    /// Key and value.
    pub fn into_parts(self) -> (K, V) {
        (self.key, self.value)
    }

    /// The headers, in order, duplicates included.
    pub fn headers(&self) -> Headers<'_> {
        self.record.headers()
    }

    /// The last header of this name; `Some(None)` is one without a value.
    pub fn header(&self, name: &str) -> Option<Option<&[u8]>> {
        self.record.header(name)
    }

    /// Which delivery of the record this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The record as it came.
    pub fn raw(&self) -> &RawRecord {
        &self.record
    }
}

impl<'r, K: Deserializer<'r>, V: Deserializer<'r>> FromRecord<'r> for ConsumerRecord<K, V> {
    const PARAM: Param = Param::Record;

    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
        let key = K::deserialize(Field::key(record.record)).map_err(decode)?;
        let value = payload(record)?;
        Ok(Self {
            topic_partition: record.topic_partition.clone(),
            record: record.record.clone(),
            attempt: record.attempt,
            key,
            value,
        })
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for ConsumerRecord<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerRecord")
            .field("at", &format_args!("{}@{}", self.topic_partition, self.record.offset()))
            .field("key", &self.key)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
