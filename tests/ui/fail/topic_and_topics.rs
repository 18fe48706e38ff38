use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", topics = ["returns"])]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
