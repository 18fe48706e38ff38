//! The classic group coordinator as a pure machine: state, a request and `now` give replies and records. Nothing here waits,
//! reads a clock or draws a number. Offsets and the generation are hard state: only [`Groups::apply`] changes them, live and
//! at replay alike. Members are soft: those of this process end with the broker; those of others are put back when a group is read
//! back, as its last generation was stored.

mod describe;
mod expire;
mod join;
mod offsets;
mod records;
mod request;
mod restore;
mod statics;
mod undecided;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transaction_tests;
#[cfg(test)]
mod wire_tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use offsets::Expired;
pub(crate) use records::{GroupRecord, MemberRecord, StoredGroup, decode, encode_commit, encode_group};
pub use request::{
    CommittedOffset, GroupDescription, GroupListing, GroupState, JoinGroup, JoinGroupReply, JoinedMember, MemberDescription,
    MemberIdentity, OffsetCommit, SyncGroup, SyncGroupReply,
};

use undecided::{Transactions, Undecided};

use crate::error::ErrorCode;
use crate::id::TopicPartition;

/// Where a parked request's answer goes; the runtime knows who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReplyToken(pub u64);

/// Answers to parked requests.
#[derive(Debug)]
pub(crate) enum Reply {
    Join(Result<JoinGroupReply, ErrorCode>),
    Sync(Result<SyncGroupReply, ErrorCode>),
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

    fn sync(&mut self, token: ReplyToken, reply: Result<SyncGroupReply, ErrorCode>) {
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
    transactions: Transactions,
}

#[derive(Debug)]
struct Group {
    state: GroupState,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// When waiting ends: for joins, or for all of a generation to ask for their assignments.
    deadline: Option<u64>,
    /// A group that was empty waits for more members.
    delay: Option<Delay>,
    /// Ids that were given out and not used yet, and until when they may be: the next generation waits for them.
    pending: BTreeMap<String, u64>,
    /// Static members: their own names and the ids that they have now.
    statics: BTreeMap<String, String>,
    /// Since when there are no members, in milliseconds since 1970, as far as that is known.
    empty_since: Option<i64>,
    next_join: u64,
    offsets: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    /// Offsets of open transactions.
    undecided: Undecided,
}

/// The longest time-out that can be stored.
const MILLIS_MAX: u64 = i32::MAX as u64;

/// How long a group that was empty waits before its first generation.
#[derive(Debug, Clone, Copy)]
struct Delay {
    until: u64,
    /// Not longer than this, however many come.
    at_most: u64,
    /// Somebody came while it waited: it waits once more.
    again: bool,
}

#[derive(Debug)]
struct Member {
    /// A static member's own name.
    instance: Option<String>,
    client_id: String,
    client_host: String,
    /// Both at most [`MILLIS_MAX`].
    session_timeout: u64,
    rebalance_timeout: u64,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    session_deadline: u64,
    joining: Option<ReplyToken>,
    syncing: Option<ReplyToken>,
    /// It has asked for its assignment in this generation.
    synced: bool,
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
            delay: None,
            pending: BTreeMap::new(),
            statics: BTreeMap::new(),
            empty_since: None,
            next_join: 0,
            offsets: BTreeMap::new(),
            undecided: Undecided::default(),
        }
    }
}

impl Groups {
    pub fn new(limits: GroupLimits) -> Self {
        Self { limits, groups: BTreeMap::new(), transactions: Transactions::default() }
    }

    /// Changes hard state: the only place that does.
    pub fn apply(&mut self, record: GroupRecord<'_>) {
        match record {
            GroupRecord::Offset { group, topic, partition, offset } => self.apply_offset(group, topic, partition, offset),
            GroupRecord::Group { group, stored: Some(stored) } => self.apply_group(group, stored),
            GroupRecord::Group { group: id, stored: None } => {
                if let Some(group) = self.groups.remove(id) {
                    self.withdraw_all(id, group);
                }
            }
            GroupRecord::Within { producer, group, commit, stored_at } => {
                let partition = TopicPartition::new(commit.topic, commit.partition);
                self.apply_within(producer, group, partition, commit.stored_at(stored_at));
            }
            GroupRecord::End { producer, committed } => self.apply_end(producer, committed),
        }
    }

    fn apply_group(&mut self, group: &str, stored: StoredGroup<'_>) {
        let group = self.group(group);
        group.generation = stored.generation;
        group.protocol_type = Some(stored.protocol_type.to_owned()).filter(|name| !name.is_empty());
        // Read back, a group that had members has none now: since when, the first look at it decides.
        group.empty_since = (group.members.is_empty() && !stored.has_members).then_some(stored.timestamp);
    }

    fn group(&mut self, group: &str) -> &mut Group {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), Group::default());
        }
        self.groups.get_mut(group).expect("inserted above")
    }
}

impl Member {
    fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, bytes)| bytes)
    }
}
