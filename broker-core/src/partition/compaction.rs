//! When a partition is compacted, and by what rules.

use super::{PartitionHandle, storage};
use crate::error::Error;
use crate::log::{Compacted, Compaction, compact, dirt};
use crate::record::Batch;

impl PartitionHandle {
    /// How much a compaction is needed: the part of the log that is not compacted yet, or more than any part if a record has
    /// waited for too long. `None` if the topic's settings ask for none now.
    pub(crate) fn compaction_need(&self) -> Result<Option<f64>, Error> {
        let config = self.config();
        let topic = &config.topic;
        if !topic.cleanup_policy.compact || self.is_deleted() {
            return Ok(None);
        }
        let now = self.0.surroundings.clock.wall_ms();
        let looked = {
            let mut state = self.state();
            // Again, under the lock: who looks may make an index anew.
            if self.is_deleted() {
                return Ok(None);
            }
            dirt(&mut state.log, now, topic.min_compaction_lag_ms, self.stable_offset())
        };
        let dirt = looked.map_err(|error| storage(&self.0.id, "cannot be compacted", error))?;
        if dirt.dirty_bytes == 0 {
            return Ok(None);
        }
        let waited = now.saturating_sub(dirt.oldest);
        if dirt.oldest >= 0 && waited > topic.max_compaction_lag_ms {
            return Ok(Some(1.0 + waited as f64));
        }
        let ratio = dirt.ratio();
        Ok((ratio > topic.min_cleanable_dirty_ratio).then_some(ratio))
    }

    /// Compacts what may be compacted, whether or not it is worth it. `dedupe_bytes` bounds the memory for keys. Ends early, with
    /// nothing done, if its topic is deleted meanwhile.
    pub(crate) fn compact(&self, dedupe_bytes: usize) -> Result<Option<Compacted>, Error> {
        let Some(_alone) = self.housework() else { return Ok(None) };
        let compacted = self.compact_alone(dedupe_bytes);
        if self.is_deleted() { Ok(None) } else { compacted }
    }

    fn compact_alone(&self, dedupe_bytes: usize) -> Result<Option<Compacted>, Error> {
        let stable = self.stable_offset();
        if self.state().producers.have_transactions() {
            // The markers too: what one decides must not be acted on before it is safe.
            self.sync()?;
        } else {
            self.flush();
        }
        let config = self.config();
        let is_producers_last = |batch: &Batch| self.state().producers.is_last(batch);
        let wanted = Compaction {
            now: self.0.surroundings.clock.wall_ms(),
            min_lag_ms: config.topic.min_compaction_lag_ms,
            delete_retention_ms: config.topic.delete_retention_ms,
            dedupe_bytes,
            stable,
            is_over: &|| self.is_deleted(),
            is_producers_last: &is_producers_last,
        };
        compact(|look| look(&mut self.state().log), &wanted).map_err(|error| storage(&self.0.id, "cannot be compacted", error))
    }

    /// Everything before it was compacted; `None` if nothing ever was.
    pub(crate) fn compacted_to(&self) -> Option<i64> {
        self.state().log.compacted_to()
    }

    /// From now on there may be gaps in its offsets.
    pub(crate) fn may_have_gaps(&self) {
        self.state().log.may_have_gaps();
    }

    /// Nobody was told that there may be gaps, so there are none yet.
    pub(crate) fn has_no_gaps(&self) {
        self.state().log.has_no_gaps();
    }
}
