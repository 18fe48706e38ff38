//! Compaction: of each key only the last record stays. Reads segments that are no longer appended to, without the log's lock, and
//! writes what is left of them anew; the lock is held to look and to swap.
//!
//! What stays keeps its offset. A batch of which nothing is left goes too, but for the last one of each producer, whose sequence
//! must not be forgotten, and the last one of each new segment, so that segments still follow one another without a gap.
//!
//! What is undecided stays as it is. Records of aborted transactions go at once. A marker stays while there is a batch of its
//! transaction, and then as long as a tombstone: somebody may have read the batches and not the marker yet.

mod aborts;
mod in_log;
mod keys;
mod rewrite;
pub(super) mod swap;

#[cfg(test)]
mod swap_tests;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::Log;
use super::config::LogConfig;
use super::heads::Head;
use super::index::Indexes;
use super::place::Place;
use super::read::read_ahead;
use super::segment::Segment;
use super::txn_index::{Aborted, AbortedView, TxnIndex, overlapping};
use crate::record::{Batch, BatchError};
use crate::storage::DiskFile;
use aborts::{Aborts, Begun};
use keys::Keys;
use rewrite::{Left, Rule, emptied, unpacked};

/// How much is written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// What is asked for.
pub(crate) struct Compaction<'a> {
    /// Milliseconds since 1970.
    pub now: i64,
    /// `min.compaction.lag.ms`: what is younger stays as it is.
    pub min_lag_ms: i64,
    /// `delete.retention.ms`: how long a tombstone stays once it has been compacted.
    pub delete_retention_ms: i64,
    /// `log.cleaner.dedupe.buffer.size`: how much memory the keys may take.
    pub dedupe_bytes: usize,
    /// Everything before it is decided, by markers that are durable; nothing behind is touched.
    pub stable: i64,
    /// Whether the log is of no more use: what was begun is left, with an error.
    pub is_over: &'a dyn Fn() -> bool,
    /// Whether the batch, which has a producer, is the last one of what is known of that producer.
    pub is_producers_last: &'a dyn Fn(&Batch) -> bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Compacted {
    /// Everything before it is compacted now.
    pub to: i64,
    /// Sizes of the files that were looked at, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dirt {
    /// Bytes of segments that were compacted already.
    pub clean_bytes: u64,
    /// Bytes that could be.
    pub dirty_bytes: u64,
    /// The largest timestamp of the first segment that could be; below 0 if there is none.
    pub oldest: i64,
}

impl Dirt {
    /// The part that is worth compacting, from 0 to 1.
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }
}

/// A segment that is no longer appended to.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub base: i64,
    /// The next segment's base.
    pub end: i64,
    pub size: u64,
    pub largest_timestamp: i64,
    /// Whether it has an index of aborted transactions.
    pub has_aborts: bool,
    pub file: Arc<dyn DiskFile>,
}

/// What the log says before anything is read.
#[derive(Debug)]
pub(super) struct Plan {
    pub sources: Vec<Source>,
    /// Where the aborted transactions are listed that reach into them.
    pub aborts: Vec<AbortedView>,
    /// Everything before it was compacted.
    pub compacted_to: i64,
    /// Everything before it is durable.
    pub durable_to: i64,
    pub place: Place,
    pub config: Arc<LogConfig>,
}

/// A segment written anew, under its `.swap` name.
#[derive(Debug)]
pub(super) struct Fresh {
    pub base: i64,
    pub covered: Vec<Source>,
}

/// How much there is to do, at most up to what is younger than `min_lag_ms`, or undecided.
pub(crate) fn dirt(log: &mut Log, now: i64, min_lag_ms: i64, stable: i64) -> io::Result<Dirt> {
    let plan = log.plan_compaction(now, min_lag_ms, stable)?;
    let mut dirt = Dirt { oldest: -1, ..Dirt::default() };
    for source in &plan.sources {
        if source.end <= plan.compacted_to {
            dirt.clean_bytes += source.size;
        } else {
            if dirt.dirty_bytes == 0 {
                dirt.oldest = source.largest_timestamp;
            }
            dirt.dirty_bytes += source.size;
        }
    }
    Ok(dirt)
}

