use kafka_listener::prelude::*;

use std::rc::Rc;

#[kafka_listener(topic = "orders")]
async fn bill(order: String, ledger: State<Rc<u64>>) {
    drop((order, ledger));
}

fn main() {
    drop(listeners![bill]);
}
