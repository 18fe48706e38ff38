//! Who may come in: users, as Kafka keeps them. Pure but for the folder they are kept in; the server asks.

mod conversation;
mod scram;
mod table;
mod users;

pub(crate) use conversation::{Conversation, Step};
pub use scram::{ScramCredential, ScramMechanism};
pub(crate) use table::Table;
pub(crate) use users::{UserChange, Users, nonce};
