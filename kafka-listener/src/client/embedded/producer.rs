//! Sends into the broker in this process. A record is encoded straight into its partition's open batch under one short lock;
//! a full batch is appended to the log by whoever filled it. Nothing is ever in flight, so there is nothing to retry or to
//! reorder: a produce succeeds, or fails for good.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use broker_core::record::BatchBuilder;
use broker_core::{Broker, Clock, PartitionHandle};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client_error;
use super::partitioner::{Sticky, keyed};
use crate::client::config::{Acks, ProducerConfig};
use crate::client::{BoxFuture, ClientError, ClientErrorKind, Producer, RawProducerRecord, SendCell, SendHandle, TopicPartition};

pub(super) struct EmbeddedProducer(Arc<Shared>);

struct Shared {
    broker: Broker,
    clock: Arc<dyn Clock>,
    config: ProducerConfig,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>, foldhash::fast::RandomState>>,
    /// Open batches in the order in which their linger ends, and which batch of the queue it was.
    lingering: Mutex<VecDeque<(Instant, Weak<Queue>, u64)>>,
    linger_wake: Notify,
    task: Mutex<Option<JoinHandle<()>>>,
    random: AtomicU64,
    closed: AtomicBool,
}

struct Topic {
    /// The metadata epoch at which the queues were made.
    epoch: u64,
    queues: Vec<Arc<Queue>>,
    sticky: Mutex<Sticky>,
}

/// One partition's open batch.
struct Queue {
    partition: TopicPartition,
    handle: PartitionHandle,
    acks: Acks,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    builder: BatchBuilder,
    cell: Option<Arc<SendCell>>,
    /// Which batch this is.
    batch: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// Appends the open batch to the log and gives its sends their result.
    fn flush(&self, state: &mut QueueState) {
        let Some(cell) = state.cell.take() else { return };
        state.batch += 1;
        let result = self.handle.produce(state.builder.build());
        cell.complete(match result {
            Ok(_) if self.acks == Acks::Zero => Ok((-1, None)),
            Ok(produced) => Ok((produced.base_offset, produced.log_append_time)),
            Err(error) => Err(client_error(error)),
        });
    }

    fn flush_batch(&self, batch: u64) {
        let mut state = lock(&self.state);
        if state.batch == batch {
            self.flush(&mut state);
        }
    }
}

