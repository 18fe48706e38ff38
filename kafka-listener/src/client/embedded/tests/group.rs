//! Who owns what: joining, leaving, being put out, topics that change.

use super::*;

const COOPERATIVE: (&str, &str) = ("partition.assignment.strategy", "cooperative-sticky");

/// Polls all of them at once, until no one has anything to say any more. What each owns then.
async fn settled(consumers: &mut [&mut Box<dyn Consumer>]) -> Vec<String> {
    let mut quiet = 0;
    while quiet < 3 {
        quiet += 1;
        for consumer in consumers.iter_mut() {
            match consumer.poll(Duration::from_millis(100)).await.expect("polled") {
                Polled::Records(_) => {}
                _ => quiet = 0,
            }
        }
    }
    consumers.iter().map(|consumer| text(&consumer.assignment())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_when_it_is_polled() {
    let backend = backend();
    topic(&backend, "t", 1);
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(backend.broker.describe_group("g").is_none());
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@0]");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_a_revocation_waits_loses_everything() {
    let backend = backend();
    topic(&backend, "t", 2);
    let mut first = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut first).await;
    let mut second = subscribed(&backend, &settings("g"), &["t"]);
    assert!(matches!(second.poll(Duration::from_millis(10)).await, Ok(Polled::Records(none)) if none.is_empty()));
    assert!(first.rebalance_pending());
    first.leave().await.expect("left");
    assert_eq!(poll(&mut second).await, "assigned [t-0@0 t-1@0]");
    assert_eq!(poll(&mut first).await, "lost [t-0 t-1]");
    assert!(first.assignment().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_was_handed_out_and_not_answered_ends_as_lost() {
    let backend = backend();
    topic(&backend, "t", 2);
    let short = settings("g").with("max.poll.interval.ms", 20_000).with("session.timeout.ms", 10_000);
    let mut first = subscribed(&backend, &short, &["t"]);
    poll(&mut first).await;
    let mut second = subscribed(&backend, &short, &["t"]);
    let (revoked, given) = tokio::join!(poll(&mut first), async {
        let start = tokio::time::Instant::now();
        let given = poll(&mut second).await;
        (given, start.elapsed().as_secs())
    });
    assert_eq!(revoked, "revoked [t-0 t-1]");
    // The first never polls again: the group waits for it no longer than max.poll.interval.ms.
    assert_eq!(given.0, "assigned [t-0@0 t-1@0]");
    assert!((18..=24).contains(&given.1), "after {} s", given.1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(poll(&mut first).await, "lost [t-0 t-1]");
}

#[tokio::test(start_paused = true)]
async fn who_closes_before_it_has_joined_leaves_no_ghost() {
    let backend = backend();
    topic(&backend, "t", 2);
    let mut first = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut first).await;
    let mut second = subscribed(&backend, &settings("g"), &["t"]);
    let _ = second.poll(Duration::from_millis(10)).await;
    second.close().await.expect("closed");
    let start = tokio::time::Instant::now();
    assert_eq!(poll(&mut first).await, "revoked [t-0 t-1]");
    assert_eq!(poll(&mut first).await, "assigned [t-0@0 t-1@0]");
    assert!(start.elapsed() < Duration::from_secs(1), "nobody waits for who is gone");
}

#[tokio::test(start_paused = true)]
async fn three_members_share_and_take_over() {
    for strategy in ["range", "roundrobin", "sticky", "cooperative-sticky", "range,cooperative-sticky"] {
        let backend = backend();
        topic(&backend, "t", 6);
        let settings = settings("g").with("partition.assignment.strategy", strategy);
        let make = || subscribed(&backend, &settings, &["t"]);
        let (mut a, mut b, mut c) = (make(), make(), make());
        assert_eq!(settled(&mut [&mut a]).await, ["t-0 t-1 t-2 t-3 t-4 t-5"]);
        settled(&mut [&mut a, &mut b]).await;
        let shares = settled(&mut [&mut a, &mut b, &mut c]).await;
        let mut all: Vec<&str> = shares.iter().flat_map(|share| share.split(' ')).collect();
        all.sort_unstable();
        assert_eq!(all, ["t-0", "t-1", "t-2", "t-3", "t-4", "t-5"], "{strategy}");
        assert!(shares.iter().all(|share| share.split(' ').count() == 2), "{strategy}: {shares:?}");
        b.close().await.expect("closed");
        let shares = settled(&mut [&mut a, &mut c]).await;
        assert!(shares.iter().all(|share| share.split(' ').count() == 3), "{strategy}: {shares:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cooperative_members_are_served_while_a_join_is_on_its_way() {
    let backend = backend();
    topic(&backend, "t", 2);
    let settings = settings("g").with(COOPERATIVE.0, COOPERATIVE.1);
    let mut first = subscribed(&backend, &settings, &["t"]);
    poll(&mut first).await;
    let mut second = subscribed(&backend, &settings, &["t"]);
    let _ = second.poll(Duration::from_millis(10)).await;
    // The revocation waits; records of what is kept come behind it, before the next generation is complete.
    send(&producer(&backend), "t", 0, 0..3).await;
    assert_eq!(poll(&mut first).await, "revoked [t-1]");
    assert_eq!(poll(&mut first).await, "t-0 0..=2");
    let commit = first.commit(&[CommitOffset { topic_partition: TopicPartition::new("t", 0), offset: 3 }]).await;
    commit.expect("what is kept can be committed during the rebalance");
}

#[tokio::test(start_paused = true)]
async fn the_leader_watches_the_topics_of_all_members() {
    let backend = backend();
    topic(&backend, "a", 1);
    topic(&backend, "b", 1);
    let mut leader = subscribed(&backend, &settings("g"), &["a"]);
    let mut other = subscribed(&backend, &settings("g"), &["b"]);
    settled(&mut [&mut leader]).await;
    assert_eq!(settled(&mut [&mut leader, &mut other]).await, ["a-0", "b-0"]);
    backend.broker.create_partitions("b", 3).expect("grown");
    assert_eq!(settled(&mut [&mut leader, &mut other]).await, ["a-0", "b-0 b-1 b-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_made_anew_is_read_anew() {
    for strategy in ["range", "cooperative-sticky"] {
        let backend = backend();
        let producer = producer(&backend);
        topic(&backend, "t", 1);
        send(&producer, "t", 0, 0..3).await;
        let mut consumer = subscribed(&backend, &settings("g").with(COOPERATIVE.0, strategy), &["t"]);
        poll(&mut consumer).await;
        assert_eq!(poll(&mut consumer).await, "t-0 0..=2");
        backend.broker.delete_topic("t").expect("deleted");
        topic(&backend, "t", 1);
        send(&producer, "t", 0, 0..5).await;
        let stale = CommitOffset { topic_partition: TopicPartition::new("t", 0), offset: 3 };
        let error = consumer.commit(&[stale]).await.expect_err("another topic");
        assert_eq!(error.kind(), ClientErrorKind::UnknownTopicOrPartition);
        assert_eq!(poll(&mut consumer).await, "lost [t-0]", "{strategy}");
        assert_eq!(poll(&mut consumer).await, "assigned [t-0@0]", "{strategy}");
        assert_eq!(poll(&mut consumer).await, "t-0 0..=4", "{strategy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_offset_is_told_until_there_is_one() {
    let backend = backend();
    topic(&backend, "t", 2);
    let mut consumer = subscribed(&backend, &settings("g").with("auto.offset.reset", "none"), &["t"]);
    for _ in 0..2 {
        let error = consumer.poll(WAIT).await.expect_err("no offset");
        assert_eq!((error.kind(), error.partition().map(ToString::to_string)), {
            (ClientErrorKind::NoOffsetForPartition, Some("t-0".to_owned()))
        });
    }
    let commit = |partition, offset| CommitOffset { topic_partition: TopicPartition::new("t", partition), offset };
    consumer.commit(&[commit(0, 0), commit(1, 0)]).await.expect("a member may commit what it owns");
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@0 t-1@0]");
}

#[tokio::test(start_paused = true)]
async fn a_commit_between_two_generations_may_be_tried_again() {
    use broker_core::assignor::{MemberSubscription, protocol};
    let backend = backend();
    topic(&backend, "t", 2);
    let mut consumer = subscribed(&backend, &settings("g").with(COOPERATIVE.0, COOPERATIVE.1), &["t"]);
    poll(&mut consumer).await;
    let join = |member_id: &str| {
        let metadata = protocol::encode_subscription(&MemberSubscription::default());
        backend.broker.join_group(broker_core::JoinGroup {
            group: "g".to_owned(),
            member_id: member_id.to_owned(),
            client_id: "raw".to_owned(),
            client_host: "here".to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("cooperative-sticky".to_owned(), metadata)],
            ..broker_core::JoinGroup::default()
        })
    };
    let raw = join("").await.expect("the consumer joins too");
    assert_eq!(poll(&mut consumer).await, "assigned []");
    // Another one asks to join; the consumer follows at once, and the first raw member is the last to come.
    let _third = join("");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let _again = join(&raw.member_id);
    let commit = CommitOffset { topic_partition: TopicPartition::new("t", 0), offset: 0 };
    let error = consumer.commit(std::slice::from_ref(&commit)).await.expect_err("its generation is over");
    assert_eq!(error.kind(), ClientErrorKind::RebalanceInProgress, "{error}");
    assert_eq!(poll(&mut consumer).await, "assigned []");
    consumer.commit(&[commit]).await.expect("the next generation is there");
}

/// Whatever the consumer has looked up of a topic when it goes.
#[tokio::test]
async fn a_topic_that_goes_while_it_is_assigned_takes_no_other_with_it() {
    let backend = backend();
    topic(&backend, "z", 300);
    let mut lost = Vec::new();
    for round in 0..300u32 {
        topic(&backend, "a", 1);
        let mut consumer = subscribed(&backend, &settings(&format!("g{round}")), &["a", "z"]);
        assert!(matches!(consumer.poll(Duration::ZERO).await, Ok(Polled::Records(none)) if none.is_empty()));
        consumer.rebalance_signal().await;
        let both = std::sync::Barrier::new(2);
        let (broker, both) = (&backend.broker, &both);
        let deletes = move || {
            both.wait();
            (0..round * 20).for_each(|_| std::hint::spin_loop());
            broker.delete_topic("a").expect("deleted");
        };
        let polled = std::thread::scope(|scope| {
            scope.spawn(deletes);
            both.wait();
            let mut poll = consumer.poll(Duration::ZERO);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            poll.as_mut().poll(&mut context)
        });
        let told = match polled {
            std::task::Poll::Ready(Ok(Polled::Assigned(assigned))) => {
                assigned.iter().filter(|one| &*one.topic_partition.topic == "z").count()
            }
            _ => 0,
        };
        if told != 300 || consumer.assignment().iter().filter(|one| &*one.topic == "z").count() != 300 {
            lost.push(round);
        }
        consumer.close().await.expect("closed");
    }
    assert!(lost.is_empty(), "partitions of the other topic were not told in rounds {lost:?}");
}
