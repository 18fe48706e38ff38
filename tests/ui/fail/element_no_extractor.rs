use kafka_listener::prelude::*;

struct Order;

#[kafka_listener(topic = "orders")]
async fn bill(orders: Batch<Order>) {
    drop(orders);
}

fn main() {
    drop(listeners![bill]);
}
