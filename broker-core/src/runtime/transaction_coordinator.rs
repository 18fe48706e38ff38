//! Carries transactions out: what the shards decide is told to the partitions that are in it, under no shard's lock.
//!
//! Locks: a transaction's shard, then a group's shard, then a partition, never back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shard_of;
use super::transaction_shard::{Begun, TransactionShard};
use crate::coordinator::transaction::{Producer, Transaction, TransactionState};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::partition::{PartitionHandle, TransactionEnd};

/// There is one broker: it never takes over from another one.
const COORDINATOR_EPOCH: i32 = 0;

/// Where transactions have records: in topics, and with groups.
pub(crate) trait Participants: Send + Sync {
    /// A topic's partition, if it is there.
    fn partition(&self, id: &TopicPartition) -> Option<PartitionHandle>;
    /// Tells a partition, of a topic or of the groups', how a transaction ended: what to wait for until that counts. None if it is
    /// not there any more.
    fn end(&self, partition: &TopicPartition, end: &TransactionEnd) -> Result<Option<(PartitionHandle, i64)>, Error>;
}

pub(crate) struct TransactionCoordinator {
    shards: Vec<Mutex<TransactionShard>>,
    participants: Arc<dyn Participants>,
    /// Whether a transactional id was ever stored.
    used: AtomicBool,
}

/// The right to complete a decided transaction; it comes back when this is dropped.
pub(crate) struct Claim {
    coordinator: Arc<TransactionCoordinator>,
    id: String,
    transaction: Transaction,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.coordinator.shard(&self.id).release(&self.id);
    }
}

impl Claim {
    fn end(&self) -> TransactionEnd {
        TransactionEnd {
            producer_id: self.transaction.producer_id,
            producer_epoch: self.transaction.producer_epoch,
            coordinator_epoch: COORDINATOR_EPOCH,
            committed: self.transaction.state == TransactionState::PrepareCommit,
        }
    }

    /// The decision's own log.
    fn log(&self) -> Option<PartitionHandle> {
        self.coordinator.shard(&self.id).partition().cloned()
    }

    /// Tells the partitions; what is to be waited for until all of them have it.
    fn tell(&self) -> Result<Vec<(PartitionHandle, i64)>, Error> {
        let end = self.end();
        let told = self.transaction.partitions().map(|partition| self.coordinator.participants.end(&partition, &end));
        let waits: Vec<_> = told.collect::<Result<_, _>>()?;
        Ok(waits.into_iter().flatten().filter(|(partition, end)| partition.end_offset() < *end).collect())
    }

    fn complete(&self) -> Result<(), Error> {
        self.coordinator.shard(&self.id).complete(&self.id)
    }
}

fn failed(id: &str, error: &Error) -> Error {
    tracing::error!(target: "broker_core::transaction", id, %error, "a decided transaction could not be completed; it is tried again");
    Error::new(ErrorCode::ConcurrentTransactions, format!("transactional id '{id}': decided, but not complete yet: {error}"))
}

impl TransactionCoordinator {
    pub fn new(shards: Vec<TransactionShard>, participants: Arc<dyn Participants>) -> Arc<Self> {
        let used = shards.iter().any(|shard| shard.partition().is_some());
        let shards = shards.into_iter().map(Mutex::new).collect();
        Arc::new(Self { shards, participants, used: AtomicBool::new(used) })
    }

