//! The seven ack modes side by side: the same twelve records, and what each mode has committed meanwhile.
//! `cargo run --example ack_modes`

use std::time::Duration;

use kafka_listener::prelude::*;

const TOPIC: &str = "numbers";

/// Shows what the listener's own group has committed at the moment it handles a record.
async fn show(mode: AckMode, record: &ConsumerRecord<(), String>, consumer: &ConsumerHandle) -> ListenerResult {
    let committed = consumer.committed(&record.topic_partition()).await?.map_or(0, |stored| stored.offset);
    println!("{:<16} handles {:>2}, committed so far {committed:>2}", mode.name(), record.offset());
    Ok(())
}

fn listener(mode: AckMode) -> Listener {
    let id = format!("mode-{}", mode.name().to_lowercase());
    let listener = if mode.is_manual() {
        Listener::new(id, move |record: ConsumerRecord<(), String>, ack: Acknowledgment, consumer: ConsumerHandle| async move {
            show(mode, &record, &consumer).await?;
            ack.acknowledge().await?;
            ListenerResult::Ok(())
        })
    } else {
        Listener::new(id, move |record: ConsumerRecord<(), String>, consumer: ConsumerHandle| async move {
            show(mode, &record, &consumer).await
        })
    };
    let listener = listener.topic(TOPIC).ack_mode(mode).container_factory("short-polls");
    match mode {
        AckMode::Count => listener.ack_count(5),
        AckMode::Time => listener.ack_time(Duration::from_millis(20)),
        AckMode::CountTime => listener.ack_count(5).ack_time(Duration::from_millis(20)),
        _ => listener,
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    for mode in AckMode::ALL {
        let app = KafkaApp::builder()
            .property("auto.offset.reset", "earliest")
            .property("max.poll.records", 4)
            .topic(NewTopic::new(TOPIC).partitions(1))
            .factory(ContainerFactory::named("short-polls").poll_timeout(Duration::from_millis(20)))
            .listeners([])
            .listener(listener(mode).auto_startup(false))
            .start()
            .await?;
        let id = format!("mode-{}", mode.name().to_lowercase());
        for number in 0..12 {
            app.template().send(TOPIC, number.to_string()).await?;
        }
        app.registry().get(&id)?.start().await?;
        while app.committed(&id, TOPIC, 0).await? != Some(12) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        app.shutdown().await?;
        println!();
    }
    Ok(())
}
