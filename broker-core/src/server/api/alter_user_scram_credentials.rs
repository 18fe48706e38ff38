//! AlterUserScramCredentials (51), version 0: users come and go, and get passwords, which the client has salted.
//!
//! A user that is named twice is changed not at all, whatever the mechanisms are; the others are.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult as UserResult;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};

use super::{one_by_one, text};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::security::{ScramCredential, ScramMechanism, UserChange};
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BYTES, Field, I8, I32, TEXT, array};

type Body = AlterUserScramCredentialsRequest;

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, I8]), array(&[TEXT, I8, I32, BYTES, BYTES])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: Body) -> AlterUserScramCredentialsResponse {
    let mut changes: BTreeMap<String, Changes> = BTreeMap::new();
    for deletion in body.deletions {
        changes.entry(deletion.name.to_string()).or_default().push(deletion.mechanism, None);
    }
    for put in body.upsertions {
        changes.entry(put.name.to_string()).or_default().push(put.mechanism, Some(put));
    }
    let results = changes.into_iter().map(|(user, changes)| {
        let answer = UserResult::default().with_user(text(&user)).with_error_message(None);
        let right = client.check(Operation::Alter, Resource::Cluster);
        match right.and_then(|()| changes.make(client, &user)) {
            Ok(()) => answer,
            Err(error) => answer.with_error_code(error.code().code()).with_error_message(Some(text(&error))),
        }
    });
    AlterUserScramCredentialsResponse::default().with_results(one_by_one(results).await)
}

/// What a request says of one user.
#[derive(Default)]
struct Changes {
    /// The mechanism, and what is put for it; nothing removes it.
    first: Option<(i8, Option<ScramCredentialUpsertion>)>,
    more: bool,
}

impl Changes {
    fn push(&mut self, mechanism: i8, put: Option<ScramCredentialUpsertion>) {
        if self.first.is_some() {
            self.more = true;
        } else {
            self.first = Some((mechanism, put));
        }
    }

    /// What is wrong with the first is told before that there are more, as Kafka does.
    fn make(self, client: &Client, user: &str) -> Result<(), Error> {
        let Some((code, put)) = self.first else { return Ok(()) };
        let unknown =
            || Error::new(ErrorCode::UnsupportedSaslMechanism, format!("user '{user}': SCRAM mechanism {code} is not known"));
        let mechanism = ScramMechanism::of_code(code).ok_or_else(unknown)?;
        let change = match put {
            None => UserChange::Remove,
            Some(put) => {
                if put.salted_password.is_empty() || put.salt.is_empty() {
                    let text = format!("user '{user}': an empty password or salt");
                    return Err(Error::new(ErrorCode::UnacceptableCredential, text));
                }
                let iterations = u32::try_from(put.iterations).unwrap_or(0);
                UserChange::Put(ScramCredential::of_salted(mechanism, &put.salted_password, &put.salt, iterations))
            }
        };
        let users = client.shared.broker.users();
        if self.more {
            users.check(user, mechanism, &change)?;
            let text = format!("user '{user}' is changed more than once in the same request");
            return Err(Error::new(ErrorCode::DuplicateResource, text));
        }
        users.change(user, mechanism, change)
    }
}
