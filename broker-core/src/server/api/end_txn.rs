//! EndTxn (26), versions 0 to 4: a producer's transaction is committed or aborted.
//!
//! - The answer comes when all partitions of the transaction know, as durably as each topic asks; the same again is answered alike.
//! - `CONCURRENT_TRANSACTIONS` says that it is decided that way, but that not all of them know yet.
//! - A producer that is fenced hears `PRODUCER_FENCED` (2), `INVALID_PRODUCER_EPOCH` before.
//!
//! Left out: version 5, which gives the producer another epoch with each transaction (KIP-890).

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::fenced_before;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I16, I64, TEXT};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I64, I16, BOOL];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: EndTxnRequest) -> EndTxnResponse {
    let producer = (body.producer_id.0, body.producer_epoch);
    let ended = match client.check(Operation::Write, Resource::TransactionalId(&body.transactional_id)) {
        Ok(()) => client.shared.broker.end_transaction(&body.transactional_id, producer, body.committed).await,
        Err(error) => Err(error),
    };
    let code = ended.map_or_else(|error| fenced_before(2, request.version, &error), |()| 0);
    EndTxnResponse::default().with_error_code(code)
}
