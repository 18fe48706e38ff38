use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = Count, ack_count = -5)]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
