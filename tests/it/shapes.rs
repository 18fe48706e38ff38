use kafka_listener::listener::{FnListener, from_fn};
use kafka_listener::prelude::*;
use kafka_listener::testing::TestApp;

use crate::support::*;

type Text = ConsumerRecord<(), String>;

/// What each listener writes down: the values it was given, and that the consumer is its own.
fn note(log: &Log, values: impl IntoIterator<Item = String>, consumer: Option<&ConsumerHandle>) {
    let owned = consumer.is_none_or(|consumer| consumer.assignment() == [TopicPartition::new("t", 0)]);
    for value in values {
        log.push(format!("{value} {owned}"));
    }
}

fn values(rows: &Rows) -> Vec<String> {
    rows.iter().map(|row| row.value().clone()).collect()
}

/// The eight as annotated functions.
mod annotated {
    use super::*;

    #[kafka_listener(topic = "t", group_id = "g")]
    pub async fn message(record: Text, log: State<Log>) {
        note(&log, [record.value().clone()], None);
    }

    #[kafka_listener(topic = "t", group_id = "g", ack_mode = Manual)]
    pub async fn acknowledging(record: Text, ack: Acknowledgment, log: State<Log>) -> ListenerResult {
        note(&log, [record.value().clone()], None);
        Ok(ack.acknowledge().await?)
    }

    #[kafka_listener(topic = "t", group_id = "g")]
    pub async fn consumer_aware(consumer: ConsumerHandle, record: Text, log: State<Log>) {
        note(&log, [record.value().clone()], Some(&consumer));
    }

    #[kafka_listener(topic = "t", group_id = "g", ack_mode = ManualImmediate)]
    pub async fn all(record: Text, ack: Acknowledgment, consumer: ConsumerHandle, log: State<Log>) -> ListenerResult {
        note(&log, [record.value().clone()], Some(&consumer));
        Ok(ack.acknowledge().await?)
    }

    #[kafka_listener(topic = "t", group_id = "g")]
    pub async fn batch(rows: Rows, log: State<Log>) {
        note(&log, values(&rows), None);
    }

    #[kafka_listener(topic = "t", group_id = "g", ack_mode = Manual)]
    pub async fn batch_acknowledging(ack: Acknowledgment, rows: Rows, log: State<Log>) -> ListenerResult {
        note(&log, values(&rows), None);
        Ok(ack.acknowledge().await?)
    }

    #[kafka_listener(topic = "t", group_id = "g")]
    pub async fn batch_consumer_aware(rows: Rows, consumer: ConsumerHandle, log: State<Log>) {
        note(&log, values(&rows), Some(&consumer));
    }

    #[kafka_listener(topic = "t", group_id = "g", ack_mode = ManualImmediate)]
    pub async fn batch_all(rows: Rows, ack: Acknowledgment, consumer: ConsumerHandle, log: State<Log>) -> ListenerResult {
        note(&log, values(&rows), Some(&consumer));
        Ok(ack.acknowledge().await?)
    }
}

/// The eight as traits, each on a struct of its own.
mod structs {
    use super::*;

    pub struct Message(pub Log);
    impl MessageListener<(), String> for Message {
        async fn on_message(&self, record: Text) -> ListenerResult {
            note(&self.0, [record.into_value()], None);
            Ok(())
        }
    }

    pub struct Acknowledging(pub Log);
    impl AcknowledgingMessageListener<(), String> for Acknowledging {
        async fn on_message(&self, record: Text, ack: Acknowledgment) -> ListenerResult {
            note(&self.0, [record.into_value()], None);
            Ok(ack.acknowledge().await?)
        }
    }

    pub struct ConsumerAware(pub Log);
    impl ConsumerAwareMessageListener<(), String> for ConsumerAware {
        async fn on_message(&self, record: Text, consumer: ConsumerHandle) -> ListenerResult {
            note(&self.0, [record.into_value()], Some(&consumer));
            Ok(())
        }
    }

    pub struct All(pub Log);
    impl AcknowledgingConsumerAwareMessageListener<(), String> for All {
        async fn on_message(&self, record: Text, ack: Acknowledgment, consumer: ConsumerHandle) -> ListenerResult {
            note(&self.0, [record.into_value()], Some(&consumer));
            Ok(ack.acknowledge().await?)
        }
    }

    pub struct OfBatch(pub Log);
    impl BatchMessageListener<Text> for OfBatch {
        async fn on_message(&self, rows: Rows) -> ListenerResult {
            note(&self.0, values(&rows), None);
            Ok(())
        }
    }

    pub struct BatchAcknowledging(pub Log);
    impl BatchAcknowledgingMessageListener<Text> for BatchAcknowledging {
        async fn on_message(&self, rows: Rows, ack: Acknowledgment) -> ListenerResult {
            note(&self.0, values(&rows), None);
            Ok(ack.acknowledge().await?)
        }
    }

    pub struct BatchConsumerAware(pub Log);
    impl BatchConsumerAwareMessageListener<Text> for BatchConsumerAware {
        async fn on_message(&self, rows: Rows, consumer: ConsumerHandle) -> ListenerResult {
            note(&self.0, values(&rows), Some(&consumer));
            Ok(())
        }
    }

