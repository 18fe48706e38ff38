//! Who may come in, and what they may do: users and rules, as Kafka has them. Pure but for the folder they are kept in; the server
//! asks.

mod acl;
mod client;
mod conversation;
#[cfg(feature = "tls")]
mod distinguished_name;
mod nobody;
#[cfg(feature = "tls")]
mod principal_rules;
mod scram;
mod table;
mod users;

pub(crate) use acl::{Acls, CLUSTER, Who};
pub use acl::{Operation, Pattern, PatternFilter, Permission, ResourceKind, Rule, RuleFilter};
pub use client::{ScramClient, ScramServerProof};
pub(crate) use conversation::{Conversation, NO_NAME, Step};
#[cfg(feature = "tls")]
pub(crate) use distinguished_name::subject;
#[cfg(feature = "tls")]
pub(crate) use principal_rules::PrincipalRules;
pub use scram::{ScramCredential, ScramMechanism};
pub(crate) use table::Table;
pub(crate) use users::{UserChange, Users, is_name, nonce};
