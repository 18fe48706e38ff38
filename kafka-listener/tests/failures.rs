//! What becomes of records that a listener fails on, end to end on the embedded broker under a paused clock.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_listener::container::EventKind;
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

#[derive(Debug, thiserror::Error)]
#[error("the store is down")]
struct StoreDown;

type Rows = Batch<ConsumerRecord<(), String>>;
type Log = Arc<Mutex<Vec<String>>>;

/// `partition:offset` of each element.
fn places(rows: &Rows) -> String {
    rows.iter().map(|row| format!("{}:{}", row.partition(), row.offset())).collect::<Vec<_>>().join(" ")
}

/// An app whose listener `l` starts when all records are there, so that they come as one batch.
async fn app(listener: Listener, partitions: i32, factory: ContainerFactory) -> RunningTestApp {
    let listener = listener.topic("t").group_id("g").auto_startup(false).container_factory(factory.name());
    TestApp::new()
        .topic(NewTopic::new("t").partitions(partitions))
        .topic(NewTopic::new("t-dlt").partitions(partitions))
        .factory(factory)
        .listener(listener)
        .start()
        .await
        .unwrap()
}

async fn send(app: &RunningTestApp, partition: i32, count: usize) {
    for _ in 0..count {
        app.template().send_to("t", partition, (), "v".to_owned()).await.unwrap();
    }
}

async fn start(app: &RunningTestApp) {
    app.registry().get("l").unwrap().start().await.unwrap();
}

fn factory(handler: DefaultErrorHandler) -> ContainerFactory {
    ContainerFactory::named("f").error_handler(handler)
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_always_fails_is_delivered_ten_times_and_then_given_up() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |rows: Rows| {
        seen.lock().unwrap().push(places(&rows));
        async { Err::<(), _>(StoreDown) }
    });
    let app = app(listener, 1, factory(DefaultErrorHandler::default())).await;
    send(&app, 0, 3).await;
    start(&app).await;
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(*log.lock().unwrap(), vec!["0:0 0:1 0:2"; 10]);
}

#[tokio::test(start_paused = true)]
async fn errors_of_alternating_kinds_do_not_retry_for_ever() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let listener = Listener::new("l", move |_: String| {
        let call = counted.fetch_add(1, SeqCst);
        async move {
            let error =
                if call.is_multiple_of(2) { ListenerError::from(StoreDown) } else { ListenerError::from(std::fmt::Error) };
            Err::<(), _>(error)
        }
    });
    let app = app(listener, 1, factory(DefaultErrorHandler::default())).await;
    send(&app, 0, 1).await;
    start(&app).await;
    app.committed("g", "t", 0).reaches(1).await.unwrap();
    app.shutdown().await.unwrap();
    // The second kind starts the count anew, once.
    assert_eq!(calls.load(SeqCst), 11);
}

