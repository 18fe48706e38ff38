use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = Batch)]
async fn bill(order: String, ack: Acknowledgment) {
    drop((order, ack));
}

fn main() {
    drop(listeners![bill]);
}
