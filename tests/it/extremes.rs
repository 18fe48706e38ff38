use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use kafka_listener::client::BoxFuture;
use kafka_listener::container::{EventKind, StopReason};
use kafka_listener::error::{BoxError, ErrorDecision, ErrorHandler, Failure, FixedBackOff, RecoverContext, Recoverer};
use kafka_listener::layer::RecordFilterLayer;
use kafka_listener::prelude::*;

use crate::support::*;

/// The container lives: it takes what comes in the other partition.
async fn goes_on(app: &kafka_listener::testing::RunningTestApp) {
    send(app, "t", 1, 1).await;
    app.committed("g", "t", 1).reaches(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_end_is_no_overflow() {
    let forever = Duration::MAX;
    let settings = || {
        factory()
            .poll_timeout(forever)
            .shutdown_timeout(forever)
            .poll_error_back_off(forever)
            .sync_commit_timeout(forever)
            .idle_event_interval(forever)
            .idle_partition_event_interval(forever)
            .lag_event_interval(forever)
    };
    let by_hand = |async_acks: bool| {
        let listener = Listener::new("l", move |record: ConsumerRecord<(), String>, ack: Acknowledgment| async move {
            match record.partition() {
                0 if async_acks => drop(ack),
                0 => ack.nack(Duration::MAX)?,
                _ => ack.acknowledge().await?,
            }
            ListenerResult::Ok(())
        });
        listener.ack_mode(AckMode::ManualImmediate)
    };
    let fails = Listener::new("l", |record: ConsumerRecord<(), String>| async move {
        if record.partition() == 0 { Err(StoreDown) } else { Ok(()) }
    });
    let retries = || DefaultErrorHandler::new(FixedBackOff::new(Duration::MAX, 3));
    for (listener, factory) in [
        (by_hand(false), settings()),
        (by_hand(true), settings().async_acks(true).ack_timeout(forever)),
        (fails, settings().error_handler(retries())),
        (logging("l", &Log::default()), settings().ack_mode(AckMode::Time).ack_time(forever)),
    ] {
        let timed = format!("{factory:?}").contains("Some(Time)");
        let app = app(2, factory, listener).with(|app| app.shutdown_timeout(forever)).start().await.unwrap();
        send(&app, "t", 0, 1).await;
        start(&app, "l").await;
        if timed {
            send(&app, "t", 1, 1).await;
            pass(Duration::from_secs(60)).await;
        } else {
            goes_on(&app).await;
        }
        let container = app.registry().get("l").unwrap().clone();
        assert!(container.is_running(), "{:?}", container.state());
        container.stop_immediate().await;
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_layer_is_an_error_like_any_other() {
    let log = Log::default();
    let picky = factory().layer(RecordFilterLayer::keep(|record| {
        assert!(record.topic_partition.partition == 1, "nobody expected that");
        true
    }));
    let app = app(2, picky, logging("l", &log)).start().await.unwrap();
    let mut events = app.events();
    start(&app, "l").await;
    send(&app, "t", 0, 1).await;
    let told = event(&mut events, "the failure", |_, kind| match kind {
        EventKind::ListenerFailed { error, .. } => Some(error.clone()),
        EventKind::Stopped { reason } => Some(reason.to_string()),
        _ => None,
    });
    assert_eq!(told.await, "the listener panicked: nobody expected that");
    app.committed("g", "t", 0).reaches(1).await.unwrap();
    goes_on(&app).await;
    app.shutdown().await.unwrap();
}

/// Panics where it is told to.
struct Clumsy {
    decides: bool,
}

impl ErrorHandler for Clumsy {
    fn handle(&self, _: &Failure<'_>) -> ErrorDecision {
        assert!(self.decides, "cannot decide");
        ErrorDecision::Recover
    }

    fn recover<'a>(&'a self, _: &'a RecoverContext, _: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async { panic!("cannot recover") })
    }
}

impl Recoverer for Clumsy {
    fn recover<'a>(&'a self, _: &'a RecoverContext, _: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        panic!("cannot recover")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_error_handler_stops_the_container_in_order_and_says_so() {
    let failing = || {
        Listener::new("l", |record: ConsumerRecord<(), String>| async move {
            if record.offset() == 1 { Err(StoreDown) } else { Ok(()) }
        })
    };
    let recoverer = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 0)).recoverer(Clumsy { decides: true });
    for (factory, expected) in [
        (factory().error_handler(Clumsy { decides: false }), "t-0@1: the error handler panicked: cannot decide"),
        (
            factory().error_handler(Clumsy { decides: true }),
            "t-0@1: recovering failed 3 times, the last time: it panicked: cannot recover",
        ),
        (factory().error_handler(recoverer), "t-0@1: recovering failed 3 times, the last time: it panicked: cannot recover"),
    ] {
        let app = app(1, factory, failing()).start().await.unwrap();
        let mut events = app.events();
        send(&app, "t", 0, 3).await;
        start(&app, "l").await;
        assert_eq!(stopped(&mut events, "l").await, StopReason::ErrorHandler(expected.to_owned()));
        app.wait_for("the end", || app.registry().get("l").unwrap().assignment().is_empty()).await.unwrap();
        assert_eq!(committed(&app, 0).await, "1", "what was done is committed");
        app.shutdown().await.unwrap_err();
    }
}

#[tokio::test]
async fn a_shutdown_that_is_dropped_is_finished_by_the_next() {
    for polls in 0..200 {
        let dir = tempfile::tempdir().unwrap();
        let app = KafkaApp::builder()
            .environment([])
            .listeners([])
            .handle_signals(false)
            .embedded(Embedded::dir(dir.path()))
            .topic(NewTopic::new("t").partitions(1))
            .listener(logging("l", &Log::default()).topic("t").group_id("g"))
            .start()
            .await
            .unwrap();
        drop(app.template().send("t", "v".to_owned()));
        let mut ended = false;
        {
            let mut shutdown = std::pin::pin!(app.shutdown());
            for _ in 0..polls {
                if shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    ended = true;
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        app.shutdown().await.unwrap();
        let clean = dir.path().join(".kafka_cleanshutdown").exists();
        assert!(clean, "dropped after {polls} polls, the second shutdown did not close the broker");
        if ended {
            return;
        }
    }
    panic!("the shutdown does not end");
}

#[tokio::test]
async fn an_app_that_is_dropped_stops_its_listeners_and_lets_go_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::default();
    let describe = || {
        let app = KafkaApp::builder().environment([]).listeners([]).handle_signals(false).embedded(Embedded::dir(dir.path()));
        app.property("auto.offset.reset", "earliest").topic(NewTopic::new("t").partitions(1))
    };
    let app = describe().listener(logging("l", &log).topic("t").group_id("g")).start().await.unwrap();
    let container = app.registry().get("l").unwrap().clone();
    app.template().send("t", "v".to_owned()).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while app.committed("g", "t", 0).await.unwrap() != Some(1) {
        assert!(tokio::time::Instant::now() < deadline, "still waiting for the first commit");
        tokio::task::yield_now().await;
    }
    drop(app);
    tokio::time::timeout_at(deadline, container.ended()).await.expect("its listeners end");
    container.start().await.unwrap_err();
    drop(container);
    let again = loop {
        match describe().start().await {
            Ok(app) => break app,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still waiting for the folder: {error}"),
        }
        tokio::task::yield_now().await;
    };
    again.template().send("t", "v".to_owned()).await.unwrap();
    again.shutdown().await.unwrap();
    assert_eq!(log.lines(), ["0:0"], "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_leaves_nobody_behind() {
    let broker = broker_core::Broker::builder().clock(std::sync::Arc::new(broker_core::TokioClock::new(0))).open().unwrap();
    let log = Log::default();
    for polls in 0..200 {
        let app = KafkaApp::builder().environment([]).listeners([]).handle_signals(false);
        let app = app.embedded(Embedded::shared(broker.clone())).property("auto.offset.reset", "earliest");
        let app = app.topic(NewTopic::new("t").partitions(1)).listen("127.0.0.1:0");
        let app = app.listener(logging("l", &log).topic("t").group_id("g"));
        let started = {
            let mut start = std::pin::pin!(app.start());
            let mut started = None;
            for _ in 0..polls {
                if let std::task::Poll::Ready(app) = start.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    started = Some(app.unwrap());
                    break;
                }
                tokio::task::yield_now().await;
            }
            started
        };
        let ended = started.is_some();
        drop(started);
        pass(Duration::from_secs(60)).await;
        let members = broker.describe_group("g").map_or(0, |group| group.members.len());
        assert_eq!(members, 0, "dropped after {polls} polls");
        if ended {
            return;
        }
    }
    panic!("the start does not end");
}
