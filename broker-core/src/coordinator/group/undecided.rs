//! Offsets that are stored within a transaction: kept by producer until its marker publishes or drops them. What was written later
//! wins, whichever way it was stored: a transaction that ends does not undo a commit that came after its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CommittedOffset, Group, Groups};
use crate::error::ErrorCode;
use crate::id::TopicPartition;

/// An offset, if it is decided.
pub(super) type StableOffset = Result<Option<CommittedOffset>, ErrorCode>;

/// The open transactions of a shard.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By producer: each with what it has in which group; with nothing if that was deleted meanwhile. The log holds its batches until
    /// its marker all the same.
    open: BTreeMap<i64, BTreeSet<Place>>,
    /// Counts what is stored, in the log's order.
    written: u64,
}

type Place = (Arc<str>, TopicPartition);

/// What open transactions have for the partitions of one group. A partition without any is not in it.
#[derive(Debug, Default)]
pub(super) struct Undecided(BTreeMap<TopicPartition, Contest>);

/// What they have for one partition.
#[derive(Debug, Default)]
struct Contest {
    /// When the offset was written that is stored; 0 if that was before all of these.
    stored: u64,
    /// What each producer wrote last, and when.
    offers: BTreeMap<i64, (u64, CommittedOffset)>,
}

impl Undecided {
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.0.keys()
    }

    pub fn of_topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a TopicPartition> {
        let from = TopicPartition::new(topic, i32::MIN);
        self.0.range(from..).map(|(partition, _)| partition).take_while(move |partition| &*partition.topic == topic)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn has(&self, partition: &TopicPartition) -> bool {
        self.0.contains_key(partition)
    }
}

impl Groups {
    /// Whether a producer has a transaction open in the shard's log.
    pub fn has_transactions(&self) -> bool {
        !self.transactions.open.is_empty()
    }

    /// Stored offsets, as [`offsets`](Self::offsets) gives them, but of a partition for which a transaction is open only that it is.
    pub fn stable_offsets(&self, group: &str, partitions: Option<&[TopicPartition]>) -> Vec<(TopicPartition, StableOffset)> {
        let undecided = self.groups.get(group).map(|group| &group.undecided);
        let found = self.offsets(group, partitions).into_iter().map(|(partition, stored)| {
            let is_open = undecided.is_some_and(|undecided| undecided.has(&partition));
            (partition, if is_open { Err(ErrorCode::UnstableOffsetCommit) } else { Ok(stored) })
        });
        found.collect()
    }

    pub(super) fn apply_within(&mut self, producer: i64, group: &str, partition: TopicPartition, offset: CommittedOffset) {
        self.transactions.written += 1;
        let written = self.transactions.written;
        let contest = self.group(group).undecided.0.entry(partition.clone()).or_default();
        contest.offers.insert(producer, (written, offset));
        self.transactions.open.entry(producer).or_default().insert((group.into(), partition));
    }

    /// A producer's marker: what it has is published, where nothing newer is, or dropped.
    pub(super) fn apply_end(&mut self, producer: i64, committed: bool) {
        for (group, partition) in self.transactions.open.remove(&producer).unwrap_or_default() {
            let Some(group) = self.groups.get_mut(&*group) else { continue };
            let Some(contest) = group.undecided.0.get_mut(&partition) else { continue };
            let offer = contest.offers.remove(&producer).filter(|(written, _)| committed && *written > contest.stored);
            if let Some((written, _)) = offer {
                contest.stored = written;
            }
            if contest.offers.is_empty() {
                group.undecided.0.remove(&partition);
            }
            if let Some((_, offset)) = offer {
                group.store_offset(partition, offset);
            }
        }
    }

    /// An offset was stored outside of transactions: those that are open have none that is newer.
    pub(super) fn overtake(&mut self, group: &str, topic: &str, partition: i32) {
        if self.transactions.open.is_empty() {
            return;
        }
        self.transactions.written += 1;
        let contest =
            self.groups.get_mut(group).and_then(|group| group.undecided.0.get_mut(&TopicPartition::new(topic, partition)));
        if let Some(contest) = contest {
            contest.stored = self.transactions.written;
        }
    }

    /// An offset was deleted: what open transactions have for its partition goes with it.
    pub(super) fn withdraw(&mut self, group: &str, topic: &str, partition: i32) {
        if self.transactions.open.is_empty() {
            return;
        }
        let partition = TopicPartition::new(topic, partition);
        let contest = self.groups.get_mut(group).and_then(|group| group.undecided.0.remove(&partition));
        self.transactions.forget(group, &partition, contest);
    }

    /// A group was deleted.
    pub(super) fn withdraw_all(&mut self, id: &str, group: Group) {
        for (partition, contest) in group.undecided.0 {
            self.transactions.forget(id, &partition, Some(contest));
        }
    }
}

impl Transactions {
    fn forget(&mut self, group: &str, partition: &TopicPartition, contest: Option<Contest>) {
        let place = (Arc::from(group), partition.clone());
        for producer in contest.iter().flat_map(|contest| contest.offers.keys()) {
            if let Some(places) = self.open.get_mut(producer) {
                places.remove(&place);
            }
        }
    }
}
