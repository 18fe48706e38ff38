//! The first record at or behind a timestamp: looked for without the log's lock.

use std::io;
use std::sync::Arc;

use super::Log;
use super::heads::Heads;
use super::index::IndexesView;
use super::read::batch_at;
use crate::record::{Batch, BatchError, CodecError};
use crate::storage::DiskFile;

/// The part of a segment that a search looks at.
#[derive(Debug)]
pub(super) struct TimeView {
    pub file: Arc<dyn DiskFile>,
    pub end: u64,
    pub indexes: IndexesView,
    /// The most that a batch is unpacked to.
    pub unpacked_bytes_max: usize,
}

/// How a search of a segment ended.
#[derive(Debug, PartialEq, Eq)]
enum Search {
    /// An offset and its timestamp.
    Found(i64, i64),
    /// All records are older.
    Behind,
    /// An entry of an index is not what its batch says.
    Damaged,
}

/// The first record with this timestamp or a later one: its offset and timestamp.
pub(crate) fn find_timestamp(
    mut with_log: impl FnMut(&mut dyn FnMut(&mut Log)),
    timestamp: i64,
) -> io::Result<Option<(i64, i64)>> {
    let (mut from, mut start, mut repaired) = (i64::MIN, 0, None);
    loop {
        let mut view = Ok(None);
        with_log(&mut |log| {
            start = log.start();
            view = log.times_from(from, timestamp);
        });
        let Some(view) = view? else { return Ok(None) };
        match view.search(timestamp, start)? {
            Search::Found(offset, found) => return Ok(Some((offset, found))),
            Search::Behind => from = view.indexes.base + 1,
            Search::Damaged if repaired == Some(view.indexes.base) => return Err(damaged(view.indexes.base)),
            Search::Damaged => {
                repaired = Some(view.indexes.base);
                let mut rebuilt = Ok(());
                with_log(&mut |log| rebuilt = log.rebuild(view.indexes.base));
                rebuilt?;
            }
        }
    }
}

/// What an index says of a batch is wrong, although it was made anew.
pub(super) fn damaged(base: i64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("segment {base:020}: its index and its batches do not agree"))
}

/// One that was taken under another bound, or by another broker, must not take all memory now.
fn unreadable(batch: &Batch, error: BatchError) -> io::Error {
    let next = match error {
        BatchError::Codec(CodecError::TooLarge { .. }) => " (message.decompressed.bytes.max)",
        _ => "",
    };
    io::Error::other(format!("the batch at offset {}: {error}{next}", batch.base_offset()))
}

/// Whether it shows that a file is not what it was: cut shorter, or gone.
pub(super) fn shows_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound)
}

impl TimeView {
    /// All records before the batch of the time entry are older than that batch's largest.
    fn search(&self, timestamp: i64, from: i64) -> io::Result<Search> {
        let time = match self.indexes.time_entry(timestamp) {
            Err(error) if shows_damage(&error) => return Ok(Search::Damaged),
            time => time?,
        };
        let entry = match time.map_or(Ok(None), |time| self.indexes.offset_entry(time.offset)) {
            Err(error) if shows_damage(&error) => return Ok(Search::Damaged),
            entry => entry?,
        };
        let position = entry.map_or(0, |entry| entry.position);
        let mut wanted = time;
        for (number, head) in Heads::new(self.file.as_ref(), position, self.end).enumerate() {
            let Ok(head) = head? else { return Ok(Search::Damaged) };
            if number == 0 && entry.is_some_and(|entry| entry.offset != head.last_offset) {
                return Ok(Search::Damaged);
            }
            if let Some(time) = wanted.filter(|time| time.offset <= head.last_offset) {
                if time.offset != head.last_offset || time.timestamp != head.max_timestamp {
                    return Ok(Search::Damaged);
                }
                wanted = None;
            }
            if head.max_timestamp < timestamp || head.last_offset < from {
                continue;
            }
            if wanted.is_some() {
                // No batch before the time entry's is as young.
                return Ok(Search::Damaged);
            }
            let batch = batch_at(self.file.as_ref(), head.position)?.map_err(io::Error::other)?;
            if batch.is_control() {
                continue;
            }
            let batch = batch.decompressed(self.unpacked_bytes_max).map_err(|error| unreadable(&batch, error))?;
            for record in batch.records() {
                let record = record.map_err(io::Error::other)?;
                if record.timestamp >= timestamp && record.offset >= from {
                    return Ok(Search::Found(record.offset, record.timestamp));
                }
            }
        }
        Ok(if wanted.is_some() { Search::Damaged } else { Search::Behind })
    }
}
