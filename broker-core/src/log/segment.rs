//! One file of a log, with its indexes.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::config::LogConfig;
use super::heads::{Head, Heads};
use super::index::{Indexes, IndexesView, TimeEntry};
use super::place::{Place, file_name, kind};
use super::read::{Stretch, read_ahead};
use super::times::{TimeView, damaged};
use super::txn_index::TxnIndex;
use crate::record::{Batch, BatchError};
use crate::storage::DiskFile;

#[derive(Debug)]
pub(super) struct Segment {
    pub base: i64,
    pub file: Arc<dyn DiskFile>,
    indexes: Indexes,
    /// The transactions that end here by being aborted.
    pub aborts: TxnIndex,
    /// Whether the indexes were made here, or were seen to agree with the file. Not before they are needed: a broker with many
    /// segments would read them all when it starts.
    checked: bool,
    /// The largest timestamp of its first batch, if known.
    first_timestamp: Option<i64>,
    /// When it was first seen to be there, by the clock that stamps records: its age, if its records have no timestamps.
    seen: Option<i64>,
}

/// How a scan of a segment ended.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Behind the last whole, sound batch.
    pub end: i64,
    pub size: u64,
    /// What stands behind it, if anything.
    pub damage: Option<BatchError>,
}

/// Whether a batch is sound and goes on where the log ends, with a record for each of its offsets; or behind it and with fewer, but
/// before `gaps_to`. Never so far behind the segment's base that its indexes could not tell.
fn follows(batch: &Batch, base: i64, end: i64, gaps_to: i64) -> Result<(), BatchError> {
    batch.verify_crc()?;
    let (found, last) = (batch.base_offset(), batch.last_offset());
    let (count, last_delta) = (batch.count(), batch.last_offset_delta());
    let may_have_gaps = last < gaps_to;
    if found < end || found > end && !may_have_gaps {
        return Err(BatchError::Offset { found, expected: end });
    }
    let most = i64::from(last_delta) + 1;
    if last_delta < 0 || !(0..=most).contains(&count.into()) || i64::from(count) < most && !may_have_gaps {
        return Err(BatchError::Count { count, last_delta });
    }
    if last.saturating_sub(base) > i64::from(i32::MAX) {
        return Err(BatchError::Offset { found, expected: end });
    }
    Ok(())
}

impl Segment {
    /// A new, empty one. Indexes of that name are left from a segment that is gone.
    pub fn create(place: &Place, base: i64) -> io::Result<Self> {
        place.remove(base, kind::INDEX)?;
        place.remove(base, kind::TIME_INDEX)?;
        place.remove(base, kind::TXN_INDEX)?;
        Ok(Self { checked: true, ..Self::there(place, base)? })
    }

    /// One that is there.
    pub fn there(place: &Place, base: i64) -> io::Result<Self> {
        Ok(Self {
            base,
            file: place.open(base, kind::LOG)?,
            indexes: Indexes::new(base),
            aborts: TxnIndex::new(base),
            checked: false,
            first_timestamp: None,
            seen: None,
        })
    }

    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// Whether its indexes were looked at since it was opened.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// The largest timestamp, and the last offset of the first batch that has it; below 0 if no batch has one.
    pub fn largest(&self) -> TimeEntry {
        self.indexes.largest
    }

    pub fn index_is_full(&self, config: &LogConfig) -> bool {
        self.indexes.are_full(config)
    }

    /// Appends a batch; its bytes are stamped already.
    pub fn append(
        &mut self,
        place: &Place,
        config: &LogConfig,
        batch: Bytes,
        last_offset: i64,
        max_timestamp: i64,
        now: i64,
    ) -> io::Result<()> {
        self.indexes.flush_due(place)?;
        let (position, size) = (self.file.size(), batch.len() as u64);
        self.file.append(batch)?;
        if position == 0 {
            (self.first_timestamp, self.seen) = (Some(max_timestamp), Some(now));
        }
        let head = Head { position, size, base_offset: last_offset, last_offset, max_timestamp };
        self.indexes.note(&head, config.index_interval_bytes);
        Ok(())
    }

