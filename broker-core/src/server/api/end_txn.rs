//! EndTxn (26), versions 0 to 5: a producer's transaction is committed or aborted.
//!
//! - The answer comes when all partitions of the transaction know, as durably as each topic asks; the same again is answered alike.
//! - `CONCURRENT_TRANSACTIONS` says that it is decided that way, but that not all of them know yet.
//! - A producer that is fenced hears `PRODUCER_FENCED` (2), `INVALID_PRODUCER_EPOCH` before.
//! - From version 5 on (KIP-890) the producer gets another epoch, or another id, with each transaction. Asked again with the one before,
//!   the answer is the same. A transaction that has written nothing may be aborted.

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use super::fenced_before;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I16, I64, TEXT};

/// From this version on each transaction has an epoch of its own.
const EPOCH_EACH: i16 = 5;

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I64, I16, BOOL];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: EndTxnRequest) -> EndTxnResponse {
    let producer = (body.producer_id.0, body.producer_epoch);
    let (id, broker) = (&body.transactional_id, &client.shared.broker);
    let ended = match client.check(Operation::Write, Resource::TransactionalId(id)) {
        Ok(()) if request.version >= EPOCH_EACH => broker.end_transaction_v2(id, producer, body.committed).await.map(Some),
        Ok(()) => broker.end_transaction(id, producer, body.committed).await.map(|()| None),
        Err(error) => Err(error),
    };
    match ended {
        Ok(None) => EndTxnResponse::default(),
        Ok(Some((id, epoch))) => EndTxnResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
        Err(error) => EndTxnResponse::default().with_error_code(fenced_before(2, request.version, &error)),
    }
}
