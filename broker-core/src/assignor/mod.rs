//! Who gets which partitions: Kafka's assignors as pure functions, and the bytes in which members talk about it.

mod cooperative_sticky;
pub mod protocol;
mod range;
mod round_robin;
mod sticky;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use cooperative_sticky::cooperative_sticky;
pub use range::range;
pub use round_robin::round_robin;
pub use sticky::sticky;

use crate::id::TopicPartition;

/// What a member wants and has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberSubscription {
    /// The topics it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// What it owned before the rebalance.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it owned that; -1 if unknown.
    pub generation: i32,
}

/// Members by id.
pub type Members = BTreeMap<String, MemberSubscription>;
/// Partition counts by topic; topics that do not exist are not in it.
pub type Topics = BTreeMap<Arc<str>, i32>;
/// Partitions by member id: every member is in it.
pub type Assignments = BTreeMap<String, Vec<TopicPartition>>;

fn empty(members: &Members) -> Assignments {
    members.keys().map(|member| (member.clone(), Vec::new())).collect()
}

#[cfg(test)]
mod tests;
