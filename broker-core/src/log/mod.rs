//! A partition's log: segments of whole batches, laid out as Kafka's files.

mod checkpoint;
mod compact;
mod config;
mod flush;
mod headers;
mod heads;
mod index;
mod index_file;
mod place;
mod read;
mod recovery;
mod retention;
mod segment;
mod segmented;
mod snapshots;
mod times;
mod txn_index;

#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod tests;

pub(crate) use checkpoint::{COMPACTED, LOG_STARTS, Offsets, RECOVERY_POINTS, read_checkpoint, write_checkpoint};
pub(crate) use compact::{Compacted, Compaction, compact, dirt};
pub(crate) use config::LogConfig;
pub(crate) use flush::SyncJob;
pub(crate) use headers::headers;
pub(crate) use read::{read, read_committed};
pub(crate) use recovery::Opening;
pub(crate) use segmented::Log;
pub(crate) use times::find_timestamp;
pub(crate) use txn_index::Aborted;
