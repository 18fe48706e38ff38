//! A small Kafka client for the program's own subcommands: any Kafka answers it, not only this broker.

mod cluster;
mod config;
mod connection;
mod jaas;
mod login;
mod member;
mod properties;
mod tls;

pub use cluster::{Cluster, EARLIEST, LATEST, LEADER_MOVED, RETRIES};
pub use config::Config;
pub use connection::Connection;
pub use member::{Member, commit_request};

use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// Why a subcommand ends: one text that names the thing and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

pub type Result<T> = std::result::Result<T, Failure>;

/// Ends with this text.
pub fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure(text.into()))
}

/// An answer's error code, if it is one, by Kafka's name.
pub fn refused(what: &str, code: i16, message: Option<&StrBytes>) -> Result<()> {
    let Some(error) = ResponseError::try_from_code(code) else { return Ok(()) };
    let said = message.map_or_else(String::new, |message| format!(": {message}"));
    fail(format!("{what}: {} ({code}){said}", kafkas(&format!("{error:?}"))))
}

/// `UnknownTopicOrPartition` is `UNKNOWN_TOPIC_OR_PARTITION`.
fn kafkas(name: &str) -> String {
    let mut kafkas = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kafkas.is_empty() {
            kafkas.push('_');
        }
        kafkas.push(letter.to_ascii_uppercase());
    }
    kafkas
}

/// A text as the messages' library holds it.
pub fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
