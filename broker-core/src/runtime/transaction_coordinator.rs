//! Carries transactions out: what the shards decide is told to the partitions that are in it, under no shard's lock.
//!
//! Locks: a transaction's shard, then a group's shard, then a partition, never back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::shard_of;
use super::transaction_shard::{Begun, TransactionShard};
use crate::coordinator::transaction::{Producer, Transaction, TransactionState};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::partition::{PartitionHandle, TransactionEnd};

/// There is one broker: it never takes over from another one.
const COORDINATOR_EPOCH: i32 = 0;

/// So many partitions are told before others have their turn.
const TURN: usize = 64;

/// So many that nobody completes are completed at a time.
const AT_A_TIME: usize = 32;
/// And none for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where transactions have records: in topics, and with groups.
pub(crate) trait Participants: Send + Sync {
    /// A topic's partition, if it is there.
    fn partition(&self, id: &TopicPartition) -> Option<PartitionHandle>;
    /// All partitions, of topics and of the groups'.
    fn partitions(&self) -> Vec<PartitionHandle>;
    /// Tells a partition, of a topic or of the groups', how a transaction ended that `wrote` with this epoch: what to wait for until that
    /// counts. None if it is not there any more. A topic says itself how durable that is; for the groups it is told.
    fn end(
        &self,
        partition: &TopicPartition,
        end: &TransactionEnd,
        wrote: i16,
        durable: bool,
    ) -> Result<Option<(PartitionHandle, i64)>, Error>;

    /// Whether one of these is durable when it answers: it must not know of what a power cut takes back elsewhere. Or its
    /// transaction would never end, or the others would end it another way.
    fn ask_durable(&self, partitions: &mut dyn Iterator<Item = TopicPartition>) -> bool {
        let mut found = partitions.filter_map(|id| self.partition(&id));
        found.any(|partition| partition.is_flushed_by_count())
    }
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
    transaction: Box<Transaction>,
    /// The transaction is complete: the next one's claim may be somebody else's.
    over: AtomicBool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !*self.over.get_mut() {
            self.coordinator.shard(&self.id).release(&self.id);
        }
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

    /// Tells the partitions, each when the iterator comes to it; what is to be waited for until they have it.
    fn tell(&self) -> impl Iterator<Item = Result<Option<(PartitionHandle, i64)>, Error>> {
        let (end, (_, wrote), participants) = (self.end(), self.transaction.writer(), &self.coordinator.participants);
        let durable = participants.ask_durable(&mut self.transaction.partitions());
        self.transaction.partitions().map(move |partition| participants.end(&partition, &end, wrote, durable))
    }

    /// The producer that goes on when it is complete.
    pub fn next_producer(&self) -> Producer {
        self.transaction.next_producer()
    }

    /// In one step with the claim's end: who decides the next transaction at once has the claim to that.
    fn complete(&self) -> Result<(), Error> {
        let mut shard = self.coordinator.shard(&self.id);
        shard.complete(&self.id)?;
        shard.release(&self.id);
        self.over.store(true, Ordering::Relaxed);
        Ok(())
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
        Claim { coordinator: self.clone(), id: id.to_owned(), transaction: Box::new(transaction), over: AtomicBool::new(false) }
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
        match shard.init_producer_id(id, timeout_ms, had, fresh) {
            Ok(Begun::Producer(producer)) => Ok(Ok(producer)),
            Ok(Begun::Fenced) => shard.claim(id).map(|fenced| Err(self.claimed(id, fenced))),
            Err(error) => self.take_over(shard, id, error).map(Err),
        }
    }

    /// Who must come again, since a transaction is being ended, completes it if nobody does: whoever did may have gone.
    fn take_over(self: &Arc<Self>, mut shard: MutexGuard<'_, TransactionShard>, id: &str, error: Error) -> Result<Claim, Error> {
        if error.code() != ErrorCode::ConcurrentTransactions {
            return Err(error);
        }
        shard.claim(id).map(|decided| self.claimed(id, decided))
    }

    /// Decides a transaction; it is to be completed then, unless it had ended that way before.
    pub fn end(self: &Arc<Self>, id: &str, producer: Producer, committed: bool) -> Result<Option<Claim>, Error> {
        let mut shard = self.shard(id);
        match shard.end(id, producer, committed) {
            Ok(true) => shard.claim(id).map(|decided| Some(self.claimed(id, decided))),
            Ok(false) => Ok(None),
            Err(error) => self.take_over(shard, id, error).map(Some),
        }
    }

