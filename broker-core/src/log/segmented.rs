//! Segments in order: append at the end, read anywhere, recover what a crash left.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::config::LogConfig;
use super::place::Place;
use super::read::Stretch;
use super::retention::Doomed;
use super::segment::Segment;
use super::times::TimeView;

#[derive(Debug)]
pub(crate) struct Log {
    pub(super) place: Place,
    /// Shared by a topic's logs.
    pub(super) config: Arc<LogConfig>,
    /// Never empty; the last one is appended to.
    pub(super) segments: Vec<Segment>,
    /// The first offset that may be read: inside a segment if records before it were deleted.
    pub(super) start: i64,
    pub(super) end: i64,
    /// Everything before it is durable.
    pub(super) recovery_point: i64,
    /// The snapshots that were there when it was opened, until somebody takes them.
    pub(super) snapshots: Vec<i64>,
    /// Whether it was taken as it was closed, without being looked through.
    pub(super) was_clean: bool,
    /// Whether files came into the folder since it was last synced.
    pub(super) unlisted: bool,
    /// Files of segments that were removed.
    pub(super) doomed: Vec<Doomed>,
    /// Everything before it was compacted; none if nothing ever was.
    pub(super) compacted_to: Option<i64>,
    /// Raised when compacted segments take the place of others: what was looked up before counts no more.
    pub(super) generation: u64,
    /// Where the last read ended: an offset, its segment's base, its position. Readers mostly go on there.
    pub(super) read_hint: Option<(i64, i64, u64)>,
    /// The bases of segments whose aborted transactions have to be looked up.
    pub(super) aborts_unknown: Vec<i64>,
    /// Why no more is written.
    poisoned: Option<String>,
}

/// What opening a log found.
#[derive(Debug)]
pub(super) struct Opened {
    pub segments: Vec<Segment>,
    pub start: i64,
    pub end: i64,
    pub recovery_point: i64,
    pub snapshots: Vec<i64>,
    pub was_clean: bool,
    pub unlisted: bool,
    pub compacted_to: Option<i64>,
    pub aborts_unknown: Vec<i64>,
}

impl Log {
    pub(super) fn from_parts(place: Place, config: Arc<LogConfig>, opened: Opened) -> Self {
        let Opened { segments, start, end, recovery_point, snapshots, was_clean, unlisted, compacted_to, aborts_unknown } =
            opened;
        Self {
            place,
            config,
            segments,
            start,
            end,
            recovery_point,
            snapshots,
            was_clean,
            unlisted,
            doomed: Vec::new(),
            compacted_to,
            generation: 0,
            read_hint: None,
            aborts_unknown,
            poisoned: None,
        }
    }

