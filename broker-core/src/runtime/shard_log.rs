//! A shard's log: it is read back when the shard opens, and written anew before it grows without bound.

use std::collections::BTreeMap;

use super::Shard;
use crate::coordinator::group::{GroupRecord, OffsetCommit, decode, encode_commit, encode_group};
use crate::error::{Error, ErrorCode};
use crate::record::{Batch, BatchBuilder, BatchError, Marker, batches};

/// How large a batch of a rewrite grows.
const SNAPSHOT_BATCH_BYTES: usize = 256 * 1024;
/// How much is read at a time when a shard is read back.
const LOAD_BYTES: usize = 1 << 20;

/// What was met on the way.
#[derive(Debug, Default)]
struct Read {
    /// Each group's last generation.
    generations: BTreeMap<String, Option<Vec<u8>>>,
    unknown: u64,
}

impl Shard {
    /// Reads groups and offsets back from the log.
    pub fn load(&mut self) -> Result<(), Error> {
        let log = self.log()?.clone();
        let mut next = log.log_start();
        let mut read = Read::default();
        while next < log.end_offset() {
            let found = log.fetch(next, LOAD_BYTES)?.batches;
            // Behind the last batch there may be offsets whose records are gone.
            next = if found.is_empty() { log.end_offset() } else { next };
            for run in found {
                for batch in batches(&run) {
                    let corrupt = |error| Error::with_source(ErrorCode::CorruptMessage, format!("{}", self.config.id), error);
                    let batch = batch.map_err(corrupt)?;
                    self.grown(batch.size() as u64);
                    next = batch.last_offset() + 1;
                    self.load_batch(&batch, &mut read)
                        .map_err(|error| Error::with_source(ErrorCode::CorruptMessage, format!("{}", self.config.id), error))?;
                }
            }
        }
        let now = self.now();
        for (group, stored) in read.generations {
            if stored.is_some_and(|stored| !self.groups.restore(now, &group, &stored)) {
                read.unknown += 1;
            }
        }
        let unknown = read.unknown;
        if unknown > 0 {
            tracing::warn!(target: "broker_core::group", partition = %self.config.id, unknown, "records of unknown kind or version passed over");
        }
        Ok(())
    }

    fn load_batch(&mut self, batch: &Batch, read: &mut Read) -> Result<(), BatchError> {
        let producer = batch.is_transactional().then(|| batch.producer_id());
        if batch.is_control() {
            // A control batch of another kind is nobody's end.
            if let (Some(producer), Some(Marker { commits: committed, .. })) = (producer, Marker::of(batch.bytes())) {
                self.groups.apply(GroupRecord::End { producer, committed });
            }
            return Ok(());
        }
        for record in batch.records() {
            let record = record?;
            let Some(found) = record.key().and_then(|key| decode(key, record.value())) else {
                read.unknown += 1;
                continue;
            };
            if let GroupRecord::Group { group, .. } = found {
                read.generations.insert(group.to_owned(), record.value().map(<[u8]>::to_vec));
            }
            self.groups.apply(match producer {
                Some(producer) => found.within(producer),
                None => found,
            });
        }
        Ok(())
    }

    /// Superseded commits are dropped by writing what is current into a new segment and removing the old ones. While a transaction
    /// is open that cannot be done: what is written anew would come behind what the transaction wrote, and win. Then the segment is
    /// closed, so that the log's compaction keeps it small, as Kafka does it, until there is a moment without.
    pub(super) fn rewrite_if_due(&mut self) -> Result<(), Error> {
        let limit = self.config.rewrite_bytes.max(2 * self.snapshot);
        if self.appended < limit {
            return Ok(());
        }
        if !self.groups.has_transactions() {
            return self.rewrite();
        }
        if self.unsealed >= limit {
            self.log()?.roll()?;
            self.unsealed = 0;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), Error> {
        let log = self.log()?.clone();
        let wall = self.config.surroundings.clock.wall_ms();
        let Self { groups, builder, key, value, .. } = self;
        let mut written = 0;
        let rewritten = log.rewrite(|log| {
            let mut flush = |builder: &mut BatchBuilder, least: usize| -> Result<(), Error> {
                if builder.size() > least {
                    let batch = builder.build();
                    written += batch.len() as u64;
                    log.produce_own(batch)?;
                }
                Ok(())
            };
            for (group, (generation, members), offsets) in groups.snapshot() {
                encode_group(group, generation, &members, wall, key, value);
                builder.append(wall, Some(key), Some(value), &[]);
                for (partition, stored) in offsets {
                    let commit = OffsetCommit {
                        topic: &partition.topic,
                        partition: partition.partition,
                        offset: stored.offset,
                        leader_epoch: stored.leader_epoch,
                        metadata: &stored.metadata,
                    };
                    encode_commit(group, &commit, stored.commit_timestamp, key, value);
                    builder.append(wall, Some(key), Some(value), &[]);
                    flush(builder, SNAPSHOT_BATCH_BYTES)?;
                }
            }
            flush(builder, 0)
        })?;
        if rewritten {
            (self.appended, self.snapshot, self.unsealed) = (written, written, written);
        }
        Ok(())
    }
}
