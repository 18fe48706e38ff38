use kafka_listener::prelude::*;

struct Order;

#[kafka_listener(topic = "orders")]
async fn bill(order: Json<Order>) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
