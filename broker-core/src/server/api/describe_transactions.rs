//! DescribeTransactions (65), version 0: what is known by some transactional ids.
//!
//! Each is answered for itself; of its partitions those are told that the client may know of.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName, TransactionalId,
};

use super::{distinct, text};
use crate::coordinator::transaction::TransactionDescription;
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, TEXT, list};

type Body = DescribeTransactionsRequest;

pub(in crate::server) const SHAPE: &[Field] = &[list(&TEXT)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> DescribeTransactionsResponse {
    let states = distinct(body.transactional_ids, TransactionalId::clone).into_iter().map(|id| match find(client, &id) {
        Ok(found) => described(client, found).with_transactional_id(id),
        Err(error) => {
            let state = TransactionState::default().with_transactional_id(id).with_error_code(error.code().code());
            state.with_producer_id(ProducerId(-1)).with_producer_epoch(-1).with_transaction_start_time_ms(-1)
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn find(client: &Client, id: &str) -> Result<TransactionDescription, Error> {
    client.check(Operation::Describe, Resource::TransactionalId(id))?;
    if id.is_empty() {
        return Err(Error::new(ErrorCode::InvalidRequest, "the transactional id is empty"));
    }
    let found = client.shared.broker.describe_transaction(id);
    found.ok_or_else(|| Error::new(ErrorCode::TransactionalIdNotFound, format!("nothing is known by transactional id '{id}'")))
}

fn described(client: &Client, found: TransactionDescription) -> TransactionState {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for partition in found.partitions {
        topics.entry(partition.topic).or_default().push(partition.partition);
    }
    topics.retain(|topic, _| client.may(Operation::Describe, Resource::Topic(topic)));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| TopicData::default().with_topic(TopicName(text(topic))).with_partitions(partitions));
    TransactionState::default()
        .with_transaction_state(text(found.state))
        .with_transaction_timeout_ms(found.timeout_ms)
        .with_transaction_start_time_ms(found.started_ms)
        .with_producer_id(ProducerId(found.producer_id))
        .with_producer_epoch(found.producer_epoch)
        .with_topics(topics.collect())
}
