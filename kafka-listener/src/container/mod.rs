#![doc = include_str!("../docs/lifecycle.md")]

mod commit;
mod concurrent;
mod dispatch_batch;
mod dispatch_record;
mod event;
mod failure;
mod intents;
mod messages;
mod parts;
mod properties;
mod rebalance;
mod requested;
mod state;
mod worker;

#[cfg(test)]
mod commit_tests;

pub use concurrent::{ConcurrentListenerContainer, ContainerError};
pub(crate) use concurrent::{ContainerSeed, stop_all};
pub use event::{ContainerEvent, EVENT_BUFFER, EventKind, EventStream, Events, PauseReason, StopReason};
pub(crate) use properties::FOREVER;
pub use properties::{Concurrency, ContainerProperties, Source};
pub use requested::Requested;
pub use state::ContainerState;
