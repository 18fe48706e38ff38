//! One file of a log, and what is kept in memory to find places in it.

use std::io;

use bytes::{Buf, Bytes};

use crate::record::batch::peek_size;
use crate::record::{Batch, BatchError, HEADER_BYTES, at, header};
use crate::storage::{Disk, DiskFile};

/// How much is read at a time while scanning.
const SCAN_BYTES: usize = 1 << 20;

/// A place in the file: sparse, one every `index_interval_bytes`.
#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    /// The first offset of the batch there.
    offset: i64,
    position: u64,
    /// The largest timestamp of all batches before it.
    max_timestamp_before: i64,
}

/// What a read has collected so far.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub runs: Vec<Bytes>,
    /// Bytes of all runs.
    pub bytes: usize,
    /// Of the last run's last batch.
    pub last_offset: i64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub base: i64,
    pub file: Box<dyn DiskFile>,
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

/// The last offset of the batch whose whole header is at the front.
fn last_offset(head: &[u8]) -> i64 {
    header::i64(head, at::BASE_OFFSET).saturating_add(i64::from(header::i32(head, at::LAST_OFFSET_DELTA)))
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
                    ahead = self.read_ahead(scanned.size, need)?;
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

    /// `need` bytes at least, more if the file hands them out without copying or joining.
    fn read_ahead(&self, position: u64, need: usize) -> io::Result<Bytes> {
        let mut ahead = self.file.read(position, need.max(SCAN_BYTES))?;
        if ahead.len() < need {
            ahead = self.read_exact(position, need)?;
        }
        if ahead.len() < need {
            let text = format!("{} of {need} bytes at position {position}: the file is shorter than it was", ahead.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(ahead)
    }

    /// The whole batch that starts at a position.
    fn batch_at(&self, position: u64) -> io::Result<Result<Batch, BatchError>> {
        let head = self.read_exact(position, HEADER_BYTES)?;
        let size = match peek_size(&head) {
            Ok(size) => size,
            Err(error) => return Ok(Err(error)),
        };
        if position + size as u64 > self.file.size() {
            let have = (self.file.size() - position) as usize;
            return Ok(Err(BatchError::Incomplete { have, need: size }));
        }
        Ok(Batch::parse(&self.read_exact(position, size)?))
    }

    /// That many bytes, joined if the file hands them out in pieces; fewer only at the end.
    fn read_exact(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let first = self.file.read(position, length)?;
        if first.len() == length || first.is_empty() {
            return Ok(first);
        }
        let mut joined = first.to_vec();
        while joined.len() < length {
            let more = self.file.read(position + joined.len() as u64, length - joined.len())?;
            if more.is_empty() {
                break;
            }
            joined.extend_from_slice(&more);
        }
        Ok(Bytes::from(joined))
    }

    /// Where to start looking for an offset.
    fn position_before(&self, offset: i64) -> u64 {
        let behind = self.index.partition_point(|entry| entry.offset <= offset);
        behind.checked_sub(1).map_or(0, |index| self.index[index].position)
    }

    /// Collects whole batches, from the one that holds `offset` on, from `hint` if the caller knows its position. At least
    /// one batch, further ones only up to `max_bytes` in all. Returns the position behind the last one.
    pub fn read_from(&self, offset: i64, hint: Option<u64>, max_bytes: usize, into: &mut Collected) -> io::Result<u64> {
        let mut position = hint.unwrap_or_else(|| self.position_before(offset));
        let end = self.file.size();
        while position < end {
            let want = max_bytes.saturating_sub(into.bytes).clamp(HEADER_BYTES, SCAN_BYTES);
            let chunk = self.file.read(position, want)?;
            let (mut from, mut to) = (0, 0);
            let mut full = false;
            while chunk.len() - to >= HEADER_BYTES {
                let size = peek_size(&chunk[to..]).map_err(io::Error::other)?;
                let last = last_offset(&chunk[to..]);
                if last < offset {
                    to += size;
                    from = to;
                    if to > chunk.len() {
                        break;
                    }
                    continue;
                }
                if into.bytes > 0 && into.bytes + size > max_bytes {
                    full = true;
                    break;
                }
                if to + size > chunk.len() {
                    break;
                }
                to += size;
                into.bytes += size;
                into.last_offset = last;
            }
            if to > from {
                into.runs.push(chunk.slice(from..to));
            }
            if full || into.bytes >= max_bytes && into.bytes > 0 {
                return Ok(position + to as u64);
            }
            if to == 0 {
                // The batch is larger than the chunk: read just it.
                let batch = self.batch_at(position)?.map_err(io::Error::other)?;
                if into.bytes > 0 && into.bytes + batch.size() > max_bytes {
                    return Ok(position);
                }
                to = batch.size();
                into.bytes += to;
                into.last_offset = batch.last_offset();
                into.runs.push(batch.bytes().clone());
            }
            position += to as u64;
        }
        Ok(position)
    }

    /// The first record with this timestamp or a later one.
    pub fn find_timestamp(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let behind = self.index.partition_point(|entry| entry.max_timestamp_before < timestamp);
        let mut position = behind.checked_sub(1).map_or(0, |index| self.index[index].position);
        while position < self.file.size() {
            let batch = self.batch_at(position)?.map_err(io::Error::other)?;
            if batch.max_timestamp() >= timestamp && !batch.is_control() {
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
