//! DescribeTopicPartitions (75), version 0: topics and their partitions, by name, some at a time.
//!
//! - No topics asks for all. A topic that is not there is an error of its own, and never made.
//! - At most `response_partition_limit` partitions come at once, and never more than 2,000; a cursor tells where to go on.
//! - Eligible leaders beside those in sync there are none.
//! - Topics that one may not describe are refused, and not listed. What one may do to the others is told.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};

use super::{LEADER_EPOCH, text, uuid};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array, optional};

type Body = DescribeTopicPartitionsRequest;
type Topic = DescribeTopicPartitionsResponseTopic;

/// `max.request.partition.size.limit`
const PARTITIONS_MAX: usize = 2000;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT]), I32, optional(&[TEXT, I32])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> DescribeTopicPartitionsResponse {
    let broker = &client.shared.broker;
    let names: BTreeSet<String> = match body.topics.is_empty() {
        true => {
            let seen = broker.topics().into_iter().map(|topic| topic.name.to_string());
            seen.filter(|name| client.may(Operation::Describe, Resource::Topic(name))).collect()
        }
        false => body.topics.iter().map(|topic| topic.name.to_string()).collect(),
    };
    let (from, mut first) = body.cursor.map_or_else(Default::default, |at| (at.topic_name.to_string(), at.partition_index));
    let mut left = usize::try_from(body.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default().with_next_cursor(None);
    for name in names.range(from.clone()..) {
        let wire_name = TopicName(text(name));
        let begin = if *name == from { std::mem::take(&mut first).max(0) } else { 0 };
        if left == 0 {
            return response.with_next_cursor(Some(Cursor::default().with_topic_name(wire_name).with_partition_index(0)));
        }
        if let Err(error) = client.check(Operation::Describe, Resource::Topic(name)) {
            response.topics.push(Topic::default().with_error_code(error.code().code()).with_name(Some(wire_name)));
            continue;
        }
        let answer = Topic::default()
            .with_name(Some(wire_name.clone()))
            .with_topic_authorized_operations(client.authorized_operations(Resource::Topic(name)));
        let topic = match broker.known_topic(name) {
            Ok(topic) => topic,
            Err(error) => {
                response.topics.push(answer.with_error_code(error.code().code()));
                continue;
            }
        };
        let end = topic.partitions.min(begin.saturating_add(left as i32));
        left -= usize::try_from(end - begin).unwrap_or(0);
        let partitions = (begin..end).map(|index| partition(index, BrokerId(client.shared.config.node_id)));
        let described =
            answer.with_topic_id(uuid(topic.id)).with_is_internal(topic.internal).with_partitions(partitions.collect());
        response.topics.push(described);
        if end < topic.partitions && end >= begin {
            return response.with_next_cursor(Some(Cursor::default().with_topic_name(wire_name).with_partition_index(end)));
        }
    }
    response
}

fn partition(index: i32, node: BrokerId) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(node)
        .with_leader_epoch(LEADER_EPOCH)
        .with_replica_nodes(vec![node])
        .with_isr_nodes(vec![node])
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}
