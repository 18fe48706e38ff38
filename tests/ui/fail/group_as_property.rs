use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", properties = ["group.id=billing"])]
async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
