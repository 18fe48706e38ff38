//! ListPartitionReassignments (46), version 0: with one broker, replicas never move.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{Field, I32, TEXT, array, list};

type Body = ListPartitionReassignmentsRequest;

pub(in crate::server) const SHAPE: &[Field] = &[I32, array(&[TEXT, list(&I32)])];

pub(in crate::server) async fn answer(_: &Client, _: &Request, _: Body) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
