//! Gives the pure machines their log, their answers' waiters and their time.

mod changes;
mod driver;
mod random;
mod shard;
mod syncer;
mod upkeep;

pub(crate) use changes::Counter;
pub use changes::GroupChanges;
pub(crate) use driver::{Driver, OffsetsRetention};
pub(crate) use random::Random;
pub(crate) use shard::{Shard, ShardConfig};
pub(crate) use syncer::Syncer;
pub(crate) use upkeep::{Bell, Intervals, Kept, Upkeep};
