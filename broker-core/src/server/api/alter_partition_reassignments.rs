//! AlterPartitionReassignments (45), version 0: replicas are where they can be: on the one broker.
//!
//! - To be on this broker is granted, for it is so; elsewhere is refused.
//! - No replicas at all cancels a move: there is none.

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{check_replicas, text};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array, list};

type Body = AlterPartitionReassignmentsRequest;

pub(in crate::server) const SHAPE: &[Field] = &[I32, array(&[TEXT, array(&[I32, list(&I32)])])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> AlterPartitionReassignmentsResponse {
    if let Err(error) = client.check(Operation::Alter, Resource::Cluster) {
        return AlterPartitionReassignmentsResponse::default()
            .with_error_code(error.code().code())
            .with_error_message(Some(text(error)));
    }
    let responses = body.topics.into_iter().map(|topic| {
        let one = |asked: ReassignablePartition| {
            let answer = ReassignablePartitionResponse::default().with_partition_index(asked.partition_index);
            match check(client, &topic.name, &asked) {
                Ok(()) => answer.with_error_message(None),
                Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(error))),
            }
        };
        let partitions = topic.partitions.into_iter().map(one).collect();
        ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    AlterPartitionReassignmentsResponse::default().with_error_message(None).with_responses(responses.collect())
}

fn check(client: &Client, topic: &str, asked: &ReassignablePartition) -> Result<(), Error> {
    let partition = client.shared.broker.partition(topic, asked.partition_index)?;
    match &asked.replicas {
        Some(replicas) => check_replicas(client, topic, replicas),
        None => {
            let text = format!("the replicas of {} are not being moved", partition.topic_partition());
            Err(Error::new(ErrorCode::NoReassignmentInProgress, text))
        }
    }
}
