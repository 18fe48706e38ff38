//! Transactions, as a partition sees them: one is open from a producer's first transactional batch to the marker that ends it. Who
//! reads committed records only sees nothing at or behind the first one that is undecided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use super::producer_state::{ProducerBatch, ProducerStates};
use super::{AbortedTransaction, Fetched, PartitionHandle, Produced, State, storage};
use crate::error::Error;
use crate::record::Marker;

/// How a producer's transaction ends, as its coordinator tells the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionEnd {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch: that of the transaction, or a later one, which fences whoever still writes with the old one.
    pub producer_epoch: i16,
    /// The coordinator's epoch: one that is older than what the partition has seen is fenced.
    pub coordinator_epoch: i32,
    /// Whether it is committed; aborted otherwise.
    pub committed: bool,
}

/// The undecided transactions of a partition. Most have none, and there may be very many partitions.
#[derive(Debug, Default)]
pub(super) struct Transactions(Option<Box<Undecided>>);

#[derive(Debug, Default)]
struct Undecided {
    /// The first offset of each open one, and its producer.
    open: BTreeSet<(i64, i64)>,
    /// First offset and marker's offset of those whose marker does not count yet, being not durable.
    ending: BTreeMap<i64, i64>,
}

impl Transactions {
    pub fn begin(&mut self, first_offset: i64, producer: i64) {
        self.0.get_or_insert_default().open.insert((first_offset, producer));
    }

    /// What is stable once such a marker counts: all before the first that is open still, or all up to the marker.
    pub fn stable_without(&self, first_offset: i64, producer: i64, marker: i64) -> i64 {
        let open = self.0.iter().flat_map(|undecided| &undecided.open);
        let mut others = open.filter(|one| **one != (first_offset, producer));
        others.next().map_or(marker + 1, |(first, _)| *first)
    }

    /// One has a marker.
    pub fn end(&mut self, first_offset: i64, producer: i64, marker: i64) {
        let undecided = self.0.get_or_insert_default();
        undecided.open.remove(&(first_offset, producer));
        undecided.ending.insert(first_offset, marker);
    }

    /// Everything before an offset counts.
    pub fn settle(&mut self, high_watermark: i64) {
        let Some(undecided) = &mut self.0 else { return };
        undecided.ending.retain(|_, marker| *marker >= high_watermark);
        if undecided.open.is_empty() && undecided.ending.is_empty() {
            self.0 = None;
        }
    }

    /// Whether there are markers that do not count yet.
    pub fn is_ending(&self) -> bool {
        self.0.as_ref().is_some_and(|undecided| !undecided.ending.is_empty())
    }

    /// The first offset of all that are undecided; behind every offset if none is.
    pub fn first_unstable(&self) -> i64 {
        let Some(Undecided { open, ending }) = self.0.as_deref() else { return i64::MAX };
        let open = open.first().map_or(i64::MAX, |(first, _)| *first);
        ending.first_key_value().map_or(open, |(first, _)| open.min(*first))
    }
}

impl PartitionHandle {
    /// Behind the last offset whose records are decided: before the first offset of the oldest open transaction.
    pub fn stable_offset(&self) -> i64 {
        self.stable_before(self.end_offset())
    }

    /// The same, of an end that was looked up before: who shows a new end has shown the transaction that begins before it.
    pub(super) fn stable_before(&self, end: i64) -> i64 {
        let first_unstable = self.0.unstable.load(Ordering::Acquire);
        end.min(first_unstable).max(self.log_start().min(end))
    }

    /// As [`fetch`](Self::fetch), but only what is decided. Records of the aborted transactions that are told are among it: who reads
    /// leaves them out, as [`CommittedOnly`](super::CommittedOnly) does.
    pub fn fetch_committed(&self, offset: i64, max_bytes: usize) -> Result<Fetched, Error> {
        let found = self.bounds(offset)?;
        if offset >= found.last_stable {
            return Ok(found);
        }
        let read = crate::log::read_committed(|look| self.with_log(look), offset, found.last_stable, max_bytes);
        let (batches, aborted) = self.reading(read)?;
        let aborted = aborted.iter().map(AbortedTransaction::of).collect();
        Ok(Fetched { batches, aborted, ..found })
    }

