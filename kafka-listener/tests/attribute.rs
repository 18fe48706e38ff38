//! What the attribute makes of functions: the specification, the registration, and calls with borrowed parameters.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "the listeners of a test are no test functions")]
#![allow(clippy::needless_lifetimes, reason = "a named lifetime is a case of its own")]

use std::sync::{Arc, Mutex};

use kafka_listener::client::RawRecord;
use kafka_listener::handler::{BatchRecords, DeliveryContext, ErasedHandler, Outcome};
use kafka_listener::prelude::*;
use kafka_listener::registry::{Endpoint, ListenerSpec, OwnedListener, PartitionSpec, contributions, discovered};
use serde::Deserialize;
use tower::{Service, ServiceExt};

#[derive(Deserialize)]
struct Order<'a> {
    id: u64,
    #[serde(borrow)]
    customer: &'a str,
}

type Log = Mutex<Vec<String>>;

/// Bills an order.
#[kafka_listener(topic = "orders", group_id = "billing", concurrency = 3, container_factory = "careful")]
async fn bill(Json(order): Json<Order<'_>>, Offset(offset): Offset, log: State<Log>) -> ListenerResult {
    log.lock().unwrap().push(format!("{} {} at {offset}", order.id, order.customer));
    tokio::task::yield_now().await;
    if order.id == 0 { Err(ListenerError::msg("order 0")) } else { Ok(()) }
}

#[kafka_listener(
    id = "full",
    partitions = [("orders", "0-2"), ("returns", "0, 3", offset = "beginning"), ("late", "1", offset = -10)],
    client_id_prefix = "c",
    concurrency = "${full.concurrency:auto}",
    batch = true,
    ack_mode = AckMode::ManualImmediate,
    auto_startup = false,
    properties = ["max.poll.records=50", "fetch.min.bytes = 1"],
)]
pub(crate) async fn full<'a>(ack: Acknowledgment, texts: Batch<&'a str>, log: State<Log>, _consumer: ConsumerHandle) {
    log.lock().unwrap().push(texts.join("+"));
    let _ = ack.acknowledge().await;
}

mod other {
    use kafka_listener::prelude::*;

    pub mod deep {
        use super::*;

        #[kafka_listener(topics = ["a", "b"], ack_mode = CountTime, ack_count = 100, ack_time = "1s 500ms")]
        pub async fn on_text(text: &str, log: State<super::super::Log>) {
            log.lock().unwrap().push(text.to_owned());
        }
    }

    #[kafka_listener(topic_pattern = "audit\\..*", ack_mode = "${audit.mode:MANUAL}")]
    pub async fn raw(delivery: &Delivery) -> Result<(), std::io::Error> {
        delivery.len();
        Ok(())
    }
}

#[cfg(any())]
#[kafka_listener(topic = "never")]
async fn not_compiled(_: Missing) {}

#[kafka_listener(topic = "never")]
#[cfg(any())]
async fn not_compiled_either(_: Missing) {}

fn spec_of(endpoint: &'static Endpoint) -> ListenerSpec {
    // Where it stands is the compiler's to know.
    assert!(endpoint.spec.line > 0 && endpoint.spec.file.ends_with("attribute.rs"));
    ListenerSpec { line: 0, file: "", ..endpoint.spec }
}

