//! Segments in order: append at the end, read anywhere, recover what a crash left.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::read::Stretch;
use super::segment::{Segment, base_of, file_name};
use crate::storage::Disk;

/// A log's settings.
#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    pub segment_bytes: u64,
    pub index_interval_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    folder: String,
    config: LogConfig,
    /// Never empty; the last one is appended to.
    segments: Vec<Segment>,
    end: i64,
    /// The base of the first segment that may hold what is not durable.
    synced: i64,
    /// Where the last read ended: an offset, its segment's base, its position. Readers mostly go on there.
    read_hint: Option<(i64, i64, u64)>,
    /// Why no more is written.
    poisoned: Option<String>,
}

impl Log {
    /// Opens or makes a log; what a crash left behind the last whole batch is cut off, and said.
    pub fn open(disk: Arc<dyn Disk>, folder: impl Into<String>, config: LogConfig) -> io::Result<Self> {
        let folder = folder.into();
        let mut bases: Vec<i64> = disk.files(&folder)?.iter().filter_map(|name| base_of(name)).collect();
        bases.sort_unstable();
        let mut segments = Vec::new();
        let mut end = bases.first().copied().unwrap_or(0);
        let mut damaged = false;
        for base in bases {
            // A power cut may leave a segment short and the ones behind it whole. Nobody could read over the gap.
            if damaged || base != end {
                tracing::warn!(target: "broker_core::recovery", %folder, file = file_name(base), end, "segment behind the log's end removed");
                disk.remove(&folder, &file_name(base))?;
                damaged = true;
                continue;
            }
            let mut segment = Segment::open(disk.as_ref(), &folder, base, config.index_interval_bytes)?;
            let scanned = segment.scan(end)?;
            if let Some(damage) = scanned.damage {
                let (size, position) = (segment.size(), scanned.size);
                tracing::warn!(target: "broker_core::recovery", %folder, file = file_name(base), position, cut = size - position, %damage, "torn tail cut off");
                segment.file.truncate(scanned.size)?;
                damaged = true;
            }
            end = scanned.end;
            segments.push(segment);
        }
        if segments.is_empty() {
            segments.push(Segment::open(disk.as_ref(), &folder, end, config.index_interval_bytes)?);
        }
        Ok(Self { disk, folder, config, segments, end, synced: i64::MIN, read_hint: None, poisoned: None })
    }

    /// The first offset.
    pub fn start(&self) -> i64 {
        self.segments[0].base
    }

    /// Behind the last offset.
    pub fn end(&self) -> i64 {
        self.end
    }

    fn guard<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            self.poisoned = Some(error.to_string());
        })
    }

    /// After a failed write or sync nothing more is written: what is on disk behind the last whole batch is unknown, and a
    /// second sync may succeed although the pages of the first are lost.
    fn check_sound(&self) -> io::Result<()> {
        match &self.poisoned {
            Some(cause) => Err(io::Error::other(format!("writes are refused since an earlier one failed: {cause}"))),
            None => Ok(()),
        }
    }

    /// Appends a batch whose offsets start at [`end`](Self::end). A failed write poisons the log.
    pub fn append(&mut self, batch: Bytes, last_offset: i64, max_timestamp: i64) -> io::Result<()> {
        self.check_sound()?;
        if self.needs_roll(batch.len() as u64, last_offset) {
            self.roll()?;
        }
        let base = self.end;
        let segment = self.segments.last_mut().expect("a log has a segment");
        let appended = segment.append(batch, base, max_timestamp);
        self.guard(appended)?;
        self.end = last_offset + 1;
        Ok(())
    }

    fn needs_roll(&self, bytes: u64, last_offset: i64) -> bool {
        let active = self.segments.last().expect("a log has a segment");
        active.size() > 0
            && (active.size() + bytes > self.config.segment_bytes || last_offset - active.base > i64::from(i32::MAX))
    }

    /// Starts a new segment at the end. Its name is made durable, what the old one holds is not: a gigabyte's sync would keep
    /// readers and writers waiting, and what is not synced is as safe as the page cache in any segment.
    pub fn roll(&mut self) -> io::Result<()> {
        self.check_sound()?;
        let active = self.segments.last().expect("a log has a segment");
        if active.size() == 0 {
            return Ok(());
        }
        let opened = Segment::open(self.disk.as_ref(), &self.folder, self.end, self.config.index_interval_bytes);
        let segment = self.guard(opened)?;
        self.segments.push(segment);
        let listed = self.disk.sync_folder(&self.folder);
        self.guard(listed)?;
        Ok(())
    }

    /// Removes the segments that end at or before `base`: whoever calls has written what is still needed of them behind it.
    pub fn remove_before(&mut self, base: i64) -> io::Result<()> {
        self.check_sound()?;
        while self.segments.len() > 1 && self.segments[1].base <= base {
            let removed = self.disk.remove(&self.folder, &file_name(self.segments[0].base));
            self.guard(removed)?;
            self.segments.remove(0);
        }
        self.read_hint = None;
        Ok(())
    }

    /// Where the batch that holds `offset` is looked for; `None` at the end.
    pub(super) fn locate(&self, offset: i64) -> Option<Stretch> {
        if offset >= self.end {
            return None;
        }
        let index = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        let segment = &self.segments[index];
        let hint = self.read_hint.filter(|(at, base, _)| *at == offset && *base == segment.base);
        Some(segment.stretch(offset, hint.map(|(_, _, position)| position)))
    }

    /// The segment behind the one that was read, from its start; `None` behind the last. `None` as well if what was read has
    /// grown since: the next segment would not go on where the read ended.
    pub(super) fn locate_behind(&self, read: &Stretch) -> Option<Stretch> {
        let index = self.segments.partition_point(|segment| segment.base <= read.base);
        let grown = |segment: &Segment| segment.base == read.base && segment.size() > read.end;
        if index > 0 && grown(&self.segments[index - 1]) {
            return None;
        }
        self.segments.get(index).map(|segment| segment.stretch(segment.base, Some(0)))
    }

    /// A read ended here, and `next` is the offset that comes.
    pub(super) fn note_read(&mut self, next: i64, stretch: &Stretch) {
        self.read_hint = Some((next, stretch.base, stretch.position));
    }

    /// The first record with this timestamp or a later one: its offset and timestamp.
    pub fn find_timestamp(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        for segment in &self.segments {
            if segment.max_timestamp >= timestamp
                && let Some(found) = segment.find_timestamp(timestamp)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.sync_from(self.synced)
    }

    /// Makes durable what the segments from this base on hold.
    pub fn sync_from(&mut self, base: i64) -> io::Result<()> {
        self.check_sound()?;
        let first = self.segments.partition_point(|segment| segment.base < base);
        let files = || self.segments[first..].iter().try_for_each(|segment| segment.file.sync());
        let synced = files().and_then(|()| self.disk.sync_folder(&self.folder));
        self.guard(synced)?;
        if base <= self.synced {
            self.synced = self.segments.last().expect("a log has a segment").base;
        }
        Ok(())
    }
}
