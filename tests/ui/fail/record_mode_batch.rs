use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", ack_mode = "Record")]
async fn bill(orders: Batch<String>) {
    drop(orders);
}

fn main() {
    drop(listeners![bill]);
}