    /// The same as a transaction of version 2: the producer that goes on, if it had ended that way before.
    pub fn end_v2(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        committed: bool,
        fresh: impl FnOnce() -> Result<i64, Error>,
    ) -> Result<Result<Producer, Claim>, Error> {
        let mut shard = self.shard(id);
        match shard.end_v2(id, producer, committed, fresh) {
            Ok(Some(next)) => Ok(Ok(next)),
            Ok(None) => shard.claim(id).map(|decided| Err(self.claimed(id, decided))),
            Err(error) => self.take_over(shard, id, error).map(Err),
        }
    }

    /// Tells all partitions of a decided transaction how it ended, and waits until that counts. If it fails the transaction stays
    /// decided, and [`resume`](Self::resume) tries again.
    pub async fn complete(&self, claim: Claim) -> Result<(), Error> {
        self.carry_out(&claim).await.map_err(|error| failed(&claim.id, &error))
    }

    async fn carry_out(&self, claim: &Claim) -> Result<(), Error> {
        // The decision counts before anybody is told of it.
        self.counts(&claim.id).await?;
        let (mut waits, mut failure) = (Vec::new(), None);
        for (number, told) in claim.tell().enumerate() {
            // One that fails keeps no other from being told.
            match told {
                Ok(told) => waits.extend(told.filter(|(partition, end)| partition.end_offset() < *end)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
            if number % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        for (partition, end) in waits {
            match partition.acknowledged(end).await {
                Err(error) if !partition.is_deleted() => drop(failure.get_or_insert(error)),
                _ => {}
            }
        }
        match failure {
            Some(error) => Err(error),
            None => claim.complete(),
        }
    }

    /// Completes when all that was stored for an id counts.
    pub fn counts(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let log = self.shard(id).partition().cloned();
        let wait = log.and_then(|log| log.unacknowledged().map(|end| log.acknowledged(end)));
        async move {
            match wait {
                Some(acknowledged) => acknowledged.await,
                None => Ok(()),
            }
        }
    }

    /// Aborts what is open for too long, and completes what is decided and nobody completes: some at a time, and none for long, so that one
    /// whose disk stands still holds up no other.
    pub async fn resume(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        for id in self.due() {
            if tasks.len() == AT_A_TIME {
                tasks.join_next().await;
            }
            let coordinator = self.clone();
            tasks.spawn(async move { coordinator.resume_one(&id).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn resume_one(self: &Arc<Self>, id: &str) {
        let aborted = self.shard(id).abort_timed_out(id);
        if let Err(error) = aborted {
            tracing::error!(target: "broker_core::transaction", id, %error, "a transaction that is open for too long could not be aborted");
        }
        let Ok(claim) = self.claim(id) else { return };
        // What fails has said so; what takes too long is tried again.
        let _ = tokio::time::timeout(PATIENCE, self.complete(claim)).await;
    }

    fn due(&self) -> Vec<String> {
        self.shards().flat_map(|shard| [shard.timed_out(), shard.transactions().prepared()].concat()).collect()
    }

    /// When the broker is opened, and nobody else is there: what is decided is completed, and what no id has open any more is aborted.
    /// It waits for the disk. What fails is left to [`resume`](Self::resume), or, of what no id has open, to the next start: the broker
    /// opens all the same. Where the broker was not stopped in order, a power cut may have taken epochs that were given.
    pub fn recover(self: &Arc<Self>, clean: bool) {
        let known = if clean || !self.is_used() { BTreeMap::new() } else { self.known_epochs() };
        self.fence_known(&known);
        let prepared: Vec<String> = self.shards().flat_map(|shard| shard.transactions().prepared()).collect();
        let claims: Vec<Claim> = prepared.iter().filter_map(|id| self.claim(id).ok()).collect();
        // What was read back may be in the page cache only; and a decision that is durable would decide the next transaction too, if a
        // power cut left it without its end.
        let synced = self.sync_shards_of(&claims).and_then(|()| {
            self.finish(&claims);
            self.sync_shards_of(&claims)
        });
        if let Err(error) = synced {
            tracing::error!(target: "broker_core::transaction", %error, "decided transactions could not be completed");
        }
        drop(claims);
        // Those whose transaction has only now ended.
        self.fence_known(&known);
        if self.is_used() {
            self.abort_strays();
        }
    }

    /// The highest epoch of each producer that any partition has seen.
    fn known_epochs(&self) -> BTreeMap<i64, i16> {
        let mut known = BTreeMap::new();
        for producer in self.participants.partitions().iter().flat_map(PartitionHandle::producers) {
            let highest = known.entry(producer.id).or_insert(producer.epoch);
            *highest = producer.epoch.max(*highest);
        }
        known
    }

    /// An epoch that a transaction's end gave is as durable as the transaction. Where it is gone, but not what was written with it, it
    /// must not be given again, and who has it must not go on: half of what it wrote is aborted.
    fn fence_known(&self, known: &BTreeMap<i64, i16>) {
        for mut shard in self.shards().filter(|_| !known.is_empty()) {
            shard.fence_known(known);
        }
    }

    fn sync_shards_of(&self, claims: &[Claim]) -> Result<(), Error> {
        let numbers: BTreeSet<usize> = claims.iter().map(|claim| shard_of(&claim.id, self.shards.len())).collect();
        let all = self.shards().enumerate().filter(|(number, _)| numbers.contains(number));
        let logs: Vec<_> = all.filter_map(|(_, shard)| shard.partition().cloned()).collect();
        logs.iter().try_for_each(PartitionHandle::sync)
    }

    fn finish(&self, claims: &[Claim]) {
        let mut waits: BTreeMap<TopicPartition, PartitionHandle> = BTreeMap::new();
        let tell = |claim: &Claim| {
            let mut failure = None;
            for told in claim.tell() {
                match told {
                    Ok(told) => {
                        let told = told.filter(|(partition, end)| partition.end_offset() < *end);
                        waits.extend(told.map(|(partition, _)| (partition.topic_partition().clone(), partition)));
                    }
                    Err(error) => drop(failure.get_or_insert(error)),
                }
            }
            failure
        };
        let failures: Vec<Option<Error>> = claims.iter().map(tell).collect();
        let unsynced: BTreeSet<_> = waits.into_iter().filter(|(_, one)| one.sync().is_err()).map(|(id, _)| id).collect();
        for (claim, failure) in claims.iter().zip(failures) {
            let late = claim.transaction.partitions().find(|id| unsynced.contains(id));
            let late = late.map(|id| Error::new(ErrorCode::KafkaStorageError, format!("{id} cannot be synced")));
            match failure.or(late).map_or_else(|| claim.complete(), Err) {
                Ok(()) => {
                    let (id, committed) = (&claim.id, claim.end().committed);
                    tracing::info!(target: "broker_core::transaction", id, committed, "a decided transaction was completed");
                }
                Err(error) => drop(failed(&claim.id, &error)),
            }
        }
    }

    /// A power cut may leave records of a transaction, and take what the coordinator knew of it, or the marker that ended it. Nobody
    /// would end it, and nothing behind it would ever be read.
    fn abort_strays(&self) {
        let mut open: BTreeMap<Producer, Transaction> = BTreeMap::new();
        for shard in self.shards() {
            let ongoing = shard.transactions().iter().filter(|(_, one)| !one.state.has_ended());
            open.extend(ongoing.map(|(_, one)| (one.writer(), one.clone())));
        }
        let undecided = |one: &PartitionHandle| one.stable_offset() < one.end_offset();
        for partition in self.participants.partitions().into_iter().filter(undecided) {
            let id = partition.topic_partition();
            for producer in partition.producers().into_iter().filter(|producer| producer.transaction_start.is_some()) {
                if open.get(&(producer.id, producer.epoch)).is_some_and(|known| known.holds(id)) {
                    continue;
                }
                let end = TransactionEnd {
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                    coordinator_epoch: producer.coordinator_epoch.max(COORDINATOR_EPOCH),
                    committed: false,
                };
                let error = self.participants.end(id, &end, producer.epoch, false).err().map(tracing::field::display);
                tracing::warn!(
                    target: "broker_core::transaction", partition = %id, producer_id = producer.id, error,
                    "a transaction that no transactional id has open is aborted"
                );
            }
        }
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
