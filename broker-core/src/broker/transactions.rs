use std::pin::Pin;
use std::sync::PoisonError;

use bytes::BytesMut;

use super::Broker;
use super::internal::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, is_internal};
use crate::coordinator::transaction::{Producer, Transaction, TransactionDescription, TransactionListing};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::partition::{PartitionHandle, Produced, TransactionEnd};
use crate::record::{TRANSACTIONAL_BIT, at, header};
use crate::runtime::{Participants, shard_of};

/// Something that has to count before what was done does.
pub(crate) type Counts = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Whether a batch is a transaction's.
fn is_within(batch: &[u8]) -> bool {
    batch.len() >= at::RECORDS && header::i16(batch, at::ATTRIBUTES) & TRANSACTIONAL_BIT != 0
}

/// The producer that a whole batch says.
pub(crate) fn writer(batch: &[u8]) -> Producer {
    (header::i64(batch, at::PRODUCER_ID), header::i16(batch, at::PRODUCER_EPOCH))
}

/// Who is fenced hears so in the words of those who write.
pub(super) fn invalid_epoch(what: &'static str, error: Error) -> Error {
    match error.code() {
        ErrorCode::ProducerFenced => Error::with_source(ErrorCode::InvalidProducerEpoch, what, error),
        _ => error,
    }
}

/// Transactions: what a producer writes under a transactional id to any partitions, and the offsets that it commits for groups, count
/// all together or not at all.
impl Broker {
    /// A producer comes with its transactional id: its id and epoch, which fence all who had the transactional id before. Who says
    /// what it `had` goes on after an error, and is fenced if another one came since; a new instance says nothing. No transaction is
    /// open for longer than `timeout_ms`.
    ///
    /// `CONCURRENT_TRANSACTIONS` tells to come again: a transaction of before is being ended, or has just been aborted by this.
    /// The request is made when this is called.
    ///
    /// ```
    /// use broker_core::{Broker, NewTopic, TopicPartition, record::BatchBuilder};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
    /// let broker = Broker::in_memory();
    /// broker.create_topic(&NewTopic::new("orders"))?;
    /// let orders = broker.partition("orders", 0)?;
    ///
    /// let producer = broker.init_transactional_producer("shop-1", 60_000, None).await?;
    /// let within = [orders.topic_partition().clone()];
    /// broker.add_partitions_to_transaction("shop-1", producer, &within).await?;
    /// let mut batch = BatchBuilder::new();
    /// batch.producer(producer.0, producer.1, 0);
    /// batch.transactional();
    /// batch.append(broker.clock().wall_ms(), Some(b"ann"), Some(b"42"), &[]);
    /// broker.produce_in_transaction("shop-1", &orders, batch.build())?;
    /// assert!(orders.fetch_committed(0, 1 << 20)?.batches.is_empty(), "it is not decided");
    ///
    /// broker.end_transaction("shop-1", producer, true).await?;
    /// assert_eq!(orders.fetch_committed(0, 1 << 20)?.last_stable, 2, "the record, and the marker that commits it");
    /// # Ok::<(), broker_core::Error>(())
    /// # }).expect("committed");
    /// ```
    pub fn init_transactional_producer(
        &self,
        transactional_id: &str,
        timeout_ms: i32,
        had: Option<(i64, i16)>,
    ) -> impl Future<Output = Result<(i64, i16), Error>> + Send + use<> {
        let coordinator = self.0.transactions.clone();
        let fresh = || self.init_producer_id().map(|(id, _)| id);
        let begun = coordinator.init_producer_id(transactional_id, timeout_ms, had, fresh);
        if begun.is_ok() && coordinator.set_used() {
            self.changed();
        }
        self.0.driver.attend();
        let id = transactional_id.to_owned();
        async move {
            match begun? {
                Ok(producer) => coordinator.counts(&id).await.map(|()| producer),
                Err(claim) => {
                    coordinator.complete(claim).await?;
                    let text = format!("transactional id '{id}': the transaction of its last producer was aborted: come again");
                    Err(Error::new(ErrorCode::ConcurrentTransactions, text))
                }
            }
        }
    }

    /// Partitions become part of a producer's transaction, which the first of them begins: all of them, or none. They must be there.
    /// The request is made when this is called; it counts, as durably as each topic asks, when the future completes.
    pub fn add_partitions_to_transaction(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let there = partitions.iter().try_for_each(|partition| self.check_may_hold_transaction(partition));
        self.add_to_transaction(transactional_id, producer, partitions, there)
    }