    pub fn shard(&self, id: &str) -> MutexGuard<'_, TransactionShard> {
        self.shards[shard_of(id, self.shards.len())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All shards, in order.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = MutexGuard<'_, TransactionShard>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a transactional id was ever stored.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// True the first time.
    pub fn set_used(&self) -> bool {
        !self.used.swap(true, Ordering::AcqRel)
    }

    fn claim(self: &Arc<Self>, id: &str) -> Result<Claim, Error> {
        let transaction = self.shard(id).claim(id)?;
        Ok(self.claimed(id, transaction))
    }

    fn claimed(self: &Arc<Self>, id: &str, transaction: Transaction) -> Claim {
        Claim { coordinator: self.clone(), id: id.to_owned(), transaction }
    }

    /// A producer comes: what it gets, or the transaction that is to be completed first.
    pub fn init_producer_id(
        self: &Arc<Self>,
        id: &str,
        timeout_ms: i32,
        had: Option<Producer>,
        fresh: impl FnOnce() -> Result<i64, Error>,
    ) -> Result<Result<Producer, Claim>, Error> {
        let mut shard = self.shard(id);
        match shard.init_producer_id(id, timeout_ms, had, fresh)? {
            Begun::Producer(producer) => Ok(Ok(producer)),
            Begun::Fenced => shard.claim(id).map(|fenced| Err(self.claimed(id, fenced))),
        }
    }

    /// Decides a transaction; it is to be completed then, unless it had ended that way before.
    pub fn end(self: &Arc<Self>, id: &str, producer: Producer, committed: bool) -> Result<Option<Claim>, Error> {
        let mut shard = self.shard(id);
        if !shard.end(id, producer, committed)? {
            return Ok(None);
        }
        shard.claim(id).map(|decided| Some(self.claimed(id, decided)))
    }

    /// Tells all partitions of a decided transaction how it ended, and waits until that counts. If it fails the transaction stays
    /// decided, and [`resume`](Self::resume) tries again.
    pub async fn complete(&self, claim: Claim) -> Result<(), Error> {
        self.carry_out(&claim).await.map_err(|error| failed(&claim.id, &error))
    }

    async fn carry_out(&self, claim: &Claim) -> Result<(), Error> {
        // The decision counts before anybody is told of it.
        if let Some(log) = claim.log()
            && let Some(end) = log.unacknowledged()
        {
            log.acknowledged(end).await?;
        }
        for (partition, end) in claim.tell()? {
            match partition.acknowledged(end).await {
                Err(_) if partition.is_deleted() => {}
                acknowledged => acknowledged?,
            }
        }
        claim.complete()
    }

    /// Aborts what is open for too long, and completes what is decided and nobody completes.
    pub async fn resume(self: &Arc<Self>) {
        for claim in self.due() {
            // It has said why.
            let _ = self.complete(claim).await;
        }
    }

    fn due(self: &Arc<Self>) -> Vec<Claim> {
        let mut due = Vec::new();
        for mut shard in self.shards() {
            for id in shard.timed_out() {
                if let Err(error) = shard.abort_timed_out(&id) {
                    tracing::error!(target: "broker_core::transaction", id, %error, "a transaction that is open for too long could not be aborted");
                }
            }
            due.extend(shard.transactions().prepared());
        }
        due.iter().filter_map(|id| self.claim(id).ok()).collect()
    }

    /// The same for what is decided, when the broker is opened and nobody else is there: it waits for the disk.
    pub fn finish_prepared(self: &Arc<Self>) -> Result<(), Error> {
        let prepared: Vec<String> = self.shards().flat_map(|shard| shard.transactions().prepared()).collect();
        for id in prepared {
            let claim = self.claim(&id)?;
            let durably = self.shard(&id).decides_durably(&claim.transaction);
            if let Some(log) = claim.log().filter(|_| durably) {
                log.sync()?;
            }
            claim.tell()?.iter().try_for_each(|(partition, _)| partition.sync())?;
            claim.complete()?;
            let committed = claim.end().committed;
            tracing::info!(target: "broker_core::transaction", id, committed, "a decided transaction was completed");
        }
        Ok(())
    }

    /// Forgets the ids that have had their time.
    pub fn expire(&self) {
        for mut shard in self.shards() {
            if let Err(error) = shard.expire() {
                tracing::error!(target: "broker_core::transaction", %error, "transactional ids that have had their time could not be taken away");
            }
        }
    }
}
