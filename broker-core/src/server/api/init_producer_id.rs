//! InitProducerId (22), versions 0 to 5: an id for an idempotent producer.
//!
//! - Each gets an id that nobody had before. A producer that brings its id back (3) gets a new one as well: its old sequences
//!   are over.
//! - A transactional id is refused with `UNSUPPORTED_VERSION`: transactions are not built.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I16, I32, I64, TEXT};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I32, I64.from(3), I16.from(3)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: InitProducerIdRequest) -> InitProducerIdResponse {
    let refuse = |text: String| Err(Error::new(ErrorCode::InvalidRequest, text));
    let right = match &body.transactional_id {
        Some(id) => client.check(Operation::Write, Resource::TransactionalId(id)),
        // Who may write to some topic may do so once and only once.
        None if client.may_write_somewhere() => Ok(()),
        None => client.check(Operation::IdempotentWrite, Resource::Cluster),
    };
    let given = right.and_then(|()| match &body.transactional_id {
        _ if (body.producer_id.0 < 0) != (body.producer_epoch < 0) => {
            refuse(format!("producer {} with epoch {}: both or neither", body.producer_id.0, body.producer_epoch))
        }
        Some(id) if id.is_empty() => refuse("the transactional id is empty".to_owned()),
        None => client.shared.broker.init_producer_id(),
        Some(id) => Err(Error::new(ErrorCode::UnsupportedVersion, format!("'{}': transactions are not built", id.as_str()))),
    });
    match given {
        Ok((id, epoch)) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
        Err(error) => {
            tracing::warn!(target: "broker_core::server", peer = %client.peer, %error, "no producer id is given");
            InitProducerIdResponse::default()
                .with_error_code(error.code().code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        }
    }
}
