use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", group_id = "a", group_id = "b")]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