#[test]
fn a_specification_equals_the_one_written_by_hand() {
    let here = ListenerSpec { package: "kafka-listener", module: "attribute", ..ListenerSpec::EMPTY };
    assert_eq!(
        spec_of(&bill::ENDPOINT),
        ListenerSpec {
            function: "bill",
            topics: &["orders"],
            group_id: Some("billing"),
            concurrency: Some("3"),
            container_factory: Some("careful"),
            ..here
        }
    );
    assert_eq!(
        spec_of(&full::ENDPOINT),
        ListenerSpec {
            function: "full",
            id: Some("full"),
            partitions: &[
                PartitionSpec { topic: "orders", partitions: "0-2", offset: None },
                PartitionSpec { topic: "returns", partitions: "0, 3", offset: Some("beginning") },
                PartitionSpec { topic: "late", partitions: "1", offset: Some("-10") },
            ],
            client_id_prefix: Some("c"),
            concurrency: Some("${full.concurrency:auto}"),
            batch: Some("true"),
            ack_mode: Some("ManualImmediate"),
            auto_startup: Some("false"),
            properties: &["max.poll.records=50", "fetch.min.bytes = 1"],
            ..here
        }
    );
    assert_eq!(
        spec_of(&other::deep::on_text::ENDPOINT),
        ListenerSpec {
            function: "on_text",
            module: "attribute::other::deep",
            topics: &["a", "b"],
            ack_mode: Some("CountTime"),
            ack_count: Some("100"),
            ack_time: Some("1s 500ms"),
            ..here
        }
    );
    assert_eq!(
        spec_of(&other::raw::ENDPOINT),
        ListenerSpec {
            function: "raw",
            module: "attribute::other",
            topic_pattern: Some("audit\\..*"),
            ack_mode: Some("${audit.mode:MANUAL}"),
            ..here
        }
    );
}

#[test]
fn listeners_are_found_by_linking_in_a_stable_order() {
    let found = discovered();
    let names: Vec<_> = found.iter().map(|endpoint| endpoint.spec.function).collect();
    assert_eq!(names, ["bill", "full", "raw", "on_text"]);
    assert_eq!(contributions(&found), [("kafka-listener", 4)].into());
    let named = listeners![bill, other::deep::on_text];
    assert_eq!(named.iter().map(|endpoint| endpoint.spec.function).collect::<Vec<_>>(), ["bill", "on_text"]);
}

fn context(log: &Arc<Log>) -> Arc<DeliveryContext> {
    DeliveryContext::builder().listener_id("x").consumer(ConsumerHandle::detached()).shared_state(log.clone()).build()
}

fn record(log: &Arc<Log>, value: &str) -> Delivery {
    let record = RawRecord::from_parts(17, 0, None, Some(value.as_bytes()), &[]);
    Delivery::record(context(log), TopicPartition::new("orders", 0), record, 1)
}

fn handler(endpoint: &'static Endpoint) -> ErasedHandler {
    OwnedListener::from(endpoint).handler
}

#[tokio::test]
async fn a_call_borrows_from_the_delivery() {
    let log = Arc::new(Log::default());
    let mut service = handler(&bill::ENDPOINT).into_service();
    let outcome = service.ready().await.unwrap().call(record(&log, r#"{"id":7,"customer":"ann"}"#)).await;
    assert_eq!(outcome.unwrap(), Outcome::Handled);
    let failed = service.ready().await.unwrap().call(record(&log, r#"{"id":0,"customer":"bob"}"#)).await;
    assert_eq!(failed.unwrap_err().to_string(), "order 0");
    let rejected = service.ready().await.unwrap().call(record(&log, "x")).await;
    assert!(rejected.unwrap_err().to_string().starts_with("orders-0@17: the value is no JSON"));
    assert_eq!(*log.lock().unwrap(), ["7 ann at 17", "0 bob at 17"]);
}

#[tokio::test]
async fn a_batch_borrows_too() {
    let log = Arc::new(Log::default());
    let mut records = BatchRecords::default();
    for value in ["a", "b"] {
        let raw = RawRecord::from_parts(0, 0, None, Some(value.as_bytes()), &[]);
        records.push(&TopicPartition::new("orders", 0), raw, 1);
    }
    let delivery = Delivery::batch(context(&log), Arc::new(records)).with_acknowledgment(Acknowledgment::detached());
    let handler = handler(&full::ENDPOINT);
    assert_eq!((handler.takes_batch(), handler.takes_acknowledgment()), (Some(true), true));
    handler.call(delivery).await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["a+b"]);
}

#[test]
fn the_function_stays_a_function() {
    let state = State::new(Log::default());
    drop(bill(Json(Order { id: 1, customer: "ann" }), Offset(0), state));
}
