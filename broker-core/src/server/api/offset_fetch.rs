//! OffsetFetch (9), versions 1 to 8: stored offsets of a group, or (8) of several.
//!
//! - No topics (2) asks for all that are stored. What is not stored is -1, without an error.
//! - Without transactions every stored offset is stable (7).

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::{distinct, text};
use crate::broker::Broker;
use crate::id::TopicPartition;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{BOOL, Field, I32, TEXT, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[
    TEXT.to(7),
    array(&[TEXT, list(&I32)]).to(7),
    array(&[TEXT, TEXT.from(9), I32.from(9), array(&[TEXT, list(&I32)])]).from(8),
    BOOL.from(7),
];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: OffsetFetchRequest) -> OffsetFetchResponse {
    let broker = &client.shared.broker;
    if request.version >= 8 {
        let group = |group: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup| {
            let topics = stored(broker, &group.group_id, group.topics.as_deref());
            OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics)
        };
        let groups = distinct(body.groups, |group| group.group_id.clone());
        return OffsetFetchResponse::default().with_groups(groups.into_iter().map(group).collect());
    }
    let asked = body.topics.map(|topics| {
        let one = |topic: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default().with_name(topic.name).with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(one).collect::<Vec<_>>()
    });
    let topics = stored(broker, &body.group_id, asked.as_deref()).into_iter().map(single).collect();
    OffsetFetchResponse::default().with_topics(topics)
}

/// What version 8 says of one of several groups, as earlier ones say it of the one.
fn single(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let one = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
    };
    let partitions = topic.partitions.into_iter().map(one).collect();
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
}

fn stored(broker: &Broker, group: &str, asked: Option<&[OffsetFetchRequestTopics]>) -> Vec<OffsetFetchResponseTopics> {
    let wanted: Option<Vec<TopicPartition>> = asked.map(|topics| {
        let of = |topic: &OffsetFetchRequestTopics| {
            let name: std::sync::Arc<str> = topic.name.as_str().into();
            topic.partition_indexes.iter().map(move |index| TopicPartition::new(name.clone(), *index)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    });
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (partition, stored) in broker.fetch_offsets(group, wanted.as_deref()) {
        let answer = OffsetFetchResponsePartitions::default().with_partition_index(partition.partition);
        let answer = match stored {
            Some(stored) => answer
                .with_committed_offset(stored.offset)
                .with_committed_leader_epoch(stored.leader_epoch)
                .with_metadata(Some(text(stored.metadata))),
            None => answer.with_committed_offset(-1).with_committed_leader_epoch(-1).with_metadata(Some(text(""))),
        };
        topics.entry(partition.topic).or_default().push(answer);
    }
    let one =
        |(name, partitions)| OffsetFetchResponseTopics::default().with_name(TopicName(text(name))).with_partitions(partitions);
    topics.into_iter().map(one).collect()
}
