//! DescribeUserScramCredentials (50), version 0: which users there are, with which mechanisms and iterations; all, or some.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult as UserResult,
};
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use super::text;
use crate::error::ErrorCode;
use crate::security::Operation;
use crate::security::ScramMechanism;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, TEXT, array};

type Body = DescribeUserScramCredentialsRequest;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> DescribeUserScramCredentialsResponse {
    if let Err(error) = client.check(Operation::Describe, Resource::Cluster) {
        return DescribeUserScramCredentialsResponse::default()
            .with_error_code(error.code().code())
            .with_error_message(Some(text(error)));
    }
    let mut known: BTreeMap<String, Vec<CredentialInfo>> = BTreeMap::new();
    for (user, mechanism, iterations) in client.shared.broker.users().describe(None) {
        known.entry(user).or_default().push(info(mechanism, iterations));
    }
    let answer = DescribeUserScramCredentialsResponse::default().with_error_message(None);
    let wanted = body.users.filter(|users| !users.is_empty());
    let results = match wanted {
        None => known.into_iter().map(|(user, infos)| found(user, infos)).collect(),
        Some(users) => {
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            users.iter().for_each(|user| *times.entry(user.name.to_string()).or_insert(0) += 1);
            let one = |(user, times): (String, usize)| match known.remove(&user) {
                _ if times > 1 => refused(user, ErrorCode::DuplicateResource, "named more than once"),
                Some(infos) => found(user, infos),
                None => refused(user, ErrorCode::ResourceNotFound, "no such user"),
            };
            times.into_iter().map(one).collect()
        }
    };
    answer.with_results(results)
}

fn info(mechanism: ScramMechanism, iterations: u32) -> CredentialInfo {
    CredentialInfo::default().with_mechanism(mechanism.code()).with_iterations(iterations as i32)
}

fn found(user: String, infos: Vec<CredentialInfo>) -> UserResult {
    UserResult::default().with_user(text(user)).with_error_message(None).with_credential_infos(infos)
}

fn refused(user: String, code: ErrorCode, why: &str) -> UserResult {
    let told = text(format!("user '{user}': {why}"));
    UserResult::default().with_user(text(user)).with_error_code(code.code()).with_error_message(Some(told))
}
