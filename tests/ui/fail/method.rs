use kafka_listener::prelude::*;

struct Billing;

impl Billing {
    #[kafka_listener(topic = "orders")]
    async fn bill(&self, order: String) {
        drop(order);
    }
}

fn main() {
    drop(Billing);
}
