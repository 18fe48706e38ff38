use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders")]
async fn bill(orders: Batch<String>, key: Key<String>) {
    drop((orders, key));
}

fn main() {
    drop(listeners![bill]);
}
