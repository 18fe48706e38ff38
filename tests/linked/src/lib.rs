//! A library whose only use is its listeners: without `link_listeners!` no program has them. It forbids unsafe code, and depends
//! on nothing but kafka-listener.
#![forbid(unsafe_code)]

use kafka_listener::prelude::*;

/// Takes text.
#[kafka_listener(topic = "linked", group_id = "linked")]
pub async fn linked(_text: String) {}

/// Listeners of a module.
pub mod deep {
    use super::*;

    /// Takes bytes.
    #[kafka_listener(topic = "linked", group_id = "deep")]
    pub async fn linked(_bytes: &[u8]) {}
}
