//! CreateAcls (30), versions 1 to 3: rules are added; each is answered for itself.
//!
//! Refused is what could never hold: rules about delegation tokens and users (resource types 6 and 7) and what is done to them
//! (operations 13 and 14), principals other than `User:..`, hosts that are no addresses.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::describe_acls::{check, known};
use super::text;
use crate::error::Error;
use crate::security::{Operation, Pattern, Permission, ResourceKind, Rule};
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{Field, I8, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[I8, TEXT, I8, TEXT, TEXT, I8, I8])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: CreateAclsRequest) -> CreateAclsResponse {
    let added = match check(client, Operation::Alter) {
        Ok(()) => client.shared.broker.acls().add(body.creations.into_iter().map(rule).collect()),
        Err(error) => body.creations.iter().map(|_| Err(Error::new(error.code(), error.to_string()))).collect(),
    };
    let one = |added: Result<(), Error>| match added {
        Ok(()) => AclCreationResult::default().with_error_message(None),
        Err(error) => AclCreationResult::default().with_error_code(error.code().code()).with_error_message(Some(text(&error))),
    };
    CreateAclsResponse::default().with_results(added.into_iter().map(one).collect())
}

fn rule(wanted: AclCreation) -> Result<Rule, Error> {
    Ok(Rule {
        kind: known("resource type", wanted.resource_type, ResourceKind::of_code)?,
        name: wanted.resource_name.to_string(),
        pattern: known("pattern type", wanted.resource_pattern_type, Pattern::of_code)?,
        principal: wanted.principal.to_string(),
        host: wanted.host.to_string(),
        operation: known("operation", wanted.operation, Operation::of_code)?,
        permission: known("permission", wanted.permission_type, Permission::of_code)?,
    })
}
