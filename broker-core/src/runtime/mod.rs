//! Gives the pure machines their log, their answers' waiters and their time.

mod driver;
mod shard;

pub(crate) use driver::Driver;
pub(crate) use shard::{Shard, ShardConfig};
