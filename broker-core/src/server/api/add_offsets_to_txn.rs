//! AddOffsetsToTxn (25), versions 0 to 4: the offsets that a producer commits for a group become part of its transaction.
//!
//! A producer that is fenced hears `PRODUCER_FENCED` (2), `INVALID_PRODUCER_EPOCH` before.

use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::fenced_before;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I16, I64, TEXT};

type Body = AddOffsetsToTxnRequest;

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I64, I16, TEXT];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: Body) -> AddOffsetsToTxnResponse {
    let (id, group, broker) = (&body.transactional_id, &body.group_id, &client.shared.broker);
    let producer = (body.producer_id.0, body.producer_epoch);
    let right = client
        .check(Operation::Write, Resource::TransactionalId(id))
        .and_then(|()| client.check(Operation::Read, Resource::Group(group)));
    let added = match right {
        Ok(()) => broker.add_offsets_to_transaction(id, producer, group).await,
        Err(error) => Err(error),
    };
    let code = added.map_or_else(|error| fenced_before(2, request.version, &error), |()| 0);
    AddOffsetsToTxnResponse::default().with_error_code(code)
}
