//! Files that say what the producers of a log had written up to some offset: beside its segments, named by that offset. What is in
//! them is the partition's matter.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Log;
use super::place::{file_name, kind};
use crate::storage::{DiskFile, read_whole};

impl Log {
    /// The offsets that the snapshots are named by that were there when the log was opened, oldest first. Once.
    pub fn take_snapshots(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.snapshots)
    }

    /// Up to which offset a snapshot may be used to open the log. After a crash the last two segments are looked through in any
    /// case: a snapshot knows one batch of each producer, the segments know those before it too.
    pub fn snapshot_limit(&self) -> i64 {
        if self.was_clean { self.end } else { self.segments[self.segments.len().saturating_sub(2)].base }
    }

    /// The offset of a batch from which on there are so many bytes, or all that there are.
    pub fn tail(&mut self, bytes: u64) -> io::Result<i64> {
        let mut left = bytes;
        for segment in self.segments.iter_mut().rev() {
            if let Some(more) = left.checked_sub(segment.size()) {
                left = more;
                continue;
            }
            segment.ensure(&self.place, &self.config)?;
            return segment.offset_at(segment.size() - left);
        }
        Ok(self.first_base())
    }

    /// A snapshot's bytes; none if it is not there.
    pub fn read_snapshot(&self, offset: i64) -> io::Result<Option<Vec<u8>>> {
        read_whole(self.place.disk.as_ref(), &self.place.folder, &file_name(offset, kind::SNAPSHOT))
    }

    /// Writes a snapshot. Its checksum tells whether a crash left all of it, so nobody waits for the disk.
    pub fn write_snapshot(&mut self, offset: i64, bytes: Bytes) -> io::Result<()> {
        self.check_sound()?;
        let written = self.put_snapshot(offset, bytes);
        self.guard(written)
    }

    fn put_snapshot(&mut self, offset: i64, bytes: Bytes) -> io::Result<()> {
        if self.place.size(offset, kind::SNAPSHOT)? > 0 {
            self.place.remove(offset, kind::SNAPSHOT)?;
        }
        self.place.open(offset, kind::SNAPSHOT)?.append(bytes)?;
        self.unlisted = true;
        Ok(())
    }

    /// The file of a snapshot, if it is there and can be opened: it is no loss if not.
    pub(super) fn snapshot_file(&self, offset: i64) -> Option<Arc<dyn DiskFile>> {
        let size = self.place.size(offset, kind::SNAPSHOT).ok()?;
        if size > 0 { self.place.open(offset, kind::SNAPSHOT).ok() } else { None }
    }

    /// Whether it holds no batch at all.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.size() == 0)
    }

    /// Removes those of `all` snapshots that are of no use: of offsets that no segment starts at, but for `newest`, and `damaged`
    /// ones. Those behind the log's end must not come back once the log has grown past them.
    pub fn remove_snapshots(&self, all: &[i64], newest: Option<i64>, damaged: &[i64]) -> io::Result<()> {
        let mut removed = false;
        for offset in all {
            let starts = self.segments.binary_search_by_key(offset, |segment| segment.base).is_ok();
            if damaged.contains(offset) || !starts && newest != Some(*offset) {
                self.place.remove(*offset, kind::SNAPSHOT)?;
                removed = true;
            }
        }
        if removed { self.place.disk.sync_folder(&self.place.folder) } else { Ok(()) }
    }
}
