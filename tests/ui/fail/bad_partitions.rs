use kafka_listener::prelude::*;

#[kafka_listener(partitions = [("orders", "5-2")])]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
