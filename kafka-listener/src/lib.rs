#![doc = include_str!("docs/tutorial.md")]

// Generated code says `::kafka_listener`, in this crate's own tests and examples too.
extern crate self as kafka_listener;

pub mod ack;
pub mod app;
pub mod client;
pub mod codec;
pub mod container;
pub mod error;
pub mod extract;
pub mod factory;
pub mod handler;
pub mod layer;
pub mod listener;
mod macros;
pub mod prelude;
#[doc(hidden)]
pub mod private;
pub mod registry;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use app::{Error, ErrorKind};

pub use client::BoxFuture;
#[doc = include_str!("docs/attribute.md")]
pub use kafka_listener_macros::kafka_listener;
