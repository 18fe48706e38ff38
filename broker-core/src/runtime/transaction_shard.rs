//! One partition of `__transaction_state` and the transactions in it, behind one lock: decide, append, apply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Participants;
use super::own_log::OwnLog;
use crate::config::BrokerConfig;
use crate::coordinator::transaction::{
    End, Init, Now, Producer, Transaction, TransactionLimits, Transactions, decode, encode_key, encode_value,
};
use crate::error::{Error, ErrorCode, Named};
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::partition::{DataSignal, PartitionHandle, Surroundings, WatchGuard};

pub(crate) struct TransactionShard {
    transactions: Transactions,
    log: OwnLog,
    participants: Arc<dyn Participants>,
    /// The ids whose partitions are being told how their transaction ended: one does so at a time, or a marker that comes late
    /// would end the next transaction.
    completing: BTreeSet<String>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// What became of a producer that came.
pub(super) enum Begun {
    Producer(Producer),
    /// Its transaction was aborted, and is now to be completed.
    Fenced,
}

impl TransactionShard {
    pub fn new(
        surroundings: Arc<Surroundings>,
        config: &BrokerConfig,
        id: TopicPartition,
        opening: Opening,
        participants: Arc<dyn Participants>,
    ) -> Self {
        let limits = TransactionLimits {
            max_timeout_ms: config.transaction_max_timeout_ms,
            expiration_ms: config.transactional_id_expiration_ms,
        };
        let log = OwnLog::new(surroundings, config, id, opening, config.transaction_state_log_segment_bytes);
        let (transactions, completing) = (Transactions::new(limits), BTreeSet::new());
        Self { transactions, log, participants, completing, key: Vec::new(), value: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.log.wall_ms(), monotonic_ms: self.log.monotonic_ms().cast_signed() }
    }

    /// Reads the transactions back from the log.
    pub fn load(&mut self) -> Result<(), Error> {
        let now = self.now();
        let (transactions, mut unknown) = (&mut self.transactions, 0u64);
        self.log.read(|record| match record.key().and_then(|key| decode(key, record.value())) {
            Some((id, transaction)) => transactions.apply(id, transaction.map(|read| read.read_back(now))),
            None => unknown += 1,
        })?;
        if unknown > 0 {
            tracing::warn!(target: "broker_core::transaction", partition = %self.log.id(), unknown, "records of unknown kind or version passed over");
        }
        Ok(())
    }

    pub fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// Its log, if it has one yet.
    pub fn partition(&self) -> Option<&PartitionHandle> {
        self.log.partition()
    }

    /// Calls `signal` on every append, the first one too, until the guard is dropped.
    pub fn watch(&self, signal: &Arc<DataSignal>) -> WatchGuard {
        self.log.watch(signal)
    }

    /// Appends what is to be known by an id, and applies it.
    fn store(&mut self, id: &str, transaction: Option<Transaction>, durable: bool) -> Result<(), Error> {
        self.rewrite_if_due()?;
        encode_key(id, &mut self.key);
        if let Some(transaction) = &transaction {
            encode_value(transaction, &mut self.value);
        }
        self.log.put(&self.key, transaction.is_some().then_some(&self.value));
        self.log.append(durable)?;
        self.transactions.apply(id, transaction);
        Ok(())
    }

    /// Stores how a transaction ends.
    fn decide(&mut self, id: &str, next: Transaction) -> Result<(), Error> {
        // One that wrote nothing leaves the decision before it the last that says what becomes of records, unless it is durable as well.
        let after_durable = next.partitions.is_empty() && next.decided_durably;
        let decided_durably = self.participants.ask_durable(&mut next.partitions()) || after_durable;
        self.store(id, Some(Transaction { decided_durably, ..next }), decided_durably)
    }

    fn rewrite_if_due(&mut self) -> Result<(), Error> {
        if !self.log.is_rewrite_due() {
            return Ok(());
        }
        let mut all = self.transactions.iter();
        self.log.rewrite(|key, value| {
            let next = all.next();
            if let Some((id, transaction)) = next {
                encode_key(id, key);
                encode_value(transaction, value);
            }
            next.is_some()
        })
    }

    pub(super) fn init_producer_id(
        &mut self,
        id: &str,
        timeout_ms: i32,
        had: Option<Producer>,
        fresh: impl FnOnce() -> Result<i64, Error>,
    ) -> Result<Begun, Error> {
        match self.transactions.init_producer_id(self.now(), id, timeout_ms, had, fresh)? {
            Init::Give(next) => {
                let producer = (next.producer_id, next.producer_epoch);
                // Durable whatever the topics ask: an epoch that is given twice would make of new records old ones.
                self.store(id, Some(next), true)?;
                Ok(Begun::Producer(producer))
            }
            Init::Again(producer) => Ok(Begun::Producer(producer)),
            Init::Fence(next) => {
                self.decide(id, next)?;
                Ok(Begun::Fenced)
            }
        }
    }

