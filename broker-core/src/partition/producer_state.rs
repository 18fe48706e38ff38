//! What each idempotent producer wrote last: whether a batch is new, was there before, or leaves a gap.

use std::collections::BTreeMap;

use super::append::Refusal;
use super::transactions::Transactions;
use super::{ProducerDescription, TransactionEnd};
use crate::error::ErrorCode;
use crate::log::Aborted;
use crate::record::{Batch, CONTROL_BIT, Marker, TRANSACTIONAL_BIT, at, header};

/// How many batches are remembered of a producer. A client has at most five in flight, so an older one is not sent again.
pub(super) const WINDOW: usize = 5;

/// Whose batch it is, and its place in what that producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducerBatch {
    pub id: i64,
    pub epoch: i16,
    pub first_sequence: i32,
    pub last_sequence: i32,
    /// Whether it is part of the producer's transaction.
    pub transactional: bool,
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Appended {
    pub last_sequence: i32,
    pub last_offset: i64,
    /// Its last offset's distance from its first, and its last sequence's from its first.
    pub offset_delta: i32,
    /// Its largest.
    pub timestamp: i64,
}

/// One producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducerState {
    pub epoch: i16,
    /// The last ones, oldest first: the first `count` of them count.
    appended: [Appended; WINDOW],
    count: usize,
    /// Whether its epoch is known to have begun here: then there is no batch of it but those above, and the first has sequence 0.
    begun: bool,
    /// When it wrote last, by this broker's clock; when it was read back, after a restart.
    seen_ms: i64,
    /// That of the coordinator that ended its last transaction; -1 before the first one ended.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub transaction: Option<i64>,
}

/// All producers of a partition.
#[derive(Debug, Default)]
pub(super) struct ProducerStates {
    by_id: BTreeMap<i64, ProducerState>,
    /// Those that they have not ended.
    pub transactions: Transactions,
    /// Up to when producers that write no more were forgotten.
    expired_ms: i64,
}

/// The sequence that many behind: past the largest it goes on at 0.
pub(super) fn sequence_after(sequence: i32, more: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(more);
    (if sum > i64::from(i32::MAX) { sum - i64::from(i32::MAX) - 1 } else { sum }) as i32
}

impl ProducerBatch {
    /// From a whole header; none if the batch has no producer, or is a marker, which has no sequence.
    pub fn of(batch: &[u8]) -> Option<Self> {
        let id = header::i64(batch, at::PRODUCER_ID);
        let attributes = header::i16(batch, at::ATTRIBUTES);
        if id < 0 || attributes & CONTROL_BIT != 0 {
            return None;
        }
        let first_sequence = header::i32(batch, at::BASE_SEQUENCE);
        Some(Self {
            id,
            epoch: header::i16(batch, at::PRODUCER_EPOCH),
            first_sequence,
            last_sequence: sequence_after(first_sequence, header::i32(batch, at::LAST_OFFSET_DELTA)),
            transactional: attributes & TRANSACTIONAL_BIT != 0,
        })
    }
}

impl Appended {
    /// From a whole header.
    pub fn of(batch: &[u8], base_offset: i64) -> Self {
        let offset_delta = header::i32(batch, at::LAST_OFFSET_DELTA);
        Self {
            last_sequence: sequence_after(header::i32(batch, at::BASE_SEQUENCE), offset_delta),
            last_offset: base_offset.saturating_add(i64::from(offset_delta)),
            offset_delta,
            timestamp: header::i64(batch, at::MAX_TIMESTAMP),
        }
    }

    /// The offset that the batch's producer was told.
    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn is(&self, batch: ProducerBatch) -> bool {
        self.last_sequence == batch.last_sequence
            && sequence_after(batch.first_sequence, self.offset_delta) == batch.last_sequence
    }
}

