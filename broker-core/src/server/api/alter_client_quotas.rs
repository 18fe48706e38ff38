//! AlterClientQuotas (49), versions 0 to 1: quotas of users, client ids, and both together are set and taken away.
//!
//! Each entity is changed as a whole, or not at all, and answered for itself. Quotas other than `producer_byte_rate` and
//! `consumer_byte_rate` are refused by name.

use kafka_protocol::messages::alter_client_quotas_request::{EntityData as Wanted, EntryData as Change};
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::{one_by_one, text};
use crate::error::{Error, ErrorCode};
use crate::quota::{Entity, Name};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I64, TEXT, array};

type Body = AlterClientQuotasRequest;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[array(&[TEXT, TEXT]), array(&[TEXT, I64, BOOL])]), BOOL];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> AlterClientQuotasResponse {
    let one = |change: Change| {
        let right = client.check(Operation::AlterConfigs, Resource::Cluster);
        let result = right.and_then(|()| alter(client, &change, body.validate_only));
        let part = |part: Wanted| EntityData::default().with_entity_type(part.entity_type).with_entity_name(part.entity_name);
        let answer = EntryData::default().with_error_message(None).with_entity(change.entity.into_iter().map(part).collect());
        match result {
            Ok(()) => answer,
            Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        }
    };
    AlterClientQuotasResponse::default().with_entries(one_by_one(body.entries.into_iter().map(one)).await)
}

fn alter(client: &Client, change: &Change, validate_only: bool) -> Result<(), Error> {
    let mut entity = Entity::default();
    for part in &change.entity {
        let name = part.entity_name.as_ref().map_or(Name::Default, |name| Name::Of(name.to_string()));
        let place = match part.entity_type.as_str() {
            "user" => &mut entity.user,
            "client-id" => &mut entity.client,
            other => {
                let told = format!("'{other}' can have no quota here: user or client-id");
                return Err(Error::new(ErrorCode::InvalidRequest, told));
            }
        };
        if place.replace(name).is_some() {
            return Err(Error::new(ErrorCode::InvalidRequest, format!("{} is named twice", part.entity_type)));
        }
    }
    let changes: Vec<_> = change.ops.iter().map(|op| (op.key.to_string(), (!op.remove).then_some(op.value))).collect();
    client.shared.broker.quotas().alter(&entity, &changes, validate_only)
}