    pub struct BatchAll(pub Log);
    impl BatchAcknowledgingConsumerAwareMessageListener<Text> for BatchAll {
        async fn on_message(&self, rows: Rows, ack: Acknowledgment, consumer: ConsumerHandle) -> ListenerResult {
            note(&self.0, values(&rows), Some(&consumer));
            Ok(ack.acknowledge().await?)
        }
    }
}

/// Sends five records to the app's one listener; each comes once, in order, and is committed.
async fn check(name: &str, log: &Log, app: TestApp) {
    let app = app.topic(NewTopic::new("t").partitions(1)).start().await.unwrap();
    for number in 0..5 {
        app.template().send("t", format!("v{number}")).await.unwrap();
    }
    let reached = app.committed("g", "t", 0).reaches(5).await;
    assert!(reached.is_ok(), "{name}: {reached:?}");
    app.shutdown().await.unwrap();
    let expected: Vec<_> = (0..5).map(|number| format!("v{number} true")).collect();
    assert_eq!(log.lines(), expected, "{name}");
}

#[tokio::test(start_paused = true)]
async fn all_eight_as_annotated_functions() {
    let all = listeners![
        annotated::message,
        annotated::acknowledging,
        annotated::consumer_aware,
        annotated::all,
        annotated::batch,
        annotated::batch_acknowledging,
        annotated::batch_consumer_aware,
        annotated::batch_all
    ];
    for endpoint in all {
        let log = Log::default();
        check(endpoint.spec.function, &log, TestApp::new().listeners([endpoint]).state(log.clone())).await;
    }
}

async fn made(listener: impl FnOnce(&Log) -> Listener, mode: AckMode, name: &str) {
    let log = Log::default();
    let listener = listener(&log).topic("t").group_id("g").ack_mode(mode);
    check(name, &log, TestApp::new().listener(listener)).await;
}

#[tokio::test(start_paused = true)]
async fn all_eight_as_structs() {
    use AckMode::{Batch, Manual, ManualImmediate, Record};
    made(|log| Listener::new("l", structs::Message(log.clone())), Record, "Message").await;
    made(|log| Listener::new("l", structs::Acknowledging(log.clone())), Manual, "Acknowledging").await;
    made(|log| Listener::new("l", structs::ConsumerAware(log.clone())), Record, "ConsumerAware").await;
    made(|log| Listener::new("l", structs::All(log.clone())), ManualImmediate, "All").await;
    made(|log| Listener::new("l", structs::OfBatch(log.clone())), Batch, "OfBatch").await;
    made(|log| Listener::new("l", structs::BatchAcknowledging(log.clone())), Manual, "BatchAcknowledging").await;
    made(|log| Listener::new("l", structs::BatchConsumerAware(log.clone())), Batch, "BatchConsumerAware").await;
    made(|log| Listener::new("l", structs::BatchAll(log.clone())), ManualImmediate, "BatchAll").await;
}

/// A closure with these parameters, as a listener: by its extractors, or through the trait of its shape.
macro_rules! closure {
    ($name:literal, $mode:expr, |$log:ident $(, $arg:ident: $kind:ty)*| $body:expr) => {
        made(
            |log| {
                let $log = log.clone();
                Listener::new("l", move |$($arg: $kind),*| {
                    let $log = $log.clone();
                    async move { $body }
                })
            },
            $mode,
            $name,
        )
        .await
    };
}

#[tokio::test(start_paused = true)]
async fn all_eight_as_closures() {
    use AckMode::{Batch, Manual, ManualImmediate, Record};
    closure!("message", Record, |log, record: Text| note(&log, [record.into_value()], None));
    closure!("acknowledging", Manual, |log, record: Text, ack: Acknowledgment| {
        note(&log, [record.into_value()], None);
        ack.acknowledge().await
    });
    closure!("consumer_aware", Record, |log, record: Text, consumer: ConsumerHandle| {
        note(&log, [record.into_value()], Some(&consumer))
    });
    closure!("all", ManualImmediate, |log, record: Text, ack: Acknowledgment, consumer: ConsumerHandle| {
        note(&log, [record.into_value()], Some(&consumer));
        ack.acknowledge().await
    });
    closure!("batch", Batch, |log, rows: Rows| note(&log, values(&rows), None));
    closure!("batch_acknowledging", Manual, |log, rows: Rows, ack: Acknowledgment| {
        note(&log, values(&rows), None);
        ack.acknowledge().await
    });
    closure!("batch_consumer_aware", Batch, |log, rows: Rows, consumer: ConsumerHandle| {
        note(&log, values(&rows), Some(&consumer))
    });
    closure!("batch_all", ManualImmediate, |log, rows: Rows, ack: Acknowledgment, consumer: ConsumerHandle| {
        note(&log, values(&rows), Some(&consumer));
        ack.acknowledge().await
    });
}

/// A closure is a value of its trait: code that takes `impl MessageListener` takes it.
fn through_the_trait<L: MessageListener<(), String>>(listener: L) -> L {
    listener
}

#[tokio::test(start_paused = true)]
async fn a_closure_implements_the_trait_of_its_shape() {
    let log = Log::default();
    let seen = log.clone();
    let listener: FnListener<_> = through_the_trait(from_fn(move |record: Text| {
        let seen = seen.clone();
        async move { note(&seen, [record.into_value()], None) }
    }));
    let listener = Listener::new("l", listener).topic("t").group_id("g");
    check("from_fn", &log, TestApp::new().listener(listener)).await;
}