    /// Whether the next batch must go into another segment because of this one's age: from its first batch on, by the records'
    /// own time if they have one.
    pub fn is_old(&self, config: &LogConfig, jitter: i64, timestamp: i64, now: i64) -> bool {
        let age = match self.first_timestamp.filter(|first| *first >= 0) {
            Some(first) => timestamp.saturating_sub(first),
            None => self.seen.map_or(0, |seen| now.saturating_sub(seen)),
        };
        age > config.segment_ms.saturating_sub(jitter)
    }

    /// The largest timestamp; when it was first seen if it has none.
    pub fn youngest(&mut self, place: &Place, config: &LogConfig, now: i64) -> io::Result<i64> {
        self.ensure(place, config)?;
        let seen = *self.seen.get_or_insert(now);
        Ok(if self.indexes.largest.timestamp >= 0 { self.indexes.largest.timestamp } else { seen })
    }

    /// Looks at the indexes before they are used, if nobody has yet; what does not agree with the file is made anew.
    pub fn ensure(&mut self, place: &Place, config: &LogConfig) -> io::Result<()> {
        if !self.checked && self.check(place, config)?.is_none() {
            self.rebuild(place, config)?;
        }
        if self.first_timestamp.is_none() && self.size() > 0 {
            let first = Heads::new(self.file.as_ref(), 0, self.size()).next().transpose()?;
            self.first_timestamp = first.and_then(Result::ok).map(|head| head.max_timestamp);
        }
        Ok(())
    }

    /// Makes the indexes anew: what they say was seen to be wrong.
    pub fn rebuild(&mut self, place: &Place, config: &LogConfig) -> io::Result<()> {
        let (folder, file) = (&place.folder, file_name(self.base, kind::INDEX));
        tracing::warn!(target: "broker_core::recovery", %folder, file, "an index is damaged: made anew");
        let scanned = self.scan(place, config, self.base, i64::MAX)?;
        if scanned.size != self.size() {
            self.checked = false;
            return Err(damaged(self.base));
        }
        self.seal(place)
    }

    /// Removes its files.
    pub fn remove(&self, place: &Place) -> io::Result<()> {
        self.keep()?;
        kind::ALL.iter().try_for_each(|kind| place.remove(self.base, kind))
    }

    /// Nothing more is appended for now: the indexes get their last entries.
    pub fn seal(&mut self, place: &Place) -> io::Result<()> {
        if self.checked { self.indexes.seal(place) } else { Ok(()) }
    }

    /// The files of the two indexes that can be held against the log, as far as they are there.
    pub fn index_files(&self) -> impl Iterator<Item = Arc<dyn DiskFile>> {
        self.indexes.files()
    }

    /// To be called before its files are renamed or removed: who reads them goes on.
    pub fn keep(&self) -> io::Result<()> {
        self.file.keep()?;
        self.index_files().chain(self.aborts.file()).try_for_each(|file| file.keep())
    }

    /// Walks all batches, checks them, and builds the indexes anew. The first batch must start at `expected` and each other one
    /// where the one before ends: the checksum does not cover offsets, so a gap is all that shows a damaged one. Where something
    /// was compacted there may be gaps, up to `gaps_to`.
    pub fn scan(&mut self, place: &Place, config: &LogConfig, expected: i64, gaps_to: i64) -> io::Result<Scanned> {
        let mut scanned = Scanned { end: expected, size: 0, damage: None };
        self.indexes.clear(place)?;
        let size = self.file.size();
        // What is read ahead, from `scanned.size` on.
        let mut ahead = Bytes::new();
        while scanned.size < size {
            let left = size - scanned.size;
            let damage = match Batch::parse(&ahead) {
                Err(BatchError::Incomplete { need, .. }) if need as u64 <= left => {
                    ahead = read_ahead(self.file.as_ref(), scanned.size, need)?;
                    continue;
                }
                Err(BatchError::Incomplete { need, .. }) => BatchError::Incomplete { have: left as usize, need },
                Err(damage) => damage,
                Ok(batch) => match follows(&batch, self.base, scanned.end, gaps_to) {
                    Ok(()) => {
                        let head = Head::of(batch.bytes(), scanned.size).map_err(io::Error::other)?;
                        self.indexes.note(&head, config.index_interval_bytes);
                        scanned.size += batch.size() as u64;
                        scanned.end = batch.last_offset() + 1;
                        ahead.advance(batch.size());
                        continue;
                    }
                    Err(damage) => damage,
                },
            };
            scanned.damage = Some(damage);
            break;
        }
        self.checked = true;
        Ok(scanned)
    }

