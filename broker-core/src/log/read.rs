//! Reading without the log's lock: it is held to look places up, not while a disk is waited for. A reader that catches up
//! would keep writers out otherwise.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Log;
use super::heads::Head;
use super::index::IndexesView;
use super::times::{damaged, shows_damage};
use super::txn_index::{Aborted, overlapping};
use crate::record::batch::peek_size;
use crate::record::{Batch, BatchError, HEADER_BYTES, at, header};
use crate::storage::DiskFile;

/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// The part of a segment that a read looks at. What is appended later is behind its end; the file stays readable although
/// its segment is removed.
#[derive(Debug)]
pub(super) struct Stretch {
    pub file: Arc<dyn DiskFile>,
    /// Its segment's.
    pub base: i64,
    /// The log's, when it was looked up.
    pub generation: u64,
    pub position: u64,
    pub end: u64,
    /// If the position is not known yet: where to look it up, and for which offset.
    pub lookup: Option<(IndexesView, i64)>,
}

/// What a read has collected so far.
#[derive(Debug, Default)]
struct Collected {
    runs: Vec<Bytes>,
    /// Bytes of all runs.
    bytes: usize,
    /// Of the last run's last batch.
    last_offset: i64,
    /// The log's, when the first place was looked up.
    lineage: (u64, i64),
}

/// Whole batches from the one that holds `offset` on, and before `limit`: at least one, more only up to `max_bytes` in all; none
/// at the end.
/// `with_log` hands out the log for a moment, under its lock.
pub(crate) fn read(
    mut with_log: impl FnMut(&mut dyn FnMut(&mut Log)),
    offset: i64,
    limit: i64,
    max_bytes: usize,
) -> io::Result<Vec<Bytes>> {
    Ok(collect(&mut with_log, offset, limit, max_bytes)?.runs)
}

/// The same, and the aborted transactions that reach into it. Everything before `limit` is decided.
pub(crate) fn read_committed(
    mut with_log: impl FnMut(&mut dyn FnMut(&mut Log)),
    offset: i64,
    limit: i64,
    max_bytes: usize,
) -> io::Result<(Vec<Bytes>, Vec<Aborted>)> {
    loop {
        let Collected { runs, last_offset, lineage, .. } = collect(&mut with_log, offset, limit, max_bytes)?;
        let (upper, mut views) = (last_offset + 1, Some(Vec::new()));
        if !runs.is_empty() {
            with_log(&mut |log| views = (log.lineage() == lineage).then(|| log.aborts(offset, upper)));
        }
        // What was read may come from files that are gone by now, and with them that it was aborted: it is read again then.
        if let Some(views) = views {
            return Ok((runs, overlapping(&views, offset, upper)?));
        }
    }
}

fn collect(
    with_log: &mut impl FnMut(&mut dyn FnMut(&mut Log)),
    offset: i64,
    limit: i64,
    max_bytes: usize,
) -> io::Result<Collected> {
    let (mut collected, mut repaired) = (Collected::default(), None);
    let mut next = Ok(None);
    with_log(&mut |log| {
        collected.lineage = log.lineage();
        next = log.locate(offset);
    });
    while let Some(mut here) = std::mem::replace(&mut next, Ok(None))? {
        if !here.look_up()? {
            if repaired.replace(here.base) == Some(here.base) {
                return Err(damaged(here.base));
            }
            with_log(&mut |log| {
                collected.lineage = log.lineage();
                next = log.rebuild(here.base).and_then(|()| log.locate(offset));
            });
            continue;
        }
        here.read(offset, limit, max_bytes, &mut collected)?;
        let some = !collected.runs.is_empty();
        let full = some && (here.position < here.end || collected.bytes >= max_bytes);
        with_log(&mut |log| {
            if some {
                log.note_read(collected.last_offset + 1, &here);
            }
            if !full {
                next = log.locate_behind(&here);
            }
        });
    }
    Ok(collected)
}

