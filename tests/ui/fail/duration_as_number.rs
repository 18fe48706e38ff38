use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = Time, ack_time = 5)]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
