//! AlterConfigs (33), versions 0 to 2: all settings of a topic are replaced; those that are not named have their defaults again.
//!
//! - Each topic is answered for itself, and changed as a whole or not at all. One that stands twice in a request is refused.
//! - `validate_only` checks everything and changes nothing.
//! - The broker's settings are those that it was started with: they cannot be changed.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::{check_alterable, check_right, one_by_one, repeated, text};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{BOOL, Field, I8, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[I8, TEXT, array(&[TEXT, TEXT])]), BOOL];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: AlterConfigsRequest) -> AlterConfigsResponse {
    let names = repeated(body.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let responses = body.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, resource.resource_name.clone());
        let right = check_right(client, Operation::AlterConfigs, kind, &name);
        let altered = right
            .and_then(|()| check_alterable(&names, kind, &name))
            .and_then(|()| replace(client, resource, body.validate_only));
        let answer =
            AlterConfigsResourceResponse::default().with_error_message(None).with_resource_type(kind).with_resource_name(name);
        match altered {
            Ok(()) => answer,
            Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        }
    });
    AlterConfigsResponse::default().with_responses(one_by_one(responses).await)
}

fn replace(client: &Client, resource: AlterConfigsResource, validate_only: bool) -> Result<(), Error> {
    let topic = resource.resource_name.as_str();
    let mut configs = BTreeMap::new();
    for config in resource.configs {
        let name = config.name.to_string();
        let refuse = |what: &str| Err(Error::new(ErrorCode::InvalidRequest, format!("topic '{topic}': {name} {what}")));
        let Some(value) = config.value else { return refuse("has no value") };
        if configs.insert(name.clone(), value.to_string()).is_some() {
            return refuse("is changed twice at once");
        }
    }
    client.shared.broker.replace_configs(topic, &configs, validate_only)
}
