//! Static members: who has a name of its own (`group.instance.id`) keeps its place while it is away.

use super::*;

fn named(name: &str) -> Properties {
    settings("g").with("group.instance.id", name).with("session.timeout.ms", 10_000)
}

/// Polls a little: what it is told, if anything but records.
async fn glance(consumer: &mut Box<dyn Consumer>) -> Option<String> {
    match consumer.poll(Duration::from_millis(10)).await {
        Ok(Polled::Records(_)) => None,
        Ok(other) => Some(format!("{other:?}")),
        Err(error) => Some(format!("error {:?}: {error}", error.kind())),
    }
}

/// Two members that own a partition each; the first of them is the leader.
async fn both(backend: &EmbeddedBackend, strategy: &str) -> [Box<dyn Consumer>; 2] {
    topic(backend, "t", 2);
    let with = |name| named(name).with("partition.assignment.strategy", strategy);
    let mut all = ["a", "b"].map(|name| subscribed(backend, &with(name), &["t"]));
    for _ in 0..20 {
        for consumer in &mut all {
            let _ = consumer.poll(Duration::from_millis(10)).await.expect("polled");
        }
    }
    assert_eq!(all.each_ref().map(|consumer| consumer.assignment().len()), [1, 1]);
    all
}

#[tokio::test(start_paused = true)]
async fn who_is_back_in_time_has_what_it_had_and_nobody_notices() {
    for strategy in ["range", "cooperative-sticky"] {
        // The leader, and one who is not.
        for back in [0, 1] {
            let backend = backend();
            let [first, second] = both(&backend, strategy).await;
            let (gone, mut other, name) = if back == 0 { (first, second, "a") } else { (second, first, "b") };
            let (had, keeps) = (gone.assignment(), other.assignment());
            gone.close().await.expect("closed");
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!(glance(&mut other).await, None, "{strategy}, {name} is away");
            }
            let mut again = subscribed(&backend, &named(name).with("partition.assignment.strategy", strategy), &["t"]);
            assert!(poll(&mut again).await.starts_with("assigned"), "{strategy}, {name}");
            assert_eq!(again.assignment(), had);
            // It may commit, and goes on beating.
            let commit = CommitOffset { topic_partition: had[0].clone(), offset: 0 };
            again.commit(&[commit]).await.expect("committed");
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!((glance(&mut other).await, glance(&mut again).await), (None, None), "{strategy}, {name} is back");
            }
            assert_eq!(other.assignment(), keeps);
            // The leader still sees to what comes.
            backend.broker.create_partitions("t", 4).expect("grown");
            for _ in 0..40 {
                let _ = (glance(&mut other).await, glance(&mut again).await);
            }
            assert_eq!(other.assignment().len() + again.assignment().len(), 4, "{strategy}, {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_stays_away_for_a_session_is_out() {
    let backend = backend();
    let [first, mut second] = both(&backend, "range").await;
    first.close().await.expect("closed");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(second.assignment().len(), 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(poll(&mut second).await.starts_with("revoked"));
    assert_eq!(poll(&mut second).await, "assigned [t-0@0 t-1@0]");
}

#[tokio::test(start_paused = true)]
async fn of_two_of_one_name_the_second_stays() {
    let backend = backend();
    topic(&backend, "t", 1);
    let mut first = subscribed(&backend, &named("a"), &["t"]);
    assert_eq!(poll(&mut first).await, "assigned [t-0@0]");
    let mut second = subscribed(&backend, &named("a"), &["t"]);
    assert_eq!(poll(&mut second).await, "assigned [t-0@0]");
    let commit = CommitOffset { topic_partition: TopicPartition::new("t", 0), offset: 0 };
    let error = first.commit(std::slice::from_ref(&commit)).await.expect_err("it is another's");
    assert_eq!(error.kind(), ClientErrorKind::Fenced, "{error}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(poll(&mut first).await, "lost [t-0]");
    let told = glance(&mut first).await.expect("an error");
    assert!(told.contains("Config") && told.contains("another member is 'a' now"), "{told}");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(glance(&mut second).await, None, "nobody puts it out");
    }
    first.close().await.expect("closed");
    second.commit(&[commit]).await.expect("committed");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_poll_for_too_long_comes_back_to_what_it_had() {
    let backend = backend();
    topic(&backend, "t", 1);
    let mut only = subscribed(&backend, &named("a").with("max.poll.interval.ms", 20_000), &["t"]);
    assert_eq!(poll(&mut only).await, "assigned [t-0@0]");
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(poll(&mut only).await, "lost [t-0]");
    assert_eq!(poll(&mut only).await, "assigned [t-0@0]");
}

#[tokio::test(start_paused = true)]
async fn partitions_that_come_while_the_leader_is_away_are_read() {
    // The leader, and one who is not.
    for back in [0, 1] {
        let backend = backend();
        let [first, second] = both(&backend, "range").await;
        let (gone, mut other, name) = if back == 0 { (first, second, "a") } else { (second, first, "b") };
        gone.close().await.expect("closed");
        tokio::time::sleep(Duration::from_secs(1)).await;
        backend.broker.create_partitions("t", 4).expect("grown");
        let _ = glance(&mut other).await;
        let mut again = subscribed(&backend, &named(name), &["t"]);
        for _ in 0..40 {
            let _ = (glance(&mut other).await, glance(&mut again).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(other.assignment().len() + again.assignment().len(), 4, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn topics_that_come_and_go_while_the_leader_is_away_are_noticed() {
    let backend = backend();
    topic(&backend, "t1", 1);
    topic(&backend, "t2", 1);
    let of_pattern = || {
        let mut consumer = backend.consumer(&named("a")).expect("made");
        consumer.subscribe(Subscription::Pattern("t.*".into())).expect("subscribed");
        consumer
    };
    let mut gone = of_pattern();
    assert_eq!(poll(&mut gone).await, "assigned [t1-0@0 t2-0@0]");
    gone.close().await.expect("closed");
    backend.broker.delete_topic("t1").expect("deleted");
    topic(&backend, "t3", 1);
    let mut again = of_pattern();
    for _ in 0..20 {
        let _ = glance(&mut again).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(text(&again.assignment()), "t2-0 t3-0");
    let generation = || backend.broker.describe_group("g").expect("there").generation;
    let before = generation();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(generation(), before, "it is content with that");
}

#[tokio::test(start_paused = true)]
async fn who_is_closed_while_it_joins_keeps_its_place() {
    let backend = backend();
    let [first, mut second] = both(&backend, "range").await;
    // A third comes: everybody joins again.
    let mut third = subscribed(&backend, &named("c"), &["t"]);
    let _ = third.poll(Duration::from_millis(10)).await;
    first.close().await.expect("closed");
    let mut again = subscribed(&backend, &named("a"), &["t"]);
    let _ = again.poll(Duration::from_millis(10)).await;
    again.close().await.expect("closed while it joins");
    let group = backend.broker.describe_group("g").expect("there");
    assert!(group.members.iter().any(|member| member.group_instance_id.as_deref() == Some("a")));
    let _ = second.poll(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_only_who_was_away_wants_is_read() {
    for strategy in ["range", "cooperative-sticky"] {
        let backend = backend();
        topic(&backend, "t1", 1);
        let with = |name| named(name).with("partition.assignment.strategy", strategy);
        // It leads, and knows nothing of what the other will want.
        let mut leader = subscribed(&backend, &with("a"), &["t1"]);
        assert_eq!(poll(&mut leader).await, "assigned [t1-0@0]");
        let of_pattern = || {
            let mut consumer = backend.consumer(&with("b")).expect("made");
            consumer.subscribe(Subscription::Pattern("t.*".into())).expect("subscribed");
            consumer
        };
        let mut gone = of_pattern();
        for _ in 0..20 {
            let _ = (glance(&mut leader).await, glance(&mut gone).await);
        }
        gone.close().await.expect("closed");
        topic(&backend, "t2", 1);
        let mut again = of_pattern();
        for _ in 0..40 {
            let _ = (glance(&mut leader).await, glance(&mut again).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let held = [leader.assignment(), again.assignment()].concat();
        assert!(held.contains(&TopicPartition::new("t2", 0)), "{strategy}: {held:?}");
        let generation = || backend.broker.describe_group("g").expect("there").generation;
        let before = generation();
        for _ in 0..40 {
            let _ = (glance(&mut leader).await, glance(&mut again).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(generation(), before, "{strategy}: they are content with that");
    }
}
