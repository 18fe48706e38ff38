//! A transaction ends: it is decided, then its partitions are told, then it is complete.

use std::collections::BTreeMap;

use super::init_producer_id::EXHAUSTED_EPOCH;
use super::{NO_EPOCH, NO_PRODUCER, Now, Producer, Transaction, TransactionState, Transactions, busy};
use crate::error::{Error, ErrorCode};

/// What an end leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing: it had ended that way before.
    Done,
    /// It is decided by this, once it is stored.
    Prepare(Transaction),
}

impl Transactions {
    /// Its producer commits or aborts it.
    pub fn end(&self, now: Now, id: &str, producer: Producer, committed: bool) -> Result<End, Error> {
        use TransactionState::{CompleteAbort, CompleteCommit, Ongoing, PrepareAbort, PrepareCommit};
        let current = self.of_producer(id, producer)?;
        match (current.state, committed) {
            (Ongoing, _) => {
                let state = if committed { PrepareCommit } else { PrepareAbort };
                Ok(End::Prepare(Transaction { state, ..current.clone() }.updated(now)))
            }
            (CompleteCommit, true) | (CompleteAbort, false) => Ok(End::Done),
            (state @ PrepareCommit, true) | (state @ PrepareAbort, false) => Err(busy(id, state)),
            (state, _) => Err(nothing_to_end(id, state, committed)),
        }
    }

    /// The same as a transaction of version 2 (KIP-890): the producer gets another epoch with it, so that nothing of this one that comes
    /// late is taken for the next one's. Who asks again is known by the epoch before. One that has written nothing may be aborted.
    /// `fresh` gives an id that no producer had.
    pub fn end_v2(
        &self,
        now: Now,
        id: &str,
        producer: Producer,
        committed: bool,
        fresh: impl FnOnce() -> Result<i64, Error>,
    ) -> Result<End, Error> {
        use TransactionState::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
        let again = self.get(id).filter(|current| current.ended_v2 && current.gave_up(producer));
        let current = again.map_or_else(|| self.of_producer(id, producer), Ok)?;
        match (current.state, committed) {
            (CompleteCommit, true) | (CompleteAbort, false) if again.is_some() => Ok(End::Done),
            (state @ PrepareCommit, true) | (state @ PrepareAbort, false) if again.is_some() => Err(busy(id, state)),
            (Ongoing, _) => Ok(End::Prepare(current.ended_v2(now, committed, fresh)?)),
            (Empty | CompleteCommit | CompleteAbort, false) if again.is_none() => {
                let begun = Transaction { started_ms: now.wall_ms, started_at: now.monotonic_ms, ..current.clone() };
                Ok(End::Prepare(begun.ended_v2(now, false, fresh)?))
            }
            (state, _) => Err(nothing_to_end(id, state, committed)),
        }
    }

    /// The ids whose producers were seen with a later epoch than they have, each with the one behind that; not those that are decided.
    pub fn behind(&self, now: Now, known: &BTreeMap<i64, i16>) -> Vec<(String, Transaction)> {
        let mut all = Vec::new();
        for (id, current) in self.iter().filter(|(_, current)| !current.state.is_prepared()) {
            let Some(epoch) = known.get(&current.producer_id).filter(|epoch| **epoch > current.producer_epoch) else { continue };
            let next = Transaction { producer_epoch: *epoch, ..current.clone() }.fenced(now);
            let state = if current.state.has_ended() { current.state } else { next.state };
            all.push((id.to_owned(), Transaction { state, ..next }));
        }
        all
    }

    /// A transaction whose partitions have all been told.
    pub fn completed(&self, now: Now, id: &str) -> Option<Transaction> {
        let current = self.get(id)?;
        let state = match current.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            TransactionState::PrepareAbort => TransactionState::CompleteAbort,
            _ => return None,
        };
        let mut next = Transaction { state, partitions: BTreeMap::new(), ..current.clone() };
        if current.next_producer_id != NO_PRODUCER {
            (next.producer_id, next.producer_epoch) = current.next_producer();
            (next.previous_producer_id, next.next_producer_id) = (current.producer_id, NO_PRODUCER);
        }
        Some(next.updated(now))
    }
}

fn nothing_to_end(id: &str, state: TransactionState, committed: bool) -> Error {
    let wanted = if committed { "committed" } else { "aborted" };
    let text = format!("transactional id '{id}': there is nothing to be {wanted} ({state})");
    Error::new(ErrorCode::InvalidTxnState, text)
}

impl Transaction {
    /// Decided by its producer as one of version 2. The markers have the new epoch.
    fn ended_v2(&self, now: Now, committed: bool, fresh: impl FnOnce() -> Result<i64, Error>) -> Result<Self, Error> {
        let exhausted = self.producer_epoch >= EXHAUSTED_EPOCH;
        Ok(Self {
            state: if committed { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort },
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_epoch: self.producer_epoch,
            previous_producer_id: NO_PRODUCER,
            next_producer_id: if exhausted { fresh()? } else { NO_PRODUCER },
            ended_v2: true,
            ..self.clone()
        }
        .updated(now))
    }

    /// The same, aborted with an epoch that fences its producer. Nobody gets that epoch: the next producer gets the one behind.
    pub(super) fn fenced(&self, now: Now) -> Self {
        Self {
            state: TransactionState::PrepareAbort,
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_epoch: NO_EPOCH,
            ended_v2: false,
            ..self.clone()
        }
        .updated(now)
    }
}