    /// Other settings from now on; segments that are there keep the index that they have.
    pub fn reconfigure(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// The first offset.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Where the first segment begins: at the first offset, or before it if records were deleted.
    pub fn first_base(&self) -> i64 {
        self.segments[0].base
    }

    /// Behind the last offset.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// How many bytes its segments hold.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    pub(super) fn guard<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            self.poisoned = Some(error.to_string());
        })
    }

    /// Whether nothing more is written.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// After a failed write or sync nothing more is written: what is on disk behind the last whole batch is unknown, and a
    /// second sync may succeed although the pages of the first are lost.
    pub fn check_sound(&self) -> io::Result<()> {
        match &self.poisoned {
            Some(cause) => Err(io::Error::other(format!("writes are refused since an earlier one failed: {cause}"))),
            None => Ok(()),
        }
    }

    /// Makes room for a batch and appends it.
    #[cfg(test)]
    pub fn append(&mut self, batch: Bytes, last_offset: i64, max_timestamp: i64, now: i64) -> io::Result<()> {
        self.make_room(batch.len() as u64, last_offset, max_timestamp, now)?;
        self.append_here(batch, last_offset, max_timestamp, now)
    }

    /// Appends a batch for which [`make_room`](Self::make_room) was called, and whose offsets start at [`end`](Self::end). A failed
    /// write poisons the log. `now` in milliseconds since 1970.
    pub fn append_here(&mut self, batch: Bytes, last_offset: i64, max_timestamp: i64, now: i64) -> io::Result<()> {
        let segment = self.segments.last_mut().expect("a log has a segment");
        let appended = segment.append(&self.place, &self.config, batch, last_offset, max_timestamp, now);
        self.guard(appended)?;
        self.end = last_offset + 1;
        Ok(())
    }

    /// Starts a new segment if such a batch needs one; whether it did.
    pub fn make_room(&mut self, bytes: u64, last_offset: i64, max_timestamp: i64, now: i64) -> io::Result<bool> {
        self.check_sound()?;
        let active = self.segments.last_mut().expect("a log has a segment");
        active.ensure(&self.place, &self.config)?;
        let needed = self.needs_roll(bytes, last_offset, max_timestamp, now);
        if needed {
            self.roll()?;
        }
        Ok(needed)
    }

    fn needs_roll(&self, bytes: u64, last_offset: i64, timestamp: i64, now: i64) -> bool {
        let active = self.segments.last().expect("a log has a segment");
        active.size() > 0
            && (active.size() + bytes > self.config.segment_bytes
                || last_offset - active.base > i64::from(i32::MAX)
                || active.index_is_full(&self.config)
                || active.is_old(&self.config, self.jitter(active.base), timestamp, now))
    }

    /// By how much sooner a segment is old: another number for each, but the same one each time.
    fn jitter(&self, base: i64) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if most <= 0 {
            return 0;
        }
        // FNV-1a over the folder's name and the segment's.
        let bytes = self.place.folder.bytes().chain(base.to_be_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (hash % most as u64) as i64
    }

    /// Starts a new segment at the end. Nothing is made durable: a gigabyte's sync would keep readers and writers waiting.
    pub fn roll(&mut self) -> io::Result<()> {
        self.check_sound()?;
        let active = self.segments.last_mut().expect("a log has a segment");
        if active.size() == 0 {
            return Ok(());
        }
        let sealed = active.ensure(&self.place, &self.config).and_then(|()| active.seal(&self.place));
        let opened = sealed.and_then(|()| Segment::create(&self.place, self.end));
        let segment = self.guard(opened)?;
        self.segments.push(segment);
        self.unlisted = true;
        Ok(())
    }

    /// Removes the segments that end at or before `base`: whoever calls has written what is still needed of them behind it.
    pub fn remove_before(&mut self, base: i64) -> io::Result<()> {
        self.check_sound()?;
        while self.segments.len() > 1 && self.segments[1].base <= base {
            let removed = self.segments[0].remove(&self.place);
            self.guard(removed)?;
            self.segments.remove(0);
        }
        self.start = self.start.max(self.segments[0].base);
        self.read_hint = None;
        Ok(())
    }

    /// Another one once segments were compacted, or went.
    pub(super) fn lineage(&self) -> (u64, i64) {
        (self.generation, self.first_base())
    }

    /// Where the batch that holds `offset` is looked for; `None` at the end.
    pub(super) fn locate(&mut self, offset: i64) -> io::Result<Option<Stretch>> {
        if offset >= self.end {
            return Ok(None);
        }
        let index = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        let segment = &mut self.segments[index];
        let hint = self.read_hint.filter(|(at, base, _)| *at == offset && *base == segment.base);
        if hint.is_none() {
            segment.ensure(&self.place, &self.config)?;
        }
        let mut stretch = segment.stretch(offset, hint.map(|(_, _, position)| position));
        stretch.generation = self.generation;
        Ok(Some(stretch))
    }

    /// The segment behind the one that was read, from its start; `None` behind the last. `None` as well if what was read has
    /// grown since, or was compacted: the next segment would not go on where the read ended.
    pub(super) fn locate_behind(&self, read: &Stretch) -> io::Result<Option<Stretch>> {
        if read.generation != self.generation {
            return Ok(None);
        }
        let index = self.segments.partition_point(|segment| segment.base <= read.base);
        let grown = |segment: &Segment| segment.base == read.base && segment.size() > read.end;
        if index > 0 && grown(&self.segments[index - 1]) {
            return Ok(None);
        }
        Ok(self.segments.get(index).map(|segment| {
            let mut stretch = segment.stretch(segment.base, Some(0));
            stretch.generation = self.generation;
            stretch
        }))
    }

    /// A read ended here, and `next` is the offset that comes.
    pub(super) fn note_read(&mut self, next: i64, stretch: &Stretch) {
        if stretch.generation == self.generation {
            self.read_hint = Some((next, stretch.base, stretch.position));
        }
    }

    /// The first segment from this base on that has the timestamp or a later one.
    pub(super) fn times_from(&mut self, base: i64, timestamp: i64) -> io::Result<Option<TimeView>> {
        for segment in self.segments.iter_mut().filter(|segment| segment.base >= base) {
            segment.ensure(&self.place, &self.config)?;
            if segment.largest().timestamp >= timestamp {
                return Ok(Some(segment.times(&self.config)));
            }
        }
        Ok(None)
    }

    /// The largest timestamp of all batches; below 0 if none has one.
    pub fn max_timestamp(&mut self) -> io::Result<i64> {
        let mut largest = -1;
        for segment in &mut self.segments {
            segment.ensure(&self.place, &self.config)?;
            largest = largest.max(segment.largest().timestamp);
        }
        Ok(largest)
    }

    /// Makes a segment's indexes anew: what they say was seen to be wrong.
    pub(super) fn rebuild(&mut self, base: i64) -> io::Result<()> {
        let Ok(index) = self.segments.binary_search_by_key(&base, |segment| segment.base) else { return Ok(()) };
        self.segments[index].rebuild(&self.place, &self.config)
    }
}
