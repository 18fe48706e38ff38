//! SaslAuthenticate (36), versions 0 to 2: one step of a login.
//!
//! Who fails is told that it failed, not why, and the connection is closed. A login holds as long as its connection: no session
//! time (1) is told.

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::text;
use crate::error::ErrorCode;
use crate::server::connection::Client;
use crate::server::dispatch::Maybe;
use crate::server::header::Request;
use crate::server::shape::{BYTES, Field};

pub(in crate::server) const SHAPE: &[Field] = &[BYTES];

pub(in crate::server) async fn answer(
    client: &Client,
    _: &Request,
    body: SaslAuthenticateRequest,
) -> Maybe<SaslAuthenticateResponse> {
    match client.session.step(&client.shared.broker, &body.auth_bytes) {
        Ok(token) => {
            if let Some(user) = client.session.user() {
                tracing::debug!(target: "broker_core::server", peer = %client.peer, %user, "logged in");
            }
            Maybe::Body(SaslAuthenticateResponse::default().with_error_message(None).with_auth_bytes(Bytes::from(token)))
        }
        Err(error) => {
            let told = match error.code() {
                ErrorCode::SaslAuthenticationFailed => "Authentication failed: invalid credentials".to_owned(),
                _ => error.to_string(),
            };
            let answer = SaslAuthenticateResponse::default().with_error_code(error.code().code());
            Maybe::Last(answer.with_error_message(Some(text(told))), error.to_string())
        }
    }
}
