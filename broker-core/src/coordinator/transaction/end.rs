//! A transaction ends: it is decided, then its partitions are told, then it is complete.

use std::collections::BTreeMap;

use super::{NO_EPOCH, Now, Producer, Transaction, TransactionState, Transactions, busy};
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
            (state, _) => {
                let wanted = if committed { "committed" } else { "aborted" };
                let text = format!("transactional id '{id}': there is nothing to be {wanted} ({state})");
                Err(Error::new(ErrorCode::InvalidTxnState, text))
            }
        }
    }

    /// A transaction whose partitions have all been told.
    pub fn completed(&self, now: Now, id: &str) -> Option<Transaction> {
        let current = self.get(id)?;
        let state = match current.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            TransactionState::PrepareAbort => TransactionState::CompleteAbort,
            _ => return None,
        };
        Some(Transaction { state, partitions: BTreeMap::new(), ..current.clone() }.updated(now))
    }
}

impl Transaction {
    /// The same, aborted with an epoch that fences its producer. Nobody gets that epoch: the next producer gets the one behind.
    pub(super) fn fenced(&self, now: Now) -> Self {
        Self {
            state: TransactionState::PrepareAbort,
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_epoch: NO_EPOCH,
            ..self.clone()
        }
        .updated(now)
    }
}
