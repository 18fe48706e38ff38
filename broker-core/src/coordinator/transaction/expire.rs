//! Transactions that are open for too long, and ids that nobody uses.

use super::{Now, Transaction, TransactionState, Transactions};

impl Transactions {
    /// The ids whose transaction has been open for longer than its producer asked for.
    pub fn timed_out(&self, now: Now) -> Vec<String> {
        let late = |transaction: &Transaction| {
            transaction.state == TransactionState::Ongoing
                && now.monotonic_ms.saturating_sub(transaction.started_at) > i64::from(transaction.timeout_ms)
        };
        self.iter().filter(|(_, transaction)| late(transaction)).map(|(id, _)| id.to_owned()).collect()
    }

    /// Such a transaction, aborted; `None` if it has ended by now.
    pub fn abort_timed_out(&self, now: Now, id: &str) -> Option<Transaction> {
        let current = self.get(id).filter(|current| current.state == TransactionState::Ongoing)?;
        (now.monotonic_ms.saturating_sub(current.started_at) > i64::from(current.timeout_ms)).then(|| current.fenced(now))
    }

    /// The ids that nothing was done with for `transactional.id.expiration.ms`.
    pub fn expired(&self, now: Now) -> Vec<String> {
        let unused = |transaction: &Transaction| {
            transaction.state.has_ended() && now.monotonic_ms.saturating_sub(transaction.updated_at) >= self.limits.expiration_ms
        };
        self.iter().filter(|(_, transaction)| unused(transaction)).map(|(id, _)| id.to_owned()).collect()
    }

    /// The ids whose transaction is decided, but whose partitions may not know.
    pub fn prepared(&self) -> Vec<String> {
        self.iter().filter(|(_, transaction)| transaction.state.is_prepared()).map(|(id, _)| id.to_owned()).collect()
    }
}
