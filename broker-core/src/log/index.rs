//! A segment's two sparse indexes, in Kafka's formats: offset to position, and timestamp to offset.
//!
//! An entry of the offset index names a batch by its *last* offset, and where it starts; one of the time index names the largest
//! timestamp so far, and the last offset of the first batch that has it. So each entry can be held against its batch's header,
//! and a search that ends at a sound entry is right whatever the other entries say.

use std::io;
use std::sync::Arc;

use super::config::LogConfig;
use super::heads::Head;
use super::index_file::{IndexFile, View};
use super::place::{Place, kind};
use crate::storage::DiskFile;

/// An entry of the offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// The last offset of the batch that it names.
    pub offset: i64,
    /// Where that batch starts.
    pub position: u64,
}

/// An entry of the time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub timestamp: i64,
    /// The last offset of the first batch with this timestamp as its largest.
    pub offset: i64,
}

impl OffsetEntry {
    fn of(bytes: [u8; 8], base: i64) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        let relative = i32::from_be_bytes([a, b, c, d]);
        Self { offset: base.saturating_add(relative.into()), position: u32::from_be_bytes([e, f, g, h]).into() }
    }

    fn bytes(self, base: i64) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&((self.offset - base) as i32).to_be_bytes());
        bytes[4..].copy_from_slice(&(self.position as u32).to_be_bytes());
        bytes
    }
}

impl TimeEntry {
    fn of(bytes: [u8; 12], base: i64) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let relative = i32::from_be_bytes([i, j, k, l]);
        Self { timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]), offset: base.saturating_add(relative.into()) }
    }

    fn bytes(self, base: i64) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&((self.offset - base) as i32).to_be_bytes());
        bytes
    }
}

/// Both indexes of a segment, as they grow.
#[derive(Debug)]
pub(super) struct Indexes {
    base: i64,
    /// What the two files are called.
    kinds: (&'static str, &'static str),
    offsets: IndexFile<8>,
    times: IndexFile<12>,
    /// Bytes of the log since the last offset entry's batch began.
    pub since_entry: u64,
    /// The largest timestamp of all batches; below 0 if none has one.
    pub largest: TimeEntry,
    /// The timestamp of the last time entry.
    noted_timestamp: i64,
}

/// Both indexes at some moment.
#[derive(Debug)]
pub(super) struct IndexesView {
    pub base: i64,
    pub offsets: View<8>,
    pub times: View<12>,
}

impl Indexes {
    pub fn new(base: i64) -> Self {
        Self::named(base, kind::INDEX, kind::TIME_INDEX)
    }

    /// In files of other names: of a segment that is being written.
    pub fn named(base: i64, offset_kind: &'static str, time_kind: &'static str) -> Self {
        let (offsets, times) = (IndexFile::default(), IndexFile::default());
        let kinds = (offset_kind, time_kind);
        Self {
            base,
            kinds,
            offsets,
            times,
            since_entry: 0,
            largest: TimeEntry { timestamp: -1, offset: base },
            noted_timestamp: -1,
        }
    }

    /// Opens what there is; false if a file ends within an entry.
    pub fn load(&mut self, place: &Place) -> io::Result<bool> {
        let offsets = self.offsets.load(place, self.base, self.kinds.0)?;
        Ok(self.times.load(place, self.base, self.kinds.1)? && offsets)
    }

    /// Forgets everything.
    pub fn clear(&mut self, place: &Place) -> io::Result<()> {
        self.offsets.clear(place, self.base, self.kinds.0)?;
        self.times.clear(place, self.base, self.kinds.1)?;
        (self.since_entry, self.noted_timestamp) = (0, -1);
        self.largest = TimeEntry { timestamp: -1, offset: self.base };
        Ok(())
    }

    /// A batch stands in the log; an entry is due when more than `interval` bytes came since the last one.
    pub fn note(&mut self, batch: &Head, interval: u64) {
        if batch.max_timestamp > self.largest.timestamp {
            self.largest = TimeEntry { timestamp: batch.max_timestamp, offset: batch.last_offset };
        }
        if self.since_entry > interval {
            let entry = OffsetEntry { offset: batch.last_offset, position: batch.position };
            self.offsets.push(entry.bytes(self.base));
            self.note_time();
            self.since_entry = 0;
        }
        self.since_entry += batch.size;
    }

    fn note_time(&mut self) {
        if self.largest.timestamp > self.noted_timestamp {
            self.times.push(self.largest.bytes(self.base));
            self.noted_timestamp = self.largest.timestamp;
        }
    }

    /// Whether the next batch must go into another segment.
    pub fn are_full(&self, config: &LogConfig) -> bool {
        // The time index needs room for the entry that is forced at the end.
        self.offsets.len() >= config.index_bytes / 8 || self.times.len() + 1 >= config.index_bytes / 12
    }

    /// Writes what waits, if it is much. Before the batch's own write: a batch whose entries cannot be written is refused
    /// without a trace in the log.
    pub fn flush_due(&mut self, place: &Place) -> io::Result<()> {
        if self.offsets.is_due() || self.times.is_due() { self.flush(place) } else { Ok(()) }
    }

    fn flush(&mut self, place: &Place) -> io::Result<()> {
        self.offsets.flush(place, self.base, self.kinds.0)?;
        self.times.flush(place, self.base, self.kinds.1)
    }

    /// Forces the final time entry, and writes everything: at a roll, a close, and the end of a recovery.
    pub fn seal(&mut self, place: &Place) -> io::Result<()> {
        self.note_time();
        self.flush(place)
    }

    /// The files, as far as they are there.
    pub fn files(&self) -> impl Iterator<Item = Arc<dyn DiskFile>> {
        [self.offsets.file().cloned(), self.times.file().cloned()].into_iter().flatten()
    }

    pub fn view(&self) -> IndexesView {
        IndexesView { base: self.base, offsets: self.offsets.view(), times: self.times.view() }
    }

    /// What the ends of the files told.
    pub fn resume(&mut self, since_entry: u64, largest: Option<TimeEntry>) {
        self.since_entry = since_entry;
        self.largest = largest.unwrap_or(TimeEntry { timestamp: -1, offset: self.base });
        self.noted_timestamp = self.largest.timestamp;
    }
}

impl IndexesView {
    /// The last entry at or before an offset.
    pub fn offset_entry(&self, offset: i64) -> io::Result<Option<OffsetEntry>> {
        let found = self.offsets.last_where(|bytes| OffsetEntry::of(*bytes, self.base).offset <= offset)?;
        Ok(found.map(|bytes| OffsetEntry::of(bytes, self.base)))
    }

    /// The last entry at or before a position.
    pub fn entry_at(&self, position: u64) -> io::Result<Option<OffsetEntry>> {
        let found = self.offsets.last_where(|bytes| OffsetEntry::of(*bytes, self.base).position <= position)?;
        Ok(found.map(|bytes| OffsetEntry::of(bytes, self.base)))
    }

    /// The last entry at or before a timestamp.
    pub fn time_entry(&self, timestamp: i64) -> io::Result<Option<TimeEntry>> {
        let found = self.times.last_where(|bytes| TimeEntry::of(*bytes, self.base).timestamp <= timestamp)?;
        Ok(found.map(|bytes| TimeEntry::of(bytes, self.base)))
    }

    /// The last entries of both.
    pub fn ends(&self) -> io::Result<(Option<OffsetEntry>, Option<TimeEntry>)> {
        let (offset, time) = (self.offsets.last()?, self.times.last()?);
        Ok((offset.map(|bytes| OffsetEntry::of(bytes, self.base)), time.map(|bytes| TimeEntry::of(bytes, self.base))))
    }
}
