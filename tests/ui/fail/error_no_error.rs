use kafka_listener::prelude::*;

struct Declined;

#[kafka_listener(topic = "orders")]
async fn bill(order: String) -> Result<(), Declined> {
    drop(order);
    Err(Declined)
}

fn main() {
    drop(listeners![bill]);
}
