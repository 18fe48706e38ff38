//! SaslHandshake (17), versions 0 to 1: how the client will prove who it is.
//!
//! - After version 1 its tokens come as SaslAuthenticate requests; after version 0 bare, each behind its length.
//! - Who is logged in may begin again, once a second; nothing but that login is served then.
//! - A mechanism that is not enabled is answered with those that are, and the connection is closed.

use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::text;
use crate::server::connection::Client;
use crate::server::dispatch::Maybe;
use crate::server::header::Request;
use crate::server::session::Standing;
use crate::server::shape::{Field, TEXT};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT];

pub(in crate::server) async fn answer(
    client: &Client,
    request: &Request,
    body: SaslHandshakeRequest,
) -> Maybe<SaslHandshakeResponse> {
    let enabled = &client.shared.config.sasl_enabled_mechanisms;
    let names = enabled.iter().map(|mechanism| text(mechanism.name())).collect();
    let answer = SaslHandshakeResponse::default().with_mechanisms(names);
    match client.session.agree(&body.mechanism, enabled, request.version == 0) {
        Ok(()) => Maybe::Body(answer),
        // It is still who it was.
        Err(error) if client.session.standing() == Standing::Known => Maybe::Body(answer.with_error_code(error.code().code())),
        Err(error) => Maybe::Last(answer.with_error_code(error.code().code()), error.to_string()),
    }
}