impl EmbeddedProducer {
    pub fn new(broker: Broker, config: ProducerConfig) -> Self {
        let clock = broker.clock().clone();
        let random = AtomicU64::new(0x2545_f491_4f6c_dd1d);
        Self(Arc::new(Shared {
            broker,
            clock,
            config,
            topics: RwLock::default(),
            lingering: Mutex::default(),
            linger_wake: Notify::new(),
            task: Mutex::default(),
            random,
            closed: AtomicBool::new(false),
        }))
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
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.broker.metadata_epoch();
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
                Ok(Arc::new(Queue { partition, handle, acks: self.config.acks, state: Mutex::default() }))
            })
            .collect::<Result<Vec<_>, ClientError>>()?;
        let topic = Arc::new(Topic { epoch, queues, sticky: Mutex::default() });
        topics.insert(found.name, topic.clone());
        Ok(topic)
    }

    fn random(&self) -> u64 {
        // A Weyl sequence through a mixer: spread is all that is asked of it.
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    fn choose(&self, topic: &Topic, record: &RawProducerRecord<'_>, size: usize) -> Result<Arc<Queue>, ClientError> {
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
        Ok(topic.queues[index].clone())
    }

    fn send(self: &Arc<Self>, record: RawProducerRecord<'_>) -> Result<SendHandle, ClientError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ClientError::new(ClientErrorKind::Closed, format!("topic '{}': the producer is closed", record.topic)));
        }
        let size = BatchBuilder::size_of(record.key, record.value, record.headers);
        if size > self.config.max_request_size {
            let text = format!(
                "topic '{}': a record of {size} bytes is over max.request.size ({})",
                record.topic, self.config.max_request_size
            );
            return Err(ClientError::new(ClientErrorKind::RecordTooLarge, text));
        }
        let topic = self.topic(record.topic)?;
        let queue = self.choose(&topic, &record, size)?;
        let timestamp = record.timestamp.unwrap_or_else(|| self.clock.wall_ms());
        let mut state = lock(&queue.state);
        if !state.builder.is_empty() && state.builder.size() + size > self.config.batch_size {
            queue.flush(&mut state);
        }
        let index = state.builder.append(timestamp, record.key, record.value, record.headers);
        let (cell, batch) = match &state.cell {
            Some(cell) => (cell.clone(), None),
            None => {
                let (kicked, batch) = (Arc::downgrade(&queue), state.batch);
                let kick = move || kicked.upgrade().iter().for_each(|queue| queue.flush_batch(batch));
                let cell = SendCell::new(queue.partition.clone(), Some(Box::new(kick)));
                state.cell = Some(cell.clone());
                (cell, Some(batch))
            }
        };
        let full = state.builder.size() >= self.config.batch_size;
        if full || self.config.linger.is_zero() || batch.is_some_and(|batch| !self.linger(&queue, batch)) {
            queue.flush(&mut state);
        }
        Ok(SendHandle::in_batch(cell, index, timestamp))
    }

    /// Lets the linger task flush a batch in time; false if there is no runtime for one.
    fn linger(self: &Arc<Self>, queue: &Arc<Queue>, batch: u64) -> bool {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        let first = {
            let mut lingering = lock(&self.lingering);
            lingering.push_back((Instant::now() + self.config.linger, Arc::downgrade(queue), batch));
            lingering.len() == 1
        };
        if first {
            let mut task = lock(&self.task);
            if task.as_ref().is_none_or(JoinHandle::is_finished) {
                *task = Some(runtime.spawn(flush_in_time(Arc::downgrade(self))));
            }
            drop(task);
            self.linger_wake.notify_one();
        }
        true
    }

    fn flush_all(&self) {
        let topics: Vec<Arc<Topic>> = self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for queue in topics.iter().flat_map(|topic| &topic.queues) {
            queue.flush(&mut lock(&queue.state));
        }
    }
}

/// Flushes batches whose linger has passed; ends with the producer.
async fn flush_in_time(producer: Weak<Shared>) {
    loop {
        let Some(shared) = producer.upgrade() else { return };
        let next = lock(&shared.lingering).front().map(|(at, ..)| *at);
        match next {
            Some(at) if at <= Instant::now() => {
                let due = lock(&shared.lingering).pop_front();
                if let Some((_, queue, batch)) = due {
                    queue.upgrade().iter().for_each(|queue| queue.flush_batch(batch));
                }
            }
            Some(at) => {
                drop(shared);
                tokio::time::sleep_until(at).await;
            }
            None => {
                if shared.closed.load(Ordering::Acquire) {
                    return;
                }
                shared.linger_wake.notified().await;
            }
        }
    }
}

impl Producer for EmbeddedProducer {
    fn send(&self, record: RawProducerRecord<'_>) -> SendHandle {
        self.0.send(record).unwrap_or_else(SendHandle::failed)
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        self.0.flush_all();
        Box::pin(std::future::ready(Ok(())))
    }

    fn partitions_for(&self, topic: &str) -> BoxFuture<'_, Result<i32, ClientError>> {
        let count = self.0.topic(topic).map(|topic| topic.queues.len() as i32);
        Box::pin(std::future::ready(count))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        self.0.closed.store(true, Ordering::Release);
        self.0.flush_all();
        let task = lock(&self.0.task).take();
        Box::pin(async {
            if let Some(task) = task {
                task.abort();
                let _ = task.await;
            }
            Ok(())
        })
    }
}

impl Drop for EmbeddedProducer {
    fn drop(&mut self) {
        self.0.flush_all();
        if let Some(task) = lock(&self.0.task).take() {
            task.abort();
        }
    }
}
