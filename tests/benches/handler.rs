//! What one call costs: the delivery, the default stack around an always-ready listener, and extraction.
//!
//! `cargo bench -p integration-tests --bench handler`; nanoseconds a record, the best of five runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use kafka_listener::client::RawRecord;
use kafka_listener::handler::{BatchRecords, BoxedHandler, DeliveryContext};
use kafka_listener::prelude::*;
use kafka_listener::registry::OwnedListener;
use serde::Deserialize;
use tower::{Service, ServiceExt};

const RECORDS: usize = 1_000_000;
const VALUE: &str = r#"{"id":12345,"customer":"ann","cents":4200,"address":"1 Long Road, Somewhere","note":"leave it at the door please, thanks"}"#;

#[derive(Deserialize)]
#[expect(dead_code, reason = "only decoding is measured")]
struct Order<'a> {
    id: u64,
    #[serde(borrow)]
    customer: &'a str,
    cents: i64,
}

#[kafka_listener(topic = "orders")]
async fn nothing() {}

#[kafka_listener(topic = "orders")]
async fn payload(value: Bytes) {
    black_box(value);
}

#[kafka_listener(topic = "orders")]
async fn text(value: &str) {
    black_box(value);
}

#[kafka_listener(topic = "orders")]
async fn json(Json(order): Json<Order<'_>>) {
    black_box(order);
}

#[kafka_listener(topic = "orders")]
async fn whole(record: ConsumerRecord<(), Bytes>) {
    black_box(record);
}

#[kafka_listener(topic = "orders")]
async fn batch(values: Batch<Bytes>) {
    black_box(values);
}

fn best(name: &str, records: usize, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_nanos() as f64 / records as f64);
    }
    println!("{name:28} {best:8.1} ns");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    let context = DeliveryContext::builder().listener_id("x").group_id("g").build();
    let place = TopicPartition::new("orders", 0);
    let record = RawRecord::from_parts(17, 0, None, Some(VALUE.as_bytes()), &[]);
    let delivery = || Delivery::record(context.clone(), place.clone(), record.clone(), 1);
    best("a delivery, made and dropped", RECORDS, || (0..RECORDS).for_each(|_| drop(black_box(delivery()))));

    let services: [(&str, BoxedHandler); 5] = [
        ("default stack, no parameter", OwnedListener::from(&nothing::ENDPOINT).handler.into_service()),
        ("default stack, Bytes", OwnedListener::from(&payload::ENDPOINT).handler.into_service()),
        ("default stack, &str", OwnedListener::from(&text::ENDPOINT).handler.into_service()),
        ("default stack, Json borrowed", OwnedListener::from(&json::ENDPOINT).handler.into_service()),
        ("default stack, ConsumerRecord", OwnedListener::from(&whole::ENDPOINT).handler.into_service()),
    ];
    for (name, mut service) in services {
        best(name, RECORDS, || {
            runtime.block_on(async {
                for _ in 0..RECORDS {
                    let answer = service.ready().await.expect("always ready").call(delivery()).await;
                    assert!(answer.is_ok());
                }
            });
        });
    }

    let mut service = OwnedListener::from(&batch::ENDPOINT).handler.into_service();
    let mut records = BatchRecords::default();
    (0..500).for_each(|_| records.push(&place, record.clone(), 1));
    let records = Arc::new(records);
    best("batch of 500, Bytes", RECORDS, || {
        runtime.block_on(async {
            for _ in 0..RECORDS / 500 {
                let delivery = Delivery::batch(context.clone(), records.clone());
                assert!(service.ready().await.expect("always ready").call(delivery).await.is_ok());
            }
        });
    });
}
