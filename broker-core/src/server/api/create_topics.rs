//! CreateTopics (19), versions 2 to 7: topics are made, with partitions and settings.
//!
//! - Partitions and replication factor -1 (4) are the broker's defaults; an explicit assignment excludes both, and names this
//!   broker alone. There is one broker, so a replication factor over 1 is refused.
//! - `validate_only` checks everything and makes nothing.
//! - A request makes 10,000 partitions at most.
//! - A topic named twice in one request is refused. Version 5 tells what was made, with its settings; 7 its id.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use tokio::task::consume_budget;

use super::{check_partitions, check_replicas, text, uuid};
use crate::broker::{NewTopic, TopicDescription};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I16, I32, TEXT, array, list};
use crate::topic_config::ConfigEntry;

pub(in crate::server) const SHAPE: &[Field] =
    &[array(&[TEXT, I32, I16, array(&[I32, list(&I32)]), array(&[TEXT, TEXT])]), I32, BOOL];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: CreateTopicsRequest) -> CreateTopicsResponse {
    let broker = &client.shared.broker;
    let mut named: BTreeMap<TopicName, usize> = BTreeMap::new();
    body.topics.iter().for_each(|topic| *named.entry(topic.name.clone()).or_insert(0) += 1);
    let partitions = |topic: &CreatableTopic| match topic.num_partitions {
        -1 if !topic.assignments.is_empty() => topic.assignments.len() as i64,
        -1 => i64::from(broker.config().num_partitions),
        number => i64::from(number).max(0),
    };
    let wanted = body.topics.iter().map(partitions).sum();
    let mut topics = Vec::with_capacity(body.topics.len());
    for topic in body.topics {
        // What stands there twice is told of once.
        let Some(count) = named.get_mut(&topic.name).filter(|count| **count > 0) else { continue };
        let once = std::mem::take(count) == 1;
        let answer = CreatableTopicResult::default().with_name(topic.name.clone()).with_error_message(None).with_configs(None);
        let right = client.check_create(&topic.name);
        let new = right.and_then(|()| check_partitions(wanted)).and_then(|()| new_topic(client, topic, once));
        let made = new.and_then(|topic| match body.validate_only {
            true => broker.check_topic(&topic),
            false => broker.create_topic(&topic),
        });
        topics.push(match made {
            Ok(made) => told(client, &made, answer, request.version, body.validate_only),
            Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        });
        // Others have their turn.
        consume_budget().await;
    }
    CreateTopicsResponse::default().with_topics(topics)
}

fn told(
    client: &Client,
    made: &TopicDescription,
    answer: CreatableTopicResult,
    version: i16,
    only_checked: bool,
) -> CreatableTopicResult {
    if version < 5 {
        return answer;
    }
    if let Err(error) = client.check(Operation::DescribeConfigs, Resource::Topic(&made.name)) {
        // Nor is told what the settings say of partitions.
        let answer = answer.with_topic_config_error_code(error.code().code()).with_topic_id(uuid(made.id));
        return answer.with_num_partitions(-1).with_replication_factor(-1);
    }
    let answer = answer.with_num_partitions(made.partitions).with_replication_factor(1).with_topic_id(uuid(made.id));
    if only_checked {
        return answer;
    }
    let config = |entry: ConfigEntry| {
        CreatableTopicConfigs::default()
            .with_name(text(entry.name))
            .with_value(Some(text(entry.value)))
            .with_config_source(entry.source.code())
    };
    // Whoever has deleted it meanwhile knows its settings.
    let entries = client.shared.broker.describe_configs(&made.name).ok();
    answer.with_configs(entries.map(|entries| entries.into_iter().map(config).collect()))
}

fn new_topic(client: &Client, topic: CreatableTopic, once: bool) -> Result<NewTopic, Error> {
    let name = topic.name.to_string();
    let refuse = |code, text: &str| Err(Error::new(code, format!("topic '{name}': {text}")));
    if !once {
        return refuse(ErrorCode::InvalidRequest, "it stands more than once in one request");
    }
    let mut new = NewTopic::new(name.as_str());
    if topic.assignments.is_empty() {
        new.partitions = (topic.num_partitions != -1).then_some(topic.num_partitions);
        if !matches!(topic.replication_factor, -1 | 1) {
            let text = format!("replication factor {}: there is one broker", topic.replication_factor);
            return refuse(ErrorCode::InvalidReplicationFactor, &text);
        }
    } else {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return refuse(ErrorCode::InvalidRequest, "an assignment excludes partitions and replication factor");
        }
        let mut indices: Vec<i32> = topic.assignments.iter().map(|partition| partition.partition_index).collect();
        indices.sort_unstable();
        if !indices.iter().copied().eq(0..indices.len() as i32) {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                "the partitions of an assignment are numbered from 0, without a gap",
            );
        }
        topic.assignments.iter().try_for_each(|partition| check_replicas(client, &name, &partition.broker_ids))?;
        new.partitions = Some(indices.len() as i32);
    }
    for config in topic.configs {
        let Some(value) = config.value else {
            return refuse(ErrorCode::InvalidConfig, &format!("{} has no value", config.name.as_str()));
        };
        new.configs.insert(config.name.to_string(), value.to_string());
    }
    Ok(new)
}
