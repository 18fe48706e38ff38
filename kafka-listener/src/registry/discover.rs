use std::collections::BTreeMap;

use super::Endpoint;
use crate::private::{registered_endpoints, registered_links};

/// A crate that [`link_listeners!`](crate::link_listeners) names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The crate that must have brought listeners.
    pub name: &'static str,
    /// The crate that says so.
    pub by: &'static str,
}

/// All annotated listeners that are linked into this program, ordered by package, module, function and line.
///
/// A library that no Rust path of the program names is not linked, and its listeners are missing here without a word: name it
/// in [`link_listeners!`](crate::link_listeners).
pub fn discovered() -> Vec<&'static Endpoint> {
    let mut found = registered_endpoints();
    found.sort_by_key(|endpoint| {
        let spec = &endpoint.spec;
        (spec.package, spec.module, spec.function, spec.line)
    });
    found
}

/// How many listeners each package brought, for the start-up line.
pub fn contributions(endpoints: &[&'static Endpoint]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for endpoint in endpoints {
        *counts.entry(endpoint.spec.package).or_default() += 1;
    }
    counts
}

/// The crates that [`link_listeners!`](crate::link_listeners) names anywhere in this program, in order.
pub fn links() -> Vec<Link> {
    let mut links = registered_links();
    links.sort_by_key(|link| (link.name, link.by));
    links.dedup();
    links
}

/// One line for each crate that [`link_listeners!`](crate::link_listeners) names and that brought no listener.
pub fn missing_crates() -> Vec<String> {
    let found = discovered();
    links()
        .into_iter()
        .filter(|link| !found.iter().any(|endpoint| crate_of(endpoint.spec.module) == link.name))
        .map(|link| {
            format!(
                "link_listeners! in crate {} names {}, but no listener of that crate was linked in: it has none, or they are behind a feature",
                link.by, link.name
            )
        })
        .collect()
}

fn crate_of(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}
