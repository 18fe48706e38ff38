//! What a producer's transaction has to do with the groups of a shard: it may store offsets, which count once it is committed.

use super::Shard;
use super::shard::check_size;
use crate::coordinator::group::{GroupRecord, MemberIdentity, OffsetCommit, encode_commit};
use crate::error::Error;
use crate::partition::{Produced, TransactionEnd};
use crate::record::MARKER_BYTES;

impl Shard {
    /// Stores offsets as part of a producer's transaction; one that is refused does not keep the others from being stored. Whoever
    /// calls has seen that the transaction is ongoing and has this shard in it, and that stays so until this returns.
    pub fn commit_within(
        &mut self,
        group: &str,
        who: MemberIdentity<'_>,
        (producer, epoch): (i64, i16),
        offsets: &[OffsetCommit<'_>],
        durable: bool,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.groups.check_commit_within(group, who)?;
        let checked: Vec<_> = offsets.iter().map(|commit| self.groups.check_metadata(group, commit)).collect();
        let sound = offsets.iter().zip(&checked).filter(|(_, checked)| checked.is_ok()).map(|(commit, _)| *commit);
        let within: Vec<OffsetCommit<'_>> = sound.collect();
        check_size(group, within.iter())?;
        self.rewrite_if_due()?;
        let wall = self.config.surroundings.clock.wall_ms_coarse();
        for commit in &within {
            encode_commit(group, commit, wall, &mut self.key, &mut self.value);
            self.builder.append(wall, Some(&self.key), Some(&self.value), &[]);
        }
        if self.builder.is_empty() {
            return Ok(checked);
        }
        self.builder.producer(producer, epoch, 0);
        self.builder.transactional();
        let batch = self.builder.build();
        let bytes = batch.len() as u64;
        self.log()?.produce_own_within(batch, durable)?;
        self.grown(bytes);
        for commit in within {
            self.groups.apply(GroupRecord::Within { producer, group, commit, stored_at: wall });
        }
        Ok(checked)
    }

    /// Ends a producer's transaction in this shard: writes the marker, then publishes its offsets or drops them. It may be said again.
    pub fn end_transaction(&mut self, end: &TransactionEnd) -> Result<Produced, Error> {
        let produced = self.log()?.end_transaction(end)?;
        self.ended(end);
        Ok(produced)
    }

    /// The same as the transaction's coordinator says it: it is never refused, and nothing is written if none is open.
    pub fn complete_transaction(&mut self, end: &TransactionEnd, wrote: i16, durable: bool) -> Result<i64, Error> {
        let Some(log) = self.partition() else { return Ok(0) };
        let (log_end, committed) = log.complete_transaction(end, wrote, durable)?;
        self.ended(&TransactionEnd { committed, ..*end });
        Ok(log_end)
    }

    fn ended(&mut self, end: &TransactionEnd) {
        self.grown(MARKER_BYTES as u64);
        self.groups.apply(GroupRecord::End { producer: end.producer_id, committed: end.committed });
    }
}
