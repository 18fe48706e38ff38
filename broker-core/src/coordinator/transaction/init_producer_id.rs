//! A producer comes with its transactional id: it gets an epoch that fences all who came before it.

use std::collections::BTreeMap;

use super::{NO_EPOCH, NO_PRODUCER, Now, Producer, Transaction, TransactionState, Transactions, busy, check_id};
use crate::error::{Error, ErrorCode};

/// From this epoch on a producer gets a new id: the one behind is left to fence it.
pub(super) const EXHAUSTED_EPOCH: i16 = i16::MAX - 1;

/// What a producer gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Init {
    /// This, once it is stored.
    Give(Transaction),
    /// What it got before: its answer was lost.
    Again(Producer),
    /// Nothing yet: the transaction that is open is aborted by this, and whoever wrote in it fenced.
    Fence(Transaction),
}

impl Transactions {
    /// Who comes with an id and an epoch had them before, and goes on after an error; who comes without is a new instance. `fresh`
    /// gives an id that no producer had.
    pub fn init_producer_id(
        &self,
        now: Now,
        id: &str,
        timeout_ms: i32,
        had: Option<Producer>,
        fresh: impl FnOnce() -> Result<i64, Error>,
    ) -> Result<Init, Error> {
        check_id(id)?;
        let most = self.limits.max_timeout_ms;
        if !(1..=most).contains(&timeout_ms) {
            let text =
                format!("transactional id '{id}': a time-out of {timeout_ms} ms; 1 to {most} (transaction.max.timeout.ms)");
            return Err(Error::new(ErrorCode::InvalidTransactionTimeout, text));
        }
        let Some(current) = self.get(id) else {
            return Ok(Init::Give(empty(now, timeout_ms, (fresh()?, 0))));
        };
        let is_current = had.is_none_or(|had| had == current.producer());
        if !is_current && !had.is_some_and(|had| current.gave_up(had)) {
            let text = format!("transactional id '{id}': producer {had:?} is fenced, it is {:?}", current.producer());
            return Err(Error::new(ErrorCode::ProducerFenced, text));
        }
        match current.state {
            state if state.is_prepared() => return Err(busy(id, state)),
            _ if !is_current => return Ok(Init::Again(current.producer())),
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {}
            TransactionState::Ongoing => return Ok(Init::Fence(current.fenced(now))),
            state => return Err(busy(id, state)),
        }
        let last_epoch = had.map_or(NO_EPOCH, |(_, epoch)| epoch);
        if current.producer_epoch >= EXHAUSTED_EPOCH {
            let next = empty(now, timeout_ms, (fresh()?, 0));
            return Ok(Init::Give(Transaction { last_epoch, previous_producer_id: current.producer_id, ..next }));
        }
        let next = empty(now, timeout_ms, (current.producer_id, current.producer_epoch + 1));
        Ok(Init::Give(Transaction { last_epoch, ..next }))
    }
}

fn empty(now: Now, timeout_ms: i32, (producer_id, producer_epoch): Producer) -> Transaction {
    Transaction {
        producer_id,
        producer_epoch,
        last_epoch: NO_EPOCH,
        previous_producer_id: NO_PRODUCER,
        next_producer_id: NO_PRODUCER,
        ended_v2: false,
        timeout_ms,
        state: TransactionState::Empty,
        partitions: BTreeMap::new(),
        updated_ms: now.wall_ms,
        started_ms: -1,
        updated_at: now.monotonic_ms,
        started_at: now.monotonic_ms,
        decided_durably: false,
    }
}

impl Transaction {
    /// Whether this is what its producer had when it asked for what it has now, and nobody else has come since.
    pub(super) fn gave_up(&self, (id, epoch): Producer) -> bool {
        let before = if self.previous_producer_id == NO_PRODUCER { self.producer_id } else { self.previous_producer_id };
        epoch != NO_EPOCH && epoch == self.last_epoch && id == before
    }
}
