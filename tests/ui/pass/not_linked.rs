//! The trap that `link_listeners!` is for: a library that nothing names is not there.
#![forbid(unsafe_code)]
#![deny(warnings)]

use kafka_listener::registry::discovered;

fn main() {
    assert!(discovered().is_empty());
}
