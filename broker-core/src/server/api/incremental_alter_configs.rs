//! IncrementalAlterConfigs (44), versions 0 to 1: some settings of a topic are set (0), deleted (1), or get more (2) or fewer (3)
//! elements; the others stay.
//!
//! - Each topic is answered for itself, and changed as a whole or not at all. One that stands twice in a request is refused.
//! - `validate_only` checks everything and changes nothing.
//! - The broker's settings are those that it was started with: they cannot be changed.

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{check_alterable, check_right, one_by_one, repeated, text};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{BOOL, Field, I8, TEXT, array};
use crate::topic_config::{AlterConfig, ConfigChange};

type Body = IncrementalAlterConfigsRequest;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[I8, TEXT, array(&[TEXT, I8, TEXT])]), BOOL];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> IncrementalAlterConfigsResponse {
    let names = repeated(body.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let responses = body.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, resource.resource_name.clone());
        let right = check_right(client, Operation::AlterConfigs, kind, &name);
        let altered =
            right.and_then(|()| check_alterable(&names, kind, &name)).and_then(|()| alter(client, resource, body.validate_only));
        let answer =
            AlterConfigsResourceResponse::default().with_error_message(None).with_resource_type(kind).with_resource_name(name);
        match altered {
            Ok(()) => answer,
            Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(one_by_one(responses).await)
}

fn alter(client: &Client, resource: AlterConfigsResource, validate_only: bool) -> Result<(), Error> {
    let topic = resource.resource_name.as_str();
    let mut changes = resource.configs.into_iter().map(|config| change(topic, config)).collect::<Result<Vec<_>, _>>()?;
    if changes.iter().any(|change| change.change == AlterConfig::Delete) {
        // What is no setting is not set either.
        let known = client.shared.broker.describe_configs(topic)?;
        changes.retain(|change| change.change != AlterConfig::Delete || known.iter().any(|entry| entry.name == change.name));
    }
    client.shared.broker.alter_configs(topic, &changes, validate_only)
}

fn change(topic: &str, config: AlterableConfig) -> Result<ConfigChange, Error> {
    let name = config.name.to_string();
    let refuse = |what: &str| Error::new(ErrorCode::InvalidRequest, format!("topic '{topic}': {name} {what}"));
    let value = || config.value.as_ref().map(ToString::to_string).ok_or_else(|| refuse("has no value"));
    let change = match config.config_operation {
        SET => AlterConfig::Set(value()?),
        DELETE => AlterConfig::Delete,
        APPEND => AlterConfig::Append(value()?),
        SUBTRACT => AlterConfig::Subtract(value()?),
        other => return Err(refuse(&format!("is to be changed by operation {other}, which is none"))),
    };
    Ok(ConfigChange { name, change })
}
