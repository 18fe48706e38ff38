//! Listeners before they run ([`Endpoint`]), and how they are found.

mod endpoint;

pub use endpoint::{Endpoint, ListenerSpec, PartitionSpec};