impl ProducerState {
    /// A producer with its last batch only: what a snapshot keeps.
    pub fn with_last(epoch: i16, last: Option<Appended>, seen_ms: i64) -> Self {
        let appended = [Appended::default(); WINDOW];
        let mut state = Self { epoch, appended, count: 0, begun: false, seen_ms, coordinator_epoch: -1, transaction: None };
        last.into_iter().for_each(|last| state.push(last));
        state
    }

    /// Goes on with another epoch: what was sent with the old one is not known any more. A transaction stays open.
    fn renew(&mut self, epoch: i16) {
        (self.epoch, self.count, self.begun) = (epoch, 0, true);
    }

    /// When it wrote last, by the broker's clock.
    pub fn seen_ms(&self) -> i64 {
        self.seen_ms
    }

    /// Its batches, oldest first.
    pub fn appended(&self) -> &[Appended] {
        &self.appended[..self.count]
    }

    fn push(&mut self, batch: Appended) {
        if self.count == WINDOW {
            self.appended.rotate_left(1);
            self.count -= 1;
        }
        self.appended[self.count] = batch;
        self.count += 1;
    }
}

impl ProducerStates {
    /// Whether a batch may be appended; the one that was appended before, if it is that again.
    pub fn check(&self, batch: ProducerBatch) -> Result<Option<Appended>, Refusal> {
        let Some(state) = self.by_id.get(&batch.id) else { return Ok(None) };
        let before = self.check_sequence(state, batch)?;
        if before.is_none() && !batch.transactional && state.transaction.is_some() {
            let text = format!("producer {} writes outside of its transaction, which is open", batch.id);
            return Err(Refusal::new(ErrorCode::InvalidTxnState, text));
        }
        Ok(before)
    }

    /// Whether a batch is not of an older producer of its id. All there is to check where the broker itself writes for the producer,
    /// and its sequence says nothing.
    pub fn check_epoch(&self, batch: ProducerBatch) -> Result<(), Refusal> {
        let ProducerBatch { id, epoch, .. } = batch;
        match self.by_id.get(&id) {
            Some(state) if epoch < state.epoch => {
                let text = format!("producer {id} writes with epoch {epoch}, it is at {} already", state.epoch);
                Err(Refusal::new(ErrorCode::InvalidProducerEpoch, text))
            }
            _ => Ok(()),
        }
    }

    fn check_sequence(&self, state: &ProducerState, batch: ProducerBatch) -> Result<Option<Appended>, Refusal> {
        let ProducerBatch { id, epoch, first_sequence, .. } = batch;
        self.check_epoch(batch)?;
        if epoch > state.epoch {
            if first_sequence == 0 {
                return Ok(None);
            }
            let text = format!("producer {id} begins epoch {epoch} with sequence {first_sequence}, not 0");
            return Err(Refusal::new(ErrorCode::OutOfOrderSequenceNumber, text));
        }
        if let Some(before) = state.appended().iter().find(|appended| appended.is(batch)) {
            return Ok(Some(*before));
        }
        // Where only a marker is known of it, its batches may have been deleted.
        let last = state.appended().last().map(|last| sequence_after(last.last_sequence, 1));
        if let Some(expected) = last.or(state.begun.then_some(0)).filter(|expected| *expected != first_sequence) {
            let text = format!("producer {id}, epoch {epoch}: sequence {first_sequence} comes where {expected} was expected");
            return Err(Refusal::new(ErrorCode::OutOfOrderSequenceNumber, text));
        }
        Ok(None)
    }

