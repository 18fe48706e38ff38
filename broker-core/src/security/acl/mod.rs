//! Who may do what to what: rules, how they are found, and where they are kept.

mod filter;
mod index;
mod rule;
mod store;

pub use filter::{PatternFilter, RuleFilter};
pub(crate) use rule::CLUSTER;
pub use rule::{Operation, Pattern, Permission, ResourceKind, Rule};
pub(crate) use store::Acls;

use std::net::IpAddr;

/// Who asks: `User:ann`, from an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub principal: &'a str,
    pub host: IpAddr,
}
