//! Stored offsets: may they be changed, what are they, which have had their time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use super::records::TEXT_BYTES_MAX;
use super::{CommittedOffset, Group, GroupState, Groups, Member, MemberIdentity, OffsetCommit};
use crate::assignor::protocol::decode_subscription;
use crate::error::{Error, ErrorCode, Named};
use crate::id::TopicPartition;

/// What an expiry takes away: of each group these partitions' offsets, and perhaps the group.
pub(crate) type Expired = Vec<(String, Vec<TopicPartition>, bool)>;

/// The protocol type whose subscriptions the group may look into, to know what is still of use.
const CONSUMER: &str = "consumer";

impl Groups {
    pub(super) fn apply_offset(&mut self, group: &str, topic: &str, partition: i32, offset: Option<(OffsetCommit<'_>, i64)>) {
        let Some((commit, commit_timestamp)) = offset else {
            self.withdraw(group, topic, partition);
            self.group(group).remove_offset(topic, partition);
            return;
        };
        let offsets = &mut self.group(group).offsets;
        match offsets.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition)) {
            // What is there keeps its memory: a commit a record is not to cost one.
            Some(stored) => {
                stored.offset = commit.offset;
                stored.leader_epoch = commit.leader_epoch;
                stored.commit_timestamp = commit_timestamp;
                stored.metadata.clear();
                stored.metadata.push_str(commit.metadata);
            }
            None => self.group(group).store_offset(TopicPartition::new(topic, partition), commit.stored_at(commit_timestamp)),
        }
        self.overtake(group, topic, partition);
    }

    /// Whether the text beside an offset is short enough.
    pub fn check_metadata(&self, group_id: &str, commit: &OffsetCommit<'_>) -> Result<(), Error> {
        let limit = self.limits.metadata_max_bytes;
        if commit.metadata.len() <= limit {
            return Ok(());
        }
        let (topic, partition, have) = (commit.topic, commit.partition, commit.metadata.len());
        let text = format!("group '{}': {topic}-{partition}: metadata of {have} bytes is over {limit}", Named(group_id));
        Err(Error::new(ErrorCode::OffsetMetadataTooLarge, text))
    }

    /// Whether somebody may commit; a member's commit is a sign of life.
    pub fn check_commit(&mut self, now: u64, group_id: &str, who: MemberIdentity<'_>) -> Result<(), Error> {
        let Some((member, state)) = self.check_committer(group_id, who, false)? else { return Ok(()) };
        if state == GroupState::CompletingRebalance {
            return refuse(group_id, ErrorCode::RebalanceInProgress, "it is rebalancing");
        }
        member.session_deadline = now + member.session_timeout;
        Ok(())
    }

    /// Whether somebody may commit within a transaction, as in Kafka: who does not say which member it is may, as old clients do
    /// (their producers fence one another), and a rebalance that goes on is no matter. It is no sign of life: the producer may
    /// outlive its consumer.
    pub fn check_commit_within(&mut self, group_id: &str, who: MemberIdentity<'_>) -> Result<(), Error> {
        self.check_committer(group_id, who, true).map(|_| ())
    }

    /// The member that commits, if it is one, and its group's state.
    fn check_committer(
        &mut self,
        group_id: &str,
        who: MemberIdentity<'_>,
        within: bool,
    ) -> Result<Option<(&mut Member, GroupState)>, Error> {
        if group_id.is_empty() {
            return refuse(group_id, ErrorCode::InvalidGroupId, "a group's id cannot be empty");
        }
        if group_id.len() > TEXT_BYTES_MAX {
            let text = format!("a group's id of {} bytes: {TEXT_BYTES_MAX} at most", group_id.len());
            return Err(Error::new(ErrorCode::InvalidGroupId, text));
        }
        let generation = who.generation;
        let Some(group) = self.groups.get_mut(group_id) else {
            return if generation < 0 {
                Ok(None)
            } else {
                refuse(group_id, ErrorCode::IllegalGeneration, format!("no generation {generation}"))
            };
        };
        let is_nobody = generation < 0 && who.member_id.is_empty() && who.group_instance_id.is_none();
        if generation < 0 && group.members.is_empty() || is_nobody && within {
            return Ok(None);
        }
        if is_nobody {
            return refuse(group_id, ErrorCode::UnknownMemberId, "the group has members: only they may commit");
        }
        let (current, state) = (group.generation, group.state);
        let member = match group.known(who.member_id, who.group_instance_id) {
            Ok(member) => member,
            Err(ErrorCode::FencedInstanceId) => {
                let text = format!("member '{}' was replaced by another of the same group.instance.id", who.member_id);
                return refuse(group_id, ErrorCode::FencedInstanceId, text);
            }
            Err(code) => return refuse(group_id, code, format!("member '{}' is not in it", who.member_id)),
        };
        if generation != current {
            let text = format!("generation {generation} is over, it is {current}");
            return refuse(group_id, ErrorCode::IllegalGeneration, text);
        }
        Ok(Some((member, state)))
    }

    /// Stored offsets: of the partitions asked for, or all.
    pub fn offsets(&self, group: &str, partitions: Option<&[TopicPartition]>) -> Vec<(TopicPartition, Option<CommittedOffset>)> {
        let stored = self.groups.get(group).map(|group| &group.offsets);
        match partitions {
            Some(partitions) => partitions
                .iter()
                .map(|partition| {
                    let offset = stored.and_then(|stored| stored.get(&partition.topic)?.get(&partition.partition)).cloned();
                    (partition.clone(), offset)
                })
                .collect(),
            None => stored
                .into_iter()
                .flatten()
                .flat_map(|(topic, partitions)| {
                    let one = |(partition, offset): (&i32, &CommittedOffset)| {
                        (TopicPartition::new(topic.clone(), *partition), Some(offset.clone()))
                    };
                    partitions.iter().map(one)
                })
                .collect(),
        }
    }

    /// The partitions that a group has offsets for, be they decided or not.
    pub fn partitions_of(&self, group: &str) -> Vec<TopicPartition> {
        self.groups.get(group).map(Group::partitions).unwrap_or_default()
    }

    /// Groups that have offsets for a topic, be they decided or not, and for which partitions.
    pub fn with_offsets_for(&self, topic: &str) -> Vec<(String, Vec<TopicPartition>)> {
        let one = |(id, group): (&String, &Group)| {
            let mut partitions: Vec<TopicPartition> = group.undecided.of_topic(topic).cloned().collect();
            if let Some((topic, stored)) = group.offsets.get_key_value(topic) {
                partitions.extend(stored.keys().map(|number| TopicPartition::new(topic.clone(), *number)));
            }
            partitions.sort();
            partitions.dedup();
            (!partitions.is_empty()).then(|| (id.clone(), partitions))
        };
        self.groups.iter().filter_map(one).collect()
    }

    /// Whether offsets of these topics may be deleted: a live group keeps those that it reads.
    pub fn check_delete_offsets(&self, id: &str, topics: &[&str]) -> Result<Vec<Result<(), ErrorCode>>, Error> {
        let Some(group) = self.groups.get(id) else {
            return Err(Error::new(ErrorCode::GroupIdNotFound, format!("there is no group '{id}'")));
        };
        if group.members.is_empty() {
            return Ok(topics.iter().map(|_| Ok(())).collect());
        }
        let Some(read) = group.subscribed() else {
            let text = format!("group '{id}' has {} members, and what they read cannot be known", group.members.len());
            return Err(Error::new(ErrorCode::NonEmptyGroup, text));
        };
        let one = |topic: &&str| if read.contains(*topic) { Err(ErrorCode::GroupSubscribedToTopic) } else { Ok(()) };
        Ok(topics.iter().map(one).collect())
    }

    /// What has had its time at `wall` (milliseconds since 1970): of a group without members everything `retention_ms` after
    /// it became so (offsets stored later count from then); of a live group the topics that nobody reads any more. A group
    /// that is left with nothing goes too.
    pub fn expired(&mut self, wall: i64, retention_ms: i64) -> Expired {
        let mut found = Vec::new();
        for (id, group) in &mut self.groups {
            if group.members.is_empty() && group.protocol_type.is_some() {
                // Read back, and nobody has come again.
                group.empty_since.get_or_insert(wall);
            }
            let read = if group.members.is_empty() { Some(BTreeSet::new()) } else { group.subscribed() };
            let Some(read) = read else { continue };
            let since = if group.members.is_empty() { group.empty_since.unwrap_or(i64::MIN) } else { i64::MIN };
            let old = |stored: &CommittedOffset| {
                let from = stored.commit_timestamp.max(since);
                wall.saturating_sub(from) >= retention_ms
            };
            let mut gone = Vec::new();
            // What a transaction is about to store is of use, and so is what it may leave as it is.
            let mut left = group.undecided.len();
            for (topic, partitions) in &group.offsets {
                for (partition, stored) in partitions {
                    let partition = TopicPartition::new(topic.clone(), *partition);
                    if !read.contains(&**topic) && old(stored) && !group.undecided.has(&partition) {
                        gone.push(partition);
                    } else {
                        left += 1;
                    }
                }
            }
            let idle = group.state == GroupState::Empty && group.pending.is_empty();
            let unused = group.empty_since.is_none_or(|since| wall.saturating_sub(since) >= retention_ms);
            let ends = idle && left == 0 && (!gone.is_empty() || unused);
            if ends || !gone.is_empty() {
                found.push((id.clone(), gone, ends));
            }
        }
        found
    }
}

fn refuse<T>(group: &str, code: ErrorCode, text: impl Display) -> Result<T, Error> {
    Err(Error::new(code, format!("group '{}': {text}", Named(group))))
}

impl Group {
    pub(super) fn store_offset(&mut self, partition: TopicPartition, offset: CommittedOffset) {
        self.offsets.entry(partition.topic).or_default().insert(partition.partition, offset);
    }

    fn remove_offset(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.offsets.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.offsets.remove(topic);
            }
        }
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let of = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, CommittedOffset>)| {
            let topic = topic.clone();
            partitions.keys().map(|number| TopicPartition::new(topic.clone(), *number)).collect::<Vec<_>>()
        };
        let all: BTreeSet<TopicPartition> =
            self.offsets.iter().flat_map(of).chain(self.undecided.partitions().cloned()).collect();
        all.into_iter().collect()
    }

    /// The topics that members of a consumer group read; nothing if that cannot be known.
    fn subscribed(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            for (_, metadata) in &member.protocols {
                topics.extend(decode_subscription(metadata).ok()?.topics.iter().map(|topic| topic.to_string()));
            }
        }
        Some(topics)
    }
}
