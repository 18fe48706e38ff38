//! [`KafkaTemplate`]: sends records, typed by codecs.

mod record;
mod send;

#[cfg(all(test, feature = "embedded"))]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

pub use record::{ProducerRecord, Timestamp};
pub use send::{SendError, SendFuture, SendResult};

use crate::client::{ClientError, ClientErrorKind, Producer, RawProducerRecord, SendHandle};
use crate::codec::{CodecError, Serializer};

/// Sends records. Cheap to clone; every clone sends through the same producer, and `State<KafkaTemplate>` is always there.
///
/// No method is an `async fn`: a record takes its place in its partition's queue when the method is called, in call order;
/// the [`SendFuture`] is only the result, and dropping it un-sends nothing. Whatever goes wrong comes through it, never
/// otherwise.
#[derive(Clone)]
pub struct KafkaTemplate {
    producer: Option<Arc<dyn Producer>>,
    default_topic: Option<Arc<str>>,
}

thread_local! {
    /// Where keys and values are encoded that do not hold their bytes already.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Scratch memory above this is given back after a send.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

impl KafkaTemplate {
    /// A template over a producer, with a topic for [`send_default`](Self::send_default).
    pub fn new(producer: Arc<dyn Producer>, default_topic: Option<&str>) -> Self {
        Self { producer: Some(producer), default_topic: default_topic.map(Arc::from) }
    }

    /// A template whose every send fails: for tests of what must not send.
    pub fn disconnected() -> Self {
        Self { producer: None, default_topic: None }
    }

    /// The producer below it, if it has one.
    pub fn producer(&self) -> Option<&Arc<dyn Producer>> {
        self.producer.as_ref()
    }

    /// The same template with another topic for [`send_default`](Self::send_default).
    pub fn with_default_topic(&self, topic: &str) -> Self {
        Self { producer: self.producer.clone(), default_topic: Some(Arc::from(topic)) }
    }

    /// Sends a value without a key.
    pub fn send<V: Serializer>(&self, topic: &str, value: V) -> SendFuture {
        self.send_raw(topic, None, None, &(), &value, &[])
    }

    /// Sends a value with a key: records of one key go to one partition, in order.
    pub fn send_keyed<K: Serializer, V: Serializer>(&self, topic: &str, key: K, value: V) -> SendFuture {
        self.send_raw(topic, None, None, &key, &value, &[])
    }

    /// Sends a key and a value to a partition.
    pub fn send_to<K: Serializer, V: Serializer>(&self, topic: &str, partition: i32, key: K, value: V) -> SendFuture {
        self.send_raw(topic, Some(partition), None, &key, &value, &[])
    }

    /// Sends a key and a value to a partition with a timestamp.
    pub fn send_at<K: Serializer, V: Serializer>(
        &self,
        topic: &str,
        partition: i32,
        at: Timestamp,
        key: K,
        value: V,
    ) -> SendFuture {
        self.send_raw(topic, Some(partition), Some(at), &key, &value, &[])
    }

    /// Sends a value to the default topic; without one, the result is an error.
    pub fn send_default<V: Serializer>(&self, value: V) -> SendFuture {
        self.send_default_keyed((), value)
    }

    /// Sends a key and a value to the default topic; without one, the result is an error.
    pub fn send_default_keyed<K: Serializer, V: Serializer>(&self, key: K, value: V) -> SendFuture {
        match &self.default_topic {
            Some(topic) => self.send_raw(topic, None, None, &key, &value, &[]),
            None => SendFuture::failed(ClientError::new(
                ClientErrorKind::IllegalState,
                "send_default needs a default topic: give the app one with .default_topic(\"...\")",
            )),
        }
    }

    /// Sends a record with whatever it says: partition, timestamp, headers.
    pub fn send_record<K: Serializer, V: Serializer>(&self, record: ProducerRecord<K, V>) -> SendFuture {
        let headers: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref())).collect();
        self.send_raw(&record.topic, record.partition, record.timestamp, &record.key, &record.value, &headers)
    }

    fn send_raw(
        &self,
        topic: &str,
        partition: Option<i32>,
        timestamp: Option<Timestamp>,
        key: &dyn Serializer,
        value: &dyn Serializer,
        headers: &[(&str, Option<&[u8]>)],
    ) -> SendFuture {
        let Some(producer) = &self.producer else {
            return SendFuture::failed(ClientError::new(
                ClientErrorKind::Closed,
                format!("topic '{topic}': the template has no producer"),
            ));
        };
        let timestamp = timestamp.map(Timestamp::as_millis);
        let send = |key: Option<&[u8]>, value: Option<&[u8]>| {
            SendFuture::new(producer.send(RawProducerRecord { topic, partition, timestamp, key, value, headers }))
        };
        match (key.as_bytes(), value.as_bytes()) {
            (Some(key), Some(value)) => send(key, value),
            (key_bytes, value_bytes) => encoded(topic, key, key_bytes, value, value_bytes, send),
        }
    }

    /// Completes when everything sent before has its result.
    pub async fn flush(&self) -> Result<(), ClientError> {
        match &self.producer {
            Some(producer) => producer.flush().await,
            None => Ok(()),
        }
    }

    /// How many partitions a topic has; makes it where topics are made by their first use.
    pub async fn partitions_for(&self, topic: &str) -> Result<i32, ClientError> {
        match &self.producer {
            Some(producer) => producer.partitions_for(topic).await,
            None => Err(ClientError::new(ClientErrorKind::Closed, "the template has no producer")),
        }
    }

    pub(crate) async fn close(&self) -> Result<(), ClientError> {
        match &self.producer {
            Some(producer) => producer.close().await,
            None => Ok(()),
        }
    }
}

/// Encodes what does not hold its bytes already, in memory that this thread keeps.
fn encoded(
    topic: &str,
    key: &dyn Serializer,
    key_bytes: Option<Option<&[u8]>>,
    value: &dyn Serializer,
    value_bytes: Option<Option<&[u8]>>,
    send: impl FnOnce(Option<&[u8]>, Option<&[u8]>) -> SendFuture,
) -> SendFuture {
    let failed = |part: &str, error: CodecError| {
        let text = format!("topic '{topic}': the {part} cannot be encoded: {error}");
        SendFuture::failed(ClientError::with_source(ClientErrorKind::Serialization, text, error))
    };
    // A serializer that itself sends finds the scratch in use, and gets its own.
    let (mut key_out, mut value_out) =
        SCRATCH.with(|scratch| scratch.try_borrow_mut().map(|mut held| std::mem::take(&mut *held))).unwrap_or_default();
    key_out.clear();
    value_out.clear();
    let sent = (|| {
        let key = match key_bytes {
            Some(bytes) => bytes,
            None => key.serialize(&mut key_out).map_err(|error| failed("key", error))?.then_some(key_out.as_slice()),
        };
        let value = match value_bytes {
            Some(bytes) => bytes,
            None => value.serialize(&mut value_out).map_err(|error| failed("value", error))?.then_some(value_out.as_slice()),
        };
        Ok::<_, SendFuture>(send(key, value))
    })();
    if key_out.capacity() + value_out.capacity() <= SCRATCH_KEPT_BYTES {
        SCRATCH.with(|scratch| scratch.try_borrow_mut().map(|mut held| *held = (key_out, value_out)).ok());
    }
    sent.unwrap_or_else(|failed| failed)
}

impl fmt::Debug for KafkaTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTemplate").field("default_topic", &self.default_topic).finish_non_exhaustive()
    }
}

impl SendFuture {
    fn failed(error: ClientError) -> Self {
        Self::new(SendHandle::failed(error))
    }
}
