use std::time::Duration;

use kafka_listener::container::{ContainerState, EventKind};
use kafka_listener::listener::AckErrorKind;
use kafka_listener::prelude::*;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Modes that would commit nothing for a long time by themselves.
fn modes() -> [(AckMode, ContainerFactory); 3] {
    let count = |mode| factory().ack_mode(mode).ack_count(1000).poll_timeout(HOUR);
    [
        (AckMode::Time, factory().ack_mode(AckMode::Time).ack_time(HOUR)),
        (AckMode::Count, count(AckMode::Count)),
        (AckMode::CountTime, count(AckMode::CountTime).ack_time(HOUR)),
    ]
}

type Make = fn(&str, &Log) -> Listener;

/// The same, for listeners of records and of batches.
fn lazy() -> impl Iterator<Item = (AckMode, ContainerFactory, Make)> {
    let of = |make: Make| modes().into_iter().map(move |(mode, factory)| (mode, factory, make));
    of(logging).chain(of(logging_batches))
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_what_is_done() {
    for (mode, factory, make) in lazy() {
        let log = Log::default();
        let app = app(1, factory, make("l", &log)).start().await.unwrap();
        send(&app, "t", 0, 3).await;
        start(&app, "l").await;
        app.wait_for("all records", || log.len() == 3).await.unwrap();
        pass(Duration::from_secs(60)).await;
        assert_eq!(committed(&app, 0).await, "-", "{mode}");
        app.registry().get("l").unwrap().stop().await;
        assert_eq!(committed(&app, 0).await, "3", "{mode}");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_commits_what_is_done() {
    for (mode, factory, make) in lazy() {
        let log = Log::default();
        let app = app(1, factory, make("l", &log)).start().await.unwrap();
        send(&app, "t", 0, 3).await;
        start(&app, "l").await;
        app.wait_for("all records", || log.len() == 3).await.unwrap();
        pass(Duration::from_secs(60)).await;
        assert_eq!(committed(&app, 0).await, "-", "{mode}");
        app.registry().get("l").unwrap().pause();
        pass(Duration::from_secs(1)).await;
        assert_eq!(committed(&app, 0).await, "3", "{mode}");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoke_commits_what_is_done_and_nothing_comes_twice() {
    for (mode, factory, make) in lazy() {
        let (first, second) = (Log::default(), Log::default());
        let other = held(logging("m", &second).topic("t"));
        let app = app(2, factory, make("l", &first)).listener(other).start().await.unwrap();
        for partition in 0..2 {
            send(&app, "t", partition, 3).await;
        }
        start(&app, "l").await;
        app.wait_for("all records", || first.len() == 6).await.unwrap();
        assert_eq!([committed(&app, 0).await, committed(&app, 1).await], ["-", "-"], "{mode}");
        start(&app, "m").await;
        let registry = app.registry();
        let owns = |id: &str| registry.get(id).unwrap().assignment().len();
        app.wait_for("a partition each", || owns("l") == 1 && owns("m") == 1).await.unwrap();
        let given = registry.get("m").unwrap().assignment()[0].partition;
        assert_eq!(committed(&app, given).await, "3", "{mode}");
        for partition in 0..2 {
            send(&app, "t", partition, 1).await;
        }
        app.wait_for("the new records", || first.len() + second.len() == 8).await.unwrap();
        assert_eq!(second.lines(), [format!("{given}:3")], "{mode}");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_forgotten_and_never_committed() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |Offset(offset): Offset, _: String| {
        seen.push(offset.to_string());
        let slow = offset == 2 && seen.count("2") == 1;
        async move {
            if slow {
                pass(Duration::from_secs(30)).await
            }
        }
    });
    let factory =
        factory().ack_mode(AckMode::Time).ack_time(HOUR).property("max.poll.interval.ms", 10_000).shutdown_timeout(HOUR);
    let app = app(1, factory, listener).start().await.unwrap();
    let mut events = app.events();
    send(&app, "t", 0, 4).await;
    start(&app, "l").await;
    let found = event(&mut events, "the non-responsive event", |_, kind| match kind {
        EventKind::NonResponsive { partition, offset } => Some(format!("{partition}@{offset}")),
        _ => None,
    })
    .await;
    assert_eq!(found, "t-0@2");
    event(&mut events, "the loss", |_, kind| matches!(kind, EventKind::Lost { .. }).then_some(())).await;
    assert_eq!(committed(&app, 0).await, "-", "what was lost is not committed");
    app.wait_for("all records again", || log.count("3") == 1).await.unwrap();
    assert_eq!(log.lines(), ["0", "1", "2", "0", "1", "2", "3"]);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgment_after_max_poll_interval_fails_by_name() {
    for mode in [AckMode::Manual, AckMode::ManualImmediate] {
        let (log, calls) = (Log::default(), Log::default());
        let seen = log.clone();
        let listener = Listener::new("l", move |_: String, Offset(offset): Offset, ack: Acknowledgment| {
            calls.push(offset.to_string());
            let (slow, seen) = (calls.len() == 1, seen.clone());
            async move {
                if slow {
                    pass(Duration::from_secs(30)).await;
                }
                match ack.acknowledge().await {
                    Ok(()) => seen.push("ok"),
                    Err(error) => seen.push(format!("{:?} {}", error.kind(), error.to_string().contains("t-0@0"))),
                }
            }
        });
        let app = app(1, factory().property("max.poll.interval.ms", 10_000), listener.ack_mode(mode)).start().await.unwrap();
        send(&app, "t", 0, 1).await;
        start(&app, "l").await;
        app.committed("g", "t", 0).reaches(1).await.unwrap();
        app.wait_for("both results", || log.len() >= 2).await.unwrap();
        assert_eq!(log.lines(), [format!("{:?} true", AckErrorKind::Stale), "ok".to_owned()], "{mode}");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_undelivered_rest_is_dropped_at_stop_immediate_and_finished_at_stop() {
    for (immediate, expected, offset) in [(false, "0 1 2", "3"), (true, "0", "1")] {
        let log = Log::default();
        let seen = log.clone();
        let listener = Listener::new("l", move |Offset(offset): Offset, _: String| {
            let seen = seen.clone();
            async move {
                seen.push(offset.to_string());
                pass(Duration::from_secs(1)).await;
            }
        });
        let app = app(1, factory().property("max.poll.records", 3), listener).start().await.unwrap();
        send(&app, "t", 0, 6).await;
        start(&app, "l").await;
        app.wait_for("the first record", || log.len() == 1).await.unwrap();
        let container = app.registry().get("l").unwrap();
        if immediate {
            container.stop_immediate().await
        } else {
            container.stop().await
        }
        assert_eq!(log.lines().join(" "), expected);
        assert_eq!(committed(&app, 0).await, offset);
        start(&app, "l").await;
        app.committed("g", "t", 0).reaches(6).await.unwrap();
        assert_eq!(log.lines(), ["0", "1", "2", "3", "4", "5"], "nothing comes twice");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_group_an_explicit_partition_starts_where_it_is_told() {
    for (offset, expected) in [("beginning", "0 1 2 3 4"), ("end", ""), ("2", "2 3 4"), ("-1", "4")] {
        let log = Log::default();
        let seen = log.clone();
        let listener = Listener::new("l", move |Partition(partition): Partition, Offset(offset): Offset, _: String| {
            assert_eq!(partition, 1, "the other partition is not ours");
            seen.push(offset.to_string());
            async {}
        });
        let listener = listener.partitions_from("t", "1", offset).container_factory("f").auto_startup(false);
        let app = kafka_listener::testing::TestApp::new()
            .topic(NewTopic::new("t").partitions(2))
            .factory(factory())
            .listener(listener)
            .start()
            .await
            .unwrap();
        send(&app, "t", 0, 5).await;
        send(&app, "t", 1, 5).await;
        start(&app, "l").await;
        pass(Duration::from_secs(10)).await;
        assert_eq!(log.lines().join(" "), expected, "from {offset}");
        app.shutdown().await.unwrap();
    }
}

/// A listener whose calls take five seconds each.
fn slow(log: &Log) -> Listener {
    let log = log.clone();
    Listener::new("l", move |Offset(offset): Offset, _: String| {
        log.push(offset.to_string());
        pass(Duration::from_secs(5))
    })
}

#[tokio::test(start_paused = true)]
async fn a_start_while_it_stops_starts_it_when_it_has_stopped() {
    let log = Log::default();
    let app = app(1, factory(), slow(&log)).start().await.unwrap();
    let container = app.registry().get("l").unwrap().clone();
    start(&app, "l").await;
    // Who of the two that wait for the end is told first is left to chance.
    for round in 0..20 {
        send(&app, "t", 0, 1).await;
        app.wait_for("the call", || log.len() == round + 1).await.unwrap();
        let stopped = tokio::spawn({
            let container = container.clone();
            async move { container.stop().await }
        });
        app.wait_for("the stop", || container.state() == ContainerState::Stopping).await.unwrap();
        start(&app, "l").await;
        assert_eq!(committed(&app, 0).await, (round + 1).to_string(), "it had stopped, and committed what it did");
        assert!(container.is_running(), "round {round}: {:?}", container.state());
        tokio::time::timeout(Duration::from_secs(60), stopped).await.expect("the stop ends, too").unwrap();
        assert!(container.is_running(), "the stop was for the run before");
    }
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_the_app_shuts_down_or_after() {
    for running in [true, false] {
        let log = Log::default();
        let app = app(1, factory(), slow(&log)).start().await.unwrap();
        let container = app.registry().get("l").unwrap().clone();
        if running {
            start(&app, "l").await;
            send(&app, "t", 0, 1).await;
            app.wait_for("the call", || log.len() == 1).await.unwrap();
        }
        let shutdown = tokio::spawn(app.shutdown());
        tokio::task::yield_now().await;
        let refused = container.start().await.unwrap_err().to_string();
        assert!(refused.starts_with("listener 'l': ") && refused.contains("the app is shut down"), "{refused}");
        tokio::time::timeout(Duration::from_secs(60), shutdown).await.expect("it ends").unwrap().unwrap();
        container.start().await.unwrap_err();
        assert_eq!(container.state(), ContainerState::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_while_it_fails_starts_it_when_it_has_ended() {
    let log = Log::default();
    let slow = {
        let log = log.clone();
        move |record: ConsumerRecord<(), String>| {
            log.push(record.partition().to_string());
            async move {
                pass(Duration::from_secs(5)).await;
                if record.partition() == 0 {
                    Err(StoreDown)
                } else {
                    pass(Duration::from_secs(5)).await;
                    Ok(())
                }
            }
        }
    };
    let stops = factory().concurrency(kafka_listener::container::Concurrency::Fixed(2));
    let stops = stops.error_handler(kafka_listener::error::CommonContainerStoppingErrorHandler);
    let app = app(2, stops, Listener::new("l", slow)).start().await.unwrap();
    let mut events = app.events();
    let container = app.registry().get("l").unwrap().clone();
    start(&app, "l").await;
    send(&app, "t", 0, 1).await;
    send(&app, "t", 1, 1).await;
    app.wait_for("both calls", || log.len() == 2).await.unwrap();
    // One worker has failed, the other is in its call.
    assert!(stopped(&mut events, "l").await.is_failure());
    assert_eq!(container.state(), ContainerState::Stopping);
    start(&app, "l").await;
    assert_eq!(committed(&app, 1).await, "1", "the other had finished");
    app.wait_for("the next call", || log.len() == 3).await.unwrap();
    let _ = app.shutdown().await;
}
