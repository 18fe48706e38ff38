//! ListTransactions (66), versions 0 to 1: the transactional ids that the client may know of.
//!
//! By states, by producers, and by how long ago their transaction began (1). States that do not exist are told, and count as not
//! named.

use std::collections::BTreeSet;

use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId};

use super::text;
use crate::coordinator::transaction::TransactionState;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I64, TEXT, list};

pub(in crate::server) const SHAPE: &[Field] = &[list(&TEXT), list(&I64), I64.from(1)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: ListTransactionsRequest) -> ListTransactionsResponse {
    let (known, unknown): (Vec<_>, Vec<_>) =
        body.state_filters.into_iter().partition(|name| TransactionState::of_name(name).is_some());
    let states: BTreeSet<_> = known.iter().filter_map(|name| TransactionState::of_name(name)).collect();
    let producers: BTreeSet<i64> = body.producer_id_filters.iter().map(|id| id.0).collect();
    let (broker, now) = (&client.shared.broker, client.shared.broker.clock().wall_ms());
    let all = broker.list_transactions().into_iter().filter(|found| {
        (states.is_empty() || states.contains(&found.state))
            && (producers.is_empty() || producers.contains(&found.producer_id))
            && (body.duration_filter < 0 || now.saturating_sub(found.started_ms) > body.duration_filter)
            && client.may(Operation::Describe, Resource::TransactionalId(&found.id))
    });
    let listed = all.map(|found| {
        let one = Listed::default().with_transactional_id(TransactionalId(text(&found.id)));
        one.with_producer_id(ProducerId(found.producer_id)).with_transaction_state(text(found.state))
    });
    ListTransactionsResponse::default().with_unknown_state_filters(unknown).with_transaction_states(listed.collect())
}