    /// Whether a marker may be written.
    pub fn check_end(&self, end: &TransactionEnd) -> Result<(), Refusal> {
        let TransactionEnd { producer_id: id, producer_epoch: epoch, coordinator_epoch, .. } = *end;
        if id < 0 || epoch < 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidRecord,
                format!("producer {id}, epoch {epoch}: no transaction is theirs"),
            ));
        }
        let Some(state) = self.by_id.get(&id) else { return Ok(()) };
        if epoch < state.epoch {
            let text = format!("producer {id}: a transaction of epoch {epoch} is ended, it is at {} already", state.epoch);
            return Err(Refusal::new(ErrorCode::InvalidProducerEpoch, text));
        }
        if coordinator_epoch < state.coordinator_epoch {
            let text = format!(
                "producer {id}: its transaction is ended by a coordinator of epoch {coordinator_epoch}, one of {} did so before",
                state.coordinator_epoch
            );
            return Err(Refusal::new(ErrorCode::TransactionCoordinatorFenced, text));
        }
        Ok(())
    }

    /// The end of the transaction that a producer has open, if it has one, as its coordinator says it. Other epochs that are known here
    /// are no reason to leave it open: whoever brought them, it is the coordinator's transaction. But what was written with an epoch before
    /// the one that the transaction `wrote` with is of an earlier one, whose marker a power cut took; and where its end gave the next one another
    /// epoch, what has that one, or a later one, is of a transaction of which the coordinator knows nothing any more. Neither is committed.
    pub fn owed_end(&self, end: &TransactionEnd, wrote: i16) -> Option<TransactionEnd> {
        let state = self.by_id.get(&end.producer_id).filter(|state| state.transaction.is_some())?;
        let is_later = wrote < end.producer_epoch && state.epoch >= end.producer_epoch;
        Some(TransactionEnd {
            committed: end.committed && state.epoch >= wrote && !is_later,
            producer_epoch: end.producer_epoch.max(state.epoch),
            coordinator_epoch: end.coordinator_epoch.max(state.coordinator_epoch),
            ..*end
        })
    }

    /// All of them, by id.
    pub fn describe(&self) -> impl Iterator<Item = ProducerDescription> {
        self.by_id.iter().map(|(id, state)| {
            let last = state.appended().last();
            let last_sequence = last.map_or(-1, |last| last.last_sequence);
            let last_timestamp = last.map_or(-1, |last| last.timestamp);
            ProducerDescription {
                id: *id,
                epoch: state.epoch,
                last_sequence,
                last_timestamp,
                coordinator_epoch: state.coordinator_epoch,
                transaction_start: state.transaction,
            }
        })
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &ProducerState)> {
        self.by_id.iter().map(|(id, state)| (*id, state))
    }

    pub fn insert(&mut self, id: i64, state: ProducerState) {
        if let Some(first) = state.transaction {
            self.transactions.begin(first, id);
        }
        self.by_id.insert(id, state);
    }

    /// Takes what others know of the batches before the last one, where they know the same last one.
    pub fn refill(&mut self, others: &Self) {
        for (id, state) in &mut self.by_id {
            let Some(other) = others.by_id.get(id).filter(|other| other.epoch == state.epoch) else { continue };
            let key = |last: &Appended| (last.last_offset, last.last_sequence, last.offset_delta);
            if other.appended().last().map(key) == state.appended().last().map(key) {
                (state.appended, state.count) = (other.appended, other.count);
            }
        }
    }

    /// Whether a batch is all that the log has of what is known of its producer: its last one, or a marker in whose epoch there is
    /// nothing else.
    pub fn is_last(&self, batch: &Batch) -> bool {
        let Some(state) = self.by_id.get(&batch.producer_id()) else { return false };
        match state.appended().last() {
            Some(last) => !batch.is_control() && last.last_offset == batch.last_offset(),
            None => batch.is_control() && batch.producer_epoch() == state.epoch,
        }
    }

    /// Whether any of them has a transaction, or had one.
    pub fn have_transactions(&self) -> bool {
        self.by_id.values().any(|state| state.transaction.is_some() || state.coordinator_epoch >= 0)
    }

    /// Remembers a batch of the log by its header; of a control batch more than that is needed. The transaction that it aborts.
    pub fn read(&mut self, batch: &[u8], now_ms: i64) -> Option<Aborted> {
        let base_offset = header::i64(batch, at::BASE_OFFSET);
        if let Some(producer) = ProducerBatch::of(batch) {
            self.note(producer, Appended::of(batch, base_offset), now_ms);
            return None;
        }
        let (id, epoch) = (header::i64(batch, at::PRODUCER_ID), header::i16(batch, at::PRODUCER_EPOCH));
        if id < 0 || header::i16(batch, at::ATTRIBUTES) & TRANSACTIONAL_BIT == 0 {
            return None;
        }
        if let Some(Marker { commits, coordinator_epoch }) = Marker::of(batch) {
            let end = TransactionEnd { producer_id: id, producer_epoch: epoch, coordinator_epoch, committed: commits };
            let aborted = self.aborted_by(&end, base_offset);
            self.end(&end, base_offset, now_ms);
            return aborted;
        }
        if header::i32(batch, at::COUNT) == 0 {
            // A marker whose whole transaction was compacted away: all that it tells is the epoch, and that it ended what was open.
            self.of_epoch(id, epoch, now_ms);
            self.close(id, base_offset);
        }
        None
    }

    /// A producer's transaction, if it has one, was ended here.
    fn close(&mut self, id: i64, offset: i64) {
        if let Some(first) = self.by_id.get_mut(&id).and_then(|state| state.transaction.take()) {
            self.transactions.end(first, id, offset);
        }
    }

    /// All transactions that begin before this offset were ended.
    pub fn close_before(&mut self, offset: i64) {
        let begun = |state: &ProducerState| state.transaction.is_some_and(|first| first < offset);
        let ended: Vec<i64> = self.by_id.iter().filter(|(_, state)| begun(state)).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| self.close(id, offset));
    }

    fn of_epoch(&mut self, id: i64, epoch: i16, now_ms: i64) -> &mut ProducerState {
        let state = self.by_id.entry(id).or_insert_with(|| ProducerState::with_last(epoch, None, now_ms));
        if state.epoch != epoch {
            state.renew(epoch);
        }
        state.seen_ms = now_ms;
        state
    }

    /// Remembers a batch that was appended.
    pub fn note(&mut self, producer: ProducerBatch, appended: Appended, now_ms: i64) {
        let state = self.of_epoch(producer.id, producer.epoch, now_ms);
        state.push(appended);
        if producer.transactional && state.transaction.is_none() {
            let first = appended.base_offset();
            state.transaction = Some(first);
            self.transactions.begin(first, producer.id);
        }
    }

    /// The transaction that a marker at this offset aborts, if there is one.
    pub fn aborted_by(&self, end: &TransactionEnd, offset: i64) -> Option<Aborted> {
        let producer_id = end.producer_id;
        let first_offset = self.by_id.get(&producer_id)?.transaction.filter(|_| !end.committed)?;
        let last_stable = self.transactions.stable_without(first_offset, producer_id, offset);
        Some(Aborted { producer_id, first_offset, last_offset: offset, last_stable })
    }

    /// Remembers a marker that was appended.
    pub fn end(&mut self, end: &TransactionEnd, offset: i64, now_ms: i64) {
        let state = self.of_epoch(end.producer_id, end.producer_epoch, now_ms);
        state.coordinator_epoch = end.coordinator_epoch;
        self.close(end.producer_id, offset);
    }

    /// Forgets who wrote nothing for `expiration_ms` and has no open transaction, at most every `interval_ms`: a batch that such a
    /// producer sends again is taken for a new one.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64, interval_ms: i64) {
        // A clock that was put back starts over.
        if (self.expired_ms..self.expired_ms.saturating_add(interval_ms)).contains(&now_ms) {
            return;
        }
        self.expired_ms = now_ms;
        self.forget(now_ms, expiration_ms);
    }

    /// The same, at once.
    pub fn forget(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_id.retain(|_, state| state.transaction.is_some() || now_ms.saturating_sub(state.seen_ms) < expiration_ms);
    }
}
