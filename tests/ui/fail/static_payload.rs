use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders")]
async fn bill(order: &'static str) {
    let _ = order;
}

fn main() {
    drop(listeners![bill]);
}
