//! AddPartitionsToTxn (24), versions 0 to 3: partitions become part of a producer's transaction, which the first of them begins.
//!
//! - All of them or none: where one may not be written or is not there, it is told so, and the others were not attempted.
//! - What stands twice is told of once. Asked again about the same ones it says yes; while the last transaction is being ended, to come again.
//! - A producer that is fenced hears `PRODUCER_FENCED` (2), `INVALID_PRODUCER_EPOCH` before.
//!
//! Left out: versions 4 and 5, which brokers use among themselves.

use std::sync::Arc;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::{distinct, fenced_before};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I16, I32, I64, TEXT, array, list};

type Body = AddPartitionsToTxnRequest;

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I64, I16, array(&[TEXT, list(&I32)])];

pub(in crate::server) async fn answer(client: &Client, request: &Request, mut body: Body) -> AddPartitionsToTxnResponse {
    for topic in &mut body.v3_and_below_topics {
        topic.partitions = distinct(std::mem::take(&mut topic.partitions), i32::clone);
    }
    let (id, topics) = (&body.v3_and_below_transactional_id, &body.v3_and_below_topics);
    let producer = (body.v3_and_below_producer_id.0, body.v3_and_below_producer_epoch);
    if let Err(error) = client.check(Operation::Write, Resource::TransactionalId(id)) {
        return response(topics, |_, _| error.code().code());
    }
    let wrong = problems(client, topics);
    if wrong.iter().flatten().any(Option::is_some) {
        let others = ErrorCode::OperationNotAttempted;
        return response(topics, |topic, partition| wrong[topic][partition].unwrap_or(others).code());
    }
    let named = topics.iter().flat_map(partitions);
    let added = client.shared.broker.add_partitions_to_transaction(id, producer, &named.collect::<Vec<_>>()).await;
    let code = added.map_or_else(|error| fenced_before(2, request.version, &error), |()| 0);
    response(topics, |_, _| code)
}

/// All with one name: there may be very many.
fn partitions(topic: &AddPartitionsToTxnTopic) -> impl Iterator<Item = TopicPartition> {
    let name: Arc<str> = Arc::from(topic.name.as_str());
    topic.partitions.iter().map(move |number| TopicPartition::new(name.clone(), *number))
}

/// What is wrong with each partition of each topic.
fn problems(client: &Client, topics: &[AddPartitionsToTxnTopic]) -> Vec<Vec<Option<ErrorCode>>> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let right = client.check(Operation::Write, Resource::Topic(&topic.name)).map_err(|error| error.code());
        let there = |one: TopicPartition| client.shared.broker.check_may_hold_transaction(&one);
        let one = |partition| right.and_then(|()| there(partition).map_err(|error: Error| error.code())).err();
        partitions(topic).map(one).collect()
    };
    topics.iter().map(of_topic).collect()
}

/// The same partitions, each with its error's number by its place.
fn response(topics: &[AddPartitionsToTxnTopic], code: impl Fn(usize, usize) -> i16) -> AddPartitionsToTxnResponse {
    let of_topic = |(place, topic): (usize, &AddPartitionsToTxnTopic)| {
        let one = |(inner, number): (usize, &i32)| {
            let result = AddPartitionsToTxnPartitionResult::default().with_partition_index(*number);
            result.with_partition_error_code(code(place, inner))
        };
        let results = topic.partitions.iter().enumerate().map(one).collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone()).with_results_by_partition(results)
    };
    let results = topics.iter().enumerate().map(of_topic).collect();
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}