/// Compacts a log, as far as it is durable: an old record must not go before the one that takes its place is safe. Nothing if there
/// is nothing to do. `with_log` hands out the log for a moment, under its lock. Nobody else takes segments out meanwhile.
pub(crate) fn compact(
    mut with_log: impl FnMut(&mut dyn FnMut(&mut Log)),
    wanted: &Compaction<'_>,
) -> io::Result<Option<Compacted>> {
    let mut plan = None;
    with_log(&mut |log| plan = Some(log.plan_compaction(wanted.now, wanted.min_lag_ms, wanted.stable)));
    let Some(mut plan) = plan.transpose()? else { return Ok(None) };
    plan.sources.retain(|source| source.end <= plan.durable_to);
    let upper = plan.sources.last().map_or(0, |source| source.end);
    let aborts = Aborts::new(overlapping(&plan.aborts, 0, upper)?);
    let (keys, to) = collect(&plan, &aborts, wanted)?;
    if to <= plan.compacted_to {
        return Ok(None);
    }
    let (now, delete_retention_ms) = (wanted.now, wanted.delete_retention_ms);
    let unpacked_bytes_max = plan.config.decompressed_bytes_max;
    let left_one = Cell::new(false);
    let rule = Rule { keys: &keys, aborts: &aborts, to, now, delete_retention_ms, unpacked_bytes_max, left_one };
    let mut begun = Begun::default();
    let mut done = Compacted { to, ..Compacted::default() };
    let looked_at: Vec<Source> = plan.sources.iter().filter(|source| source.base < to).cloned().collect();
    for group in groups(&looked_at, &plan.config) {
        let before: u64 = group.iter().map(|source| source.size).sum();
        done.bytes_before += before;
        let Some((fresh, size)) = write(&plan, group, &rule, &mut begun, wanted)? else {
            done.bytes_after += before;
            continue;
        };
        done.bytes_after += if swap_in(&plan, &fresh, &mut with_log)? { size } else { before };
    }
    with_log(&mut |log| log.note_compacted(to));
    Ok(Some(done))
}

/// Puts a compacted segment in the place of those that it was made from. Without the log's lock: the disk takes its time for it, and
/// who reads or writes meanwhile is not touched by it. False, and nothing is done, if they are no longer there as they were. What
/// takes nobody's place goes: it would cover others that come later. If it cannot go, nothing more is written.
fn swap_in(plan: &Plan, fresh: &Fresh, with_log: &mut impl FnMut(&mut dyn FnMut(&mut Log))) -> io::Result<bool> {
    let mut may = Ok(false);
    with_log(&mut |log| may = log.begin_swap(fresh));
    if !matches!(may, Ok(true)) {
        let mut discarded = swap::discard(&plan.place, fresh.base);
        if discarded.is_err() {
            with_log(&mut |log| discarded = log.guard(std::mem::replace(&mut discarded, Ok(()))));
        }
        discarded?;
        return may;
    }
    let (mut swapped, mut done) = (Some(swap_files(plan, fresh)), Ok(()));
    with_log(&mut |log| {
        if let Some(swapped) = swapped.take() {
            done = log.finish_swap(fresh, swapped);
        }
    });
    done.map(|()| true)
}

fn swap_files(plan: &Plan, fresh: &Fresh) -> io::Result<Segment> {
    let covered: Vec<i64> = fresh.covered.iter().map(|source| source.base).collect();
    swap::put_in_place(&plan.place, fresh.base, &covered)?;
    swap::name_indexes(&plan.place, fresh.base)?;
    let mut segment = Segment::there(&plan.place, fresh.base)?;
    segment.ensure(&plan.place, &plan.config)?;
    let end = fresh.covered.last().map_or(fresh.base, |last| last.end);
    segment.aborts.load(&plan.place, end)?.map_err(io::Error::other)?;
    Ok(segment)
}

