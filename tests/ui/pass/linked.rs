//! A library is linked by naming it; a named one without listeners is told at start.
#![forbid(unsafe_code)]
#![deny(warnings)]

use kafka_listener::prelude::*;
use kafka_listener::registry::{contributions, discovered, links, missing_crates};

kafka_listener::link_listeners!(linked_listeners, tempfile);

#[kafka_listener(topic = "orders")]
async fn own(_text: String) {}

fn main() {
    let found = discovered();
    let linked: Vec<_> = found
        .iter()
        .map(|endpoint| endpoint.spec)
        .filter(|spec| spec.package == "linked-listeners")
        .map(|spec| spec.module)
        .collect();
    assert_eq!(linked, ["linked_listeners", "linked_listeners::deep"]);
    assert_eq!(contributions(&found)["linked-listeners"], 2);
    assert_eq!(links().iter().map(|link| link.name).collect::<Vec<_>>(), ["linked_listeners", "tempfile"]);
    let missing = missing_crates();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].contains("names tempfile, but no listener of that crate was linked in"), "{}", missing[0]);
}
