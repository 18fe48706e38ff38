//! Sends into the broker in this process. A record is encoded straight into its partition's open batch under one short lock;
//! a full batch is appended to the log by whoever filled it. Nothing is ever in flight, so there is nothing to retry, to time
//! out or to reorder: a produce succeeds, or fails for good.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use broker_core::record::{BatchBuilder, Compression};
use broker_core::{Broker, Clock};
use tokio::time::Instant;

use super::client_error;
use super::partitioner::{Sticky, keyed};
use super::queue::{Linger, Queue, closed, lock};
use crate::client::config::ProducerConfig;
use crate::client::{BoxFuture, ClientError, ClientErrorKind, Producer, RawProducerRecord, SendHandle, TopicPartition};

pub(super) struct EmbeddedProducer(Arc<Shared>);

struct Shared {
    broker: Broker,
    clock: Arc<dyn Clock>,
    config: ProducerConfig,
    compression: Compression,
    /// Id and epoch, once something was sent.
    identity: OnceLock<(i64, i16)>,
    /// Never iterated: see `queues`.
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>, foldhash::fast::RandomState>>,
    linger: Arc<Linger>,
    /// What all open batches may grow to.
    reserved: Arc<AtomicUsize>,
    random: AtomicU64,
    closed: AtomicBool,
}

struct Topic {
    /// The metadata epoch at which the queues were made.
    epoch: u64,
    queues: Vec<Arc<Queue>>,
    sticky: Mutex<Sticky>,
}

impl EmbeddedProducer {
    pub fn new(broker: Broker, config: ProducerConfig, compression: Compression) -> Self {
        let clock = broker.clock().clone();
        let random = AtomicU64::new(0x2545_f491_4f6c_dd1d);
        let linger = Linger::new(config.linger, config.buffer_memory);
        let (identity, topics) = (OnceLock::new(), RwLock::default());
        let (reserved, closed) = (Arc::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { broker, clock, config, compression, identity, topics, linger, reserved, random, closed }))
    }
}

impl Shared {
    fn topic(&self, name: &str) -> Result<Arc<Topic>, ClientError> {
        let epoch = self.broker.metadata_epoch();
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match known {
            Some(topic) if topic.epoch == epoch => Ok(topic),
            _ => self.load(name),
        }
    }

