use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", concurrency = "many")]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
