//! OffsetFetch (9), versions 1 to 8: stored offsets of a group, or (8) of several.
//!
//! - No topics (2) asks for all that are stored. What is not stored is -1, without an error.
//! - Who asks for stable offsets (7) is told `UNSTABLE_OFFSET_COMMIT` where a transaction that is open has one; anybody else what is
//!   stored.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::{distinct, merged, text};
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I32, TEXT, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[
    TEXT.to(7),
    array(&[TEXT, list(&I32)]).to(7),
    array(&[TEXT, TEXT.from(9), I32.from(9), array(&[TEXT, list(&I32)])]).from(8),
    BOOL.from(7),
];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: OffsetFetchRequest) -> OffsetFetchResponse {
    if request.version >= 8 {
        let group = |group: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup| {
            if let Err(error) = client.check(Operation::Describe, Resource::Group(&group.group_id)) {
                let refused = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
                return refused.with_error_code(error.code().code());
            }
            let topics = stored(client, &group.group_id, group.topics.as_deref(), body.require_stable);
            OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics)
        };
        let groups = merged(
            body.groups,
            |group| group.group_id.clone(),
            |group, more| match (&mut group.topics, more.topics) {
                (Some(topics), Some(more)) => topics.extend(more),
                (topics, _) => *topics = None,
            },
        );
        return OffsetFetchResponse::default().with_groups(groups.into_iter().map(group).collect());
    }
    let asked = body.topics.map(|topics| {
        let one = |topic: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default().with_name(topic.name).with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(one).collect::<Vec<_>>()
    });
    if let Err(error) = client.check(Operation::Describe, Resource::Group(&body.group_id)) {
        return refused(asked.unwrap_or_default(), error.code().code(), request.version);
    }
    let topics = stored(client, &body.group_id, asked.as_deref(), body.require_stable).into_iter().map(single).collect();
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
            .with_error_code(partition.error_code)
    };
    let partitions = topic.partitions.into_iter().map(one).collect();
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
}

/// Version 1 has no place for an error but at each partition.
fn refused(asked: Vec<OffsetFetchRequestTopics>, code: i16, version: i16) -> OffsetFetchResponse {
    if version >= 2 {
        return OffsetFetchResponse::default().with_error_code(code);
    }
    let topics = asked.into_iter().map(|topic| single(without_right(topic.name, &topic.partition_indexes, code)));
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn without_right(name: TopicName, indexes: &[i32], code: i16) -> OffsetFetchResponseTopics {
    let one = |index: &i32| none(*index, code);
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(indexes.iter().map(one).collect())
}

/// No offset, perhaps because of an error.
fn none(index: i32, code: i16) -> OffsetFetchResponsePartitions {
    let none = OffsetFetchResponsePartitions::default().with_partition_index(index).with_error_code(code);
    none.with_committed_offset(-1).with_committed_leader_epoch(-1).with_metadata(Some(text("")))
}

fn stored(
    client: &Client,
    group: &str,
    asked: Option<&[OffsetFetchRequestTopics]>,
    stable: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let sees = |topic: &str| client.may(Operation::Describe, Resource::Topic(topic));
    let wanted: Option<Vec<TopicPartition>> = asked.map(|topics| {
        let of = |topic: &OffsetFetchRequestTopics| {
            let name: std::sync::Arc<str> = topic.name.as_str().into();
            topic.partition_indexes.iter().map(move |index| TopicPartition::new(name.clone(), *index)).collect::<Vec<_>>()
        };
        distinct(topics.iter().filter(|topic| sees(&topic.name)).flat_map(of).collect(), TopicPartition::clone)
    });
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let broker = &client.shared.broker;
    let found = match stable {
        true => broker.fetch_stable_offsets(group, wanted.as_deref()),
        false => broker.fetch_offsets(group, wanted.as_deref()).into_iter().map(|(id, stored)| (id, Ok(stored))).collect(),
    };
    for (partition, stored) in found {
        if wanted.is_none() && !sees(&partition.topic) {
            continue;
        }
        let index = partition.partition;
        let answer = match stored {
            Ok(Some(stored)) => OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(stored.offset)
                .with_committed_leader_epoch(stored.leader_epoch)
                .with_metadata(Some(text(stored.metadata))),
            Ok(None) => none(index, 0),
            Err(error) => none(index, error.code().code()),
        };
        topics.entry(partition.topic).or_default().push(answer);
    }
    let one =
        |(name, partitions)| OffsetFetchResponseTopics::default().with_name(TopicName(text(name))).with_partitions(partitions);
    let unseen = asked.unwrap_or_default().iter().filter(|topic| !sees(&topic.name));
    let code = ErrorCode::TopicAuthorizationFailed.code();
    let unseen = unseen.map(|topic| without_right(topic.name.clone(), &topic.partition_indexes, code));
    topics.into_iter().map(one).chain(unseen).collect()
}