    fn load(&self, name: &str) -> Result<Arc<Topic>, ClientError> {
        let found = self.broker.topic_or_create(name).map_err(client_error)?;
        if found.internal {
            return Err(ClientError::new(
                ClientErrorKind::Broker,
                format!("topic '{name}' is internal: clients may not write it"),
            ));
        }
        let identity = self.identity()?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            // `close` has closed the queues that it saw: none may appear behind its back.
            return Err(closed(name));
        }
        // First the epoch, then what there is, both under the lock: what comes between is looked up again, and who looked earlier takes no
        // queue away that has come since.
        let epoch = self.broker.metadata_epoch();
        let found = self.broker.topic(name).unwrap_or(found);
        let before = topics.get(name).cloned();
        let queues = (0..found.partitions)
            .map(|number| {
                let kept = before
                    .as_ref()
                    .and_then(|topic| topic.queues.get(number as usize))
                    .filter(|queue| !queue.handle.is_deleted());
                if let Some(queue) = kept {
                    return Ok(queue.clone());
                }
                let handle = self.broker.partition(name, number).map_err(client_error)?;
                let partition = TopicPartition::new(found.name.clone(), number);
                let (acks, limit) = (self.config.acks, self.config.batch_size);
                Ok(Arc::new(Queue::new(partition, handle, acks, limit, self.compression, identity, self.reserved.clone())))
            })
            .collect::<Result<Vec<_>, ClientError>>()?;
        let topic = Arc::new(Topic { epoch, queues, sticky: Mutex::default() });
        topics.insert(found.name, topic.clone());
        Ok(topic)
    }

    /// By which the broker recognises a batch that it had before; none without `enable.idempotence`.
    fn identity(&self) -> Result<Option<(i64, i16)>, ClientError> {
        if !self.config.idempotent {
            return Ok(None);
        }
        if let Some(identity) = self.identity.get() {
            return Ok(Some(*identity));
        }
        let given = self.broker.init_producer_id().map_err(client_error)?;
        // Two sends at once take two ids: one of them is never used.
        Ok(Some(*self.identity.get_or_init(|| given)))
    }

    fn random(&self) -> u64 {
        // A Weyl sequence through a mixer: spread is all that is asked of it.
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    fn choose<'t>(&self, topic: &'t Topic, record: &RawProducerRecord<'_>, size: usize) -> Result<&'t Arc<Queue>, ClientError> {
        let count = topic.queues.len();
        let index = match (record.partition, record.key) {
            (Some(partition), _) => usize::try_from(partition).ok().filter(|partition| *partition < count).ok_or_else(|| {
                let text = format!("topic '{}' has {count} partitions, there is no {partition}", record.topic);
                ClientError::new(ClientErrorKind::UnknownTopicOrPartition, text)
            })?,
            (None, Some(key)) => keyed(key, count),
            (None, None) if count == 1 => 0,
            (None, None) => lock(&topic.sticky).next(size, self.config.batch_size.max(1), count, || self.random()),
        };
        Ok(&topic.queues[index])
    }

    /// What no topic can change.
    fn check(&self, record: &RawProducerRecord<'_>, size: usize) -> Result<(), ClientError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed(record.topic));
        }
        for (limit, name) in [(self.config.max_request_size, "max.request.size"), (self.config.buffer_memory, "buffer.memory")] {
            if size > limit {
                let text = format!("topic '{}': a record of {size} bytes is over {name} ({limit})", record.topic);
                return Err(ClientError::new(ClientErrorKind::RecordTooLarge, text));
            }
        }
        if let Some(timestamp) = record.timestamp.filter(|timestamp| *timestamp < 0) {
            let text = format!("topic '{}': timestamp {timestamp} must not be negative", record.topic);
            return Err(ClientError::new(ClientErrorKind::Broker, text));
        }
        Ok(())
    }

    fn place(&self, topic: &Topic, record: &RawProducerRecord<'_>, size: usize) -> Result<SendHandle, ClientError> {
        let queue = self.choose(topic, record, size)?;
        let timestamp = record.timestamp.unwrap_or_else(|| self.clock.wall_ms());
        queue.append(record, timestamp, size, &self.linger)
    }

    fn send(self: &Arc<Self>, record: RawProducerRecord<'_>) -> Result<SendHandle, ClientError> {
        let size = BatchBuilder::size_of(record.key, record.value, record.headers);
        self.check(&record, size)?;
        match self.topic(record.topic) {
            Ok(topic) => self.place(&topic, &record, size),
            Err(error) if error.kind() == ClientErrorKind::UnknownTopicOrPartition && !self.config.max_block.is_zero() => {
                Ok(self.send_when_there(&record, size, error))
            }
            Err(error) => Err(error),
        }
    }

    /// The topic is not there, and sends may not make it: waits for somebody to create it, at most `max.block.ms`. Such a
    /// record takes its place when the topic is there and the result is awaited.
    fn send_when_there(self: &Arc<Self>, record: &RawProducerRecord<'_>, size: usize, error: ClientError) -> SendHandle {
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let (shared, deadline) = (self.clone(), Instant::now() + self.config.max_block);
        let (topic, partition, timestamp) = (record.topic.to_owned(), record.partition, record.timestamp);
        let (key, value) = (own(record.key), own(record.value));
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| ((*name).to_owned(), own(*value))).collect();
        SendHandle::deferred(Box::pin(async move {
            loop {
                let seen = shared.broker.metadata_epoch();
                match shared.topic(&topic) {
                    Ok(found) => {
                        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                        let (key, value) = (key.as_deref(), value.as_deref());
                        let record = RawProducerRecord { topic: &topic, partition, timestamp, key, value, headers: &headers };
                        let placed = shared.place(&found, &record, size)?;
                        return placed.await;
                    }
                    Err(error) if error.kind() == ClientErrorKind::UnknownTopicOrPartition => {}
                    Err(error) => return Err(error),
                }
                tokio::select! {
                    biased;
                    _ = shared.broker.metadata_changed(seen) => {}
                    () = tokio::time::sleep_until(deadline) => {
                        let waited = shared.config.max_block.as_millis();
                        let text = format!("{error}; waited max.block.ms ({waited}) for it");
                        return Err(ClientError::with_source(ClientErrorKind::UnknownTopicOrPartition, text, error));
                    }
                }
            }
        }))
    }

    /// All queues, topics by name, so that two runs flush in the same order.
    fn queues(&self) -> Vec<Arc<Queue>> {
        let mut topics: Vec<(Arc<str>, Arc<Topic>)> = {
            let known = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().map(|(name, topic)| (name.clone(), topic.clone())).collect()
        };
        topics.sort_by(|(a, _), (b, _)| a.cmp(b));
        topics.iter().flat_map(|(_, topic)| topic.queues.iter().cloned()).collect()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queues().iter().for_each(|queue| queue.close());
        self.linger.end();
    }
}

/// Completes when what was sent has its result: the disk may take its time.
async fn settled(queues: &[Arc<Queue>]) {
    for queue in queues {
        if let Some(end) = queue.handle.unacknowledged() {
            // Each send has its own result.
            let _ = queue.handle.acknowledged(end).await;
        }
    }
}

impl Producer for EmbeddedProducer {
    fn send(&self, record: RawProducerRecord<'_>) -> SendHandle {
        self.0.send(record).unwrap_or_else(SendHandle::failed)
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        let queues = self.0.queues();
        queues.iter().for_each(|queue| queue.flush());
        Box::pin(async move {
            settled(&queues).await;
            Ok(())
        })
    }

    fn partitions_for(&self, topic: &str) -> BoxFuture<'_, Result<i32, ClientError>> {
        let count = self.0.topic(topic).map(|topic| topic.queues.len() as i32);
        Box::pin(std::future::ready(count))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        {
            // Under the lock that makes queues: each is either seen below or refused.
            let _topics = self.0.topics.write().unwrap_or_else(PoisonError::into_inner);
            self.0.closed.store(true, Ordering::Release);
        }
        let queues = self.0.queues();
        queues.iter().for_each(|queue| queue.close());
        Box::pin(async move {
            settled(&queues).await;
            self.0.linger.close().await;
            Ok(())
        })
    }
}
