//! The classic group coordinator as a pure machine: state, a request and `now` give replies and records. Nothing here waits,
//! reads a clock or draws a number. Offsets and the generation are hard state: only [`Groups::apply`] changes them, live and
//! at replay alike. Members are soft: in this process they end with the broker, so a group that is read back is empty.

mod expire;
mod join;
mod records;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use records::{GroupRecord, MemberRecord, decode, encode_commit, encode_group};

use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;

/// Where a parked request's answer goes; the runtime knows who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReplyToken(pub u64);

/// A member's wish to be in the next generation.
#[derive(Debug, Clone)]
pub struct JoinGroup {
    /// The group's id.
    pub group: String,
    /// The id that the group gave the member, or nothing the first time.
    pub member_id: String,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it runs.
    pub client_host: String,
    /// How long the member may be silent, in milliseconds.
    pub session_timeout_ms: u64,
    /// How long it may take to join again, in milliseconds.
    pub rebalance_timeout_ms: u64,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// Assignors by preference, and the member's subscription for each.
    pub protocols: Vec<(String, Bytes)>,
}

/// The next generation, as a member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroupReply {
    /// Its number.
    pub generation: i32,
    /// The assignor that all members know.
    pub protocol: String,
    /// The member that assigns.
    pub leader: String,
    /// The member's own id.
    pub member_id: String,
    /// For the leader, all members and their subscriptions; for the others, nothing.
    pub members: Vec<(String, Bytes)>,
}

/// A member's request for its assignment; the leader's brings everybody's.
#[derive(Debug, Clone)]
pub struct SyncGroup {
    /// The group's id.
    pub group: String,
    /// The generation that it joined.
    pub generation: i32,
    /// Its id.
    pub member_id: String,
    /// From the leader: each member's assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// An offset to store.
#[derive(Debug, Clone, Copy)]
pub struct OffsetCommit<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the leader that the record before it came from; -1 if unknown.
    pub leader_epoch: i32,
    /// A text to keep beside it.
    pub metadata: &'a str,
}

/// A stored offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the leader that the record before it came from; -1 if unknown.
    pub leader_epoch: i32,
    /// The text beside it.
    pub metadata: String,
}

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Waits for members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

/// A group as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// Where it is in its life.
    pub state: GroupState,
    /// The generation's number.
    pub generation: i32,
    /// The assignor in use.
    pub protocol: Option<String>,
    /// Member ids, client ids and assignments.
    pub members: Vec<(String, String, Bytes)>,
}

/// Answers to parked requests.
#[derive(Debug)]
pub(crate) enum Reply {
    Join(Result<JoinGroupReply, ErrorCode>),
    Sync(Result<Bytes, ErrorCode>),
}

/// What a step leads to.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub replies: Vec<(ReplyToken, Reply)>,
    /// Groups whose generation is to be stored.
    pub store: Vec<String>,
}

impl Effects {
    fn join(&mut self, token: ReplyToken, reply: Result<JoinGroupReply, ErrorCode>) {
        self.replies.push((token, Reply::Join(reply)));
    }

    fn sync(&mut self, token: ReplyToken, reply: Result<Bytes, ErrorCode>) {
        self.replies.push((token, Reply::Sync(reply)));
    }
}

/// The settings that a machine needs.
#[derive(Debug, Clone)]
pub(crate) struct GroupLimits {
    pub min_session_timeout_ms: u64,
    pub max_session_timeout_ms: u64,
    pub initial_rebalance_delay_ms: u64,
    pub max_size: usize,
    pub metadata_max_bytes: usize,
}

/// The groups of one shard.
#[derive(Debug)]
pub(crate) struct Groups {
    limits: GroupLimits,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Group {
    state: GroupState,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// When waiting for joins or for the leader ends.
    deadline: Option<u64>,
    /// A group that was empty waits this long for more members.
    delayed_until: Option<u64>,
    next_join: u64,
    offsets: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
}

#[derive(Debug)]
struct Member {
    client_id: String,
    client_host: String,
    session_timeout: u64,
    rebalance_timeout: u64,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    session_deadline: u64,
    joining: Option<ReplyToken>,
    syncing: Option<ReplyToken>,
    /// In which order members joined: the first one leads.
    joined: u64,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            deadline: None,
            delayed_until: None,
            next_join: 0,
            offsets: BTreeMap::new(),
        }
    }
}

impl Groups {
    pub fn new(limits: GroupLimits) -> Self {
        Self { limits, groups: BTreeMap::new() }
    }

    /// Changes hard state: the only place that does.
    pub fn apply(&mut self, record: GroupRecord<'_>) {
        match record {
            GroupRecord::Offset { group, topic, partition, offset } => self.apply_offset(group, topic, partition, offset),
            GroupRecord::Group { group, generation: Some(generation) } => self.group(group).generation = generation,
            GroupRecord::Group { group, generation: None } => drop(self.groups.remove(group)),
        }
    }

