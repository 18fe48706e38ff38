//! What a reader of committed records leaves out of what it fetched.

use std::collections::{BTreeSet, VecDeque};

use crate::log::Aborted;
use crate::record::{Batch, Marker};

/// A transaction whose records are not to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Where it begins.
    pub first_offset: i64,
}

impl AbortedTransaction {
    pub(super) fn of(aborted: &Aborted) -> Self {
        Self { producer_id: aborted.producer_id, first_offset: aborted.first_offset }
    }
}

/// Tells the batches of one fetch apart: shown each of them in order, it says which hold no committed records.
#[derive(Debug, Clone, Default)]
pub struct CommittedOnly {
    /// Those that begin behind the batch that was shown last, in order.
    ahead: VecDeque<AbortedTransaction>,
    /// Whose transaction is one of those that began before it and has not ended.
    producers: BTreeSet<i64>,
}

impl CommittedOnly {
    /// With the transactions that the fetch named.
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|transaction| transaction.first_offset);
        Self { ahead: aborted.into(), producers: BTreeSet::new() }
    }

    /// Whether the batch is to be left out: it belongs to an aborted transaction, or holds no records but a control batch's.
    pub fn leaves_out(&mut self, batch: &Batch) -> bool {
        let last = batch.last_offset();
        while let Some(begun) = self.ahead.pop_front_if(|transaction| transaction.first_offset <= last) {
            self.producers.insert(begun.producer_id);
        }
        if batch.is_control() {
            if Marker::of(batch.bytes()).is_some_and(|marker| !marker.commits) {
                self.producers.remove(&batch.producer_id());
            }
            return true;
        }
        batch.is_transactional() && self.producers.contains(&batch.producer_id())
    }
}
