use std::time::Duration;

use bytes::Bytes;
use kafka_listener::container::EventKind;
use kafka_listener::extract::HeaderName;
use kafka_listener::prelude::*;
use kafka_listener::testing::TestApp;

use crate::support::*;

type Raw = ConsumerRecord<Option<Bytes>, Option<Bytes>>;

/// Everything of a record: key, value and headers, as they are.
fn show(record: &Raw) -> String {
    let headers: Vec<_> = record.headers().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{:?} {:?} {}", record.key(), record.value(), headers.join(" "))
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_the_record_byte_by_byte_with_springs_headers() {
    let (log, original) = (Log::default(), Log::default());
    let (seen, seen_original) = (log.clone(), original.clone());
    let failing = Listener::new("l", move |record: Raw| {
        seen_original.push(show(&record));
        async { Err::<(), _>(StoreDown) }
    });
    let dead = Listener::new("d", move |record: Raw| {
        seen.push(format!("{} {}", record.partition(), record.raw().timestamp()));
        seen.push(show(&record));
        async {}
    });
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 0)).dead_letters(DeadLetters::to_suffix("-dlt"));
    let app = app(2, factory().error_handler(handler), failing)
        .topic(NewTopic::new("t-dlt").partitions(2))
        .listener(dead.topic("t-dlt").group_id("d"))
        .start()
        .await
        .unwrap();
    let at = 1_700_000_000_123;
    let bytes = Bytes::from_static(&[0, 0xff, b'{', 0x80]);
    let record = ProducerRecord::new("t", bytes.clone()).key(bytes).partition(1).header("h", &[0xfe, 0][..]).header("h", "again");
    app.template().send_record(record.timestamp(Timestamp::from_millis(at))).await.unwrap();
    start(&app, "l").await;
    app.committed("d", "t-dlt", 1).reaches(1).await.unwrap();
    app.committed("g", "t", 1).reaches(1).await.unwrap();
    app.shutdown().await.unwrap();

    let lines = log.lines();
    let before = original.lines().remove(0);
    assert!(lines[1].starts_with(&before), "{}\nis not the start of\n{}", before, lines[1]);
    let number = |value: &[u8]| format!("{:?}", Some(value));
    let added = [
        ("kafka_dlt-original-topic", number(b"t")),
        ("kafka_dlt-original-partition", number(&1_i32.to_be_bytes())),
        ("kafka_dlt-original-offset", number(&0_i64.to_be_bytes())),
        ("kafka_dlt-original-timestamp", number(&i64::to_be_bytes(at))),
        ("kafka_dlt-original-timestamp-type", number(b"CreateTime")),
        ("kafka_dlt-original-consumer-group", number(b"g")),
        ("kafka_dlt-exception-fqcn", number(b"StoreDown")),
        ("kafka_dlt-exception-message", number(b"the store is down")),
        ("kafka_dlt-exception-stacktrace", number(b"the store is down")),
    ];
    let added: Vec<_> = added.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(lines[1][before.len()..].trim_start(), added.join(" "));
    assert!(lines[0].starts_with("1 "), "the same partition: {}", lines[0]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_and_the_worker_goes_on() {
    for batch in [false, true] {
        let log = Log::default();
        let seen = log.clone();
        let listener = if batch {
            Listener::new("l", move |rows: Rows| {
                let seen = seen.clone();
                async move {
                    seen.push("call");
                    assert!(seen.len() > 2, "no luck {}", rows.len());
                }
            })
        } else {
            Listener::new("l", move |_: String| {
                seen.push("call");
                // In the call itself, not in its future.
                assert!(seen.len() > 2, "no luck");
                async {}
            })
        };
        let app = app(1, factory(), listener).start().await.unwrap();
        let mut events = app.events();
        send(&app, "t", 0, 1).await;
        start(&app, "l").await;
        app.committed("g", "t", 0).reaches(1).await.unwrap();
        for attempt in 1..=2 {
            let error = event(&mut events, "a failure", |_, kind| match kind {
                EventKind::ListenerFailed { attempt: found, error, .. } if *found == attempt => Some(error.clone()),
                _ => None,
            });
            assert!(error.await.contains("no luck"), "batch {batch}");
        }
        assert_eq!(log.len(), 3);
        send(&app, "t", 0, 1).await;
        app.committed("g", "t", 0).reaches(2).await.unwrap();
        app.shutdown().await.unwrap();
    }
}

/// A failure that cannot pass.
#[derive(Debug, thiserror::Error)]
#[error("declined")]
struct Declined;

#[derive(Debug, thiserror::Error)]
#[error("not billed")]
struct NotBilled(#[source] Declined);

/// Names a header that the record does not have.
struct Tenant;

impl HeaderName for Tenant {
    const NAME: &'static str = "tenant";
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_is_given_up_at_once() {
    let row: [(&str, Listener); 3] = [
        ("a payload that does not decode", Listener::new("l", |_: Json<u64>| async {})),
        ("a header that is not there", Listener::new("l", |_: Header<Tenant, String>, _: String| async {})),
        ("an error said to be so, in its chain", Listener::new("l", |_: String| async { Err::<(), _>(NotBilled(Declined)) })),
    ];
    for (what, listener) in row {
        let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(3600), 9)).not_retryable::<Declined>();
        let app = app(1, factory().error_handler(handler), listener).start().await.unwrap();
        let mut events = app.events();
        send(&app, "t", 0, 1).await;
        let before = tokio::time::Instant::now();
        start(&app, "l").await;
        let reached = app.committed("g", "t", 0).reaches(1).await;
        assert!(reached.is_ok(), "{what}: {reached:?}");
        assert!(before.elapsed() < Duration::from_secs(60), "{what}");
        let attempt = event(&mut events, "the failure", |_, kind| match kind {
            EventKind::ListenerFailed { attempt, .. } => Some(*attempt),
            _ => None,
        });
        assert_eq!(attempt.await, 1, "{what}");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_by_failure_ends_the_app_with_an_error_that_names_it() {
    let builder = KafkaApp::builder()
        .environment([])
        .embedded(Embedded::memory().virtual_time(1_767_225_600_000).seed(1))
        .property("auto.offset.reset", "earliest")
        .handle_signals(false)
        .listeners([])
        .topic(NewTopic::new("t").partitions(1));
    let bad = Listener::new("billing", |_: String| async { Err::<(), _>(StoreDown) });
    let log = Log::default();
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 0))
        .dead_letters(DeadLetters::to_topic("t"))
        .recovery_attempts(3);
    let app = builder
        .factory(factory().error_handler(handler))
        .listener(bad.topic("t").container_factory("f"))
        .listener(logging("other", &log).topic("t"))
        .start()
        .await
        .unwrap();
    app.template().send("t", "v".to_owned()).await.unwrap();
    let mut events = app.events();
    let (ended, reason, other) = tokio::join!(app.wait(), stopped(&mut events, "billing"), async {});
    let () = other;
    let error = ended.unwrap_err().to_string();
    assert!(error.starts_with("listener 'billing' stopped: ") && error.contains("t-0@0"), "{error}");
    assert!(error.contains(&reason.to_string()), "{error} says not: {reason}");
    assert_eq!(log.len(), 1, "the other one had worked");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_in_the_log_before_its_record_is_done() {
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 0)).dead_letters(DeadLetters::to_suffix("-dlt"));
    for mode in AckMode::ALL {
        let settings = factory().error_handler(handler.clone()).ack_count(1).ack_time(Duration::from_secs(1));
        let listener = if mode.is_manual() {
            Listener::new("l", |_: String, _: Acknowledgment| async { Err::<(), _>(StoreDown) })
        } else {
            Listener::new("l", |_: String| async { Err::<(), _>(StoreDown) })
        };
        let app = app(1, settings, listener.ack_mode(mode)).topic(NewTopic::new("t-dlt").partitions(1));
        let app = app.start().await.unwrap();
        send(&app, "t", 0, 3).await;
        start(&app, "l").await;
        for offset in 1..=3 {
            app.committed("g", "t", 0).reaches(offset).await.unwrap();
            let done = app.committed("g", "t", 0).get().await.unwrap().unwrap();
            let (_, end) = app.admin().offsets(&TopicPartition::new("t-dlt", 0)).await.unwrap();
            assert!(end >= done, "{mode}: {done} done, {end} dead letters");
        }
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_go_to_a_topic_that_is_made_when_it_is_not_there() {
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 0)).dead_letters(DeadLetters::to_suffix("-dlt"));
    let listener = Listener::new("l", |_: String| async { Err::<(), _>(StoreDown) }).topic("t").group_id("g");
    let app = TestApp::new()
        .topic(NewTopic::new("t").partitions(3))
        .factory(factory().error_handler(handler))
        .listener(listener.container_factory("f"))
        .start()
        .await
        .unwrap();
    send(&app, "t", 2, 1).await;
    app.committed("g", "t", 2).reaches(1).await.unwrap();
    let topic = app.admin().topic("t-dlt").await.unwrap().expect("the dead letter topic");
    let mut letters = 0;
    for partition in 0..topic.partitions {
        letters += app.admin().offsets(&TopicPartition::new("t-dlt", partition)).await.unwrap().1;
    }
    assert_eq!(letters, 1);
    app.shutdown().await.unwrap();
}
