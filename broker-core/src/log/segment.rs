//! One file of a log, and what is kept in memory to find places in it.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::read::{Stretch, batch_at, read_ahead};
use crate::record::{Batch, BatchError};
use crate::storage::{Disk, DiskFile};

/// A place in the file: sparse, one every `index_interval_bytes`.
#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    /// The first offset of the batch there.
    offset: i64,
    position: u64,
    /// The largest timestamp of all batches before it.
    max_timestamp_before: i64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub base: i64,
    pub file: Arc<dyn DiskFile>,
    pub max_timestamp: i64,
    index: Vec<IndexEntry>,
    indexed_to: u64,
    index_interval: u64,
}

/// The file's name in Kafka's layout.
pub(super) fn file_name(base: i64) -> String {
    format!("{base:020}.log")
}

/// The base offset that a log file's name says.
pub(super) fn base_of(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
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

/// Whether a batch is sound and goes on where the log ends.
fn follows(batch: &Batch, end: i64) -> Result<(), BatchError> {
    batch.verify_crc()?;
    match batch.base_offset() {
        found if found != end => Err(BatchError::Offset { found, expected: end }),
        _ if batch.last_offset_delta() < 0 => Err(BatchError::Record(0)),
        _ => Ok(()),
    }
}

impl Segment {
    pub fn open(disk: &dyn Disk, folder: &str, base: i64, index_interval: u64) -> io::Result<Self> {
        let file = disk.open(folder, &file_name(base))?;
        Ok(Self { base, file, max_timestamp: -1, index: Vec::new(), indexed_to: 0, index_interval })
    }

    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// Appends a batch; its bytes are stamped already.
    pub fn append(&mut self, batch: Bytes, base_offset: i64, max_timestamp: i64) -> io::Result<()> {
        let position = self.file.size();
        self.file.append(batch)?;
        self.note(base_offset, position, max_timestamp);
        Ok(())
    }

    fn note(&mut self, offset: i64, position: u64, max_timestamp: i64) {
        if self.index.is_empty() || position - self.indexed_to > self.index_interval {
            self.index.push(IndexEntry { offset, position, max_timestamp_before: self.max_timestamp });
            self.indexed_to = position;
        }
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
    }

    /// Walks all batches, checks them, and builds the index anew. The first batch must start at `expected` and each other one
    /// where the one before ends: the checksum does not cover offsets, so a gap is all that shows a damaged one. (Nothing
    /// leaves gaps so far; compaction will have to loosen this.)
    pub fn scan(&mut self, expected: i64) -> io::Result<Scanned> {
        let mut scanned = Scanned { end: expected, size: 0, damage: None };
        self.index.clear();
        self.max_timestamp = -1;
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
                Ok(batch) => match follows(&batch, scanned.end) {
                    Ok(()) => {
                        self.note(batch.base_offset(), scanned.size, batch.max_timestamp());
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
        Ok(scanned)
    }

    /// Where to start looking for an offset.
    fn position_before(&self, offset: i64) -> u64 {
        let behind = self.index.partition_point(|entry| entry.offset <= offset);
        behind.checked_sub(1).map_or(0, |index| self.index[index].position)
    }

    /// What a read from `offset` on looks at, from `hint` if the caller knows its position.
    pub fn stretch(&self, offset: i64, hint: Option<u64>) -> Stretch {
        let position = hint.unwrap_or_else(|| self.position_before(offset));
        Stretch { file: self.file.clone(), base: self.base, position, end: self.file.size() }
    }

    /// The first record with this timestamp or a later one.
    pub fn find_timestamp(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let behind = self.index.partition_point(|entry| entry.max_timestamp_before < timestamp);
        let mut position = behind.checked_sub(1).map_or(0, |index| self.index[index].position);
        while position < self.file.size() {
            let batch = batch_at(self.file.as_ref(), position)?.map_err(io::Error::other)?;
            if batch.max_timestamp() >= timestamp && !batch.is_control() {
                // It was taken, so its size was within the bounds of then.
                let batch = batch.decompressed(usize::MAX).map_err(io::Error::other)?;
                for record in batch.records() {
                    let record = record.map_err(io::Error::other)?;
                    if record.timestamp >= timestamp {
                        return Ok(Some((record.offset, record.timestamp)));
                    }
                }
            }
            position += batch.size() as u64;
        }
        Ok(None)
    }
}
