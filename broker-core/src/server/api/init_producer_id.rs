//! InitProducerId (22), versions 0 to 5: an id for an idempotent producer, or the epoch of one that has transactions.
//!
//! - Without a transactional id each gets an id that nobody had before. A producer that brings its id back (3) gets a new one as well:
//!   its old sequences are over.
//! - With a transactional id it gets an epoch that fences all who had the transactional id before; a transaction that they have open
//!   is aborted, and `CONCURRENT_TRANSACTIONS` tells to come again. A producer that brings its id and epoch back (3) goes on after an
//!   error, unless another one came since.
//! - A producer that is fenced hears `PRODUCER_FENCED` (4), `INVALID_PRODUCER_EPOCH` before.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::fenced_before;
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I16, I32, I64, TEXT};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I32, I64.from(3), I16.from(3)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: InitProducerIdRequest) -> InitProducerIdResponse {
    match give(client, &body).await {
        Ok((id, epoch)) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
        Err(error) => {
            let (peer, text) = (client.peer, error.to_string());
            if error.code() == ErrorCode::ConcurrentTransactions {
                // As it should be: it comes again, as often as it takes.
                tracing::debug!(target: "broker_core::server", %peer, error = text, "no producer id is given");
            } else {
                tracing::warn!(target: "broker_core::server", %peer, error = text, "no producer id is given");
            }
            InitProducerIdResponse::default()
                .with_error_code(fenced_before(4, request.version, &error))
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        }
    }
}

async fn give(client: &Client, body: &InitProducerIdRequest) -> Result<(i64, i16), Error> {
    match &body.transactional_id {
        Some(id) => client.check(Operation::Write, Resource::TransactionalId(id))?,
        // Who may write to some topic may do so once and only once.
        None if client.may_write_somewhere() => {}
        None => client.check(Operation::IdempotentWrite, Resource::Cluster)?,
    }
    let had = (body.producer_id.0, body.producer_epoch);
    if (had.0 < 0) != (had.1 < 0) {
        let text = format!("producer {} with epoch {}: both or neither", had.0, had.1);
        return Err(Error::new(ErrorCode::InvalidRequest, text));
    }
    let broker = &client.shared.broker;
    match &body.transactional_id {
        None => broker.init_producer_id(),
        Some(id) => {
            let had = (had.0 >= 0).then_some(had);
            broker.init_transactional_producer(id, body.transaction_timeout_ms, had).await
        }
    }
}
