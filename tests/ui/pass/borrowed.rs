//! Parameters borrow from the log's bytes, with lifetimes left out, inferred and named.
#![forbid(unsafe_code)]
#![deny(warnings)]

use kafka_listener::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    customer: &'a str,
}

#[kafka_listener(topic = "orders")]
async fn inferred(Json(order): Json<Order<'_>>, Key(key): Key<Option<&str>>) -> Result<(), std::io::Error> {
    std::future::ready(()).await;
    assert!(key != Some(order.customer));
    Ok(())
}

#[kafka_listener(topic = "orders")]
async fn named<'a>(orders: Batch<Json<Order<'a>>>) -> ListenerResult {
    for Json(order) in &orders {
        std::future::ready(order.customer).await;
    }
    Ok(())
}

#[kafka_listener(topic = "orders")]
async fn results(orders: Batch<Result<Json<Order<'_>>, Rejection>>) {
    for order in orders {
        let _ = order.map(|Json(order)| order.customer.len());
    }
}

#[kafka_listener(topic = "orders")]
async fn tombstones(order: Option<Json<Order<'_>>>, text: Headers) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let _ = order.map(|Json(order)| order.customer.len());
    let _ = text.text("source");
    Ok(())
}

#[kafka_listener(topic = "orders")]
async fn record(record: ConsumerRecord<&str, &[u8]>, consumer: ConsumerHandle) {
    let _ = (record.key().len(), record.value().len(), consumer.assignment());
}

fn main() {
    assert_eq!(listeners![inferred, named, results, tombstones, record].len(), 5);
}
