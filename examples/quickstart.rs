//! The shortest whole app: `cargo run --example quickstart`.

use kafka_listener::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    cents: i64,
}

#[kafka_listener(topic = "orders", group_id = "billing")]
async fn bill(Json(order): Json<Order>) {
    println!("order {} over {} cents", order.id, order.cents);
}

#[tokio::main]
async fn main() -> Result<(), kafka_listener::Error> {
    let app = KafkaApp::builder().property("auto.offset.reset", "earliest").start().await?;
    for id in 1..=3 {
        app.template().send_keyed("orders", "ann", Json(&Order { id, cents: 4200 })).await?;
    }
    println!("sent; ctrl-c ends it");
    app.wait().await
}
