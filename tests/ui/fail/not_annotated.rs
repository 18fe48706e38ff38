use kafka_listener::prelude::*;

async fn bill(order: String) {
    drop(order);
}

fn main() {
    drop(bill(String::new()));
    drop(listeners![bill]);
}
