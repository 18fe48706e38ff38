//! Which segments go: those below the log's start, then by size, then by age. Only the oldest, only what everybody may read, and
//! never the one that is appended to, unless everything goes: then a new one is started first.

use std::io;

use super::Log;
use super::config::LogConfig;
use super::place::{Place, file_name, kind};
use super::segment::Segment;

/// What is asked of a segment.
#[derive(Debug, Clone, Copy)]
struct Fact {
    /// Where the next one starts.
    end: i64,
    bytes: u64,
}

/// Segments that are no longer the log's. Their files are still there.
#[derive(Debug)]
pub(crate) struct Leaving {
    place: Place,
    segments: Vec<Segment>,
    reason: &'static str,
}

/// Names of files to remove, and when, by the clock that measures time-outs.
#[derive(Debug)]
pub(super) struct Doomed {
    pub at_ms: u64,
    pub names: Vec<String>,
}

/// How many segments from the front may go, and why the last of them. `timestamp` tells a segment's youngest record's; it is asked
/// only where it matters, since the answer may have to be read.
fn outlived(
    facts: &[Fact],
    config: &LogConfig,
    (start, high_watermark, now): (i64, i64, i64),
    mut timestamp: impl FnMut(usize) -> io::Result<i64>,
) -> io::Result<(usize, &'static str)> {
    let mut left: u64 = facts.iter().map(|fact| fact.bytes).sum();
    let mut reason = "";
    for (index, fact) in facts.iter().enumerate() {
        if fact.end > high_watermark {
            return Ok((index, reason));
        }
        // A log may stay above its bound by less than one segment: it never falls below it.
        let over = u64::try_from(config.retention_bytes).is_ok_and(|most| left.saturating_sub(most) >= fact.bytes);
        let mut is_old =
            || io::Result::Ok(config.retention_ms >= 0 && now.saturating_sub(timestamp(index)?) > config.retention_ms);
        reason = if fact.end <= start {
            "before the log's start"
        } else if config.delete && over {
            "retention.bytes"
        } else if config.delete && is_old()? {
            "retention.ms"
        } else {
            return Ok((index, reason));
        };
        left -= fact.bytes;
    }
    Ok((facts.len(), reason))
}

impl Log {
    /// Takes out the segments that are to go at `now` (milliseconds since 1970), of those that end at or before `high_watermark`.
    pub fn retain(&mut self, now: i64, high_watermark: i64) -> io::Result<Leaving> {
        self.check_sound()?;
        let mut facts = Vec::with_capacity(self.segments.len());
        for (index, segment) in self.segments.iter().enumerate().filter(|(_, segment)| segment.size() > 0) {
            let end = self.segments.get(index + 1).map_or(self.end, |next| next.base);
            facts.push(Fact { end, bytes: segment.size() });
        }
        let Self { segments, place, config, .. } = self;
        let youngest = |index: usize| segments[index].youngest(place, config, now);
        let (count, reason) = outlived(&facts, config, (self.start, high_watermark, now), youngest)?;
        if count == self.segments.len() {
            self.roll()?;
        }
        Ok(self.take(count, reason))
    }

    fn take(&mut self, count: usize, reason: &'static str) -> Leaving {
        let segments: Vec<Segment> = self.segments.drain(..count).collect();
        if count > 0 {
            self.start = self.start.max(self.segments[0].base);
            // Not up to the start, which may lie within a batch that nobody has made durable.
            self.recovery_point = self.recovery_point.max(self.segments[0].base);
            self.read_hint = None;
        }
        Leaving { place: Place { disk: self.place.disk.clone(), folder: self.place.folder.clone() }, segments, reason }
    }

    /// Nothing before this offset may be read from now on. What is wholly before it goes with the next retention.
    pub fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        self.check_sound()?;
        self.start = self.start.max(offset.min(self.end));
        Ok(())
    }

    pub fn file_delete_delay_ms(&self) -> u64 {
        self.config.file_delete_delay_ms
    }

    /// These files are to be removed when their time has come.
    pub fn doom(&mut self, at_ms: u64, names: Vec<String>) {
        if !names.is_empty() {
            self.doomed.push(Doomed { at_ms, names });
        }
    }

    /// What removes the files whose time has come at `now_ms`; to be called without the log's lock.
    pub fn take_doomed(&mut self, now_ms: u64) -> impl FnOnce() -> io::Result<()> + use<> {
        let due: Vec<Doomed> = self.doomed.extract_if(.., |doomed| doomed.at_ms <= now_ms).collect();
        let (disk, folder) = (self.place.disk.clone(), self.place.folder.clone());
        move || due.iter().flat_map(|doomed| &doomed.names).try_for_each(|name| disk.remove(&folder, name))
    }

    /// When files are next to be removed.
    pub fn next_doom(&self) -> Option<u64> {
        self.doomed.iter().map(|doomed| doomed.at_ms).min()
    }
}

impl Leaving {
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Renames the files so that nobody takes them for the log's any more; their new names. To be called without the log's lock.
    pub fn rename(&self) -> io::Result<Vec<String>> {
        let (place, mut renamed) = (&self.place, Vec::new());
        for segment in &self.segments {
            tracing::info!(target: "broker_core::retention", folder = %place.folder, file = file_name(segment.base, kind::LOG), reason = self.reason, "segment removed");
            segment.keep()?;
            for kind in kind::ALL {
                let name = file_name(segment.base, kind);
                if place.disk.size(&place.folder, &name)?.is_some() {
                    let gone = format!("{name}.deleted");
                    place.disk.rename(&place.folder, &name, &gone)?;
                    renamed.push(gone);
                }
            }
        }
        Ok(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three segments of 100 bytes, up to offsets 10, 20, 30, the youngest records at 1000, 2000, 3000.
    fn check(config: LogConfig, start: i64, high_watermark: i64, now: i64, expected: usize) {
        let facts: Vec<Fact> = (1..4).map(|n| Fact { end: n * 10, bytes: 100 }).collect();
        let timestamp = |index: usize| Ok((index as i64 + 1) * 1000);
        let (count, reason) = outlived(&facts, &config, (start, high_watermark, now), timestamp).expect("told");
        assert_eq!(count, expected, "{config:?} start {start} high watermark {high_watermark} now {now}: {reason}");
    }

    #[test]
    fn the_oldest_go_by_start_size_and_age() {
        let keep = LogConfig::default();
        check(keep.clone(), 0, 30, i64::MAX, 0);
        for (start, expected) in [(9, 0), (10, 1), (19, 1), (20, 2), (30, 3)] {
            check(keep.clone(), start, 30, 0, expected);
            check(LogConfig { delete: false, ..keep.clone() }, start, 30, 0, expected);
        }
        for (bytes, expected) in [(300, 0), (299, 0), (201, 0), (200, 1), (199, 1), (100, 2), (99, 2), (1, 2), (0, 3)] {
            check(LogConfig { retention_bytes: bytes, ..keep.clone() }, 0, 30, 0, expected);
        }
        for (now, expected) in [(1050, 0), (1051, 1), (2050, 1), (2051, 2), (3050, 2), (3051, 3)] {
            check(LogConfig { retention_ms: 50, ..keep.clone() }, 0, 30, now, expected);
        }
        let both = LogConfig { retention_ms: 50, retention_bytes: 200, ..keep };
        check(both.clone(), 0, 30, 2051, 2);
        check(both.clone(), 0, 19, 9000, 1);
        check(both.clone(), 0, 9, 9000, 0);
        check(LogConfig { delete: false, ..both }, 0, 30, 9000, 0);
    }
}
