use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = Count, ack_count = 100, ack_time = "5s")]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
