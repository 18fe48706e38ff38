//! FindCoordinator (10), versions 0 to 5: the broker that keeps a group (key type 0) or a transaction (1). It is this one.
//!
//! Version 4 asks for several keys at once. Share groups (2) are not served.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I8, TEXT, list};

type Response = FindCoordinatorResponse;

pub(in crate::server) const SHAPE: &[Field] = &[TEXT.to(3), I8.from(1), list(&TEXT).from(4)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: FindCoordinatorRequest) -> Response {
    let node = BrokerId(client.shared.config.node_id);
    let (host, port) = client.advertised();
    let problem = |key: &str| {
        let right = match body.key_type {
            0 => client.check(Operation::Describe, Resource::Group(key)),
            1 => client.check(Operation::Describe, Resource::TransactionalId(key)),
            other => Err(Error::new(ErrorCode::InvalidRequest, format!("key type {other} is not served"))),
        };
        right.err().map(|error| (error.code().code(), text(error)))
    };
    if request.version >= 4 {
        let one = |key: StrBytes| match problem(&key) {
            None => {
                let found = Coordinator::default().with_key(key).with_error_message(None);
                found.with_node_id(node).with_host(text(&host)).with_port(port)
            }
            Some((code, message)) => nowhere(key).with_error_code(code).with_error_message(Some(message)),
        };
        return Response::default().with_coordinators(body.coordinator_keys.into_iter().map(one).collect());
    }
    match problem(&body.key) {
        None => Response::default().with_error_message(None).with_node_id(node).with_host(text(host)).with_port(port),
        Some((code, message)) => {
            let message = (request.version >= 1).then_some(message);
            Response::default().with_error_code(code).with_error_message(message).with_node_id(BrokerId(-1)).with_port(-1)
        }
    }
}

fn nowhere(key: StrBytes) -> Coordinator {
    Coordinator::default().with_key(key).with_node_id(BrokerId(-1)).with_port(-1)
}
