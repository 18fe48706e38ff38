//! DeleteTopics (20), versions 1 to 6: topics, their data and the offsets stored for them go.
//!
//! - By name, one answer a topic; gone when the answer is there. A text (5) says why not.
//! - By name or by id (6), not by both. What stands there twice is told of once, and stays.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use uuid::Uuid;

use super::{one_by_one, text, topic_by_id, uuid};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, UUID, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, UUID]).from(6), list(&TEXT).to(5), I32];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = body.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let by_state = body.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let all: Vec<(Option<TopicName>, Uuid)> = by_name.chain(by_state).collect();
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    all.iter().for_each(|one| *times.entry(one.clone()).or_insert(0) += 1);
    let found =
        all.iter().filter(|(name, id)| name.is_none() && !id.is_nil()).filter_map(|(_, id)| topic_by_id(client, *id).ok());
    let named_by_id: BTreeSet<_> = found.map(|topic| topic.name).collect();
    let one = |(name, topic_id): (Option<TopicName>, Uuid)| {
        let answer = DeletableTopicResult::default().with_name(name.clone()).with_topic_id(topic_id);
        let times = times.get_mut(&(name.clone(), topic_id)).map(std::mem::take);
        let deleted = match times {
            Some(0) => return None,
            None | Some(1) => delete(client, name, topic_id, |name| named_by_id.contains(name)),
            Some(_) => Err(Error::new(ErrorCode::InvalidRequest, "it stands more than once in one request")),
        };
        Some(match deleted {
            Ok((name, topic_id)) => answer.with_name(Some(name)).with_topic_id(topic_id),
            Err(error) => {
                let message = (request.version >= 5).then(|| text(&error));
                answer.with_error_code(error.code().code()).with_error_message(message)
            }
        })
    };
    DeleteTopicsResponse::default().with_responses(one_by_one(all.into_iter().filter_map(one)).await)
}

fn delete(
    client: &Client,
    name: Option<TopicName>,
    id: Uuid,
    is_named_by_id: impl Fn(&str) -> bool,
) -> Result<(TopicName, Uuid), Error> {
    let broker = &client.shared.broker;
    let by_name = name.is_some();
    let (name, id) = match name {
        None if id.is_nil() => {
            return Err(Error::new(ErrorCode::InvalidRequest, "a topic goes by its name or by its id: neither is given"));
        }
        None => {
            let topic = topic_by_id(client, id)?;
            // Who may not know its name is not told it.
            if !client.may(Operation::Describe, Resource::Topic(&topic.name)) {
                let text = format!("no right to Describe the topic of id {}", topic.id);
                return Err(Error::new(ErrorCode::TopicAuthorizationFailed, text));
            }
            (TopicName(text(topic.name)), id)
        }
        Some(name) if !id.is_nil() => {
            let text = format!("topic '{}' goes by name and by id: one of them", name.as_str());
            return Err(Error::new(ErrorCode::InvalidRequest, text));
        }
        Some(name) => {
            let id = broker.topic(&name).map_or(Uuid::nil(), |topic| uuid(topic.id));
            (name, id)
        }
    };
    client.check(Operation::Delete, Resource::Topic(&name))?;
    if by_name && is_named_by_id(&name) {
        let text = format!("topic '{}' stands in the request by its id, too", name.as_str());
        return Err(Error::new(ErrorCode::InvalidRequest, text));
    }
    broker.delete_topic(&name)?;
    Ok((name, id))
}
