use kafka_listener::prelude::*;

#[kafka_listener(partitions = [("orders", "0", offset = "start")])]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
