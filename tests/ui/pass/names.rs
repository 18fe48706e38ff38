//! Types are known by what they are: aliases, re-exports, renamed imports and paths are legal, and the user's own names are safe.
#![forbid(unsafe_code)]
#![deny(warnings)]
#![allow(non_snake_case)]

use kafka_listener as framework;

mod mine {
    pub use kafka_listener::codec::Json as Payload;
    pub use kafka_listener::listener::Acknowledgment as Ack;
    pub type Rows<T> = kafka_listener::extract::Batch<Payload<T>>;
    // A user's own names, which generated code must not mean.
    pub struct Json;
    pub struct Option;
    pub struct Result;
    pub struct Endpoint;
    pub fn Ok() {}
    pub mod std {}
    pub mod core {}
}

use mine::*;

#[framework::kafka_listener(topic = "orders", ack_mode = Manual)]
async fn archive(rows: Rows<u64>, ack: Ack) {
    drop((rows, ack));
    Ok();
}

#[framework::kafka_listener(topic = "orders", crate = framework)]
async fn delivery(rule: framework::extract::ConsumerRecord<(), Payload<u64>>) {
    drop(rule);
}

fn main() {
    let _ = (Json, Option, Result, Endpoint);
    let found: Vec<_> = framework::registry::discovered().iter().map(|endpoint| endpoint.spec.function).collect();
    assert_eq!(found, ["archive", "delivery", "inside_a_function"]);

    #[framework::kafka_listener(topic = "orders")]
    async fn inside_a_function(_order: &str) {}
    assert_eq!(framework::listeners![inside_a_function, delivery].len(), 2);
}
