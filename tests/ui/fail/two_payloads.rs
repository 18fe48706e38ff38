use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders")]
async fn bill(order: Json<u64>, text: String) {
    drop((order, text));
}

fn main() {
    drop(listeners![bill]);
}
