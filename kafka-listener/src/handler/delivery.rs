use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::client::{ConsumerRecords, RawRecord, TopicPartition};
use crate::error::Rejection;
use crate::listener::{Acknowledgment, ConsumerHandle};

/// One record or one batch on its way to a listener: the request of the tower stack. Owned, `'static`, cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    context: Arc<DeliveryContext>,
    payload: Payload,
    acknowledgment: Option<Acknowledgment>,
}

/// What is delivered.
#[derive(Debug, Clone)]
pub enum Payload {
    /// One record.
    Record {
        /// Where it comes from.
        topic_partition: TopicPartition,
        /// The record.
        record: RawRecord,
        /// Which delivery of it this is, from 1.
        attempt: u32,
    },
    /// The records of one poll.
    Batch(Arc<BatchRecords>),
}

/// The records of one batch, in the order in which they are handed over.
#[derive(Debug, Clone, Default)]
pub struct BatchRecords {
    partitions: Vec<TopicPartition>,
    records: Vec<BatchRecord>,
}

/// One record of a batch.
#[derive(Debug, Clone)]
pub struct BatchRecord {
    partition: u32,
    /// The record.
    pub record: RawRecord,
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
}

impl BatchRecords {
    /// The records of a poll, partition by partition, each at its first attempt.
    pub fn from_poll(polled: ConsumerRecords) -> Self {
        let mut batch = Self::default();
        batch.records.reserve(polled.count());
        for part in polled.partitions {
            let partition = batch.partitions.len() as u32;
            batch.partitions.push(part.topic_partition);
            batch.records.extend(part.records.into_iter().map(|record| BatchRecord { partition, record, attempt: 1 }));
        }
        batch
    }

    /// None yet, with room for this many.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { partitions: Vec::new(), records: Vec::with_capacity(capacity) }
    }

    /// Adds a record at the end.
    pub fn push(&mut self, topic_partition: &TopicPartition, record: RawRecord, attempt: u32) {
        if self.partitions.last() != Some(topic_partition) {
            self.partitions.push(topic_partition.clone());
        }
        self.records.push(BatchRecord { partition: (self.partitions.len() - 1) as u32, record, attempt });
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Record `index` and where it comes from.
    pub fn get(&self, index: usize) -> Option<(&TopicPartition, &BatchRecord)> {
        self.records.get(index).map(|record| (&self.partitions[record.partition as usize], record))
    }

    /// All records and where they come from.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TopicPartition, &BatchRecord)> {
        self.records.iter().map(|record| (&self.partitions[record.partition as usize], record))
    }
}

/// One record as an extractor sees it.
#[derive(Debug, Clone, Copy)]
pub struct DeliveredRecord<'r> {
    /// Where it comes from.
    pub topic_partition: &'r TopicPartition,
    /// The record.
    pub record: &'r RawRecord,
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
}

impl DeliveredRecord<'_> {
    /// Says in a rejection which record it is about, unless it does already.
    pub fn blame(&self, rejection: Rejection) -> Rejection {
        rejection.at(self.topic_partition.clone(), self.record.offset())
    }
}

/// What all deliveries of one worker share: who listens, in which group, with what state.
pub struct DeliveryContext {
    listener_id: Arc<str>,
    group_id: Option<Arc<str>>,
    states: Arc<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    consumer: Option<ConsumerHandle>,
}

/// Makes a [`DeliveryContext`].
#[derive(Default)]
pub struct DeliveryContextBuilder {
    listener_id: Arc<str>,
    group_id: Option<Arc<str>>,
    states: Arc<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    consumer: Option<ConsumerHandle>,
}

impl DeliveryContextBuilder {
    /// The listener's id.
    pub fn listener_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.listener_id = id.into();
        self
    }

    /// The consumer group.
    pub fn group_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.group_id = Some(id.into());
        self
    }

    /// Adds a state for [`State`](crate::extract) parameters.
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        Arc::make_mut(&mut self.states).insert(TypeId::of::<S>(), Arc::new(state));
        self
    }

    /// Adds a state that is shared already.
    pub fn shared_state<S: Send + Sync + 'static>(mut self, state: Arc<S>) -> Self {
        Arc::make_mut(&mut self.states).insert(TypeId::of::<S>(), state);
        self
    }

    /// Shares a map of states.
    pub(crate) fn states(mut self, states: Arc<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>) -> Self {
        self.states = states;
        self
    }

    /// The worker's consumer.
    pub fn consumer(mut self, consumer: ConsumerHandle) -> Self {
        self.consumer = Some(consumer);
        self
    }

    /// The context.
    pub fn build(self) -> Arc<DeliveryContext> {
        let Self { listener_id, group_id, states, consumer } = self;
        Arc::new(DeliveryContext { listener_id, group_id, states, consumer })
    }
}

