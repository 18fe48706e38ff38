//! DeleteAcls (31), versions 1 to 3: the rules that fit are taken away; each filter is answered for itself, with what went.

use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::describe_acls::{Codes, check, filter};
use super::{optional, text};
use crate::error::Error;
use crate::security::{Operation, Rule, RuleFilter};
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{Field, I8, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[I8, TEXT, I8, TEXT, TEXT, I8, I8])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: DeleteAclsRequest) -> DeleteAclsResponse {
    let gone = match check(client, Operation::Alter) {
        Ok(()) => client.shared.broker.acls().remove(body.filters.iter().map(wanted).collect()),
        Err(error) => body.filters.iter().map(|_| Err(Error::new(error.code(), error.to_string()))).collect(),
    };
    let one = |gone: Result<Vec<Rule>, Error>| match gone {
        Ok(gone) => {
            let gone = gone.into_iter().map(told).collect();
            DeleteAclsFilterResult::default().with_error_message(None).with_matching_acls(gone)
        }
        Err(error) => {
            DeleteAclsFilterResult::default().with_error_code(error.code().code()).with_error_message(Some(text(&error)))
        }
    };
    DeleteAclsResponse::default().with_filter_results(gone.into_iter().map(one).collect())
}

fn wanted(asked: &DeleteAclsFilter) -> Result<RuleFilter, Error> {
    let mut filter = filter(&Codes {
        kind: asked.resource_type_filter,
        pattern: asked.pattern_type_filter,
        operation: asked.operation,
        permission: asked.permission_type,
    })?;
    filter.name = optional(asked.resource_name_filter.as_ref());
    filter.principal = optional(asked.principal_filter.as_ref());
    filter.host = optional(asked.host_filter.as_ref());
    Ok(filter)
}

fn told(rule: Rule) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_error_message(None)
        .with_resource_type(rule.kind.code())
        .with_resource_name(text(rule.name))
        .with_pattern_type(rule.pattern.code())
        .with_principal(text(rule.principal))
        .with_host(text(rule.host))
        .with_operation(rule.operation.code())
        .with_permission_type(rule.permission.code())
}
