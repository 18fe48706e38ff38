//! CreatePartitions (37), versions 0 to 3: a topic grows to a number of partitions.
//!
//! - An assignment is for the new partitions, all of them, and names this broker alone.
//! - A request makes 10,000 partitions at most.
//! - A topic that it names twice is told of once, and does not grow.
//! - `validate_only` checks everything and makes nothing.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use super::{check_partitions, check_replicas, distinct, one_by_one, text};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I32, TEXT, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, I32, array(&[list(&I32)])]), I32, BOOL];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let broker = &client.shared.broker;
    let mut named: BTreeMap<TopicName, usize> = BTreeMap::new();
    body.topics.iter().for_each(|topic| *named.entry(topic.name.clone()).or_default() += 1);
    let twice = |topic: &CreatePartitionsTopic| named.get(&topic.name).is_some_and(|times| *times > 1);
    let have = |topic: &CreatePartitionsTopic| broker.topic(&topic.name).map_or(0, |topic| i64::from(topic.partitions));
    // Of others' topics nothing is told, not even by what the sum comes to.
    let may = |topic: &&CreatePartitionsTopic| client.may(Operation::Alter, Resource::Topic(&topic.name));
    let own = body.topics.iter().filter(|topic| !twice(topic)).filter(may);
    let wanted = own.map(|topic| (i64::from(topic.count) - have(topic)).max(0)).sum();
    let results = distinct(body.topics, |topic| topic.name.clone()).into_iter().map(|topic| {
        let answer = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        let grown = if twice(&topic) {
            let text = format!("topic '{}' stands more than once in one request", topic.name.as_str());
            Err(Error::new(ErrorCode::InvalidRequest, text))
        } else {
            let right = client.check(Operation::Alter, Resource::Topic(&topic.name));
            right.and_then(|()| check_partitions(wanted)).and_then(|()| grow(client, &topic, body.validate_only))
        };
        match grown {
            Ok(()) => answer,
            Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        }
    });
    CreatePartitionsResponse::default().with_results(one_by_one(results).await)
}

fn grow(client: &Client, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Error> {
    let broker = &client.shared.broker;
    broker.check_partitions(&topic.name, topic.count)?;
    if let Some(assignments) = &topic.assignments {
        let have = broker.topic(&topic.name).map_or(0, |topic| topic.partitions);
        if assignments.len() as i32 != topic.count - have {
            let text = format!(
                "topic '{}' gets {} partitions, {} are assigned",
                topic.name.as_str(),
                topic.count - have,
                assignments.len()
            );
            return Err(Error::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        assignments.iter().try_for_each(|partition| check_replicas(client, &topic.name, &partition.broker_ids))?;
    }
    if validate_only { Ok(()) } else { broker.create_partitions(&topic.name, topic.count) }
}
