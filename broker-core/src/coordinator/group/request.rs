//! What clients ask of a group, and what they are told.

use bytes::Bytes;

/// A member's wish to be in the next generation.
#[derive(Debug, Clone, Default)]
pub struct JoinGroup {
    /// The group's id.
    pub group: String,
    /// The id that the group gave the member, or nothing the first time.
    pub member_id: String,
    /// A static member's own name: it keeps its place when it comes back within its session.
    pub group_instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it runs: `/` and its address if in another process. Such a member goes on when the broker ends and comes back; any other
    /// is gone then.
    pub client_host: String,
    /// How long the member may be silent, in milliseconds.
    pub session_timeout_ms: u64,
    /// How long it may take to join again, in milliseconds.
    pub rebalance_timeout_ms: u64,
    /// `consumer` for consumers; the group never looks into it.
    pub protocol_type: String,
    /// Assignors by preference, and the member's subscription for each.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a static leader that comes back may be told to keep the assignment that is there (JoinGroup version 9).
    pub skips_assignment: bool,
}

/// The next generation, as a member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroupReply {
    /// Its number.
    pub generation: i32,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// The assignor that all members know.
    pub protocol: String,
    /// The member that assigns.
    pub leader: String,
    /// The leader must not assign: what is there stays.
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: String,
    /// For the leader, all members; for the others, nothing.
    pub members: Vec<JoinedMember>,
}

/// A member of the generation, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// A static member's own name.
    pub group_instance_id: Option<String>,
    /// Its subscription.
    pub metadata: Bytes,
}

/// A member's request for its assignment; the leader's brings everybody's.
#[derive(Debug, Clone, Default)]
pub struct SyncGroup {
    /// The group's id.
    pub group: String,
    /// The generation that it joined.
    pub generation: i32,
    /// Its id.
    pub member_id: String,
    /// A static member's own name.
    pub group_instance_id: Option<String>,
    /// What the member takes the group's protocol type for; not checked if not given.
    pub protocol_type: Option<String>,
    /// What the member takes the group's assignor for; not checked if not given.
    pub protocol: Option<String>,
    /// From the leader: each member's assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroupReply {
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// The assignor in use.
    pub protocol: String,
    /// As the leader gave it.
    pub assignment: Bytes,
}

/// Who a member says it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemberIdentity<'a> {
    /// The generation that it joined; -1 for an administrator.
    pub generation: i32,
    /// The id that the group gave it; empty for an administrator, or for a static member that leaves by name.
    pub member_id: &'a str,
    /// A static member's own name.
    pub group_instance_id: Option<&'a str>,
}

impl<'a> MemberIdentity<'a> {
    /// A member without a name of its own.
    pub fn of(generation: i32, member_id: &'a str) -> Self {
        Self { generation, member_id, group_instance_id: None }
    }

    /// No member: accepted by groups without members.
    pub fn administrator() -> Self {
        Self { generation: -1, member_id: "", group_instance_id: None }
    }
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

impl OffsetCommit<'_> {
    /// As it is kept.
    pub(super) fn stored_at(&self, commit_timestamp: i64) -> CommittedOffset {
        let Self { offset, leader_epoch, metadata, .. } = *self;
        CommittedOffset { offset, leader_epoch, metadata: metadata.to_owned(), commit_timestamp }
    }
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
    /// When it was stored, in milliseconds since 1970.
    pub commit_timestamp: i64,
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

impl GroupState {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// `consumer` for consumers; empty for a group that only stores offsets.
    pub protocol_type: String,
    /// Where it is in its life.
    pub state: GroupState,
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
    /// `consumer` for consumers; empty for a group that only stores offsets.
    pub protocol_type: String,
    /// The assignor in use.
    pub protocol: Option<String>,
    /// Who is in it, by member id.
    pub members: Vec<MemberDescription>,
}

/// A member as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// A static member's own name.
    pub group_instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it runs.
    pub client_host: String,
    /// Its subscription for the assignor in use; empty while there is none.
    pub metadata: Bytes,
    /// Its assignment; empty while there is none.
    pub assignment: Bytes,
}
