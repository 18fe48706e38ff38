use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders")]
async fn bill(order: String) -> usize {
    order.len()
}

fn main() {
    drop(listeners![bill]);
}
