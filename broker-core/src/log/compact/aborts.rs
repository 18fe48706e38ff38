//! Which batches belong to transactions that were aborted, and of which markers nothing is left to mark.

use std::collections::{BTreeMap, BTreeSet};

use super::super::txn_index::Aborted;
use crate::record::Batch;

/// The aborted transactions that reach into what is compacted.
#[derive(Debug, Default)]
pub(super) struct Aborts {
    /// By producer and marker's offset.
    by_end: BTreeMap<(i64, i64), Aborted>,
}

impl Aborts {
    pub fn new(all: Vec<Aborted>) -> Self {
        Self { by_end: all.into_iter().map(|aborted| ((aborted.producer_id, aborted.last_offset), aborted)).collect() }
    }

    /// Whether a batch of data belongs to one: to the first of its producer that ends behind it.
    pub fn hold(&self, batch: &Batch) -> bool {
        let (producer, offset) = (batch.producer_id(), batch.base_offset());
        let mut behind = self.by_end.range((producer, offset)..=(producer, i64::MAX));
        batch.is_transactional() && behind.next().is_some_and(|(_, aborted)| aborted.first_offset <= offset)
    }

    /// The one that a marker ends.
    pub fn ended_by(&self, marker: &Batch) -> Option<&Aborted> {
        self.by_end.get(&(marker.producer_id(), marker.base_offset()))
    }
}

/// Whose transactions have batches before the place that a walk has come to.
#[derive(Debug, Default)]
pub(super) struct Begun(BTreeSet<i64>);

impl Begun {
    /// A batch of data.
    pub fn note(&mut self, batch: &Batch) {
        if batch.is_transactional() {
            self.0.insert(batch.producer_id());
        }
    }

    /// Whether a marker ends a transaction of which there was a batch.
    pub fn end(&mut self, marker: &Batch) -> bool {
        self.0.remove(&marker.producer_id())
    }
}
