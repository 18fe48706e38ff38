//! What is done to a partition beside reading and writing: old records go.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::{PartitionHandle, storage};
use crate::error::{Error, ErrorCode};

impl PartitionHandle {
    /// To be held by who changes files without the partition's lock: a deletion waits for it. `None` if it was deleted.
    pub(super) fn housework(&self) -> Option<MutexGuard<'_, ()>> {
        let alone = self.0.housework.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.is_deleted()).then_some(alone)
    }

    /// Removes the segments that are to go by now, and forgets producers that write no more. Segments' files stay for
    /// `file.delete.delay.ms`.
    pub(crate) fn retain(&self) -> Result<(), Error> {
        let Some(_alone) = self.housework() else { return Ok(()) };
        let (clock, config) = (&self.0.surroundings.clock, self.config());
        let failed = |error| storage(&self.0.id, "cannot drop old records", error);
        let (leaving, delay) = {
            let mut state = self.state();
            if self.is_deleted() || state.log.is_poisoned() {
                return Ok(());
            }
            let (expiration, interval) = (config.producer_id_expiration_ms, config.producer_id_expiration_check_interval_ms);
            state.producers.expire(clock.wall_ms(), expiration, interval);
            let mut leaving = state.log.retain(clock.wall_ms(), self.end_offset());
            if leaving.as_ref().is_ok_and(|leaving| !leaving.is_empty()) && state.log.is_empty() {
                // The snapshots went with the segments.
                leaving = state.snapshot().and(leaving);
            }
            self.0.start.store(state.log.start(), Ordering::Release);
            (leaving.map_err(failed)?, state.log.file_delete_delay_ms())
        };
        if leaving.is_empty() {
            return Ok(());
        }
        let renamed = leaving.rename();
        self.state().log.doom(clock.monotonic_ms().saturating_add(delay), renamed.map_err(failed)?);
        Ok(())
    }

    /// Removes the files of segments that went long enough ago; when to look again, if there are others.
    pub(crate) fn remove_files(&self) -> Result<Option<u64>, Error> {
        let Some(_alone) = self.housework() else { return Ok(None) };
        let mut state = self.state();
        let remove = state.log.take_doomed(self.0.surroundings.clock.monotonic_ms());
        let next = state.log.next_doom();
        drop(state);
        remove().map(|()| next).map_err(|error| storage(&self.0.id, "cannot drop old records", error))
    }

    /// From now on nothing before this offset can be read; -1 is the end. The first offset that can be.
    pub(crate) fn delete_records(&self, before: i64) -> Result<i64, Error> {
        self.check_there()?;
        let mut state = self.state();
        let end = self.end_offset();
        let before = if before == -1 { end } else { before };
        if !(0..=end).contains(&before) {
            let text = format!("{}: offset {before} is outside the log, which ends at {end}", self.0.id);
            return Err(Error::new(ErrorCode::OffsetOutOfRange, text));
        }
        state.log.delete_before(before).map_err(|error| storage(&self.0.id, "takes no writes", error))?;
        self.0.start.store(state.log.start(), Ordering::Release);
        Ok(state.log.start())
    }
}