    /// As [`produce_own`](Self::produce_own), for a batch that the broker writes as part of a producer's transaction. The producer did
    /// not number it: its sequence is not looked at, its epoch is.
    /// If it is to be durable, it counts only then.
    pub(crate) fn produce_own_within(&self, batch: BytesMut, durable: bool) -> Result<(), Error> {
        debug_assert!(super::append::check(&mut batch.clone(), &self.config(), i64::MAX).is_ok(), "{}: unsound", self.0.id);
        let (now, config) = (self.0.surroundings.clock.wall_ms(), self.config());
        let (count, max_timestamp) = super::append::told(&batch);
        let producer = ProducerBatch::of(&batch);
        let mut state = self.state();
        self.check_there()?;
        if let Some(producer) = producer {
            state.producers.check_epoch(producer).map_err(|refusal| refusal.on(&self.0.id))?;
        }
        let ask = self.append_of(producer, &mut state, batch, (count, max_timestamp, now), &config, durable)?;
        self.tell(state);
        self.ask(ask);
        Ok(())
    }

    /// Ends a producer's transaction here: appends the marker that says how. It does no harm if none is open, so a coordinator that
    /// does not know may say it again.
    pub fn end_transaction(&self, end: &TransactionEnd) -> Result<Produced, Error> {
        self.check_there()?;
        let state = self.state();
        self.check_there()?;
        state.producers.check_end(end).map_err(|refusal| refusal.on(&self.0.id))?;
        self.mark_end(state, end, false)
    }

    /// The same as the transaction's coordinator says it, which is never refused: it is what ends it. Nothing is written if none is open, so
    /// it may be said again and again. Behind what to wait for until it counts; if it is to be durable, that is when it is, as if the
    /// topic's `flush.messages` asked for it. And how what was open was ended: what is not of the epoch that the transaction `wrote` with is
    /// aborted.
    pub(crate) fn complete_transaction(&self, end: &TransactionEnd, wrote: i16, durable: bool) -> Result<(i64, bool), Error> {
        self.check_there()?;
        let state = self.state();
        self.check_there()?;
        match state.producers.owed_end(end, wrote) {
            None => Ok((state.log.end(), end.committed)),
            Some(end) => self.mark_end(state, &end, durable).map(|marked| (marked.end_offset, end.committed)),
        }
    }

    fn mark_end(&self, mut state: MutexGuard<'_, State>, end: &TransactionEnd, durable: bool) -> Result<Produced, Error> {
        let (now, config) = (self.0.surroundings.clock.wall_ms(), self.config());
        let marker = Marker { commits: end.committed, coordinator_epoch: end.coordinator_epoch };
        let batch = marker.batch(end.producer_id, end.producer_epoch, now);
        let base_offset = state.log.end();
        if let Some(aborted) = state.producers.aborted_by(end, base_offset) {
            // Before its marker: an entry without one goes when the log is recovered, a marker without an entry would lie.
            let noted = state.make_room(batch.len(), base_offset, -1, now).and_then(|()| state.log.note_abort(&aborted));
            noted.map_err(|error| storage(&self.0.id, "takes no writes", error))?;
        }
        // Its timestamp is no record's: nobody who asks for a time is shown it.
        self.write(&mut state, batch, 1, (-1, now))?;
        if durable {
            state.flushing.must = state.log.end();
        }
        let ask = self.appended(&mut state, config.topic.flush_ms);
        state.producers.end(end, base_offset, now);
        self.settle_transactions(&mut state.producers, self.end_offset());
        self.tell(state);
        self.ask(ask);
        Ok(Produced { base_offset, end_offset: base_offset + 1, log_append_time: None, duplicate: false })
    }

    /// To be called when a marker was written, and before more counts than so far: who sees that sees what it decides.
    pub(super) fn settle_transactions(&self, producers: &mut ProducerStates, high_watermark: i64) {
        producers.transactions.settle(high_watermark);
        self.0.unstable.store(producers.transactions.first_unstable(), Ordering::Release);
    }
}
