//! DeleteTopics (20), versions 1 to 6.
//!
//! - By name, one answer a topic; gone when the answer is there. A text (5) says why not.
//! - By id (6): topics have none, so none is known.

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

use super::text;
use crate::error::{Error, ErrorCode};
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{Field, I32, TEXT, UUID, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, UUID]).from(6), list(&TEXT).to(5), I32];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = body.topic_names.into_iter().map(|name| (Some(name), Default::default()));
    let by_state = body.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let one = |(name, topic_id): (Option<TopicName>, _)| {
        let deleted = match &name {
            Some(name) => client.shared.broker.delete_topic(name),
            None => Err(Error::new(ErrorCode::UnknownTopicId, format!("there is no topic of id {topic_id}"))),
        };
        let answer = DeletableTopicResult::default().with_name(name).with_topic_id(topic_id);
        match deleted {
            Ok(()) => answer,
            Err(error) => {
                let message = (request.version >= 5).then(|| text(&error));
                answer.with_error_code(error.code().code()).with_error_message(message)
            }
        }
    };
    DeleteTopicsResponse::default().with_responses(by_name.chain(by_state).map(one).collect())
}
