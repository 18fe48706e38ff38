use std::collections::BTreeMap;
use std::time::Duration;

use kafka_listener::container::{ContainerEvent, EventKind, EventStream};
use kafka_listener::prelude::*;
use kafka_listener::testing::TestApp;

use crate::support::*;

/// What each worker of a container was given, as far as the events told until `enough`.
async fn shares(events: &mut EventStream, enough: impl Fn(&BTreeMap<usize, Vec<i32>>) -> bool) -> BTreeMap<usize, Vec<i32>> {
    let mut shares = BTreeMap::new();
    let all = tokio::time::timeout(Duration::from_secs(600), async {
        while !enough(&shares) {
            let event = events.next().await.expect("the app runs");
            let ContainerEvent { worker: Some(worker), kind, .. } = event.as_ref() else { continue };
            let owned: &mut Vec<i32> = shares.entry(*worker).or_default();
            match kind {
                EventKind::Assigned { partitions } => owned.extend(partitions.iter().map(|one| one.partition)),
                EventKind::Revoked { partitions } | EventKind::Lost { partitions } => {
                    owned.retain(|one| !partitions.iter().any(|gone| gone.partition == *one));
                }
                _ => {}
            }
        }
    });
    all.await.expect("ten minutes, and the shares are not as they should be");
    shares
}

/// As many workers, and each has as many partitions.
fn spread<'a>(counts: &'a [usize]) -> impl Fn(&BTreeMap<usize, Vec<i32>>) -> bool + 'a {
    move |shares| {
        let mut found: Vec<_> = shares.values().map(Vec::len).collect();
        found.sort_unstable();
        found == counts
    }
}

