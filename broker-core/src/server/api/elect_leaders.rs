//! ElectLeaders (43), versions 0 to 2: each partition has the one leader that it can have, so no election is needed.
//!
//! No list of topics asks for all partitions, of which those that need none are passed over: all of them. Version 1 tells the kind:
//! the preferred leader (0), or any (1).

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::text;
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I8, I32, TEXT, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[I8.from(1), array(&[TEXT, list(&I32)]), I32];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: ElectLeadersRequest) -> ElectLeadersResponse {
    let right = client.check(Operation::Alter, Resource::Cluster);
    if let (Err(error), 1..) = (&right, request.version) {
        return ElectLeadersResponse::default().with_error_code(error.code().code());
    }
    if !matches!(body.election_type, 0 | 1) {
        return ElectLeadersResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let results = body.topic_partitions.unwrap_or_default().into_iter().map(|topic| {
        let one = |index: i32| {
            let error = match client.shared.broker.partition(&topic.topic, index) {
                // Version 0 has no other place for it.
                _ if right.is_err() => Error::new(ErrorCode::ClusterAuthorizationFailed, "no right to elect leaders"),
                Ok(partition) => {
                    let text = format!("{} has the leader that it would get", partition.topic_partition());
                    Error::new(ErrorCode::ElectionNotNeeded, text)
                }
                Err(error) => error,
            };
            PartitionResult::default()
                .with_partition_id(index)
                .with_error_code(error.code().code())
                .with_error_message(Some(text(error)))
        };
        let partitions = topic.partitions.iter().copied().map(one).collect();
        ReplicaElectionResult::default().with_topic(topic.topic.clone()).with_partition_result(partitions)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}
