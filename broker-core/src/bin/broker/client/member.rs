use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_core::TopicPartition;
use broker_core::assignor::protocol::{decode_assignment, decode_subscription, encode_assignment, encode_subscription};
use broker_core::assignor::{MemberSubscription, range};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Cluster, Result, fail, refused, text};

/// How long a member may be silent, in milliseconds.
const SESSION_MS: i32 = 10_000;
/// How long others are given to join, in milliseconds.
const REBALANCE_MS: i32 = 20_000;
/// How long the coordinator may wait for them before it answers.
const PATIENCE: Duration = Duration::from_millis(REBALANCE_MS as u64 + 5000);
/// The one assignor that this member speaks.
const ASSIGNOR: &str = "range";

/// One member of a group, subscribed to one topic.
pub struct Member {
    group: String,
    topic: String,
    id: StrBytes,
    generation: i32,
    coordinator: i32,
}

/// Error codes after which a member joins again; with the second, under a new id.
const REJOIN: [i16; 2] = [22, 27];
const UNKNOWN_MEMBER: i16 = 25;
/// The coordinator is loading, gone, or another one.
const COORDINATOR_MOVED: [i16; 3] = [14, 15, 16];

impl Member {
    /// Joins; the partitions that it was given.
    pub async fn join(cluster: &mut Cluster, group: &str, topic: &str) -> Result<(Self, Vec<i32>)> {
        let coordinator = cluster.coordinator(group).await?;
        let mut this =
            Self { group: group.to_owned(), topic: topic.to_owned(), id: StrBytes::default(), generation: -1, coordinator };
        let given = this.rejoin(cluster).await?;
        Ok((this, given))
    }

    /// Joins again after [`beat`](Self::beat) said so.
    pub async fn rejoin(&mut self, cluster: &mut Cluster) -> Result<Vec<i32>> {
        // Each round ends with a generation of which this is a member, unless others come and go meanwhile.
        for _ in 0..100 {
            let joined = self.send_join(cluster).await?;
            match joined.error_code {
                0 => {}
                79 => {
                    self.id = joined.member_id;
                    continue;
                }
                UNKNOWN_MEMBER => {
                    self.id = StrBytes::default();
                    continue;
                }
                code if REJOIN.contains(&code) => continue,
                code if COORDINATOR_MOVED.contains(&code) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    self.coordinator = cluster.coordinator(&self.group).await?;
                    continue;
                }
                code => refused(&format!("group '{}': join", self.group), code, None)?,
            }
            self.id = joined.member_id.clone();
            self.generation = joined.generation_id;
            let assignments = if joined.leader == joined.member_id { self.assign(cluster, &joined).await? } else { Vec::new() };
            let request = SyncGroupRequest::default()
                .with_group_id(GroupId(text(&*self.group)))
                .with_generation_id(self.generation)
                .with_member_id(self.id.clone())
                .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
                .with_protocol_name(Some(StrBytes::from_static_str(ASSIGNOR)))
                .with_assignments(assignments);
            let synced = cluster.node(self.coordinator).await?.ask_patiently(5, &request, PATIENCE).await?;
            match synced.error_code {
                0 => {
                    let given = decode_assignment(&synced.assignment);
                    let Ok(given) = given else { return fail(format!("group '{}': an unreadable assignment", self.group)) };
                    return Ok(given.into_iter().filter(|one| *one.topic == *self.topic).map(|one| one.partition).collect());
                }
                code if REJOIN.contains(&code) || code == UNKNOWN_MEMBER => {}
                code => refused(&format!("group '{}': sync", self.group), code, None)?,
            }
        }
        fail(format!("group '{}' does not settle: its members come and go", self.group))
    }

    async fn send_join(&self, cluster: &mut Cluster) -> Result<JoinGroupResponse> {
        let subscription = MemberSubscription { topics: vec![Arc::from(&*self.topic)], ..MemberSubscription::default() };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(ASSIGNOR))
            .with_metadata(encode_subscription(&subscription));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&*self.group)))
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(self.id.clone())
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        cluster.node(self.coordinator).await?.ask_patiently(7, &request, PATIENCE).await
    }

    /// As the leader: who gets what.
    async fn assign(&self, cluster: &mut Cluster, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>> {
        let mut members = BTreeMap::new();
        let mut topics = BTreeMap::new();
        for member in &joined.members {
            let Ok(wants) = decode_subscription(&member.metadata) else {
                return fail(format!("group '{}': member '{}' wants something unreadable", self.group, member.member_id));
            };
            for topic in &wants.topics {
                if let Ok(known) = cluster.topic(topic, false).await {
                    topics.insert(topic.clone(), known.leaders.len() as i32);
                }
            }
            members.insert(member.member_id.to_string(), wants);
        }
        let given = range(&members, &topics).into_iter().map(|(member, partitions): (String, Vec<TopicPartition>)| {
            SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(encode_assignment(&partitions))
        });
        Ok(given.collect())
    }

    /// Says that the member is there; `false` means: [`rejoin`](Self::rejoin).
    pub async fn beat(&mut self, cluster: &mut Cluster) -> Result<bool> {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&*self.group)))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        let answer = cluster.node(self.coordinator).await?.ask(4, &request).await?;
        match answer.error_code {
            0 => Ok(true),
            UNKNOWN_MEMBER => {
                self.id = StrBytes::default();
                Ok(false)
            }
            code if REJOIN.contains(&code) => Ok(false),
            code => refused(&format!("group '{}': heartbeat", self.group), code, None).map(|()| true),
        }
    }

    /// The next offsets by partition that the group has stored.
    pub async fn committed(&self, cluster: &mut Cluster, partitions: &[i32]) -> Result<BTreeMap<i32, i64>> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text(&*self.topic)))
            .with_partition_indexes(partitions.to_vec());
        let request = OffsetFetchRequest::default().with_group_id(GroupId(text(&*self.group))).with_topics(Some(vec![topic]));
        let answer = cluster.node(self.coordinator).await?.ask(7, &request).await?;
        refused(&format!("group '{}': offsets", self.group), answer.error_code, None)?;
        let stored = answer.topics.iter().flat_map(|topic| &topic.partitions).filter(|stored| stored.committed_offset >= 0);
        Ok(stored.map(|stored| (stored.partition_index, stored.committed_offset)).collect())
    }

    /// Stores the next offsets by partition.
    pub async fn commit(&self, cluster: &mut Cluster, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        let request = commit_request(&self.group, &self.topic, offsets)
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone());
        let answer = cluster.node(self.coordinator).await?.ask(8, &request).await?;
        for stored in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            refused(
                &format!("group '{}': commit of {}-{}", self.group, self.topic, stored.partition_index),
                stored.error_code,
                None,
            )?;
        }
        Ok(())
    }

    /// Leaves, so that the others need not wait for the session's end.
    pub async fn leave(self, cluster: &mut Cluster) -> Result<()> {
        let me = MemberIdentity::default().with_member_id(self.id.clone());
        let request = LeaveGroupRequest::default().with_group_id(GroupId(text(&*self.group))).with_members(vec![me]);
        let connection = cluster.node(self.coordinator).await?;
        let answer = connection.ask(4, &request).await?;
        refused(&format!("group '{}': leave", self.group), answer.error_code, None)
    }
}

/// A commit from outside of the group, until it is given a member.
pub fn commit_request(group: &str, topic: &str, offsets: &BTreeMap<i32, i64>) -> OffsetCommitRequest {
    let one = |(partition, offset): (&i32, &i64)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(StrBytes::default()))
    };
    let topic =
        OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(offsets.iter().map(one).collect());
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}
