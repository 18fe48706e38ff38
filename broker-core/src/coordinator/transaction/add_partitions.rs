//! Partitions become part of a transaction, which the first of them begins.

use super::{Now, Producer, Transaction, TransactionState, Transactions, busy};
use crate::error::Error;
use crate::id::TopicPartition;

impl Transactions {
    /// The transaction with these partitions in it; `None` if they all are already.
    pub fn add_partitions(
        &self,
        now: Now,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Result<Option<Transaction>, Error> {
        let current = self.of_producer(id, producer)?;
        let mut next = match current.state {
            TransactionState::Ongoing if partitions.iter().all(|partition| current.holds(partition)) => return Ok(None),
            TransactionState::Ongoing => current.clone(),
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                let (started_ms, started_at) = (now.wall_ms, now.monotonic_ms);
                let state = TransactionState::Ongoing;
                Transaction { state, started_ms, started_at, decided_durably: false, ended_v2: false, ..current.clone() }
            }
            state => return Err(busy(id, state)),
        };
        next = next.updated(now);
        for partition in partitions {
            next.partitions.entry(partition.topic.clone()).or_default().insert(partition.partition);
        }
        Ok((!partitions.is_empty()).then_some(next))
    }
}