/// The last offset of each key from the first dirty one on, as far as memory reaches, and behind which offset it ends.
fn collect(plan: &Plan, aborts: &Aborts, wanted: &Compaction<'_>) -> io::Result<(Keys, i64)> {
    let (mut keys, mut to) = (Keys::new(wanted.dedupe_bytes), plan.compacted_to);
    for source in plan.sources.iter().filter(|source| source.end > plan.compacted_to) {
        let mut batches = Walk::new(source, wanted.is_over);
        while let Some(batch) = batches.next()? {
            if batch.last_offset() < plan.compacted_to {
                continue;
            }
            let counts = !batch.is_control() && !aborts.hold(&batch);
            if counts && !note_keys(plan, &batch, &mut keys)? {
                return Ok((keys, to));
            }
            to = batch.last_offset().saturating_add(1);
        }
        to = to.max(source.end);
    }
    Ok((keys, to))
}

/// False if there is no room for all keys of the batch. Those that were noted are right as they are: what is behind them counts
/// for later.
fn note_keys(plan: &Plan, batch: &Batch, keys: &mut Keys) -> io::Result<bool> {
    let Some(plain) = unpacked(batch, plan.config.decompressed_bytes_max).map_err(io::Error::other)? else {
        let (log, offset) = (&plan.place.folder, batch.base_offset());
        let text = "a batch is not compacted: it unpacks to more than message.decompressed.bytes.max";
        tracing::warn!(target: "broker_core::log", log, offset, "{text}");
        return Ok(true);
    };
    for record in plain.records() {
        let record = record.map_err(io::Error::other)?;
        let Some(key) = record.key() else { continue };
        if record.offset >= plan.compacted_to && !keys.note(key, record.offset) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs of segments that fit into one.
fn groups<'s>(sources: &'s [Source], config: &LogConfig) -> Vec<&'s [Source]> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut size = 0;
    for (index, source) in sources.iter().enumerate() {
        let spans = source.end - sources[start].base > i64::from(i32::MAX);
        // An entry stands for at least the interval's bytes, but for each segment's first ones.
        let entries = (size + source.size) / config.index_interval_bytes.max(1) + (index - start) as u64 + 1;
        let full = size + source.size > config.segment_bytes || entries >= config.index_bytes / 12;
        if index > start && (spans || full) {
            groups.push(&sources[start..index]);
            (start, size) = (index, 0);
        }
        size += source.size;
    }
    if start < sources.len() {
        groups.push(&sources[start..]);
    }
    groups
}

/// Writes what is left of a group; nothing if that is what is there already. What was written is durable when this returns.
fn write(
    plan: &Plan,
    group: &[Source],
    rule: &Rule<'_>,
    begun: &mut Begun,
    wanted: &Compaction<'_>,
) -> io::Result<Option<(Fresh, u64)>> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(None) };
    let mut out = Writer::new(plan, first.base)?;
    out.has_aborts = group.iter().any(|source| source.has_aborts);
    let mut changed = group.len() > 1;
    for source in group {
        let mut batches = Walk::new(source, wanted.is_over);
        while let Some(batch) = batches.next()? {
            let left = rule.apply(&batch, begun).map_err(io::Error::other)?;
            let ends_segment = batch.last_offset() == last.end - 1;
            let needed = ends_segment || batch.producer_id() >= 0 && (wanted.is_producers_last)(&batch);
            let is_there = !matches!(left, Left::Nothing);
            match left {
                Left::Same if batch.count() > 0 || needed => out.put(batch.bytes().clone())?,
                Left::Some(bytes) => {
                    changed = true;
                    out.put(bytes)?;
                }
                Left::Nothing if needed => {
                    changed = true;
                    out.put(emptied(&batch))?;
                }
                Left::Same | Left::Nothing => changed = true,
            }
            if let Some(aborted) = rule.aborts.ended_by(&batch).filter(|_| is_there && batch.count() > 0) {
                out.note_abort(aborted)?;
            }
        }
    }
    if !changed {
        out.discard()?;
        return Ok(None);
    }
    let size = out.finish()?;
    Ok(Some((Fresh { base: first.base, covered: group.to_vec() }, size)))
}

