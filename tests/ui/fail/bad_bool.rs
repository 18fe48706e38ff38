use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", auto_startup = 1)]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
