use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = Batch, ack_count = 100)]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
