//! Metadata (3), versions 0 to 12: the broker, its topics and their partitions.
//!
//! - Version 0: no topics means all. From 1 on: null means all, an empty list none.
//! - A topic that is not there is made if the request and `auto.create.topics.enable` allow it; before version 4 the request
//!   always does. The answer already holds it.
//! - The controller is this broker; leaders' epochs (7) are 0.
//! - Topics that one may not describe are refused, and not listed. What one may do to topics (8) and to the cluster (8 to 10) is
//!   told to who asks for it.
//! - Topics have ids (10), and may be asked for by them (12), which never makes one.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use tokio::task::consume_budget;
use uuid::Uuid;

use super::{LEADER_EPOCH, distinct, text, topic_by_id, uuid};
use crate::broker::TopicDescription;
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, TEXT, UUID, array};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[UUID.from(10), TEXT]), BOOL.from(4), BOOL.from(8).to(10), BOOL.from(8)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: MetadataRequest) -> MetadataResponse {
    let shared = &client.shared;
    let node = BrokerId(shared.config.node_id);
    let create = body.allow_auto_topic_creation;
    let mut topics = match body.topics {
        Some(topics) if request.version > 0 || !topics.is_empty() => {
            // The Java client sends an empty name beside an id.
            let one = |topic: MetadataRequestTopic| match topic.name {
                Some(name) if topic.topic_id.is_nil() => one(client, name, create, node),
                _ => match by_id(client, topic.topic_id) {
                    Ok(found) => described(&found, node),
                    Err(error) => MetadataResponseTopic::default()
                        .with_error_code(error.code().code())
                        .with_name(if request.version >= 12 { None } else { Some(TopicName::default()) })
                        .with_topic_id(topic.topic_id),
                },
            };
            let mut told = Vec::new();
            // Beside an id, a name says nothing.
            let called = |topic: &MetadataRequestTopic| topic.topic_id.is_nil().then(|| topic.name.clone());
            for topic in distinct(topics, |topic| (called(topic), topic.topic_id)) {
                told.push(one(topic));
                // Topics may have been made: others have their turn.
                consume_budget().await;
            }
            told
        }
        _ => {
            let all = shared.broker.topics().into_iter();
            // What one may not see is not there.
            let seen = all.filter(|topic| client.may(Operation::Describe, Resource::Topic(&topic.name)));
            seen.map(|topic| described(&topic, node)).collect()
        }
    };
    if body.include_topic_authorized_operations {
        let refused = ErrorCode::TopicAuthorizationFailed.code();
        for topic in topics.iter_mut().filter(|topic| topic.error_code != refused) {
            if let Some(name) = &topic.name {
                topic.topic_authorized_operations = client.authorized_operations(Resource::Topic(name));
            }
        }
    }
    let (host, port) = client.advertised();
    let mut answer = MetadataResponse::default();
    if body.include_cluster_authorized_operations {
        answer.cluster_authorized_operations = client.authorized_on_cluster();
    }
    answer
        .with_brokers(vec![MetadataResponseBroker::default().with_node_id(node).with_host(text(host)).with_port(port)])
        .with_cluster_id(Some(text(&shared.config.cluster_id)))
        .with_controller_id(node)
        .with_topics(topics)
}

fn by_id(client: &Client, id: Uuid) -> Result<TopicDescription, Error> {
    let topic = topic_by_id(client, id)?;
    client.check(Operation::Describe, Resource::Topic(&topic.name))?;
    Ok(topic)
}

/// One by its name, which may be made if it is not there.
fn by_name(client: &Client, name: &str, create: bool) -> Result<TopicDescription, Error> {
    let broker = &client.shared.broker;
    client.check(Operation::Describe, Resource::Topic(name))?;
    let known = broker.known_topic(name);
    if !create || known.is_ok() {
        return known;
    }
    if broker.config().auto_create_topics_enable {
        client.check_create(name)?;
    }
    broker.topic_or_create(name)
}

fn one(client: &Client, name: TopicName, create: bool, node: BrokerId) -> MetadataResponseTopic {
    match by_name(client, &name, create) {
        Ok(topic) => described(&topic, node),
        Err(error) => MetadataResponseTopic::default().with_error_code(error.code().code()).with_name(Some(name)),
    }
}

fn described(topic: &TopicDescription, node: BrokerId) -> MetadataResponseTopic {
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(uuid(topic.id))
        .with_is_internal(topic.internal)
        .with_partitions((0..topic.partitions).map(partition).collect())
}