/// A segment's batches in order.
struct Walk<'s> {
    source: &'s Source,
    position: u64,
    ahead: Bytes,
    is_over: &'s dyn Fn() -> bool,
}

impl<'s> Walk<'s> {
    fn new(source: &'s Source, is_over: &'s dyn Fn() -> bool) -> Self {
        Self { source, position: 0, ahead: Bytes::new(), is_over }
    }

    /// A damaged batch is an error: what cannot be read is not thrown away.
    fn next(&mut self) -> io::Result<Option<Batch>> {
        if (self.is_over)() {
            return Err(io::Error::other("the log is of no more use: it is not compacted"));
        }
        while self.position < self.source.size {
            match Batch::parse(&self.ahead) {
                Ok(batch) => {
                    batch.verify_crc().map_err(|error| self.damaged(&error))?;
                    self.ahead.advance(batch.size());
                    self.position += batch.size() as u64;
                    return Ok(Some(batch));
                }
                Err(BatchError::Incomplete { need, .. }) if self.position + need as u64 <= self.source.size => {
                    self.ahead = read_ahead(self.source.file.as_ref(), self.position, need)?;
                }
                Err(error) => return Err(self.damaged(&error)),
            }
        }
        Ok(None)
    }

    fn damaged(&self, error: &BatchError) -> io::Error {
        let text = format!("segment {:020}, position {}: {error}; it is not compacted", self.source.base, self.position);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

/// A segment that is being written.
struct Writer<'p> {
    plan: &'p Plan,
    base: i64,
    file: Arc<dyn DiskFile>,
    indexes: Indexes,
    aborts: TxnIndex,
    /// Whether one of those that it is made from has an index of aborted transactions.
    has_aborts: bool,
    /// What is not written yet, and how much is.
    waiting: BytesMut,
    written: u64,
}

impl<'p> Writer<'p> {
    fn new(plan: &'p Plan, base: i64) -> io::Result<Self> {
        for kind in swap::CLEANED.iter().chain(&[swap::TXN_CLEANED, swap::TXN_SWAP]) {
            plan.place.remove(base, kind)?;
        }
        let file = plan.place.open(base, swap::CLEANED[0])?;
        let indexes = Indexes::named(base, swap::CLEANED[1], swap::CLEANED[2]);
        let aborts = TxnIndex::named(base, swap::TXN_CLEANED);
        Ok(Self { plan, base, file, indexes, aborts, has_aborts: false, waiting: BytesMut::new(), written: 0 })
    }

    fn put(&mut self, batch: Bytes) -> io::Result<()> {
        let head = Head::of(&batch, self.written + self.waiting.len() as u64).map_err(io::Error::other)?;
        self.indexes.note(&head, self.plan.config.index_interval_bytes);
        self.waiting.extend_from_slice(&batch);
        if self.waiting.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// The marker that was put last aborts it.
    fn note_abort(&mut self, aborted: &Aborted) -> io::Result<()> {
        self.aborts.note(&self.plan.place, aborted)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.indexes.flush_due(&self.plan.place)?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.written += self.waiting.len() as u64;
        self.file.append(self.waiting.split().freeze())
    }

    fn discard(self) -> io::Result<()> {
        drop((self.file, self.aborts));
        let mut kinds = swap::CLEANED.iter().chain([&swap::TXN_CLEANED]);
        kinds.try_for_each(|kind| self.plan.place.remove(self.base, kind))
    }

    /// Makes it durable under its `.swap` name. Its size.
    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.indexes.seal(&self.plan.place)?;
        self.file.sync()?;
        self.indexes.files().try_for_each(|file| file.sync())?;
        let place = &self.plan.place;
        if self.has_aborts {
            // Empty, it tells that the one whose place it takes is to go.
            place.open(self.base, swap::TXN_CLEANED)?.sync()?;
            drop(self.aborts);
            place.rename(self.base, swap::TXN_CLEANED, swap::TXN_SWAP)?;
        }
        drop(self.file);
        place.rename(self.base, swap::CLEANED[0], swap::SWAP)?;
        Ok(self.written)
    }
}
