//! Annotated Kafka listeners: Spring Kafka's programming model for Rust.

pub mod ack;
pub mod client;
pub mod codec;
pub mod error;
pub mod extract;
pub mod handler;
pub mod listener;
pub mod registry;
pub mod template;

pub use client::BoxFuture;
