//! DescribeAcls (29), versions 1 to 3: the rules that fit a filter.
//!
//! Without an authorizer nobody's rights are looked at, which `SECURITY_DISABLED` says. Tools that only want to know go on.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::{optional, text};
use crate::error::{Error, ErrorCode};
use crate::security::{Operation, Pattern, PatternFilter, Permission, ResourceKind, Rule, RuleFilter};
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I8, TEXT};

/// What stands for all, in filters.
const ANY: i8 = 1;
/// A filter's name is that of something which rules are about.
const MATCH: i8 = 2;

pub(in crate::server) const SHAPE: &[Field] = &[I8, TEXT, I8, TEXT, TEXT, I8, I8];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: DescribeAclsRequest) -> DescribeAclsResponse {
    match found(client, &body) {
        Ok(rules) => {
            let mut resources: BTreeMap<_, Vec<AclDescription>> = BTreeMap::new();
            for rule in rules {
                let resource = (rule.kind.code(), rule.pattern.code(), rule.name.clone());
                resources.entry(resource).or_default().push(described(rule));
            }
            let one = |((kind, pattern, name), acls): ((i8, i8, String), Vec<AclDescription>)| {
                let resource = DescribeAclsResource::default().with_resource_type(kind).with_resource_name(text(name));
                resource.with_pattern_type(pattern).with_acls(acls)
            };
            DescribeAclsResponse::default().with_error_message(None).with_resources(resources.into_iter().map(one).collect())
        }
        Err(error) => DescribeAclsResponse::default().with_error_code(error.code().code()).with_error_message(Some(text(&error))),
    }
}

fn found(client: &Client, body: &DescribeAclsRequest) -> Result<Vec<Rule>, Error> {
    check(client, Operation::Describe)?;
    let mut filter = filter(&Codes {
        kind: body.resource_type_filter,
        pattern: body.pattern_type_filter,
        operation: body.operation,
        permission: body.permission_type,
    })?;
    filter.name = optional(body.resource_name_filter.as_ref());
    filter.principal = optional(body.principal_filter.as_ref());
    filter.host = optional(body.host_filter.as_ref());
    Ok(client.shared.broker.acls().describe(&filter))
}

fn described(rule: Rule) -> AclDescription {
    AclDescription::default()
        .with_principal(text(rule.principal))
        .with_host(text(rule.host))
        .with_operation(rule.operation.code())
        .with_permission_type(rule.permission.code())
}

/// Whether there are rules at all, and the client may do this to them.
pub(super) fn check(client: &Client, operation: Operation) -> Result<(), Error> {
    if !client.has_rules() {
        return Err(Error::new(ErrorCode::SecurityDisabled, "this broker looks at nobody's rights: it has no authorizer"));
    }
    client.check(operation, Resource::Cluster)
}

/// What a number means; an error if it means nothing here.
pub(super) fn known<T>(what: &str, code: i8, of_code: impl Fn(i8) -> Option<T>) -> Result<T, Error> {
    of_code(code).ok_or_else(|| Error::new(ErrorCode::InvalidRequest, format!("{what} {code} is not known here")))
}

/// The numbers of a filter.
pub(super) struct Codes {
    pub kind: i8,
    pub pattern: i8,
    pub operation: i8,
    pub permission: i8,
}

pub(super) fn filter(codes: &Codes) -> Result<RuleFilter, Error> {
    Ok(RuleFilter {
        kind: any_or("resource type", codes.kind, ResourceKind::of_code)?,
        pattern: match codes.pattern {
            ANY => PatternFilter::Any,
            MATCH => PatternFilter::Match,
            other => PatternFilter::Is(known("pattern type", other, Pattern::of_code)?),
        },
        operation: any_or("operation", codes.operation, Operation::of_code)?,
        permission: any_or("permission", codes.permission, Permission::of_code)?,
        ..RuleFilter::default()
    })
}

fn any_or<T>(what: &str, code: i8, of_code: impl Fn(i8) -> Option<T>) -> Result<Option<T>, Error> {
    if code == ANY { Ok(None) } else { known(what, code, of_code).map(Some) }
}
