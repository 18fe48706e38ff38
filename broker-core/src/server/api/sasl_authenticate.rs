//! SaslAuthenticate (36), versions 0 to 2: one step of a login.
//!
//! - Who fails is told that it failed, not why, and the connection is closed.
//! - How long the login holds is told (1), where `connections.max.reauth.ms` bounds that. Who logs in again before, on the same
//!   connection, as the same user and by the same mechanism, goes on; who asks for anything else after it is let go.

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
    request: &Request,
    body: SaslAuthenticateRequest,
) -> Maybe<SaslAuthenticateResponse> {
    let lifetime = client.shared.config.connections_max_reauth;
    match client.session.step(&client.shared, &body.auth_bytes).await {
        Ok(token) => {
            let mut answer = SaslAuthenticateResponse::default().with_error_message(None).with_auth_bytes(Bytes::from(token));
            if let Some(user) = client.session.user() {
                tracing::debug!(target: "broker_core::server", peer = %client.peer, user, "logged in");
                if request.version >= 1 {
                    answer.session_lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
                }
            }
            Maybe::Body(answer)
        }
        // Nothing was found out: the client may try again.
        Err(error) if matches!(error.code(), ErrorCode::RequestTimedOut | ErrorCode::UnknownServerError) => {
            Maybe::Close(error.to_string())
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
