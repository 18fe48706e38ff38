//! One scripted case for each way in which other frameworks lost, repeated or stalled records.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::storage::MemoryDisk;
use broker_core::{Broker, TokioClock};
use kafka_listener::container::{ConcurrentListenerContainer, ContainerState, EventKind, EventStream, StopReason};
use kafka_listener::layer::RecordFilterLayer;
use kafka_listener::listener::AckErrorKind;
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

use super::handler::Simulated;
use super::model::sleep_ms;
use super::scenario::read;

/// Container, partition, offset and attempt of each call, in order.
type Calls = Arc<Mutex<Vec<(String, i32, i64, u32)>>>;

#[derive(Clone, Default)]
struct Log(Calls);

impl Log {
    fn add(&self, delivery: &Delivery) -> (i32, i64, u32) {
        let one = delivery.single().expect("a record listener");
        let place = (one.topic_partition.partition, one.record.offset(), one.attempt);
        self.0.lock().unwrap().push((delivery.listener_id().to_string(), place.0, place.1, place.2));
        place
    }

    fn all(&self) -> Vec<(String, i32, i64, u32)> {
        self.0.lock().unwrap().clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn places(&self) -> Vec<(i32, i64)> {
        self.all().into_iter().map(|(_, partition, offset, _)| (partition, offset)).collect()
    }
}

/// What a call does after it was logged.
type Then = for<'r> fn(&'r Delivery, (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'r, ListenerResult>;

fn fine(_: &Delivery, _: (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
    Box::pin(async { Ok(()) })
}

fn slow(_: &Delivery, _: (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
    Box::pin(async {
        sleep_ms(10).await;
        Ok(())
    })
}

fn fails(_: &Delivery, _: (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
    Box::pin(async { Err(Simulated.into()) })
}

fn listener(id: &str, log: &Log, then: Then) -> Listener {
    let log = log.clone();
    let handler = raw_boxed(move |delivery| {
        let place = log.add(delivery);
        then(delivery, place)
    });
    Listener::new(id, handler).topic("t").group_id("g").batch(false).container_factory("f")
}

fn factory() -> ContainerFactory {
    ContainerFactory::named("f").shutdown_timeout(Duration::from_secs(2))
}

/// Container `l` runs; `m`, in the same group, may be started to make a rebalance.
async fn pair(partitions: i32, factory: ContainerFactory, log: &Log, then: Then, mode: AckMode) -> RunningTestApp {
    TestApp::new()
        .topic(NewTopic::new("t").partitions(partitions))
        .topic(NewTopic::new("t-dlt").partitions(partitions))
        .factory(factory)
        .listener(listener("l", log, then).ack_mode(mode))
        .listener(listener("m", log, then).ack_mode(mode).auto_startup(false))
        .start()
        .await
        .unwrap()
}

fn container<'a>(app: &'a RunningTestApp, id: &str) -> &'a ConcurrentListenerContainer {
    app.registry().get(id).unwrap()
}

async fn send(app: &RunningTestApp, partition: i32, count: usize) {
    let sends: Vec<_> = (0..count).map(|at| app.template().send_to("t", partition, (), format!("v{at}"))).collect();
    for sent in sends {
        sent.await.unwrap();
    }
}

/// The events until now.
async fn told(events: &mut EventStream) -> Vec<(String, EventKind)> {
    let mut all = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        all.push((event.listener_id.to_string(), event.kind.clone()));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn b01_what_was_fetched_ahead_ends_with_the_assignment() {
    let log = Log::default();
    let app = pair(2, factory(), &log, slow, AckMode::Record).await;
    send(&app, 0, 50).await;
    send(&app, 1, 50).await;
    app.wait_for("the first records", || log.len() > 5).await.unwrap();
    container(&app, "m").start().await.unwrap();
    for partition in 0..2 {
        app.committed("g", "t", partition).reaches(50).await.unwrap();
    }
    let (calls, mut places) = (log.all(), log.places());
    let one = |id: &str, partition| calls.iter().filter(|call| call.0 == id && call.1 == partition).count();
    assert!(one("l", 0) + one("l", 1) < 100, "nothing moved to the new member");
    places.sort();
    let all: Vec<_> = (0..2).flat_map(|partition| (0..50).map(move |offset| (partition, offset))).collect();
    assert_eq!(places, all, "each record once");
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b02_any_order_and_any_repetition_of_acks_commits_the_lowest_unfinished() {
    let held: Arc<Mutex<Vec<Acknowledgment>>> = Arc::default();
    let keep = held.clone();
    let listener = Listener::new("l", move |_: String, acknowledgment: Acknowledgment| {
        keep.lock().unwrap().push(acknowledgment);
        async {}
    });
    let listener = listener.topic("t").group_id("g").ack_mode(AckMode::Manual).container_factory("f");
    let factory = factory().async_acks(true);
    let app = TestApp::new().topic(NewTopic::new("t").partitions(1)).factory(factory).listener(listener).start().await.unwrap();
    send(&app, 0, 6).await;
    app.wait_for("all records", || held.lock().unwrap().len() == 6).await.unwrap();
    let acks = held.lock().unwrap().clone();
    for (ack, lowest) in
        [(1, None), (1, None), (3, None), (0, Some(2)), (0, Some(2)), (3, Some(2)), (2, Some(4)), (5, Some(4)), (4, Some(6))]
    {
        acks[ack].acknowledge().await.unwrap();
        sleep_ms(6000).await;
        assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), lowest, "after the ack of {ack}");
    }
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b03_offsets_that_were_never_delivered_block_nothing() {
    fn jumps(
        delivery: &Delivery,
        (partition, offset, _): (i32, i64, u32),
    ) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
        Box::pin(async move {
            let place = TopicPartition::new("t", partition);
            if offset == 1 {
                delivery.consumer().unwrap().seek(&place, SeekTo::Offset(7)).unwrap();
            }
            Ok(())
        })
    }
    let log = Log::default();
    let app = pair(1, factory(), &log, jumps, AckMode::Batch).await;
    send(&app, 0, 10).await;
    app.committed("g", "t", 0).reaches(10).await.unwrap();
    assert_eq!(log.places(), [(0, 0), (0, 1), (0, 7), (0, 8), (0, 9)]);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b04_every_end_of_a_record_settles_its_offset() {
    fn some_fail(_: &Delivery, (_, offset, _): (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
        Box::pin(async move { if offset % 3 == 1 { Err(Simulated.into()) } else { Ok(()) } })
    }
    for letters in [false, true] {
        for mode in [AckMode::Record, AckMode::Batch, AckMode::Count, AckMode::Time] {
            let log = Log::default();
            let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 1));
            let handler = if letters { handler.dead_letters(DeadLetters::to_suffix("-dlt")) } else { handler };
            let filter = RecordFilterLayer::keep(|one| one.record.offset() % 3 != 2);
            let app = pair(
                1,
                factory().ack_count(1).ack_time(Duration::from_secs(5)).error_handler(handler).layer(filter),
                &log,
                some_fail,
                mode,
            )
            .await;
            send(&app, 0, 9).await;
            app.committed("g", "t", 0).reaches(9).await.unwrap();
            assert!(log.places().iter().all(|(_, offset)| offset % 3 != 2), "{mode}: what is filtered is not delivered");
            app.shutdown().await.unwrap();
        }
    }
}

/// Never acknowledges in `l`, at once in `m`.
fn only_m_acknowledges(delivery: &Delivery, _: (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
    Box::pin(async move {
        let acknowledgment = delivery.acknowledgment().unwrap().clone();
        if delivery.listener_id().as_ref() == "m" {
            acknowledgment.acknowledge().await.unwrap();
        } else {
            HELD.with(|held| held.borrow_mut().push(acknowledgment));
        }
        Ok(())
    })
}

thread_local! {
    static HELD: std::cell::RefCell<Vec<Acknowledgment>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[tokio::test(start_paused = true)]
async fn b05_a_revoked_partition_counts_for_nothing_any_more() {
    let log = Log::default();
    let factory = factory().async_acks(true).ack_timeout(Duration::from_secs(20)).lag_event_interval(Duration::from_secs(5));
    let app = pair(1, factory, &log, only_m_acknowledges, AckMode::Manual).await;
    send(&app, 0, 3).await;
    app.wait_for("all records", || log.len() == 3).await.unwrap();
    container(&app, "m").start().await.unwrap();
    container(&app, "l").stop().await;
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    container(&app, "l").start().await.unwrap();
    sleep_ms(10_000).await;
    let owner = if container(&app, "l").assignment().is_empty() { "m" } else { "l" };
    let mut events = app.events();
    let held = HELD.with(|held| held.take());
    let late = held[0].acknowledge().await.unwrap_err();
    assert_eq!(late.kind(), AckErrorKind::Stale);
    sleep_ms(60_000).await;
    for (id, kind) in told(&mut events).await {
        match kind {
            EventKind::AckMissing { .. } => panic!("{id}: an acknowledgment of a revoked partition is missed"),
            EventKind::Lag { partitions } if id != owner => assert_eq!(partitions, [], "{id} owns nothing"),
            EventKind::Lag { partitions } => assert_eq!(partitions, [(TopicPartition::new("t", 0), 0)]),
            _ => {}
        }
    }
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b06_waiting_in_a_queue_is_no_processing_time() {
    fn takes_its_time(delivery: &Delivery, _: (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
        Box::pin(async move {
            sleep_ms(15_000).await;
            delivery.acknowledgment().unwrap().acknowledge().await.unwrap();
            Ok(())
        })
    }
    let log = Log::default();
    let factory = factory().async_acks(true).ack_timeout(Duration::from_secs(20)).property("max.poll.interval.ms", 20_000);
    let app = pair(1, factory, &log, takes_its_time, AckMode::Manual).await;
    let mut events = app.events();
    send(&app, 0, 4).await;
    app.wait_for("the last record", || log.len() == 4).await.unwrap();
    app.committed("g", "t", 0).reaches(4).await.unwrap();
    for (_, kind) in told(&mut events).await {
        assert!(!matches!(kind, EventKind::AckMissing { .. } | EventKind::NonResponsive { .. }), "{kind:?}");
    }
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b07_a_pause_outlives_rebalances_and_ends_when_it_is_taken_back() {
    for assignor in ["range", "cooperative-sticky"] {
        let log = Log::default();
        let app = pair(2, factory().property("partition.assignment.strategy", assignor), &log, fine, AckMode::Batch).await;
        sleep_ms(1000).await;
        let (l, m) = (container(&app, "l"), container(&app, "m"));
        l.pause_partition(TopicPartition::new("t", 0)).await.unwrap();
        m.start().await.unwrap();
        sleep_ms(20_000).await;
        assert!(!m.assignment().is_empty(), "a rebalance");
        m.stop().await;
        sleep_ms(20_000).await;
        assert_eq!(l.assignment().len(), 2);
        send(&app, 0, 3).await;
        send(&app, 1, 3).await;
        sleep_ms(60_000).await;
        assert_eq!(log.places(), [(1, 0), (1, 1), (1, 2)], "{assignor}");
        l.resume_partition(&TopicPartition::new("t", 0)).await.unwrap();
        app.committed("g", "t", 0).reaches(3).await.unwrap();
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn b08_a_commit_in_a_rebalance_is_never_fatal() {
    fn acknowledges_late(delivery: &Delivery, _: (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
        Box::pin(async move {
            sleep_ms(700).await;
            // Of a partition that is gone meanwhile the acknowledgment is refused, and its owner gets the record.
            let _ = delivery.acknowledgment().unwrap().acknowledge().await;
            Ok(())
        })
    }
    for assignor in ["range", "cooperative-sticky"] {
        let log = Log::default();
        let factory = factory().property("partition.assignment.strategy", assignor);
        let app = pair(3, factory, &log, acknowledges_late, AckMode::ManualImmediate).await;
        for partition in 0..3 {
            send(&app, partition, 12).await;
        }
        for _ in 0..4 {
            sleep_ms(1500).await;
            container(&app, "m").start().await.unwrap();
            sleep_ms(1500).await;
            container(&app, "m").stop().await;
        }
        assert!(container(&app, "l").is_running());
        for partition in 0..3 {
            app.committed("g", "t", partition).reaches(12).await.unwrap();
        }
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn b09_attempts_begin_anew_with_an_assignment() {
    let log = Log::default();
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(1), 4));
    let app = pair(1, factory().error_handler(handler), &log, fails, AckMode::Record).await;
    send(&app, 0, 1).await;
    app.wait_for("three attempts", || log.len() == 3).await.unwrap();
    container(&app, "m").start().await.unwrap();
    container(&app, "l").stop().await;
    app.committed("g", "t", 0).reaches(1).await.unwrap();
    let attempts: Vec<_> = log.all().into_iter().map(|(id, _, _, attempt)| (id, attempt)).collect();
    let of_m: Vec<_> = attempts.iter().filter(|(id, _)| id == "m").map(|(_, attempt)| *attempt).collect();
    assert_eq!(of_m, [1, 2, 3, 4, 5], "{attempts:?}");
    app.shutdown().await.unwrap();
}

/// Batches of `t`, of which element `bad` always fails.
async fn batches(bad: i64, handler: DefaultErrorHandler) -> RunningTestApp {
    let listener = Listener::new("l", move |rows: Batch<ConsumerRecord<Option<String>, String>>| async move {
        match rows.iter().position(|row| row.offset() == bad) {
            Some(index) => Err(ListenerError::from(BatchError::at(index, Simulated))),
            None => Ok(()),
        }
    });
    let listener = listener.topic("t").group_id("g").container_factory("f").auto_startup(false);
    TestApp::new()
        .topic(NewTopic::new("t").partitions(1))
        .topic(NewTopic::new("t-dlt").partitions(1))
        .factory(factory().error_handler(handler))
        .listener(listener)
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn b10_a_batch_is_never_committed_past_its_failed_element() {
    let app = batches(3, DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(30), 1))).await;
    send(&app, 0, 6).await;
    container(&app, "l").start().await.unwrap();
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    for _ in 0..28 {
        assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), Some(3));
        sleep_ms(1000).await;
    }
    app.committed("g", "t", 0).reaches(6).await.unwrap();
    app.shutdown().await.unwrap();
}

/// Runs an app on what is on the disk for some milliseconds, then drops everything where it stands.
fn live_for(disk: &MemoryDisk, ms: u64, build: impl Fn(TestApp) -> TestApp) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(TokioClock::new(1_767_225_600_000));
        let broker = Broker::builder().disk(Arc::new(disk.clone())).clock(clock).seed(ms).open().unwrap();
        let app = TestApp::new().embedded(Embedded::shared(broker)).topic(NewTopic::new("t").partitions(1));
        let app = build(app).start().await.unwrap();
        sleep_ms(ms).await;
        std::mem::forget(app);
    });
}

fn fill(disk: &MemoryDisk, count: usize) {
    let broker = Broker::builder().disk(Arc::new(disk.clone())).seed(1).open().unwrap();
    broker.create_topic(&broker_core::NewTopic::new("t").partitions(1)).unwrap();
    let mut batch = broker_core::record::BatchBuilder::new();
    for value in 0..count {
        batch.append(1_767_225_600_000, None, Some(value.to_string().as_bytes()), &[]);
    }
    broker.partition("t", 0).unwrap().produce(batch.build()).unwrap();
}

#[test]
fn b11_with_the_defaults_a_kill_at_any_time_loses_nothing() {
    for at in 0..60 {
        let (disk, log, done) = (MemoryDisk::new(), Log::default(), Arc::new(Mutex::new(BTreeSet::new())));
        fill(&disk, 10);
        let build = |app: TestApp| {
            let (log, done) = (log.clone(), done.clone());
            let handler = raw_boxed(move |delivery| {
                let ((_, offset, _), done) = (log.add(delivery), done.clone());
                Box::pin(async move {
                    sleep_ms(4).await;
                    done.lock().unwrap().insert(offset);
                    Ok(())
                })
            });
            app.listener(Listener::new("l", handler).topic("t").group_id("g").batch(false))
        };
        live_for(&disk, at, build);
        // Its session must end first.
        live_for(&disk, 60_000, build);
        assert_eq!(done.lock().unwrap().len(), 10, "killed after {at} ms: {:?}", log.places());
    }
}

#[tokio::test(start_paused = true)]
async fn b12_no_container_ends_quietly() {
    let log = Log::default();
    let stops = factory().error_handler(CommonContainerStoppingErrorHandler);
    let no_offset = factory().property("auto.offset.reset", "none");
    for (factory, then, reason) in
        [(stops, fails as Then, "stopped by the error handler"), (no_offset, fine as Then, "no offset")]
    {
        let app = TestApp::new()
            .topic(NewTopic::new("t").partitions(1))
            .factory(factory)
            .listener(listener("l", &log, then).auto_startup(false))
            .start()
            .await
            .unwrap();
        send(&app, 0, 1).await;
        let mut events = app.events();
        container(&app, "l").start().await.unwrap();
        let ended = container(&app, "l").ended().await;
        let ContainerState::Failed(why) = &ended else { panic!("{ended:?}") };
        assert!(why.to_string().starts_with(reason), "{why}");
        let told = told(&mut events).await;
        assert!(told.contains(&("l".to_owned(), EventKind::Stopped { reason: why.clone() })), "{told:?}");
        assert!(app.shutdown().await.unwrap_err().to_string().contains("'l'"));
    }
    let app = pair(1, factory(), &log, fine, AckMode::Batch).await;
    let mut events = app.events();
    container(&app, "l").stop().await;
    assert!(told(&mut events).await.contains(&("l".to_owned(), EventKind::Stopped { reason: StopReason::Normal })));
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b13_what_is_finished_is_committed_before_it_is_given_up() {
    for by_stop in [true, false] {
        let log = Log::default();
        let factory = factory().ack_time(Duration::from_secs(3600));
        let app = pair(1, factory, &log, fine, AckMode::Time).await;
        send(&app, 0, 5).await;
        app.wait_for("all records", || log.len() == 5).await.unwrap();
        assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), None);
        if by_stop {
            container(&app, "l").stop().await;
        } else {
            container(&app, "m").start().await.unwrap();
        }
        app.committed("g", "t", 0).reaches(5).await.unwrap();
        sleep_ms(10_000).await;
        assert_eq!(log.len(), 5, "nothing comes twice");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn b14_what_is_in_flight_has_a_bound() {
    let log = Log::default();
    let factory = factory().async_acks(true).max_unacked(3);
    let app = pair(2, factory, &log, only_m_acknowledges, AckMode::Manual).await;
    send(&app, 0, 20).await;
    send(&app, 1, 20).await;
    sleep_ms(60_000).await;
    for partition in 0..2 {
        let open: Vec<_> = log.places().into_iter().filter(|place| place.0 == partition).collect();
        assert_eq!(open, [(partition, 0), (partition, 1), (partition, 2)]);
    }
    HELD.with(|held| held.take());
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b15_the_dead_letter_of_a_batch_is_the_record_that_failed() {
    let broker = Broker::builder().clock(Arc::new(TokioClock::new(1_767_225_600_000))).seed(1).open().unwrap();
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 1)).dead_letters(DeadLetters::to_suffix("-dlt"));
    let listener = Listener::new("l", |rows: Batch<ConsumerRecord<Option<String>, String>>| async move {
        match rows.iter().position(|row| row.offset() == 4) {
            Some(index) => Err(ListenerError::from(BatchError::at(index, Simulated))),
            None => Ok(()),
        }
    });
    let app = TestApp::new()
        .embedded(Embedded::shared(broker.clone()))
        .topic(NewTopic::new("t").partitions(1))
        .topic(NewTopic::new("t-dlt").partitions(1))
        .factory(factory().error_handler(handler))
        .listener(listener.topic("t").group_id("g").container_factory("f").auto_startup(false))
        .start()
        .await
        .unwrap();
    for at in 0..8u8 {
        let record = ProducerRecord::new("t", format!("value \u{1f6eb} {at}")).key(format!("key {at}"));
        app.template().send_record(record.header("own", vec![0, at, 255])).await.unwrap();
    }
    container(&app, "l").start().await.unwrap();
    app.committed("g", "t", 0).reaches(8).await.unwrap();
    assert_eq!(read(&broker, "t-dlt"), read(&broker, "t")[4..5]);
    let fetched = broker.partition("t-dlt", 0).unwrap().fetch(0, 1 << 20).unwrap();
    let batch = broker_core::record::Batch::parse(&fetched.batches[0]).unwrap();
    let record = batch.records().next().unwrap().unwrap();
    let own = record.headers().next().unwrap();
    assert_eq!((own.name, own.value), (b"own".as_slice(), Some([0, 4, 255].as_slice())));
    app.shutdown().await.unwrap();
}

#[test]
fn b16_a_kill_between_failure_and_retry_loses_nothing() {
    for at in [1, 1000, 9000, 10_001, 15_000] {
        let (disk, log) = (MemoryDisk::new(), Log::default());
        fill(&disk, 3);
        let build = |app: TestApp| {
            let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::from_secs(10), 5));
            app.factory(factory().error_handler(handler)).listener(listener("l", &log, fails_twice))
        };
        live_for(&disk, at, build);
        let before = log.len();
        live_for(&disk, 200_000, build);
        let after: Vec<_> = log.places()[before..].to_vec();
        assert_eq!(after.first(), Some(&(0, 0)), "killed after {at} ms: {:?}", log.all());
        assert_eq!(after.last(), Some(&(0, 2)), "killed after {at} ms: {:?}", log.all());
    }
}

/// The first record fails twice in a row.
fn fails_twice(_: &Delivery, (_, offset, attempt): (i32, i64, u32)) -> kafka_listener::client::BoxFuture<'_, ListenerResult> {
    Box::pin(async move { if offset == 0 && attempt < 3 { Err(Simulated.into()) } else { Ok(()) } })
}
