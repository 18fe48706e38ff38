//! DescribeConfigs (32), versions 1 to 4: the settings of topics and of the broker: values in force, where they come from, and
//! whether they can be changed.
//!
//! - No names, or an empty list of them, asks for all settings; a name that is none is passed over.
//! - The broker goes by its id. No id at all asks for what holds for all brokers, which is nothing: its settings are those that it
//!   was started with.
//! - Version 3 tells the type of a value.
//!
//! Left out: documentation (3), which is null; loggers, clients' metrics and groups, which are refused.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{BROKER, TOPIC, check_right, merged, refuse_resource, text};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{BOOL, Field, I8, TEXT, array, list};
use crate::topic_config::ConfigEntry;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[I8, TEXT, list(&TEXT)]), BOOL.from(1), BOOL.from(3)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = body.include_synonyms;
    let of = |resource: &DescribeConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let resources =
        merged(body.resources, of, |resource, more| match (&mut resource.configuration_keys, more.configuration_keys) {
            (Some(keys), Some(more)) if !keys.is_empty() && !more.is_empty() => keys.extend(more),
            // All.
            (keys, _) => *keys = None,
        });
    let results = resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_error_message(None)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let right = check_right(client, Operation::DescribeConfigs, resource.resource_type, &resource.resource_name);
        match right.and_then(|()| entries(client, &resource)) {
            Ok(entries) => {
                let read_only = resource.resource_type != TOPIC || is_internal(client, &resource.resource_name);
                let wanted = entries.into_iter().filter(|entry| is_asked(&resource, entry.name));
                result.with_configs(wanted.map(|entry| described(entry, read_only, synonyms)).collect())
            }
            Err(error) => result.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(client: &Client, resource: &DescribeConfigsResource) -> Result<Vec<ConfigEntry>, Error> {
    let (broker, config) = (&client.shared.broker, &client.shared.config);
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => broker.describe_configs(name),
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name == config.node_id.to_string() => {
            let mut all = broker.describe_broker_configs();
            all.extend(config.describe());
            all.sort_by_key(|entry| entry.name);
            Ok(all)
        }
        BROKER => {
            let text = format!("there is no broker '{name}': the one broker is {}", config.node_id);
            Err(Error::new(ErrorCode::InvalidRequest, text))
        }
        other => Err(refuse_resource(other)),
    }
}

fn is_internal(client: &Client, topic: &str) -> bool {
    client.shared.broker.topic(topic).is_some_and(|topic| topic.internal)
}

fn is_asked(resource: &DescribeConfigsResource, name: &str) -> bool {
    let names = resource.configuration_keys.as_deref().unwrap_or_default();
    names.is_empty() || names.iter().any(|asked| asked.as_str() == name)
}

fn described(entry: ConfigEntry, read_only: bool, synonyms: bool) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(text(entry.name))
        .with_value(Some(text(entry.value)))
        .with_read_only(read_only)
        .with_config_source(entry.source.code())
        .with_config_type(entry.kind.code());
    if !synonyms {
        return result;
    }
    let synonym = |(name, value, source): (&'static str, String, crate::topic_config::ConfigSource)| {
        DescribeConfigsSynonym::default().with_name(text(name)).with_value(Some(text(value))).with_source(source.code())
    };
    result.with_synonyms(entry.synonyms.into_iter().map(synonym).collect())
}
