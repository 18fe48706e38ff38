//! Listeners before they run ([`Endpoint`], [`Listener`]), and how they are found.

mod discover;
mod endpoint;
mod owned;
#[expect(clippy::module_inception, reason = "the file is named for the type it holds")]
mod registry;

pub use discover::{Link, contributions, discovered, links, missing_crates};
pub use endpoint::{Endpoint, ListenerSpec, PartitionSpec};
pub use owned::{Listener, OwnedListener, OwnedListenerSpec, OwnedPartitionSpec};
pub use registry::{ListenerRegistry, UnknownListener};
