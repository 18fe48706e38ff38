use kafka_listener::prelude::*;

#[kafka_listener(topic = "", groupId = "billing", concurrency = "many", ack_mode = Manuel, ack_time = "soon")]
fn bill<T>(order: Json<T>) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
