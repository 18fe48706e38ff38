use kafka_listener::prelude::*;

#[kafka_listener(topc = "orders")]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
