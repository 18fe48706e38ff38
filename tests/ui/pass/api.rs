//! Everything that an app is written with, together: it compiles, and its test passes.
#![forbid(unsafe_code)]
#![allow(dead_code, clippy::default_constructed_unit_structs)]

use bytes::Bytes;
use kafka_listener::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    cents: i64,
}
#[derive(Deserialize)]
struct OrderView<'a> {
    id: u64,
    #[serde(borrow)]
    customer: &'a str,
    cents: i64,
}

#[kafka_listener(topic = "orders", group_id = "billing", concurrency = 3, container_factory = "careful")]
async fn bill(
    Json(order): Json<OrderView<'_>>,
    ledger: State<Ledger>,
    template: State<KafkaTemplate>,
) -> Result<(), BillingError> {
    let receipt = ledger.charge(order.id, order.customer, order.cents).await?;
    template.send_keyed("receipts", order.customer, Json(&receipt)).await?;
    Ok(())
}

#[kafka_listener(topic = "orders", group_id = "archive", ack_mode = Manual, properties = ["max.poll.records=1000"])]
async fn archive(orders: Batch<Json<Order>>, ack: Acknowledgment, store: State<Store>) -> ListenerResult {
    for (i, Json(order)) in orders.iter().enumerate() {
        store.put(order).await.map_err(|e| BatchError::at(i, e))?;
    }
    ack.acknowledge().await?;
    Ok(())
}

#[kafka_listener(id = "audit", topic_pattern = "audit\\..*", ack_mode = ManualImmediate, concurrency = "${audit.concurrency:1}")]
async fn audit(
    ack: Acknowledgment,
    record: ConsumerRecord<String, Bytes>,
    consumer: ConsumerHandle,
    sink: State<Sink>,
) -> ListenerResult {
    if sink.is_full() {
        consumer.pause([record.topic_partition()])?;
        ack.nack(Duration::from_secs(5))?;
        return Ok(());
    }
    sink.write(record.value()).await?;
    ack.acknowledge().await?;
    Ok(())
}

struct FraudCheck {
    rules: Rules,
}
impl MessageListener<String, Json<Order>> for FraudCheck {
    async fn on_message(&self, record: ConsumerRecord<String, Json<Order>>) -> ListenerResult {
        Ok(self.rules.check(&record.value().0).await?)
    }
}

fn careful() -> ContainerFactory {
    ContainerFactory::named("careful")
        .property("max.poll.records", 50)
        .property("auto.offset.reset", "earliest")
        .ack_mode(AckMode::CountTime)
        .ack_count(100)
        .ack_time(Duration::from_secs(1))
        .error_handler(
            DefaultErrorHandler::new(ExponentialBackOff::new(Duration::from_millis(200)).multiplier(2.0).max_retries(5))
                .not_retryable::<Declined>()
                .dead_letters(DeadLetters::to_suffix("-dlt")),
        )
        .layer(ConcurrencyLimitLayer::new(8))
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
}

fn app() -> KafkaAppBuilder {
    KafkaApp::builder()
        .config_file("app.toml")
        .embedded(Embedded::dir("./data"))
        .topic(NewTopic::new("orders").partitions(3))
        .state(Ledger::default())
        .state(Store::default())
        .state(Sink::default())
        .factory(careful())
        .listener(
            Listener::new("fraud", FraudCheck { rules: Rules::default() })
                .topic("orders")
                .group_id("fraud")
                .ack_mode(AckMode::Record),
        )
}

async fn run() -> Result<(), kafka_listener::Error> {
    let app = app().start().await?;
    let template = app.template();

    let order = Order { id: 1, customer: "ann".into(), cents: 4200 };
    let sent: SendResult = template.send_keyed("orders", "ann", Json(&order)).await?;
    println!("{}-{}@{}", sent.topic, sent.partition, sent.offset);

    let pending: Vec<SendFuture> = (2..1000)
        .map(|id| {
            template.send_record(
                ProducerRecord::new("orders", Json(&Order { id, customer: "bob".into(), cents: 1 }))
                    .key("bob")
                    .partition(2)
                    .timestamp(Timestamp::now())
                    .header("source", "import"),
            )
        })
        .collect();
    for send in pending {
        send.await?;
    }

    app.registry().get("audit")?.pause().await?;
    app.wait().await
}

mod tests {
    use super::*;

    pub async fn a_charged_order_is_committed_once() -> Result<(), kafka_listener::Error> {
        let app = TestApp::new()
            .listeners(listeners![bill])
            .factory(careful())
            .topic(NewTopic::new("orders").partitions(1))
            .state(Ledger::default())
            .start()
            .await?;
        let order = Order { id: 1, customer: "ann".into(), cents: 4200 };
        app.template().send_keyed("orders", "ann", Json(&order)).await?;
        app.committed("billing", "orders", 0).reaches(1).await?;
        assert_eq!(app.state::<Ledger>().total(), 4200);
        app.shutdown().await
    }
}

#[derive(Debug, thiserror::Error)]
enum BillingError {
    #[error("declined")]
    Declined(#[from] Declined),
    #[error("not sent")]
    Send(#[from] SendError),
}
#[derive(Debug, thiserror::Error)]
#[error("declined")]
struct Declined;
#[derive(Serialize)]
struct Receipt;
#[derive(Default)]
struct Ledger;
impl Ledger {
    async fn charge(&self, _id: u64, _customer: &str, _cents: i64) -> Result<Receipt, Declined> {
        Ok(Receipt)
    }
    fn total(&self) -> i64 {
        4200
    }
}
#[derive(Default)]
struct Store;
impl Store {
    async fn put(&self, _order: &Order) -> std::io::Result<()> {
        Ok(())
    }
}
#[derive(Default)]
struct Sink;
impl Sink {
    fn is_full(&self) -> bool {
        false
    }
    async fn write(&self, _bytes: &Bytes) -> std::io::Result<()> {
        Ok(())
    }
}
#[derive(Default)]
struct Rules;
impl Rules {
    async fn check(&self, _order: &Order) -> std::io::Result<()> {
        Ok(())
    }
}

fn main() {
    assert_eq!(listeners![bill, archive, audit].len(), 3);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(tests::a_charged_order_is_committed_once()).expect("the order is billed");
}
