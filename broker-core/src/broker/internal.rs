//! The broker's own topics: coordinators keep their state there. Clients read them; only the broker writes.

use std::sync::Arc;

use super::Broker;
use super::topics::TopicDescription;
use crate::id::TopicId;

/// The topic of groups and offsets.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic of transactional ids and transactions.
pub(super) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Whether a topic is one of the broker's own.
pub(super) fn is_internal(name: &str) -> bool {
    name == OFFSETS_TOPIC || name == TRANSACTIONS_TOPIC
}

impl Broker {
    /// Those that are there: that of transactions is once it was used.
    pub(super) fn internal_topics(&self) -> impl Iterator<Item = TopicDescription> {
        let one = |name: &str, partitions, id| TopicDescription { name: Arc::from(name), partitions, internal: true, id };
        let config = &self.0.config;
        let offsets = one(OFFSETS_TOPIC, config.offsets_topic_num_partitions, TopicId::OFFSETS);
        let transactions = one(TRANSACTIONS_TOPIC, config.transaction_state_log_num_partitions, TopicId::TRANSACTIONS);
        [offsets].into_iter().chain(self.0.transactions.is_used().then_some(transactions))
    }
}
