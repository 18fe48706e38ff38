use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders")]
struct Billing;

fn main() {
    drop(Billing);
}
