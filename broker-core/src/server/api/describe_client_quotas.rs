//! DescribeClientQuotas (48), versions 0 to 1: the quotas of users, client ids, and both together.
//!
//! - A part of the filter is a name, the default, or any; `strict` excludes entities that have other parts too.
//! - There are no quotas of addresses (`ip`): nothing is found.

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::text;
use crate::error::{Error, ErrorCode};
use crate::quota::{Entity, EntityFilter, Match, Name, QuotaKind};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I8, TEXT, array};

type Body = DescribeClientQuotasRequest;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, I8, TEXT]), BOOL];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> DescribeClientQuotasResponse {
    if let Err(error) = client.check(Operation::DescribeConfigs, Resource::Cluster) {
        return DescribeClientQuotasResponse::default()
            .with_entries(None)
            .with_error_code(error.code().code())
            .with_error_message(Some(text(error)));
    }
    let answer = DescribeClientQuotasResponse::default().with_error_message(None);
    match filter(&body) {
        Ok(None) => answer.with_entries(Some(Vec::new())),
        Ok(Some(filter)) => {
            let found = client.shared.broker.quotas().describe(&filter);
            answer.with_entries(Some(found.into_iter().map(entry).collect()))
        }
        Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))).with_entries(None),
    }
}

/// `None`: nothing can fit.
fn filter(body: &Body) -> Result<Option<EntityFilter>, Error> {
    let mut filter = EntityFilter { strict: body.strict, ..EntityFilter::default() };
    let mut nothing = false;
    for part in &body.components {
        let wanted = wanted(part)?;
        let place = match part.entity_type.as_str() {
            "user" => &mut filter.user,
            "client-id" => &mut filter.client,
            "ip" => {
                nothing = true;
                continue;
            }
            other => {
                let told = format!("'{other}' has no quotas: user, client-id or ip");
                return Err(Error::new(ErrorCode::UnsupportedVersion, told));
            }
        };
        if place.replace(wanted).is_some() {
            return Err(Error::new(ErrorCode::InvalidRequest, format!("{} is named twice", part.entity_type)));
        }
    }
    Ok((!nothing).then_some(filter))
}

fn wanted(part: &ComponentData) -> Result<Match, Error> {
    match (part.match_type, &part._match) {
        (0, Some(name)) => Ok(Match::Exact(name.to_string())),
        (1, None) => Ok(Match::Default),
        (2, None) => Ok(Match::Any),
        (how, _) => Err(Error::new(
            ErrorCode::InvalidRequest,
            format!("{}: match type {how} does not go with its name", part.entity_type),
        )),
    }
}

fn entry((entity, values): (Entity, Vec<(QuotaKind, f64)>)) -> EntryData {
    let part = |kind: &'static str, name: Option<Name>| {
        name.map(|name| {
            let name = match name {
                Name::Default => None,
                Name::Of(name) => Some(text(name)),
            };
            EntityData::default().with_entity_type(text(kind)).with_entity_name(name)
        })
    };
    let entity = [part("user", entity.user), part("client-id", entity.client)].into_iter().flatten().collect();
    let values = values.into_iter().map(|(kind, value)| ValueData::default().with_key(text(kind.name())).with_value(value));
    EntryData::default().with_entity(entity).with_values(values.collect())
}
