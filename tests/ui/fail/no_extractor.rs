use kafka_listener::prelude::*;

struct Ledger;

#[kafka_listener(topic = "orders")]
async fn bill(order: String, ledger: Ledger) {
    drop((order, ledger));
}

fn main() {
    drop(listeners![bill]);
}
