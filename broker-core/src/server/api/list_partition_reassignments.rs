//! ListPartitionReassignments (46), version 0: with one broker, replicas never move.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::text;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array, list};

type Body = ListPartitionReassignmentsRequest;

pub(in crate::server) const SHAPE: &[Field] = &[I32, array(&[TEXT, list(&I32)])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, _: Body) -> ListPartitionReassignmentsResponse {
    if let Err(error) = client.check(Operation::Describe, Resource::Cluster) {
        return ListPartitionReassignmentsResponse::default()
            .with_error_code(error.code().code())
            .with_error_message(Some(text(error)));
    }
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
