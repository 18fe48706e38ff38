//! What compaction asks of the log, under its lock.

use std::io;
use std::ops::Range;

use super::super::Log;
use super::super::segment::Segment;
use super::{Fresh, Plan, Source};

impl Log {
    /// Everything before it was compacted; none if nothing ever was.
    pub fn compacted_to(&self) -> Option<i64> {
        self.compacted_to
    }

    /// What may be compacted: segments that are no longer appended to, up to the first one with records that are younger than
    /// `min_lag_ms`, or not `stable`.
    pub(super) fn plan_compaction(&mut self, now: i64, min_lag_ms: i64, stable: i64) -> io::Result<Plan> {
        self.check_sound()?;
        let compacted_to = self.compacted_to.unwrap_or(self.start).max(self.start);
        let mut sources = Vec::new();
        for index in 0..self.segments.len() - 1 {
            let end = self.segments[index + 1].base;
            if end > stable {
                break;
            }
            let segment = &mut self.segments[index];
            segment.ensure(&self.place, &self.config)?;
            let largest_timestamp = segment.largest().timestamp;
            if min_lag_ms > 0 && end > compacted_to && now.saturating_sub(largest_timestamp) < min_lag_ms {
                break;
            }
            let (base, size, file) = (segment.base, segment.size(), segment.file.clone());
            let has_aborts = segment.aborts.file().is_some();
            sources.push(Source { base, end, size, largest_timestamp, has_aborts, file });
        }
        let aborts = sources.last().map_or_else(Vec::new, |last| self.aborts(self.first_base(), last.end));
        Ok(Plan {
            sources,
            aborts,
            compacted_to,
            durable_to: self.recovery_point,
            place: self.place.clone(),
            config: self.config.clone(),
        })
    }

    /// Where the segments are that a compacted one was made from, if they are there as they were.
    fn covered(&self, fresh: &Fresh) -> Option<Range<usize>> {
        let first = self.segments.partition_point(|segment| segment.base < fresh.base);
        let behind = first + fresh.covered.len();
        let same = |(segment, source): (&Segment, &Source)| segment.base == source.base && segment.size() == source.size;
        let there = behind < self.segments.len() && self.segments[first..behind].iter().zip(&fresh.covered).all(same);
        there.then_some(first..behind)
    }

    /// Whether a compacted segment may take the place of those that it was made from: not if they are no longer there as they were.
    /// From now on their files may go: who reads them goes on.
    pub(super) fn begin_swap(&self, fresh: &Fresh) -> io::Result<bool> {
        self.check_sound()?;
        let Some(covered) = self.covered(fresh) else { return Ok(false) };
        self.segments[covered].iter().try_for_each(Segment::keep)?;
        Ok(true)
    }

    /// The compacted segment's files are in their place, or it is not known which are.
    pub(super) fn finish_swap(&mut self, fresh: &Fresh, swapped: io::Result<Segment>) -> io::Result<()> {
        let covered = self.covered(fresh).ok_or_else(|| io::Error::other("segments went while they were compacted"));
        let (segment, covered) = self.guard(swapped.and_then(|segment| Ok((segment, covered?))))?;
        self.segments.splice(covered, [segment]);
        self.generation += 1;
        self.read_hint = None;
        Ok(())
    }

    /// Everything before this offset is compacted.
    pub(super) fn note_compacted(&mut self, to: i64) {
        self.compacted_to = Some(self.compacted_to.map_or(to, |before| before.max(to)));
    }

    /// From now on the log may have gaps. To be kept before the first compaction: a crash behind it would take them for damage.
    pub fn may_have_gaps(&mut self) {
        // Not the log's start: what begins before there may be undecided still.
        self.compacted_to.get_or_insert(0);
    }

    /// That could not be kept: nothing may be compacted before it is.
    pub fn has_no_gaps(&mut self) {
        self.compacted_to.take_if(|to| *to == 0);
    }
}
