//! A crate that forbids unsafe code registers and names listeners.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs)]

use kafka_listener::prelude::*;
use kafka_listener::registry::discovered;

/// Bills.
#[kafka_listener(topic = "orders")]
pub async fn bill(_order: String) {}

fn main() {
    let found = discovered();
    assert_eq!(found.iter().map(|endpoint| endpoint.spec.function).collect::<Vec<_>>(), ["bill"]);
    assert_eq!(listeners![bill][0].spec, found[0].spec);
}
