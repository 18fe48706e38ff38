use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", batch = false)]
async fn bill(orders: Batch<String>) {
    drop(orders);
}

fn main() {
    drop(listeners![bill]);
}