impl Stretch {
    /// Finds the position, if it is not known. False if the index is not what its batch says.
    pub fn look_up(&mut self) -> io::Result<bool> {
        let Some((indexes, offset)) = self.lookup.take() else { return Ok(true) };
        let entry = match indexes.offset_entry(offset) {
            Err(error) if shows_damage(&error) => return Ok(false),
            entry => entry?,
        };
        let Some(entry) = entry else { return Ok(true) };
        if entry.position >= self.end {
            return Ok(false);
        }
        self.position = entry.position;
        let head = read_exact(self.file.as_ref(), entry.position, HEADER_BYTES)?;
        Ok(Head::of(&head, entry.position).is_ok_and(|head| head.last_offset == entry.offset))
    }

    /// Collects whole batches, from the one that holds `offset` on: at least one, further ones only up to `max_bytes` in all.
    /// The position moves behind the last one.
    fn read(&mut self, offset: i64, limit: i64, max_bytes: usize, into: &mut Collected) -> io::Result<()> {
        while self.position < self.end {
            let left = (self.end - self.position).min(READ_BYTES as u64) as usize;
            let want = max_bytes.saturating_sub(into.bytes).clamp(HEADER_BYTES, READ_BYTES).min(left);
            let chunk = self.file.read(self.position, want)?;
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
                if into.bytes > 0 && into.bytes + size > max_bytes || header::i64(&chunk[to..], at::BASE_OFFSET) >= limit {
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
            self.position += to as u64;
            if full || into.bytes > 0 && into.bytes >= max_bytes {
                return Ok(());
            }
            if to == 0 && !self.read_large(limit, max_bytes, into)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The batch here is larger than what was read at once, or lies in pieces: reads just it, unless it is over the limit.
    fn read_large(&mut self, limit: i64, max_bytes: usize, into: &mut Collected) -> io::Result<bool> {
        let batch = batch_at(self.file.as_ref(), self.position)?.map_err(io::Error::other)?;
        if into.bytes > 0 && into.bytes + batch.size() > max_bytes || batch.base_offset() >= limit {
            return Ok(false);
        }
        self.position += batch.size() as u64;
        into.bytes += batch.size();
        into.last_offset = batch.last_offset();
        into.runs.push(batch.bytes().clone());
        Ok(true)
    }
}

/// The last offset of the batch whose whole header is at the front.
fn last_offset(head: &[u8]) -> i64 {
    header::i64(head, at::BASE_OFFSET).saturating_add(i64::from(header::i32(head, at::LAST_OFFSET_DELTA)))
}

/// The whole batch that starts at a position.
pub(super) fn batch_at(file: &dyn DiskFile, position: u64) -> io::Result<Result<Batch, BatchError>> {
    let head = read_exact(file, position, HEADER_BYTES)?;
    let size = match peek_size(&head) {
        Ok(size) => size,
        Err(error) => return Ok(Err(error)),
    };
    let left = file.size().saturating_sub(position);
    if size as u64 > left {
        return Ok(Err(BatchError::Incomplete { have: left as usize, need: size }));
    }
    Ok(Batch::parse(&read_exact(file, position, size)?))
}

/// `need` bytes at least, more if the file hands them out without copying or joining.
pub(super) fn read_ahead(file: &dyn DiskFile, position: u64, need: usize) -> io::Result<Bytes> {
    let mut ahead = file.read(position, need.max(READ_BYTES))?;
    if ahead.len() < need {
        ahead = read_exact(file, position, need)?;
    }
    if ahead.len() < need {
        let text = format!("{} of {need} bytes at position {position}: the file is shorter than it was", ahead.len());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(ahead)
}

/// That many bytes, joined if the file hands them out in pieces; fewer only at the end.
pub(super) fn read_exact(file: &dyn DiskFile, position: u64, length: usize) -> io::Result<Bytes> {
    let first = file.read(position, length)?;
    if first.len() == length || first.is_empty() {
        return Ok(first);
    }
    let mut joined = first.to_vec();
    while joined.len() < length {
        let more = file.read(position + joined.len() as u64, length - joined.len())?;
        if more.is_empty() {
            break;
        }
        joined.extend_from_slice(&more);
    }
    Ok(Bytes::from(joined))
}
