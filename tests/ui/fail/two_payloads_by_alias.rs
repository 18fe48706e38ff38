use kafka_listener::prelude::*;

type Order = Json<u64>;
type Again = ConsumerRecord<String, String>;

#[kafka_listener(topic = "orders")]
async fn bill(order: Order, again: Again) {
    drop((order, again));
}

fn main() {
    drop(listeners![bill]);
}
