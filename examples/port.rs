//! The embedded broker on a port: other programs' Kafka clients meet the listeners of this app.
//!
//! `cargo run --example port`, then for instance `echo 'ann:coffee' | kcat -b 127.0.0.1:9092 -P -t orders -K:` and
//! `kcat -b 127.0.0.1:9092 -C -t receipts -u`. `BROKER_PORT` in the environment chooses another port. Ctrl-c ends it.
use kafka_listener::prelude::*;

#[kafka_listener(topic = "orders", group_id = "till")]
async fn sell(record: ConsumerRecord<Option<String>, String>, template: State<KafkaTemplate>) -> Result<(), ListenerError> {
    let buyer = record.key().as_deref().unwrap_or("somebody");
    println!("{}-{}: {} for {buyer}", record.partition(), record.offset(), record.value());
    template.send_keyed("receipts", buyer, format!("1 {}", record.value())).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), kafka_listener::Error> {
    let app = KafkaApp::builder()
        .listen("127.0.0.1:${broker.port:9092}")
        .topic(NewTopic::new("orders").partitions(3))
        .topic(NewTopic::new("receipts"))
        .property("auto.offset.reset", "earliest")
        .start()
        .await?;
    println!("Kafka clients reach this app at {}", app.addresses()[0]);
    app.wait().await
}
