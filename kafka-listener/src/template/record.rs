use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

/// A moment, in milliseconds since 1970: a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Now, by the machine's clock.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// This many milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .map_or_else(|before| -(before.duration().as_millis() as i64), |since| since.as_millis() as i64),
        )
    }
}

/// A record to send, with all that can be said of it.
#[derive(Debug, Clone)]
pub struct ProducerRecord<K, V> {
    pub(super) topic: String,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) key: K,
    pub(super) value: V,
    pub(super) headers: Vec<(String, Option<Bytes>)>,
}

impl<V> ProducerRecord<(), V> {
    /// A value for a topic, without a key.
    pub fn new(topic: impl Into<String>, value: V) -> Self {
        Self { topic: topic.into(), partition: None, timestamp: None, key: (), value, headers: Vec::new() }
    }
}

impl<K, V> ProducerRecord<K, V> {
    /// Sets the key.
    pub fn key<K2>(self, key: K2) -> ProducerRecord<K2, V> {
        let Self { topic, partition, timestamp, key: _, value, headers } = self;
        ProducerRecord { topic, partition, timestamp, key, value, headers }
    }

    /// Sets the partition; without one the key decides.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp; now by default.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Adds a header; names may repeat, order is kept.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Adds a header without a value.
    pub fn null_header(mut self, name: impl Into<String>) -> Self {
        self.headers.push((name.into(), None));
        self
    }
}
