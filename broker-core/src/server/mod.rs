//! Kafka's wire protocol over TCP (feature `server`): what any Kafka client says, answered by the broker's public API.
//!
//! A connection is one task. It reads frames, answers them one after the other, and writes the answers in the order of the
//! requests, as Kafka does. While an answer is waited for (a fetch without data, a join), nothing behind it is begun.

mod accept;
mod api;
mod config;
mod connection;
mod dispatch;
mod frame;
mod header;
mod memory;
mod metrics;
mod outgoing;
mod passwords;
mod rights;
mod session;
mod shape;
mod tls;
mod turned_away;

#[cfg(test)]
mod tests;

pub use accept::Server;
pub use config::{Endpoint, SecurityProtocol, ServerConfig};
pub use dispatch::{APIS, Api};
pub use metrics::{ApiMetrics, Latency, ServerMetrics};
pub use session::SaslMechanism;
pub use tls::{ClientAuth, SslConfig};
