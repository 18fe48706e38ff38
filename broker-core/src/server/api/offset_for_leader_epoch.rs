//! OffsetForLeaderEpoch (23), versions 2 to 4: where an epoch of a partition's leader ends. There is one, and it ends where the
//! log does.

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::{LEADER_EPOCH, check_epoch};
use crate::error::Error;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array};

type Body = OffsetForLeaderEpochRequest;

pub(in crate::server) const SHAPE: &[Field] = &[I32.from(3), array(&[TEXT, array(&[I32, I32, I32])])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> OffsetForLeaderEpochResponse {
    let topics = body.topics.into_iter().map(|topic| {
        let one = |asked: OffsetForLeaderPartition| {
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            match end_offset(client, &topic.topic, &asked) {
                Ok(Some(end)) => answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(end),
                Ok(None) => answer.with_leader_epoch(-1).with_end_offset(-1),
                Err(error) => answer.with_error_code(error.code().code()).with_leader_epoch(-1).with_end_offset(-1),
            }
        };
        let partitions = topic.partitions.into_iter().map(one).collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// `None` for an epoch that never was.
fn end_offset(client: &Client, topic: &str, asked: &OffsetForLeaderPartition) -> Result<Option<i64>, Error> {
    // The right that brokers have among each other will do as well.
    if !client.may(Operation::ClusterAction, Resource::Cluster) {
        client.check(Operation::Describe, Resource::Topic(topic))?;
    }
    check_epoch(asked.current_leader_epoch)?;
    let partition = client.shared.broker.partition_to_read(topic, asked.partition)?;
    // One of the broker's own may hold nothing yet.
    Ok((asked.leader_epoch == LEADER_EPOCH).then(|| partition.map_or(0, |partition| partition.end_offset())))
}