#[tokio::test(start_paused = true)]
async fn a_retried_batch_that_then_names_its_element_stalls_no_partition() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |rows: Rows| {
        let call = {
            let mut log = seen.lock().unwrap();
            log.push(places(&rows));
            log.len()
        };
        async move {
            match call {
                1 => Err(ListenerError::from(StoreDown)),
                // The last element: nothing is put back behind it, and its partition's neighbour is done.
                2 => Err(BatchError::at(rows.len() - 1, StoreDown).into()),
                _ => Ok(()),
            }
        }
    });
    let app = app(listener, 2, factory(DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 3)))).await;
    send(&app, 0, 2).await;
    send(&app, 1, 2).await;
    start(&app).await;
    for partition in 0..2 {
        app.committed("g", "t", partition).reaches(2).await.unwrap();
        send(&app, partition, 1).await;
        app.committed("g", "t", partition).reaches(3).await.unwrap();
    }
    app.shutdown().await.unwrap();
    assert_eq!(log.lock().unwrap()[..3], ["0:0 0:1 1:0 1:1", "0:0 0:1 1:0 1:1", "1:1"].map(str::to_owned));
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_listener_acknowledged_before_it_failed_does_not_come_again() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |rows: Rows, acknowledgment: Acknowledgment| {
        let first = {
            let mut log = seen.lock().unwrap();
            log.push(places(&rows));
            log.len() == 1
        };
        async move {
            if first {
                acknowledgment.acknowledge_up_to(3).await.unwrap();
                return Err(ListenerError::from(BatchError::at(1, StoreDown)));
            }
            acknowledgment.acknowledge().await.unwrap();
            Ok(())
        }
    })
    .ack_mode(AckMode::Manual);
    let app = app(listener, 1, factory(DefaultErrorHandler::default())).await;
    send(&app, 0, 6).await;
    start(&app).await;
    app.committed("g", "t", 0).reaches(6).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["0:0 0:1 0:2 0:3 0:4 0:5", "0:4 0:5"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_back_off_ends_while_it_is_paused_waits_quietly() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |rows: Rows| {
        let first = {
            let mut log = seen.lock().unwrap();
            log.push(places(&rows));
            log.len() == 1
        };
        async move { if first { Err(StoreDown) } else { Ok(()) } }
    });
    let app = app(listener, 1, factory(DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(1), 3)))).await;
    send(&app, 0, 2).await;
    start(&app).await;
    app.wait_for("the first call", || !log.lock().unwrap().is_empty()).await.unwrap();
    let container = app.registry().get("l").unwrap();
    container.pause();
    // Were the worker busy, the paused clock would never get here.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(log.lock().unwrap().len(), 1);
    container.resume();
    app.committed("g", "t", 0).reaches(2).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(*log.lock().unwrap(), vec!["0:0 0:1"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_a_whole_batch_names_the_listeners_own_error() {
    let headers = Log::default();
    let seen = headers.clone();
    let dead = Listener::new("dead", move |record: ConsumerRecord<(), String>| {
        let text = |name: &str| {
            let value = record.raw().header(name).flatten();
            value.map_or_else(|| "none".to_owned(), |value| String::from_utf8_lossy(value).into_owned())
        };
        seen.lock().unwrap().push(format!(
            "{} | {} | {} | {}",
            record.offset(),
            text("kafka_dlt-exception-fqcn"),
            text("kafka_dlt-exception-message"),
            text("kafka_dlt-exception-stacktrace")
        ));
        async {}
    });
    let failing = Listener::new("l", |_: Rows| async { Err::<(), _>(StoreDown) });
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 1)).dead_letters(DeadLetters::to_suffix("-dlt"));
    let app = TestApp::new()
        .topic(NewTopic::new("t").partitions(1))
        .topic(NewTopic::new("t-dlt").partitions(1))
        .factory(factory(handler))
        .listener(failing.topic("t").group_id("g").auto_startup(false).container_factory("f"))
        .listener(dead.topic("t-dlt").group_id("d"))
        .start()
        .await
        .unwrap();
    send(&app, 0, 2).await;
    start(&app).await;
    app.committed("d", "t-dlt", 0).reaches(2).await.unwrap();
    app.shutdown().await.unwrap();
    let expected = |offset| format!("{offset} | StoreDown | the store is down | the store is down");
    assert_eq!(*headers.lock().unwrap(), [expected(0), expected(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_recoverer_has_a_budget_and_then_the_container_stops_with_the_reason() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let listener = Listener::new("l", move |_: String| {
        counted.fetch_add(1, SeqCst);
        async { Err::<(), _>(StoreDown) }
    });
    // Its own topic is no place for a dead letter: it would come back for ever.
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 1))
        .dead_letters(DeadLetters::to_topic("t"))
        .recovery_attempts(2);
    let app = app(listener, 1, factory(handler)).await;
    let mut events = app.events();
    send(&app, 0, 1).await;
    start(&app).await;
    let mut failed = 0;
    let reason = loop {
        match &events.next().await.expect("the app runs").kind {
            EventKind::RecoveryFailed { .. } => failed += 1,
            EventKind::Stopped { reason } => break reason.clone(),
            _ => {}
        }
    };
    assert_eq!(failed, 2);
    let reason = format!("{reason:?}");
    assert!(reason.contains("t-0@0") && reason.contains("its own topic"), "{reason}");
    // Two deliveries for the back-off, one more for the second try at recovery.
    assert_eq!(calls.load(SeqCst), 3);
    assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn one_partition_waits_out_its_back_off_and_the_others_flow() {
    let log = Log::default();
    let seen = log.clone();
    let started = tokio::time::Instant::now();
    let listener = Listener::new("l", move |row: ConsumerRecord<(), String>, DeliveryAttempt(attempt): DeliveryAttempt| {
        let seconds = started.elapsed().as_secs();
        seen.lock().unwrap().push(format!("{}:{}#{attempt} {seconds}s", row.partition(), row.offset()));
        async move { if row.partition() == 0 && row.offset() == 1 && attempt < 3 { Err(StoreDown) } else { Ok(()) } }
    });
    let app = app(listener, 2, factory(DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(10), 5)))).await;
    send(&app, 0, 3).await;
    send(&app, 1, 2).await;
    start(&app).await;
    app.committed("g", "t", 1).reaches(2).await.unwrap();
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    app.shutdown().await.unwrap();
    let log = log.lock().unwrap();
    let of = |partition: &str| log.iter().filter(|line| line.starts_with(partition)).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("1:"), ["1:0#1 0s", "1:1#1 0s"]);
    assert_eq!(of("0:"), ["0:0#1 0s", "0:1#1 0s", "0:1#2 10s", "0:1#3 20s", "0:2#1 20s"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_decode_blocks_nothing_and_is_dead_lettered_as_it_came() {
    for batch in [false, true] {
        let log = Log::default();
        let (seen, dead_seen) = (log.clone(), log.clone());
        let listener = if batch {
            Listener::new("l", move |rows: Batch<(Json<u64>, Offset)>| {
                let numbers: Vec<_> = rows.iter().map(|(number, offset)| format!("{}@{}", number.0, offset.0)).collect();
                seen.lock().unwrap().extend(numbers);
                async {}
            })
        } else {
            Listener::new("l", move |Json(number): Json<u64>, Offset(offset): Offset| {
                seen.lock().unwrap().push(format!("{number}@{offset}"));
                async {}
            })
        };
        let dead = Listener::new("dead", move |row: ConsumerRecord<(), String>| {
            dead_seen.lock().unwrap().push(format!("dead {}", row.value()));
            async {}
        });
        let handler = DefaultErrorHandler::default().dead_letters(DeadLetters::to_suffix("-dlt"));
        let app = TestApp::new()
            .topic(NewTopic::new("t").partitions(1))
            .topic(NewTopic::new("t-dlt").partitions(1))
            .factory(factory(handler))
            .listener(listener.topic("t").group_id("g").auto_startup(false).container_factory("f"))
            .listener(dead.topic("t-dlt").group_id("d"))
            .start()
            .await
            .unwrap();
        for text in ["1", "no number", "2", "{", "3"] {
            app.template().send("t", text.to_owned()).await.unwrap();
        }
        start(&app).await;
        app.committed("g", "t", 0).reaches(5).await.unwrap();
        app.committed("d", "t-dlt", 0).reaches(2).await.unwrap();
        app.shutdown().await.unwrap();
        let mut log = log.lock().unwrap().clone();
        log.sort();
        assert_eq!(log, ["1@0", "2@2", "3@4", "dead no number", "dead {"], "batch {batch}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_nack_in_a_batch_commits_what_came_before_and_delivers_the_rest_after_the_sleep() {
    let log = Log::default();
    let seen = log.clone();
    let started = tokio::time::Instant::now();
    let listener = Listener::new("l", move |rows: Rows, acknowledgment: Acknowledgment| {
        let first = {
            let mut log = seen.lock().unwrap();
            log.push(format!("{} {}s", places(&rows), started.elapsed().as_secs()));
            log.len() == 1
        };
        async move { if first { acknowledgment.nack_at(3, Duration::from_secs(5)) } else { acknowledgment.acknowledge().await } }
    })
    .ack_mode(AckMode::Manual);
    let app = app(listener, 1, factory(DefaultErrorHandler::default())).await;
    send(&app, 0, 5).await;
    start(&app).await;
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), Some(3));
    app.committed("g", "t", 0).reaches(5).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["0:0 0:1 0:2 0:3 0:4 0s", "0:3 0:4 5s"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_error_handler_commits_what_is_done_and_leaves_the_failed_record() {
    let listener = Listener::new("l", |_: String, Offset(offset): Offset| async move {
        assert_ne!(offset, 2, "a panic is an error like any other");
    });
    let stopping = ContainerFactory::named("f").error_handler(CommonContainerStoppingErrorHandler);
    let app = app(listener, 1, stopping).await;
    let mut events = app.events();
    send(&app, 0, 4).await;
    start(&app).await;
    let reason = loop {
        if let EventKind::Stopped { reason } = &events.next().await.expect("the app runs").kind {
            break format!("{reason:?}");
        }
    };
    assert!(reason.contains("t-0@2") && reason.contains("a panic is an error"), "{reason}");
    assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_recovered_record_is_done_in_every_mode() {
    for mode in AckMode::ALL {
        for async_acks in [false, true] {
            if async_acks && !mode.is_manual() {
                continue;
            }
            let settings = factory(DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 1)))
                .async_acks(async_acks)
                .ack_count(2)
                .ack_time(Duration::from_secs(1));
            let listener = if mode.is_manual() {
                Listener::new("l", |_: String, Offset(offset): Offset, acknowledgment: Acknowledgment| async move {
                    if offset == 1 {
                        return Err(StoreDown);
                    }
                    drop(acknowledgment.acknowledge());
                    Ok(())
                })
            } else {
                Listener::new("l", |_: String, Offset(offset): Offset| async move {
                    if offset == 1 { Err(StoreDown) } else { Ok(()) }
                })
            };
            let app = app(listener.ack_mode(mode), 1, settings).await;
            send(&app, 0, 3).await;
            start(&app).await;
            let reached = app.committed("g", "t", 0).reaches(3).await;
            assert!(reached.is_ok(), "{mode}, async {async_acks}: {reached:?}");
            app.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_a_back_off_is_quick_and_the_count_starts_anew() {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = attempts.clone();
    let listener = Listener::new("l", move |_: String, DeliveryAttempt(attempt): DeliveryAttempt| {
        let mut seen = seen.lock().unwrap();
        seen.push(attempt);
        let ok = seen.len() == 3;
        async move { if ok { Ok(()) } else { Err(StoreDown) } }
    });
    let app = app(listener, 1, factory(DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(3600), 5)))).await;
    send(&app, 0, 1).await;
    for calls in 1..=3 {
        start(&app).await;
        app.wait_for("a call", || attempts.lock().unwrap().len() == calls).await.unwrap();
        let before = tokio::time::Instant::now();
        app.registry().get("l").unwrap().stop().await;
        assert!(before.elapsed() < Duration::from_secs(60), "it waited for the back-off");
    }
    assert_eq!(*attempts.lock().unwrap(), [1, 1, 1]);
    assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), Some(1));
    app.shutdown().await.unwrap();
}
