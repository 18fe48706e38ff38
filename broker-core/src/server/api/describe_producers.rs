//! DescribeProducers (61), version 0: the idempotent producers that a partition remembers.
//!
//! With the first offset of the transaction that it has open, and the epoch of the coordinator that ended its last one.

use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::{distinct, merged, text};
use crate::partition::{PartitionHandle, ProducerDescription};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array, list};

type Body = DescribeProducersRequest;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, list(&I32)])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> DescribeProducersResponse {
    let topics =
        merged(body.topics, |topic| topic.name.clone(), |topic, more| topic.partition_indexes.extend(more.partition_indexes));
    let topics = topics.into_iter().map(|topic| {
        let one = |index: i32| {
            let answer = PartitionResponse::default().with_partition_index(index);
            let right = client.check(Operation::Read, Resource::Topic(&topic.name));
            match right.and_then(|()| client.shared.broker.partition_to_read(&topic.name, index)) {
                Ok(partition) => {
                    let producers = partition.iter().flat_map(PartitionHandle::producers).map(described);
                    answer.with_active_producers(producers.collect())
                }
                Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
            }
        };
        let partitions = distinct(topic.partition_indexes, i32::clone).into_iter().map(one).collect();
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn described(producer: ProducerDescription) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_start.unwrap_or(-1))
}