#[tokio::test(start_paused = true)]
async fn workers_share_the_partitions_and_those_beyond_them_idle() {
    for (concurrency, partitions, counts) in [(1, 3, &[3][..]), (2, 3, &[1, 2]), (3, 3, &[1, 1, 1]), (4, 2, &[0, 0, 1, 1])] {
        let log = Log::default();
        let app = app(partitions, factory(), logging("l", &log).concurrency(concurrency)).start().await.unwrap();
        let mut events = app.events();
        start(&app, "l").await;
        shares(&mut events, spread(counts)).await;
        for partition in 0..partitions {
            send(&app, "t", partition, 2).await;
            app.committed("g", "t", partition).reaches(2).await.unwrap();
        }
        assert_eq!(log.len(), 2 * partitions as usize, "{concurrency} workers");
        app.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn auto_concurrency_grows_with_the_partitions() {
    let log = Log::default();
    let factory = factory().concurrency(Concurrency::Auto).property("metadata.max.age.ms", 1000);
    let app = app(1, factory, logging("l", &log)).start().await.unwrap();
    let mut events = app.events();
    start(&app, "l").await;
    shares(&mut events, spread(&[1])).await;
    app.admin().create_partitions("t", 3).await.unwrap();
    let registry = app.registry();
    app.wait_for("three partitions", || registry.get("l").unwrap().assignment().len() == 3).await.unwrap();
    for partition in 0..3 {
        send(&app, "t", partition, 1).await;
        app.committed("g", "t", partition).reaches(1).await.unwrap();
    }
    drop(events);
    let mut events = app.events();
    app.registry().get("l").unwrap().stop().await;
    let mut ended = Vec::new();
    while ended.len() < 3 {
        let event = events.next().await.unwrap();
        if let (Some(worker), EventKind::Stopped { .. }) = (event.worker, &event.kind) {
            ended.push(worker);
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2]);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pattern_picks_up_new_topics_and_only_those_it_matches_as_a_whole() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |Topic(topic): Topic, _: String| {
        seen.push(topic.to_string());
        async {}
    });
    let app = TestApp::new()
        .topic(NewTopic::new("audit.a").partitions(1))
        .topic(NewTopic::new("no-audit.a").partitions(1))
        .factory(factory().property("metadata.max.age.ms", 1000))
        .listener(held(listener.topic_pattern("audit\\..*")))
        .start()
        .await
        .unwrap();
    start(&app, "l").await;
    send(&app, "no-audit.a", 0, 1).await;
    send(&app, "audit.a", 0, 1).await;
    app.committed("g", "audit.a", 0).reaches(1).await.unwrap();
    app.admin().create_topic(&NewTopic::new("audit.b").partitions(2)).await.unwrap();
    for partition in 0..2 {
        send(&app, "audit.b", partition, 1).await;
        app.committed("g", "audit.b", partition).reaches(1).await.unwrap();
    }
    assert_eq!(log.lines(), ["audit.a", "audit.b", "audit.b"]);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn explicit_partitions_with_a_group_go_on_where_it_had_committed() {
    let log = Log::default();
    let listener = logging("l", &log).partitions("t", "0, 2").group_id("g").container_factory("f").auto_startup(false);
    let app = TestApp::new()
        .topic(NewTopic::new("t").partitions(3))
        .factory(factory())
        .listener(listener.concurrency(2))
        .start()
        .await
        .unwrap();
    for round in 1..=2 {
        for partition in 0..3 {
            send(&app, "t", partition, 1).await;
        }
        start(&app, "l").await;
        for partition in [0, 2] {
            app.committed("g", "t", partition).reaches(round).await.unwrap();
        }
        app.registry().get("l").unwrap().stop().await;
    }
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["0:0", "0:1", "2:0", "2:1"]);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_registry_starts_stops_pauses_and_resumes_by_id() {
    let log = Log::default();
    let app = app(2, factory(), logging("l", &log)).start().await.unwrap();
    let error = app.registry().get("nobody").unwrap_err().to_string();
    assert_eq!(error, "no listener has the id 'nobody'; there are: l");
    let container = app.registry().get("l").unwrap();
    assert!(!container.is_running());
    send(&app, "t", 0, 1).await;
    pass(Duration::from_secs(60)).await;
    assert_eq!(log.len(), 0, "it was not started");
    container.start().await.unwrap();
    container.start().await.unwrap();
    app.committed("g", "t", 0).reaches(1).await.unwrap();

    container.pause();
    assert!(container.is_paused());
    pass(Duration::from_secs(1)).await;
    send(&app, "t", 0, 1).await;
    pass(Duration::from_secs(600)).await;
    assert_eq!(log.len(), 1, "it is paused");
    assert_eq!(container.assignment().len(), 2, "and still a member");
    container.resume();
    app.committed("g", "t", 0).reaches(2).await.unwrap();

    container.pause_partition(TopicPartition::new("t", 1));
    pass(Duration::from_secs(1)).await;
    send(&app, "t", 1, 1).await;
    send(&app, "t", 0, 1).await;
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    pass(Duration::from_secs(60)).await;
    assert_eq!(committed(&app, 1).await, "-");
    container.resume_partition(&TopicPartition::new("t", 1));
    app.committed("g", "t", 1).reaches(1).await.unwrap();

    container.stop().await;
    assert!(!container.is_running() && container.assignment().is_empty());
    send(&app, "t", 0, 1).await;
    container.start().await.unwrap();
    app.committed("g", "t", 0).reaches(4).await.unwrap();
    assert_eq!(log.len(), 5, "each record came once");
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_life_of_a_container_in_order() {
    let log = Log::default();
    let factory = factory().idle_event_interval(Duration::from_secs(30)).poll_timeout(Duration::from_secs(1));
    let app = app(1, factory, logging("l", &log)).start().await.unwrap();
    let mut events = app.events();
    start(&app, "l").await;
    let mut told = Vec::new();
    while told.last() != Some(&"idle") {
        let event = events.next().await.unwrap();
        told.push(name(&event.kind));
    }
    send(&app, "t", 0, 1).await;
    app.committed("g", "t", 0).reaches(1).await.unwrap();
    let container = app.registry().get("l").unwrap();
    container.pause();
    pass(Duration::from_secs(2)).await;
    container.resume();
    pass(Duration::from_secs(2)).await;
    container.stop().await;
    let mut ends = 0;
    while ends < 2 {
        let event = events.next().await.unwrap();
        ends += usize::from(name(&event.kind) == "stopped");
        told.push(name(&event.kind));
    }
    let expected = ["started", "assigned", "idle", "no longer idle", "paused", "resumed", "stopped", "stopped"];
    assert_eq!(told, expected);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_partitions_and_the_lag_are_told() {
    let log = Log::default();
    let factory = factory()
        .idle_partition_event_interval(Duration::from_secs(20))
        .lag_event_interval(Duration::from_secs(10))
        .poll_timeout(Duration::from_secs(1));
    let app = app(2, factory, logging("l", &log)).start().await.unwrap();
    let mut events = app.events();
    send(&app, "t", 0, 1).await;
    start(&app, "l").await;
    app.committed("g", "t", 0).reaches(1).await.unwrap();
    let idle = event(&mut events, "an idle partition", |_, kind| match kind {
        EventKind::PartitionIdle { partition, idle_for } => Some((partition.to_string(), idle_for.as_secs())),
        _ => None,
    });
    let (partition, seconds) = idle.await;
    assert!(partition.starts_with("t-") && seconds >= 20, "{partition} {seconds}");
    app.registry().get("l").unwrap().pause_partition(TopicPartition::new("t", 1));
    pass(Duration::from_secs(2)).await;
    send(&app, "t", 1, 5).await;
    let lag = event(&mut events, "the lag", |_, kind| match kind {
        EventKind::Lag { partitions } => partitions.iter().find(|(one, lag)| one.partition == 1 && *lag > 0).map(|(_, lag)| *lag),
        _ => None,
    });
    assert_eq!(lag.await, 5);
    app.shutdown().await.unwrap();
}

fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Started => "started",
        EventKind::Stopped { .. } => "stopped",
        EventKind::Assigned { .. } => "assigned",
        EventKind::Revoked { .. } => "revoked",
        EventKind::Paused { .. } => "paused",
        EventKind::Resumed { .. } => "resumed",
        EventKind::Idle { .. } => "idle",
        EventKind::NoLongerIdle => "no longer idle",
        _ => "other",
    }
}

/// On a current-thread runtime with one worker: a call that waited for its own worker would never end.
#[tokio::test(start_paused = true)]
async fn a_listener_may_await_what_its_own_worker_does() {
    for mode in [AckMode::Manual, AckMode::ManualImmediate] {
        let log = Log::default();
        let seen = log.clone();
        let place = TopicPartition::new("t", 0);
        let listener =
            Listener::new("l", move |record: ConsumerRecord<(), String>, consumer: ConsumerHandle, ack: Acknowledgment| {
                let (seen, place) = (seen.clone(), place.clone());
                async move {
                    let next = record.offset() + 1;
                    consumer.commit_sync([(place.clone(), next)]).await?;
                    let stored = consumer.committed(&place).await?.map(|stored| stored.offset);
                    ack.acknowledge().await?;
                    seen.push(format!("{} {}", shown(stored), consumer.position(&place)? >= next));
                    Ok::<_, ListenerError>(())
                }
            });
        let app = app(1, factory(), listener.ack_mode(mode)).start().await.unwrap();
        send(&app, "t", 0, 3).await;
        start(&app, "l").await;
        app.committed("g", "t", 0).reaches(3).await.unwrap();
        app.shutdown().await.unwrap();
        assert_eq!(log.lines(), ["1 true", "2 true", "3 true"], "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_seek_back_delivers_again_and_lets_commits_go_back() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |Offset(offset): Offset, consumer: ConsumerHandle, _: String| {
        seen.push(offset.to_string());
        let first = seen.count("2") == 1 && offset == 2;
        async move {
            if first {
                consumer.seek(&TopicPartition::new("t", 0), SeekTo::Beginning)?;
            }
            Ok::<_, ListenerError>(())
        }
    });
    let app = app(1, factory(), listener).start().await.unwrap();
    send(&app, "t", 0, 4).await;
    start(&app, "l").await;
    app.wait_for("the last record", || log.count("3") == 1).await.unwrap();
    app.committed("g", "t", 0).reaches(4).await.unwrap();
    assert_eq!(log.lines(), ["0", "1", "2", "0", "1", "2", "3"]);
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_takes_no_explicit_partition_away() {
    let log = Log::default();
    let seen = log.clone();
    let listener = Listener::new("l", move |record: ConsumerRecord<(), String>| {
        let log = seen.clone();
        async move {
            if record.offset() == 0 {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            log.push(record.offset().to_string());
        }
    });
    let listener = listener.partitions("t", "0").group_id("g").container_factory("f").auto_startup(false);
    let slow = factory().property("max.poll.interval.ms", 1000);
    let app = TestApp::new().topic(NewTopic::new("t").partitions(1)).factory(slow).listener(listener).start().await.unwrap();
    let mut events = app.events();
    send(&app, "t", 0, 2).await;
    start(&app, "l").await;
    app.committed("g", "t", 0).reaches(2).await.unwrap();
    send(&app, "t", 0, 1).await;
    app.committed("g", "t", 0).reaches(3).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(log.lines(), ["0", "1", "2"]);
    let mut late = 0;
    while let Some(event) = events.next().await {
        late += usize::from(matches!(event.kind, EventKind::NonResponsive { offset: 0, .. }));
    }
    assert_eq!(late, 1, "it is told all the same");
}