    /// Reads the ends of the indexes and of the file. The offset behind the last batch, if they agree; nothing is known of the
    /// indexes otherwise.
    pub fn check(&mut self, place: &Place, config: &LogConfig) -> io::Result<Option<i64>> {
        if !self.indexes.load(place)? {
            return Ok(None);
        }
        let (view, size) = (self.indexes.view(), self.size());
        let (offset_end, time_end) = view.ends()?;
        let from = offset_end.map_or(0, |entry| entry.position);
        let (mut end, mut since_entry, mut largest) = (self.base, 0, -1);
        if from > size || from == size && offset_end.is_some() {
            return Ok(None);
        }
        for (number, head) in Heads::new(self.file.as_ref(), from, size).enumerate() {
            let Ok(head) = head? else { return Ok(None) };
            let named = number == 0 && offset_end.is_some();
            if named && offset_end.is_some_and(|entry| entry.offset != head.last_offset) {
                return Ok(None);
            }
            if !named && since_entry > config.index_interval_bytes {
                // This batch should have an entry.
                return Ok(None);
            }
            since_entry += head.size;
            largest = largest.max(head.max_timestamp);
            end = head.last_offset.saturating_add(1);
        }
        let agree = match time_end {
            Some(entry) => entry.timestamp >= largest && self.names_its_batch(&view, entry)?,
            None => largest < 0 && offset_end.is_none(),
        };
        if !agree {
            return Ok(None);
        }
        self.indexes.resume(since_entry, time_end);
        self.checked = true;
        Ok(Some(end))
    }

    /// As [`check`](Self::check), but nothing is kept of it: an idle log holds no more than it must.
    pub fn peek(&mut self, place: &Place, config: &LogConfig) -> io::Result<Option<i64>> {
        let end = self.check(place, config)?;
        self.indexes = Indexes::new(self.base);
        self.checked = false;
        Ok(end)
    }

    fn names_its_batch(&self, view: &IndexesView, entry: TimeEntry) -> io::Result<bool> {
        let from = view.offset_entry(entry.offset)?.map_or(0, |found| found.position);
        for head in Heads::new(self.file.as_ref(), from, self.size()) {
            match head? {
                Ok(head) if head.last_offset < entry.offset => {}
                Ok(head) => return Ok(head.last_offset == entry.offset && head.max_timestamp == entry.timestamp),
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// What a read from `offset` on looks at, from `hint` if the caller knows its position.
    pub fn stretch(&self, offset: i64, hint: Option<u64>) -> Stretch {
        let lookup = if hint.is_some() { None } else { Some((self.indexes.view(), offset)) };
        Stretch {
            file: self.file.clone(),
            base: self.base,
            generation: 0,
            position: hint.unwrap_or(0),
            end: self.file.size(),
            lookup,
        }
    }

    /// An offset of the last batch that starts at or before a position and is in the index; the segment's base if there is none.
    pub fn offset_at(&self, position: u64) -> io::Result<i64> {
        Ok(self.indexes.view().entry_at(position)?.map_or(self.base, |entry| entry.offset))
    }

    /// What a search for a timestamp looks at.
    pub fn times(&self, config: &LogConfig) -> TimeView {
        let unpacked_bytes_max = config.decompressed_bytes_max;
        TimeView { file: self.file.clone(), end: self.file.size(), indexes: self.indexes.view(), unpacked_bytes_max }
    }
}