    fn add_to_transaction(
        &self,
        id: &str,
        producer: (i64, i16),
        partitions: &[TopicPartition],
        may: Result<(), Error>,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let coordinator = &self.0.transactions;
        let added = may.and_then(|()| coordinator.shard(id).add_partitions(id, producer, partitions));
        let counts = coordinator.counts(id);
        let offsets: Vec<_> =
            self.offsets_that_must_be_durable(id, partitions).iter().map(PartitionHandle::made_durable).collect();
        async move {
            added.map(drop)?;
            for durable in offsets {
                durable.await?;
            }
            counts.await
        }
    }

    /// Where the transaction has offsets that were stored before one of these came into it that asks for durability: a decision that is
    /// durable must not find them gone.
    fn offsets_that_must_be_durable(&self, id: &str, added: &[TopicPartition]) -> Vec<PartitionHandle> {
        if !self.0.records.ask_durable(&mut added.iter().cloned()) {
            return Vec::new();
        }
        let all: Vec<_> =
            self.0.transactions.shard(id).transactions().get(id).into_iter().flat_map(|one| one.partitions()).collect();
        let offsets = all.iter().filter(|partition| &*partition.topic == OFFSETS_TOPIC);
        let shards = offsets.filter_map(|partition| self.0.records.shard(partition.partition));
        shards.filter_map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).partition().cloned()).collect()
    }

    /// Whether a partition can become part of a transaction.
    pub fn check_may_hold_transaction(&self, partition: &TopicPartition) -> Result<(), Error> {
        if is_internal(&partition.topic) {
            let text = format!("'{}' is internal: clients do not write to it", partition.topic);
            return Err(Error::new(ErrorCode::InvalidTopic, text));
        }
        self.partition(&partition.topic, partition.partition).map(drop)
    }

    /// The offsets of a group become part of a producer's transaction.
    pub fn add_offsets_to_transaction(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        group: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.add_to_transaction(transactional_id, producer, &[self.offsets_partition(group)], Ok(()))
    }

    /// The partition of `__consumer_offsets` that keeps a group.
    pub fn offsets_partition(&self, group: &str) -> TopicPartition {
        TopicPartition::new(OFFSETS_TOPIC, shard_of(group, self.0.shards.len()) as i32)
    }

    /// Does something that belongs to a producer's transaction, unless the transaction is not open or does not hold the partition.
    /// The transaction, which is told, does not end while it is done.
    pub(crate) fn in_transaction<T>(
        &self,
        transactional_id: &str,
        producer: Producer,
        partition: &TopicPartition,
        act: impl FnOnce(&Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let shard = self.0.transactions.shard(transactional_id);
        act(shard.transactions().check(transactional_id, producer, partition)?)
    }

    /// Partitions become part of a producer's transaction, if they are not: they may be what begins it. What has to count before anything
    /// that is written there does.
    pub(crate) fn join_transaction(
        &self,
        transactional_id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Counts>, Error> {
        let mut shard = self.0.transactions.shard(transactional_id);
        let joined =
            shard.add_partitions(transactional_id, producer, partitions).map_err(|error| invalid_epoch("not joined", error))?;
        let log = shard.partition().filter(|_| joined).cloned();
        drop(shard);
        let mut counts: Vec<Counts> = Vec::new();
        if let Some(log) = log {
            let offsets = self.offsets_that_must_be_durable(transactional_id, partitions);
            counts.extend(offsets.iter().map(|one| -> Counts { Box::pin(one.made_durable()) }));
            counts.extend(log.unacknowledged().map(|end| -> Counts { Box::pin(log.acknowledged(end)) }));
        }
        Ok(counts)
    }

    /// Appends a batch as part of its producer's transaction. `TRANSACTION_ABORTABLE` says that there is none, or that the partition is
    /// not in it; `INVALID_PRODUCER_EPOCH`, that the producer is fenced.
    pub fn produce_in_transaction(
        &self,
        transactional_id: &str,
        partition: &PartitionHandle,
        batch: BytesMut,
    ) -> Result<Produced, Error> {
        if !is_within(&batch) {
            return partition.produce(batch);
        }
        let id = partition.topic_partition();
        let produced = self.in_transaction(transactional_id, writer(&batch), id, |_| partition.produce(batch));
        produced.map_err(|error| invalid_epoch("not produced", error))
    }

    /// The same within a transaction of version 2 (KIP-890): the partition becomes part of it by this alone, and the first one begins it.
    /// Such a transaction is ended with [`end_transaction_v2`](Self::end_transaction_v2). `CONCURRENT_TRANSACTIONS` tells to come again: the
    /// one before is being ended.
    ///
    /// The batch is appended when this is called. The future completes when batch and partition count, as durably as each topic asks.
    ///
    /// ```
    /// use broker_core::{Broker, NewTopic, record::BatchBuilder};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
    /// let broker = Broker::in_memory();
    /// broker.create_topic(&NewTopic::new("orders"))?;
    /// let orders = broker.partition("orders", 0)?;
    ///
    /// let mut producer = broker.init_transactional_producer("shop-1", 60_000, None).await?;
    /// for order in [b"42", b"43"] {
    ///     let mut batch = BatchBuilder::new();
    ///     // With each transaction the sequences begin again.
    ///     batch.producer(producer.0, producer.1, 0);
    ///     batch.transactional();
    ///     batch.append(broker.clock().wall_ms(), Some(b"ann"), Some(order), &[]);
    ///     broker.produce_in_transaction_v2("shop-1", &orders, batch.build()).await?;
    ///     producer = broker.end_transaction_v2("shop-1", producer, true).await?;
    /// }
    /// assert_eq!(orders.fetch_committed(0, 1 << 20)?.last_stable, 4, "two records, each with the marker that commits it");
    /// # Ok::<(), broker_core::Error>(())
    /// # }).expect("committed");
    /// ```
    pub fn produce_in_transaction_v2(
        &self,
        transactional_id: &str,
        partition: &PartitionHandle,
        batch: BytesMut,
    ) -> impl Future<Output = Result<Produced, Error>> + Send + use<> {
        let joined = match is_within(&batch) {
            true => {
                let within = std::slice::from_ref(partition.topic_partition());
                self.join_transaction(transactional_id, writer(&batch), within)
            }
            false => Ok(Vec::new()),
        };
        let produced = joined.and_then(|counts| Ok((self.produce_in_transaction(transactional_id, partition, batch)?, counts)));
        let partition = partition.clone();
        async move {
            let (produced, counts) = produced?;
            for one in counts {
                one.await?;
            }
            partition.acknowledged(produced.end_offset).await.map(|()| produced)
        }
    }

    /// Commits or aborts a producer's transaction. It is decided when this is called; the future completes when all partitions
    /// know, as durably as each topic asks. `CONCURRENT_TRANSACTIONS` tells that they do not yet: asked again, it says when they do.
    pub fn end_transaction(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        committed: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let coordinator = self.0.transactions.clone();
        let ended = coordinator.end(transactional_id, producer, committed);
        async move {
            match ended? {
                Some(claim) => coordinator.complete(claim).await,
                None => Ok(()),
            }
        }
    }

    /// The same as a transaction of version 2 (KIP-890): it also gives the producer its next epoch, or another id, for its next
    /// transaction, so that what comes late of this one is refused. Asked again, with the producer of before, the answer is the same. An
    /// abort of a transaction that has written nothing is fine.
    pub fn end_transaction_v2(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        committed: bool,
    ) -> impl Future<Output = Result<(i64, i16), Error>> + Send + use<> {
        let coordinator = self.0.transactions.clone();
        let fresh = || self.init_producer_id().map(|(id, _)| id);
        let ended = coordinator.end_v2(transactional_id, producer, committed, fresh);
        async move {
            match ended? {
                Ok(next) => Ok(next),
                Err(claim) => {
                    let next = claim.next_producer();
                    coordinator.complete(claim).await.map(|()| next)
                }
            }
        }
    }

    /// Ends a transaction in one partition, whatever its coordinator knows of it: an administrator's way out of one that hangs. The
    /// partition may be one of `__consumer_offsets`.
    pub fn write_transaction_marker(
        &self,
        partition: &TopicPartition,
        end: &TransactionEnd,
    ) -> Result<Option<(PartitionHandle, i64)>, Error> {
        if &*partition.topic == TRANSACTIONS_TOPIC {
            let text = format!("'{}' holds no transactions, it says what became of them", partition.topic);
            return Err(Error::new(ErrorCode::InvalidTopic, text));
        }
        if &*partition.topic != OFFSETS_TOPIC {
            let found = self.partition(&partition.topic, partition.partition)?;
            let ended = found.end_transaction(end)?.end_offset;
            return Ok(Some((found, ended)));
        }
        let Some(shard) = self.0.records.shard(partition.partition) else {
            let text = format!("{partition} does not exist: the groups have {}", self.0.shards.len());
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, text));
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = shard.end_transaction(end)?.end_offset;
        Ok(shard.partition().cloned().map(|found| (found, ended)))
    }

    /// All transactional ids, by name.
    pub fn list_transactions(&self) -> Vec<TransactionListing> {
        let mut all: Vec<_> =
            self.0.transactions.shards().flat_map(|shard| shard.transactions().list().collect::<Vec<_>>()).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// What is known by a transactional id.
    pub fn describe_transaction(&self, transactional_id: &str) -> Option<TransactionDescription> {
        self.0.transactions.shard(transactional_id).transactions().describe(transactional_id)
    }
}
