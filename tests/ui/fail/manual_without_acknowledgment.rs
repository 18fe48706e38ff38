use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = AckMode::ManualImmediate)]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