    /// True if the transaction had not all of them.
    pub fn add_partitions(&mut self, id: &str, producer: Producer, partitions: &[TopicPartition]) -> Result<bool, Error> {
        match self.transactions.add_partitions(self.now(), id, producer, partitions)? {
            Some(next) => {
                // The beginning too, if the decision before it is: alone, that would decide this one as well.
                let after = self.transactions.get(id).is_some_and(|before| before.decided_durably && before.state.has_ended());
                let durable = after || self.participants.ask_durable(&mut partitions.iter().cloned());
                self.store(id, Some(next), durable).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Decides a transaction; false if it had ended that way before.
    pub(super) fn end(&mut self, id: &str, producer: Producer, committed: bool) -> Result<bool, Error> {
        match self.transactions.end(self.now(), id, producer, committed)? {
            End::Done => Ok(false),
            End::Prepare(next) => self.decide(id, next).map(|()| true),
        }
    }

    /// The same as one of version 2; the producer that goes on, if it had ended that way before.
    pub(super) fn end_v2(
        &mut self,
        id: &str,
        producer: Producer,
        committed: bool,
        fresh: impl FnOnce() -> Result<i64, Error>,
    ) -> Result<Option<Producer>, Error> {
        match self.transactions.end_v2(self.now(), id, producer, committed, fresh)? {
            End::Done => Ok(self.transactions.get(id).map(Transaction::next_producer)),
            End::Prepare(next) => self.decide(id, next).map(|()| None),
        }
    }

    /// Aborts a transaction that is open for too long; false if it has ended by now.
    pub(super) fn abort_timed_out(&mut self, id: &str) -> Result<bool, Error> {
        match self.transactions.abort_timed_out(self.now(), id) {
            None => Ok(false),
            Some(next) => {
                tracing::info!(
                    target: "broker_core::transaction", id, producer_id = next.producer_id, timeout_ms = next.timeout_ms,
                    "a transaction was open for longer than its time-out: it is aborted"
                );
                self.decide(id, next).map(|()| true)
            }
        }
    }

    /// Gives the ids whose producers have been seen with a later epoch than they have one behind it, which is nobody's. What is open is
    /// aborted; what is decided is left to be completed first.
    pub(super) fn fence_known(&mut self, known: &BTreeMap<i64, i16>) {
        for (id, next) in self.transactions.behind(self.now(), known) {
            let (producer_id, epoch) = (next.producer_id, next.producer_epoch);
            let stored = if next.state.has_ended() { self.store(&id, Some(next), false) } else { self.decide(&id, next) };
            let error = stored.err().map(tracing::field::display);
            tracing::warn!(
                target: "broker_core::transaction", id, producer_id, epoch, error,
                "the producer had a later epoch than is kept: it is fenced"
            );
        }
    }

    /// The ids whose transaction is open for too long.
    pub(super) fn timed_out(&self) -> Vec<String> {
        self.transactions.timed_out(self.now())
    }

    /// Forgets the ids that have had their time. Behind the first one that cannot be written none can.
    pub(super) fn expire(&mut self) -> Result<(), Error> {
        let expired = self.transactions.expired(self.now());
        for (number, id) in expired.iter().enumerate() {
            self.store(id, None, false).map_err(|error| {
                let more = expired.len() - number - 1;
                Error::with_source(error.code(), format!("transactional id '{}' and {more} more stay", Named(id)), error)
            })?;
            tracing::info!(target: "broker_core::transaction", id, "transactional.id.expiration.ms have passed: it is forgotten");
        }
        Ok(())
    }

    /// A decided transaction whose partitions are to be told by whoever asks this; nobody else is, until [`release`](Self::release).
    pub(super) fn claim(&mut self, id: &str) -> Result<Transaction, Error> {
        let found = self.transactions.get(id).filter(|found| found.state.is_prepared() && !self.completing.contains(id));
        let claimed = found.cloned().ok_or_else(|| {
            let text = format!("transactional id '{id}': its transaction is being ended, or has ended");
            Error::new(ErrorCode::ConcurrentTransactions, text)
        })?;
        self.completing.insert(id.to_owned());
        Ok(claimed)
    }

    pub(super) fn release(&mut self, id: &str) {
        self.completing.remove(id);
    }

    /// All partitions of a decided transaction have been told.
    pub(super) fn complete(&mut self, id: &str) -> Result<(), Error> {
        match self.transactions.completed(self.now(), id) {
            Some(next) => self.store(id, Some(next), false),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Flusher, TransactionEnd};
    use crate::storage::{Disk, MemoryDisk};
    use crate::time::TokioClock;

    #[derive(Debug)]
    struct OnTheSpot;

    impl Flusher for OnTheSpot {
        fn flush(&self, partition: &PartitionHandle) {
            partition.flush();
        }

        fn look_again(&self) {}
    }

    struct Nobody;

    impl Participants for Nobody {
        fn partition(&self, _: &TopicPartition) -> Option<PartitionHandle> {
            None
        }

        fn partitions(&self) -> Vec<PartitionHandle> {
            Vec::new()
        }

        fn end(&self, _: &TopicPartition, _: &TransactionEnd, _: i16, _: bool) -> Result<Option<(PartitionHandle, i64)>, Error> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn ids_that_stay_since_the_disk_fails_are_told_of() {
        let disk = MemoryDisk::new();
        let clock = Arc::new(TokioClock::new(1_700_000_000_000));
        let surroundings =
            Arc::new(Surroundings { disk: Arc::new(disk.clone()) as Arc<dyn Disk>, clock, flusher: Arc::new(OnTheSpot) });
        let config = BrokerConfig { transactional_id_expiration_ms: 0, ..BrokerConfig::default() };
        let id = TopicPartition::new("__transaction_state", 0);
        let mut shard = TransactionShard::new(surroundings, &config, id, Opening::default(), Arc::new(Nobody));
        for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(shard.init_producer_id(id, 1000, None, || Ok(number as i64)).is_ok());
        }
        disk.fail_after(1);
        let told = shard.expire().expect_err("the second is not written").to_string();
        assert!(told.contains("transactional id 'b' and 1 more"), "{told}");
        let left: Vec<&str> = shard.transactions().iter().map(|(id, _)| id).collect();
        assert_eq!(left, ["b", "c"]);
    }
}
