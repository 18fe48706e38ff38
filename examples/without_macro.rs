//! Listeners without the attribute: a struct with its own state, and a closure. `cargo run --example without_macro`

use std::time::Duration;

use kafka_listener::prelude::*;

struct Greeter {
    greeting: String,
}

impl MessageListener<Option<String>, String> for Greeter {
    async fn on_message(&self, record: ConsumerRecord<Option<String>, String>) -> ListenerResult {
        println!("{} {} ({}@{})", self.greeting, record.value(), record.topic_partition(), record.offset());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = KafkaApp::builder()
        .property("auto.offset.reset", "earliest")
        .topic(NewTopic::new("names").partitions(1))
        .listener(Listener::new("greeter", Greeter { greeting: "hello".into() }).topic("names"))
        .listener(
            Listener::new("lengths", |name: String| async move { println!("{name} has {} letters", name.len()) }).topic("names"),
        )
        .start()
        .await?;
    for name in ["ann", "bob", "carla"] {
        app.template().send("names", name).await?;
    }
    for group in ["greeter", "lengths"] {
        while app.committed(group, "names", 0).await? != Some(3) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    app.shutdown().await?;
    Ok(())
}
