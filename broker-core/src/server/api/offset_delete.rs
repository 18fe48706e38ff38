//! OffsetDelete (47), version 0: stored offsets of topics that no member of the group reads.

use std::collections::VecDeque;

use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, array(&[TEXT, array(&[I32])])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let of = |topic: &kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic| {
        let name: std::sync::Arc<str> = topic.name.as_str().into();
        let one = |partition: &kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestPartition| {
            TopicPartition::new(name.clone(), partition.partition_index)
        };
        topic.partitions.iter().map(one).collect::<Vec<_>>()
    };
    if let Err(error) = client.check(Operation::Delete, Resource::Group(&body.group_id)) {
        return OffsetDeleteResponse::default().with_error_code(error.code().code());
    }
    if body.group_id.is_empty() {
        return OffsetDeleteResponse::default().with_error_code(ErrorCode::InvalidGroupId.code());
    }
    let partitions: Vec<_> =
        body.topics.iter().filter(|topic| client.may(Operation::Read, Resource::Topic(&topic.name))).flat_map(of).collect();
    let mut codes: VecDeque<i16> = match client.shared.broker.delete_offsets(&body.group_id, &partitions) {
        Ok(deleted) => deleted.iter().map(|one| one.as_ref().map_or_else(|error| error.code().code(), |()| 0)).collect(),
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code().code()),
    };
    let topics = body.topics.iter().map(|topic| {
        let one = |index| {
            if let Err(error) = client.check(Operation::Read, Resource::Topic(&topic.name)) {
                let refused = OffsetDeleteResponsePartition::default().with_partition_index(index);
                return refused.with_error_code(error.code().code());
            }
            let code = codes.pop_front().unwrap_or_default();
            let there = client.shared.broker.partition_to_read(&topic.name, index);
            let code = there.map_or_else(|error| error.code().code(), |_| code);
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code)
        };
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).map(one).collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
