use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", topic_pattern = "orders-.*")]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