    fn group(&mut self, group: &str) -> &mut Group {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), Group::default());
        }
        self.groups.get_mut(group).expect("inserted above")
    }

    fn apply_offset(&mut self, group: &str, topic: &str, partition: i32, offset: Option<OffsetCommit<'_>>) {
        let offsets = &mut self.group(group).offsets;
        let Some(commit) = offset else {
            if let Some(partitions) = offsets.get_mut(topic) {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    offsets.remove(topic);
                }
            }
            return;
        };
        if !offsets.contains_key(topic) {
            offsets.insert(Arc::from(topic), BTreeMap::new());
        }
        let partitions = offsets.get_mut(topic).expect("inserted above");
        match partitions.get_mut(&partition) {
            Some(stored) => {
                stored.offset = commit.offset;
                stored.leader_epoch = commit.leader_epoch;
                stored.metadata.clear();
                stored.metadata.push_str(commit.metadata);
            }
            None => {
                let stored = CommittedOffset {
                    offset: commit.offset,
                    leader_epoch: commit.leader_epoch,
                    metadata: commit.metadata.to_owned(),
                };
                partitions.insert(partition, stored);
            }
        }
    }

    /// Whether a commit is accepted; a member's counts as a sign of life. Generation -1 is an administrator's.
    pub fn check_commit(
        &mut self,
        now: u64,
        group_id: &str,
        generation: i32,
        member_id: &str,
        commits: &[OffsetCommit<'_>],
    ) -> Result<(), Error> {
        let refuse = |code, text: String| Err(Error::new(code, format!("group '{group_id}': {text}")));
        if group_id.is_empty() {
            return refuse(ErrorCode::InvalidGroupId, "a group's id cannot be empty".to_owned());
        }
        let limit = self.limits.metadata_max_bytes;
        if let Some(commit) = commits.iter().find(|commit| commit.metadata.len() > limit) {
            let text =
                format!("{}-{}: metadata of {} bytes is over {limit}", commit.topic, commit.partition, commit.metadata.len());
            return refuse(ErrorCode::OffsetMetadataTooLarge, text);
        }
        let Some(group) = self.groups.get_mut(group_id) else {
            return if generation < 0 {
                Ok(())
            } else {
                refuse(ErrorCode::IllegalGeneration, format!("no generation {generation}"))
            };
        };
        if generation < 0 {
            if group.members.is_empty() {
                return Ok(());
            }
            return refuse(ErrorCode::UnknownMemberId, "the group has members: only they may commit".to_owned());
        }
        let (current, state) = (group.generation, group.state);
        let Some(member) = group.members.get_mut(member_id) else {
            return refuse(ErrorCode::UnknownMemberId, format!("member '{member_id}' is not in it"));
        };
        if generation != current {
            return refuse(ErrorCode::IllegalGeneration, format!("generation {generation} is over, it is {current}"));
        }
        if state == GroupState::CompletingRebalance {
            return refuse(ErrorCode::RebalanceInProgress, "it is rebalancing".to_owned());
        }
        member.session_deadline = now + member.session_timeout;
        Ok(())
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

    /// Groups that have offsets for a topic, and which partitions.
    pub fn with_offsets_for(&self, topic: &str) -> Vec<(String, Vec<i32>)> {
        let one = |(id, group): (&String, &Group)| {
            group.offsets.get(topic).map(|partitions| (id.clone(), partitions.keys().copied().collect()))
        };
        self.groups.iter().filter_map(one).collect()
    }

    pub fn ids(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    pub fn describe(&self, id: &str) -> Option<GroupDescription> {
        self.groups.get(id).map(|group| GroupDescription {
            group: id.to_owned(),
            state: group.state,
            generation: group.generation,
            protocol: group.protocol.clone(),
            members: group
                .members
                .iter()
                .map(|(id, member)| (id.clone(), member.client_id.clone(), member.assignment.clone()))
                .collect(),
        })
    }

    /// Whether a group may be deleted.
    pub fn check_delete(&self, id: &str) -> Result<(), Error> {
        match self.groups.get(id) {
            None => Err(Error::new(ErrorCode::GroupIdNotFound, format!("there is no group '{id}'"))),
            Some(group) if !group.members.is_empty() => {
                Err(Error::new(ErrorCode::NonEmptyGroup, format!("group '{id}' has {} members", group.members.len())))
            }
            Some(_) => Ok(()),
        }
    }

    /// The generation's members as they are stored.
    pub fn member_records(&self, id: &str) -> Option<(i32, MemberRecord<'_>)> {
        let group = self.groups.get(id)?;
        let protocol = group.protocol.as_deref();
        let members = group.members.iter().map(|(id, member)| records::StoredMember {
            id,
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout: member.rebalance_timeout as i32,
            session_timeout: member.session_timeout as i32,
            subscription: protocol.and_then(|name| member.metadata(name)).cloned().unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        let record = MemberRecord {
            protocol_type: group.protocol_type.as_deref().unwrap_or_default(),
            protocol,
            leader: group.leader.as_deref(),
            members: members.collect(),
        };
        Some((group.generation, record))
    }

    /// Everything that must outlive a rewrite of the shard's log: each group's generation, then its offsets.
    pub fn snapshot(&self) -> impl Iterator<Item = (&String, Vec<(TopicPartition, &CommittedOffset)>)> {
        self.groups.iter().map(|(id, group)| {
            let offsets = group.offsets.iter().flat_map(|(topic, partitions)| {
                partitions.iter().map(|(partition, offset)| (TopicPartition::new(topic.clone(), *partition), offset))
            });
            (id, offsets.collect())
        })
    }
}

impl Member {
    fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, bytes)| bytes)
    }
}