impl DeliveryContext {
    /// Starts one: for the container, and for tests of handlers and extractors.
    pub fn builder() -> DeliveryContextBuilder {
        DeliveryContextBuilder::default()
    }

    pub(crate) fn listener_id(&self) -> &Arc<str> {
        &self.listener_id
    }

    pub(crate) fn group_id(&self) -> Option<&Arc<str>> {
        self.group_id.as_ref()
    }
}

impl Delivery {
    /// A delivery of one record.
    pub fn record(context: Arc<DeliveryContext>, topic_partition: TopicPartition, record: RawRecord, attempt: u32) -> Self {
        Self { context, payload: Payload::Record { topic_partition, record, attempt }, acknowledgment: None }
    }

    /// A delivery of a batch.
    pub fn batch(context: Arc<DeliveryContext>, records: Arc<BatchRecords>) -> Self {
        Self { context, payload: Payload::Batch(records), acknowledgment: None }
    }

    /// Adds the acknowledgment of a manual ack mode.
    pub fn with_acknowledgment(mut self, acknowledgment: Acknowledgment) -> Self {
        self.acknowledgment = Some(acknowledgment);
        self
    }

    /// What is delivered.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// How many records the call is about: 1, or the batch's length.
    pub fn len(&self) -> usize {
        match &self.payload {
            Payload::Record { .. } => 1,
            Payload::Batch(records) => records.len(),
        }
    }

    /// Whether it is a batch without records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one record; a batch is rejected.
    pub fn single(&self) -> Result<DeliveredRecord<'_>, Rejection> {
        match &self.payload {
            Payload::Record { topic_partition, record, attempt } => {
                Ok(DeliveredRecord { topic_partition, record, attempt: *attempt })
            }
            Payload::Batch(_) => {
                Err(self.reject("one record was expected, and a batch came: the container is a batch container"))
            }
        }
    }

    /// The batch's records; none for a delivery of one record.
    pub fn batch_records(&self) -> Option<&Arc<BatchRecords>> {
        match &self.payload {
            Payload::Record { .. } => None,
            Payload::Batch(records) => Some(records),
        }
    }

    /// A rejection that names the record, or the batch's first.
    pub fn reject(&self, what: impl Into<String>) -> Rejection {
        let rejection = Rejection::new(what);
        match &self.payload {
            Payload::Record { topic_partition, record, .. } => rejection.at(topic_partition.clone(), record.offset()),
            Payload::Batch(records) => match records.get(0) {
                Some((topic_partition, first)) => rejection.at(topic_partition.clone(), first.record.offset()),
                None => rejection,
            },
        }
    }

    /// The listener's id.
    pub fn listener_id(&self) -> &Arc<str> {
        &self.context.listener_id
    }

    /// The consumer group; none for explicit partitions without one.
    pub fn group_id(&self) -> Option<&Arc<str>> {
        self.context.group_id.as_ref()
    }

    /// The acknowledgment, in a manual ack mode.
    pub fn acknowledgment(&self) -> Option<&Acknowledgment> {
        self.acknowledgment.as_ref()
    }

    /// The worker's consumer.
    pub fn consumer(&self) -> Option<&ConsumerHandle> {
        self.context.consumer.as_ref()
    }

    /// The app's state of type `S`.
    pub fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.context.states.get(&TypeId::of::<S>()).and_then(|state| state.clone().downcast().ok())
    }

    /// The app's state of type `S`, borrowed.
    pub fn state_ref<S: Send + Sync + 'static>(&self) -> Option<&S> {
        self.context.states.get(&TypeId::of::<S>()).and_then(|state| state.downcast_ref())
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("listener", &self.context.listener_id)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}
