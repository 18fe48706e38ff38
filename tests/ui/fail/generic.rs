use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders")]
async fn bill<T: Send>(order: Json<T>) {
    drop(order);
}

fn main() {
    drop(listeners![bill]);
}
