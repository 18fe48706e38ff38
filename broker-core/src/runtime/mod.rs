//! Gives the pure machines their log, their answers' waiters and their time.

mod changes;
mod driver;
mod own_log;
mod random;
mod shard;
mod shard_log;
#[cfg(test)]
mod shard_tests;
mod shard_transactions;
mod syncer;
mod transaction_coordinator;
mod transaction_shard;
mod upkeep;

pub(crate) use changes::Counter;
pub use changes::GroupChanges;
pub(crate) use driver::{Driver, Looks};
pub(crate) use random::Random;
pub(crate) use shard::{Shard, ShardConfig};
pub(crate) use syncer::Syncer;
pub(crate) use transaction_coordinator::{Participants, TransactionCoordinator};
pub(crate) use transaction_shard::TransactionShard;
pub(crate) use upkeep::{Bell, Intervals, Kept, Upkeep};

/// The shard, or partition of a coordinator's topic, that keeps an id: Kafka's rule.
pub(crate) fn shard_of(id: &str, shards: usize) -> usize {
    let hash = id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive as usize % shards
}

#[cfg(test)]
mod tests {
    use super::shard_of;

    #[test]
    fn ids_find_kafkas_partition() {
        for (id, shard) in [
            ("g1", 42),
            ("my-group", 12),
            ("console-consumer-1", 24),
            ("connect-cluster", 13),
            ("streams-app", 5),
            ("polygenelubricants", 0),
            ("tx-1", 20),
        ] {
            assert_eq!(shard_of(id, 50), shard, "{id}");
        }
    }
}
