use std::time::Duration;

use kafka_listener::client::TopicPartition;
use kafka_listener::container::EventKind;
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

use crate::support::*;

/// Takes a second for each record, and writes down `id partition:offset` when it is done with it.
fn slow(id: &'static str, log: &Log) -> Listener {
    let log = log.clone();
    Listener::new(id, move |record: ConsumerRecord<(), String>| {
        let log = log.clone();
        async move {
            pass(Duration::from_secs(1)).await;
            log.push(format!("{id} {}:{}", record.partition(), record.offset()));
        }
    })
}

fn owned(app: &RunningTestApp, id: &str) -> Vec<TopicPartition> {
    app.registry().get(id).unwrap().assignment()
}

fn of<'a>(lines: &'a [String], partition: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, place)| place)
        .filter(|place| place.starts_with(partition))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_is_answered_between_two_records() {
    for strategy in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        let log = Log::default();
        let factory = factory().property("partition.assignment.strategy", strategy).property("max.poll.records", 500);
        let app = app(2, factory, slow("l", &log)).listener(held(slow("m", &log).topic("t"))).start().await.unwrap();
        for partition in 0..2 {
            send(&app, "t", partition, 50).await;
        }
        let mut events = app.events();
        start(&app, "l").await;
        app.wait_for("some records", || log.len() == 5).await.unwrap();
        let before = tokio::time::Instant::now();
        start(&app, "m").await;
        // 95 records of a second each are polled and undelivered: the newcomer does not wait for them.
        event(&mut events, "the newcomer's partition", |id, kind| match kind {
            EventKind::Assigned { partitions } if id == "m" && !partitions.is_empty() => Some(()),
            _ => None,
        })
        .await;
        assert!(before.elapsed() < Duration::from_secs(10), "{strategy}: {:?}", before.elapsed());
        for partition in 0..2 {
            while app.committed("g", "t", partition).get().await.unwrap() != Some(50) {
                assert!(before.elapsed() < Duration::from_secs(600), "{strategy}: partition {partition} is not finished");
                pass(Duration::from_secs(1)).await;
            }
        }
        let lines = log.lines();
        for partition in 0..2 {
            let expected: Vec<_> = (0..50).map(|offset| format!("{partition}:{offset}")).collect();
            assert_eq!(of(&lines, &format!("{partition}:")), expected, "{strategy}: each once, in order");
        }
        assert!(lines.iter().any(|line| line.starts_with('m')), "{strategy}");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_moves_is_given_up_where_the_protocol_can() {
    for (strategy, given_up) in [("range", 2), ("cooperative-sticky", 1)] {
        let log = Log::default();
        let factory = factory().property("partition.assignment.strategy", strategy);
        let app = app(2, factory, slow("l", &log)).listener(held(slow("m", &log).topic("t"))).start().await.unwrap();
        start(&app, "l").await;
        let registry = app.registry();
        let owns = |id: &str| registry.get(id).unwrap().assignment().len();
        app.wait_for("both partitions", || owns("l") == 2).await.unwrap();
        let mut events = app.events();
        start(&app, "m").await;
        let revoked = event(&mut events, "the revoke", |id, kind| match kind {
            EventKind::Revoked { partitions } if id == "l" && !partitions.is_empty() => Some(partitions.len()),
            _ => None,
        });
        assert_eq!(revoked.await, given_up, "{strategy}");
        app.wait_for("a partition each", || owns("l") == 1 && owns("m") == 1).await.unwrap();
        // The one that leaves gives its partition back.
        registry.get("m").unwrap().stop().await;
        app.wait_for("both partitions again", || owns("l") == 2).await.unwrap();
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_a_rebalance_on_whatever_the_container_then_owns() {
    for strategy in ["range", "cooperative-sticky"] {
        let (log, other) = (Log::default(), Log::default());
        let factory = factory().property("partition.assignment.strategy", strategy);
        let app = app(2, factory, slow("l", &log)).listener(held(slow("m", &other).topic("t"))).start().await.unwrap();
        start(&app, "l").await;
        let registry = app.registry();
        let owns = |id: &str| registry.get(id).unwrap().assignment().len();
        app.wait_for("both partitions", || owns("l") == 2).await.unwrap();
        registry.get("l").unwrap().pause();
        start(&app, "m").await;
        app.wait_for("a partition each", || owns("l") == 1 && owns("m") == 1).await.unwrap();
        for partition in 0..2 {
            send(&app, "t", partition, 1).await;
        }
        app.wait_for("the newcomer's record", || other.len() == 1).await.unwrap();
        registry.get("m").unwrap().stop().await;
        app.wait_for("both partitions again", || owns("l") == 2).await.unwrap();
        pass(Duration::from_secs(60)).await;
        assert_eq!(log.len(), 0, "{strategy}: paused before, between and after");
        registry.get("l").unwrap().resume();
        app.wait_for("its record", || log.len() == 1).await.unwrap();
        app.shutdown().await.unwrap();
        assert_eq!(other.len(), 1, "{strategy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listeners_own_pause_outlives_a_rebalance_that_keeps_the_partition() {
    let (log, other) = (Log::default(), Log::default());
    let seen = log.clone();
    let listener = Listener::new("l", move |record: ConsumerRecord<(), String>, consumer: ConsumerHandle| {
        seen.push(format!("{}:{}", record.partition(), record.offset()));
        async move { consumer.pause([record.topic_partition()]) }
    });
    let factory = factory().property("partition.assignment.strategy", "cooperative-sticky");
    let app = app(2, factory, listener).listener(held(slow("m", &other).topic("t"))).start().await.unwrap();
    for partition in 0..2 {
        send(&app, "t", partition, 2).await;
    }
    start(&app, "l").await;
    app.wait_for("one record of each partition", || log.len() == 2).await.unwrap();
    start(&app, "m").await;
    app.wait_for("the newcomer's record", || other.len() == 1).await.unwrap();
    pass(Duration::from_secs(120)).await;
    assert_eq!(log.len(), 2, "the kept partition is still paused");
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_apps_of_one_group_share_a_broker() {
    let (first, second) = (Log::default(), Log::default());
    let clock = std::sync::Arc::new(broker_core::TokioClock::new(1_767_225_600_000));
    let broker = broker_core::Broker::builder().clock(clock).seed(7).open().unwrap();
    let one = |id: &'static str, log: &Log| {
        TestApp::new()
            .embedded(Embedded::shared(broker.clone()))
            .topic(NewTopic::new("t").partitions(2))
            .listener(slow(id, log).topic("t").group_id("g"))
    };
    let a = one("l", &first).start().await.unwrap();
    send(&a, "t", 0, 3).await;
    a.committed("g", "t", 0).reaches(3).await.unwrap();
    let b = one("m", &second).start().await.unwrap();
    b.wait_for("a partition", || b.registry().get("m").unwrap().assignment().len() == 1).await.unwrap();
    a.shutdown().await.unwrap();
    b.wait_for("both partitions", || b.registry().get("m").unwrap().assignment().len() == 2).await.unwrap();
    for partition in 0..2 {
        send(&b, "t", partition, 1).await;
    }
    b.committed("g", "t", 0).reaches(4).await.unwrap();
    b.committed("g", "t", 1).reaches(1).await.unwrap();
    b.shutdown().await.unwrap();
    assert_eq!((first.len(), second.len()), (3, 2), "each record once");
    broker.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_container_of_static_members_that_restarts_in_time_moves_nobody() {
    let (log, other) = (Log::default(), Log::default());
    let factory = factory().property("session.timeout.ms", 30_000);
    // Two workers, which need two names.
    let restarts = logging("l", &log).concurrency(2).property("group.instance.id", "l");
    let stays = held(logging("m", &other).topic("t").property("group.instance.id", "m"));
    let app = app(3, factory, restarts).listener(stays).start().await.unwrap();
    start(&app, "l").await;
    start(&app, "m").await;
    app.wait_for("a partition each", || owned(&app, "l").len() == 2 && owned(&app, "m").len() == 1).await.unwrap();
    let had = owned(&app, "l");
    let mut events = app.events();
    app.registry().get("l").unwrap().stop().await;
    pass(Duration::from_secs(20)).await;
    start(&app, "l").await;
    app.wait_for("the same partitions", || owned(&app, "l") == had).await.unwrap();
    let moved = event(&mut events, "what must not be", |id, kind| {
        let moves = matches!(kind, EventKind::Assigned { .. } | EventKind::Revoked { .. } | EventKind::Lost { .. });
        (id == "m" && moves).then(|| format!("{kind:?}"))
    });
    // Longer than a session: they beat under their names.
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), moved).await.ok(), None);
    app.shutdown().await.unwrap();
}
