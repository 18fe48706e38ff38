//! Making a log durable without its lock: what is to be synced is taken under it, and so is the result.

use std::io;
use std::sync::Arc;

use super::Log;
use crate::storage::{Disk, DiskFile};

/// What makes a log durable up to an offset.
#[derive(Debug)]
pub(crate) struct SyncJob {
    disk: Arc<dyn Disk>,
    folder: String,
    files: Vec<Arc<dyn DiskFile>>,
    /// Whether files came into the folder since it was last synced.
    list: bool,
    upto: i64,
}

impl SyncJob {
    /// Does it. To be called without the log's lock: a disk takes its time.
    pub fn run(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync())?;
        if self.list { self.disk.sync_folder(&self.folder) } else { Ok(()) }
    }
}

impl Log {
    /// Everything before it is durable.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Whether so many records are not durable that the next thing is to make them so.
    pub fn is_flush_due(&self) -> bool {
        self.end - self.recovery_point >= self.config.flush_messages
    }

    /// Whether segments that are not appended to any more hold what is not durable.
    pub fn has_closed_segments_to_sync(&self) -> bool {
        self.segments.last().is_some_and(|active| self.recovery_point < active.base)
    }

    /// What has to be synced so that everything is durable, or everything but the segment that is appended to. `None` if it is. One
    /// job is to be finished before the next one begins: a job leaves out what one before it has taken.
    pub fn begin_sync(&mut self, active_too: bool) -> io::Result<Option<SyncJob>> {
        self.check_sound()?;
        let active = self.segments.len() - 1;
        let upto = if active_too { self.end } else { self.segments[active].base };
        let due = upto > self.recovery_point || active_too && self.unlisted;
        Ok(due.then(|| self.job(self.recovery_point, upto)))
    }

    fn job(&mut self, from: i64, upto: i64) -> SyncJob {
        let active = self.segments.len() - 1;
        let first = self.segments.partition_point(|segment| segment.base <= from).saturating_sub(1);
        // A snapshot that stands where the log goes on after this: without it, segments that go would take producers with them.
        let fresh = self.segments[first..].iter().filter(|segment| segment.base >= from && segment.base <= upto);
        let mut files: Vec<_> = fresh.filter_map(|segment| self.snapshot_file(segment.base)).collect();
        for (index, segment) in self.segments.iter_mut().enumerate().skip(first) {
            if index < active || upto > segment.base {
                files.push(segment.file.clone());
                files.extend(segment.aborts.take_unsynced());
            }
            if index < active {
                // Those of the segment that is appended to are made anew after a crash, so nobody waits for them.
                files.extend(segment.index_files());
            }
        }
        let list = std::mem::take(&mut self.unlisted);
        SyncJob { disk: self.place.disk.clone(), folder: self.place.folder.clone(), files, list, upto }
    }

    /// How it went. A failed sync poisons the log: a second one may succeed although the pages of the first are lost.
    pub fn finish_sync(&mut self, job: &SyncJob, result: io::Result<()>) -> io::Result<()> {
        self.guard(result)?;
        self.recovery_point = self.recovery_point.max(job.upto);
        Ok(())
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(job) = self.begin_sync(true)? else { return Ok(()) };
        let result = job.run();
        self.finish_sync(&job, result)
    }

    /// Makes everything durable, the indexes too: a broker that is told so when it opens the log looks nothing through.
    pub fn close(&mut self) -> io::Result<()> {
        self.check_sound()?;
        let active = self.segments.last_mut().expect("a log has a segment");
        if self.recovery_point == self.end && !active.is_checked() && !self.unlisted {
            // Nobody has touched it since it was opened.
            return Ok(());
        }
        let snapshot = self.snapshot_file(self.end);
        let active = self.segments.last_mut().expect("a log has a segment");
        let mut files = Vec::new();
        let sealed = active.seal(&self.place).and_then(|()| {
            files.extend(active.index_files());
            files.extend(snapshot);
            files.iter().try_for_each(|file| file.sync())
        });
        self.guard(sealed)?;
        self.unlisted = true;
        self.sync()
    }
}
