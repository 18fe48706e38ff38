//! Transactions as they are listed and described.

use std::fmt;

use super::Transactions;
use crate::id::TopicPartition;

/// How far a transaction is, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// There was none yet.
    Empty,
    /// It is open.
    Ongoing,
    /// It is committed; its partitions are being told.
    PrepareCommit,
    /// It is aborted; its partitions are being told.
    PrepareAbort,
    /// It is committed, and all its partitions know.
    CompleteCommit,
    /// It is aborted, and all its partitions know.
    CompleteAbort,
    /// The id is being forgotten. Here that takes one step, so nobody sees it; Kafka's log may hold it.
    Dead,
    /// Its producer is being fenced. Here that takes one step, so nobody sees it; Kafka's log may hold it.
    PrepareEpochFence,
}

/// All of them, each at its number in Kafka's log.
const STATES: [(TransactionState, &str); 8] = [
    (TransactionState::Empty, "Empty"),
    (TransactionState::Ongoing, "Ongoing"),
    (TransactionState::PrepareCommit, "PrepareCommit"),
    (TransactionState::PrepareAbort, "PrepareAbort"),
    (TransactionState::CompleteCommit, "CompleteCommit"),
    (TransactionState::CompleteAbort, "CompleteAbort"),
    (TransactionState::Dead, "Dead"),
    (TransactionState::PrepareEpochFence, "PrepareEpochFence"),
];

impl TransactionState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        STATES[self as usize].1
    }

    /// By Kafka's name.
    pub fn of_name(name: &str) -> Option<Self> {
        STATES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }

    pub(super) fn number(self) -> i8 {
        self as i8
    }

    pub(super) fn of_number(number: i8) -> Option<Self> {
        STATES.get(usize::try_from(number).ok()?).map(|(state, _)| *state)
    }

    /// Whether none is open, nor being ended.
    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }

    /// Whether it is decided, and its partitions are being told.
    pub(crate) fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A transactional id, in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    /// The transactional id.
    pub id: String,
    /// Its producer.
    pub producer_id: i64,
    /// How far its transaction is.
    pub state: TransactionState,
    /// When the transaction began, in milliseconds since 1970; -1 if none did yet.
    pub started_ms: i64,
}

/// A transactional id and its transaction: the one that is open, or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    /// Its producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// How far the transaction is.
    pub state: TransactionState,
    /// How long one may be open.
    pub timeout_ms: i32,
    /// When it began, in milliseconds since 1970; -1 if none did yet.
    pub started_ms: i64,
    /// The partitions that are in it, by topic and number; none once all of them know how it ended.
    pub partitions: Vec<TopicPartition>,
}

impl Transactions {
    pub fn list(&self) -> impl Iterator<Item = TransactionListing> {
        self.iter().map(|(id, transaction)| TransactionListing {
            id: id.to_owned(),
            producer_id: transaction.producer_id,
            state: transaction.state,
            started_ms: transaction.started_ms,
        })
    }

    pub fn describe(&self, id: &str) -> Option<TransactionDescription> {
        self.get(id).map(|transaction| TransactionDescription {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
            state: transaction.state,
            timeout_ms: transaction.timeout_ms,
            started_ms: transaction.started_ms,
            partitions: transaction.partitions().collect(),
        })
    }
}
