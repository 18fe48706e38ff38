use kafka_listener::prelude::*;

use std::rc::Rc;

#[kafka_listener(topic = "orders")]
async fn bill(order: String) {
    let shared = Rc::new(order);
    std::future::ready(()).await;
    drop(shared);
}

fn main() {
    drop(listeners![bill]);
}
