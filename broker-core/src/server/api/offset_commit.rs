//! OffsetCommit (8), versions 2 to 8: stores offsets of a group, each for itself.
//!
//! - Generation -1 without a member is an administrator's, and is refused while there are members.
//! - How long offsets are kept is the broker's matter: the retention time (to 4) is not looked at, as in Kafka since 2.1.
//! - Leaders' epochs (6) are kept. A static member (7) may have been replaced.

use std::collections::VecDeque;

use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::unreadable;
use crate::coordinator::group::{MemberIdentity, OffsetCommit};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, I64, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] =
    &[TEXT, I32, TEXT, TEXT.from(7), I64.to(4), array(&[TEXT, array(&[I32, I64, I32.from(6), TEXT])])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: OffsetCommitRequest) -> OffsetCommitResponse {
    let who = MemberIdentity {
        generation: body.generation_id_or_member_epoch,
        member_id: &body.member_id,
        group_instance_id: body.group_instance_id.as_deref(),
    };
    let group = client.check(Operation::Read, Resource::Group(&body.group_id));
    if let Err(error) = group {
        return answered(&body, |_| error.code().code());
    }
    let refused = unreadable(client, body.topics.iter().map(|topic| topic.name.as_str()));
    let allowed = body.topics.iter().filter(|topic| !refused.contains_key(topic.name.as_str()));
    let commits = allowed.flat_map(|topic| {
        topic.partitions.iter().map(|partition| OffsetCommit {
            topic: &topic.name,
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.as_deref().unwrap_or_default(),
        })
    });
    let commits: Vec<_> = commits.collect();
    // Without rights the group hears of nothing.
    let stored = match commits.is_empty() && !refused.is_empty() {
        true => Ok(Vec::new()),
        false => client.shared.broker.commit_each_offset(&body.group_id, who, &commits),
    };
    let mut codes: VecDeque<i16> = match stored {
        Ok(stored) => stored.iter().map(|one| one.as_ref().map_or_else(|error| error.code().code(), |()| 0)).collect(),
        Err(error) => commits.iter().map(|_| error.code().code()).collect(),
    };
    answered(&body, |topic| refused.get(topic).copied().or_else(|| codes.pop_front()).unwrap_or_default())
}

/// An answer to each partition, in their order: the code for one of this topic.
fn answered(body: &OffsetCommitRequest, mut code: impl FnMut(&str) -> i16) -> OffsetCommitResponse {
    let topics = body.topics.iter().map(|topic| {
        let one = |index| OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code(&topic.name));
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).map(one).collect();
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
