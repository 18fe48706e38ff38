//! What a poll hands out, and what it stores.

use super::*;

#[tokio::test(start_paused = true)]
async fn every_partition_has_its_turn() {
    let backend = backend();
    topic(&backend, "t", 3);
    let producer = producer(&backend);
    for partition in 0..3 {
        send(&producer, "t", partition, 0..200).await;
    }
    let small = settings("g").with("max.poll.records", 10).with("max.partition.fetch.bytes", 1000);
    let mut consumer = subscribed(&backend, &small, &["t"]);
    poll(&mut consumer).await;
    let mut seen = Vec::new();
    for _ in 0..9 {
        seen.push(poll(&mut consumer).await);
    }
    for partition in ["t-0", "t-1", "t-2"] {
        assert!(seen.iter().any(|polled| polled.contains(partition)), "{partition} in {seen:?}");
    }
}

/// With the least that `fetch.max.bytes` may be, a batch is fetched at a time: from one partition after the other.
#[tokio::test(start_paused = true)]
async fn a_small_fetch_passes_no_partition_over() {
    for bytes in [0, 1] {
        let backend = backend();
        topic(&backend, "t", 2);
        let producer = producer(&backend);
        send(&producer, "t", 0, 0..20).await;
        send(&producer, "t", 1, 0..3).await;
        let small = settings("g").with("fetch.max.bytes", bytes).with("max.poll.records", 1);
        let mut consumer = subscribed(&backend, &small, &["t"]);
        poll(&mut consumer).await;
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(poll(&mut consumer).await);
        }
        assert_eq!(seen.iter().filter(|records| records.starts_with("t-1")).count(), 3, "fetch.max.bytes = {bytes}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_outside_the_log_follows_the_reset_policy() {
    for (reset, expected) in [("earliest", "t-0 0..=2"), ("latest", "nothing"), ("none", "error OffsetOutOfRange")] {
        let backend = backend();
        topic(&backend, "t", 1);
        send(&producer(&backend), "t", 0, 0..3).await;
        let mut consumer = backend.consumer(&settings("g").with("auto.offset.reset", reset)).expect("made");
        let partition = TopicPartition::new("t", 0);
        consumer.assign(vec![(partition.clone(), StartOffset::At(SeekTo::Offset(99)))]).expect("assigned");
        poll(&mut consumer).await;
        assert_eq!(poll(&mut consumer).await, expected, "{reset}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_from_the_current_position_counts_from_the_commit() {
    let backend = backend();
    topic(&backend, "t", 1);
    send(&producer(&backend), "t", 0, 0..10).await;
    let partition = TopicPartition::new("t", 0);
    let mut consumer = backend.consumer(&settings("g")).expect("made");
    consumer.commit(&[CommitOffset { topic_partition: partition.clone(), offset: 6 }]).await.expect("committed");
    consumer.assign(vec![(partition.clone(), StartOffset::At(SeekTo::FromCurrent(-2)))]).expect("assigned");
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@4]");
    let wrong = vec![(partition, StartOffset::Committed), (TopicPartition::new("t", 7), StartOffset::Committed)];
    let error = consumer.assign(wrong).expect_err("no such partition");
    assert_eq!(error.kind(), ClientErrorKind::UnknownTopicOrPartition);
    assert!(consumer.assignment().is_empty(), "half an assignment is none");
}

#[tokio::test(start_paused = true)]
async fn who_reads_what_is_committed_waits_for_it_and_is_handed_nothing_that_was_aborted() {
    let backend = backend();
    topic(&backend, "t", 1);
    let partition = backend.broker.partition("t", 0).expect("there");
    let write = |id: i64, sequence: i32| {
        let mut builder = broker_core::record::BatchBuilder::new();
        builder.producer(id, 0, sequence);
        builder.transactional();
        builder.append(1_000_000, None, Some(b"v"), &[]);
        partition.produce(builder.build()).expect("produced").base_offset
    };
    let end = |producer_id: i64, committed: bool| {
        let end = broker_core::TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: 0, committed };
        partition.end_transaction(&end).expect("ended")
    };
    let committed_only = |group: &str| settings(group).with("isolation.level", "read_committed");
    let mut consumer = subscribed(&backend, &committed_only("committed"), &["t"]);
    let mut other = subscribed(&backend, &settings("all"), &["t"]);
    assert_eq!((poll(&mut consumer).await, poll(&mut other).await), ("assigned [t-0@0]".into(), "assigned [t-0@0]".into()));
    assert_eq!([write(1, 0), write(2, 0), write(1, 1)], [0, 1, 2]);
    assert_eq!((poll(&mut consumer).await, poll(&mut other).await), ("nothing".into(), "t-0 0..=2".into()));
    let t = TopicPartition::new("t", 0);
    assert_eq!((consumer.end_offset(&t), other.end_offset(&t)), (Some(0), Some(3)));
    end(2, true);
    assert_eq!(poll(&mut consumer).await, "nothing", "the first transaction is open");
    // A poll is woken by the marker.
    let (polled, ()) = tokio::join!(poll(&mut consumer), async {
        end(1, false);
    });
    assert_eq!((polled.as_str(), consumer.position(&t).expect("assigned")), ("t-0 1..=1", 5), "behind the markers");
    assert_eq!(write(1, 2), 5);
    end(1, true);
    assert_eq!(poll(&mut consumer).await, "t-0 5..=5");
    // From the middle of what was aborted, and where the end is for who starts there.
    assert_eq!(write(2, 1), 7);
    consumer.seek(&t, SeekTo::Offset(2)).expect("assigned");
    assert_eq!((poll(&mut consumer).await, consumer.end_offset(&t)), ("t-0 5..=5".into(), Some(7)));
    assert_eq!(consumer.seek(&t, SeekTo::End).expect("assigned"), 7);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_told_until_it_is_passed_and_holds_nobody_up() {
    let dir = tempfile::tempdir().expect("made");
    let clock = Arc::new(TokioClock::new(1_000_000));
    let broker = Broker::builder().clock(clock).dir(dir.path()).open().expect("opened");
    let backend = EmbeddedBackend::new(broker, true);
    topic(&backend, "t", 2);
    let producer = producer(&backend);
    send(&producer, "t", 0, 0..4).await;
    send(&producer, "t", 1, 0..2).await;
    // Each send was a batch of its own; the last byte of the second one is flipped under the broker.
    let path = dir.path().join("t-0").join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).expect("read");
    let at = bytes.len() / 2 - 2;
    bytes[at] ^= 0xff;
    std::fs::write(&path, &bytes).expect("written");
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut consumer).await;
    assert_eq!(poll(&mut consumer).await, "t-0 0..=0, t-1 0..=1");
    for _ in 0..2 {
        assert_eq!(poll(&mut consumer).await, "error Corrupt");
        assert_eq!(consumer.position(&TopicPartition::new("t", 0)).expect("assigned"), 1);
    }
    send(&producer, "t", 1, 0..1).await;
    assert_eq!(poll(&mut consumer).await, "t-1 2..=2");
    consumer.seek(&TopicPartition::new("t", 0), SeekTo::Offset(2)).expect("moved");
    assert_eq!(poll(&mut consumer).await, "t-0 2..=3");
    consumer.close().await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_did_not_store_comes_again() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = producer(&backend);
    let auto = settings("g")
        .with("enable.auto.commit", true)
        .with("auto.commit.interval.ms", 0)
        .with("session.timeout.ms", 10_000)
        .with("max.poll.records", 2);
    send(&producer, "t", 0, 0..4).await;
    let mut consumer = subscribed(&backend, &auto, &["t"]);
    poll(&mut consumer).await;
    assert_eq!(poll(&mut consumer).await, "t-0 0..=1");
    assert_eq!(poll(&mut consumer).await, "t-0 2..=3");
    // A crash: nobody leaves, nothing is stored. Its place is free when its session has ended.
    drop(consumer);
    let mut next = subscribed(&backend, &auto, &["t"]);
    assert_eq!(poll(&mut next).await, "assigned [t-0@2]");
    assert_eq!(poll(&mut next).await, "t-0 2..=3");
}

#[tokio::test(start_paused = true)]
async fn auto_commit_stores_before_a_partition_is_given_up() {
    let backend = backend();
    topic(&backend, "t", 1);
    send(&producer(&backend), "t", 0, 0..3).await;
    let auto = settings("g").with("enable.auto.commit", true);
    let mut first = subscribed(&backend, &auto, &["t"]);
    poll(&mut first).await;
    assert_eq!(poll(&mut first).await, "t-0 0..=2");
    let mut second = subscribed(&backend, &auto, &["t"]);
    let _ = second.poll(Duration::from_millis(10)).await;
    assert_eq!(poll(&mut first).await, "revoked [t-0]");
    first.close().await.expect("closed");
    assert_eq!(poll(&mut second).await, "assigned [t-0@3]");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_dropped_loses_nothing() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = producer(&backend);
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut consumer).await;
    let mut next = 0;
    for round in 0..50 {
        send(&producer, "t", 0, 0..(round % 3)).await;
        let polled = tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(if round % 2 == 0 { 0 } else { 1 })) => continue,
            polled = consumer.poll(WAIT) => polled.expect("polled"),
        };
        let Polled::Records(records) = polled else { panic!("{polled:?}") };
        for record in records.partitions.iter().flat_map(|part| &part.records) {
            assert_eq!(record.offset(), next);
            next += 1;
        }
    }
    while let Ok(Polled::Records(records)) = consumer.poll(Duration::ZERO).await {
        if records.is_empty() {
            break;
        }
        next += records.count() as i64;
    }
    assert_eq!(next, 49);
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_fetch_min_bytes_but_not_for_long() {
    let backend = backend();
    topic(&backend, "t", 1);
    let slow = settings("g").with("fetch.min.bytes", 200).with("fetch.max.wait.ms", 300);
    let mut consumer = subscribed(&backend, &slow, &["t"]);
    poll(&mut consumer).await;
    let producer = producer(&backend);
    send(&producer, "t", 0, 0..1).await;
    let start = tokio::time::Instant::now();
    assert_eq!(poll(&mut consumer).await, "t-0 0..=0");
    assert_eq!(start.elapsed().as_millis(), 300);
    send(&producer, "t", 0, 0..3).await;
    assert_eq!(poll(&mut consumer).await, "t-0 1..=3");
    assert_eq!(start.elapsed().as_millis(), 300, "enough bytes are handed out at once");
}

#[test]
fn the_brokers_limits_are_checked_with_the_settings() {
    let backend = EmbeddedBackend::new(Broker::in_memory(), true);
    let short = Properties::new().with("group.id", "g").with("session.timeout.ms", 5000).with("heartbeat.interval.ms", 1000);
    let problems = backend.check_consumer(&short);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string(), "session.timeout.ms = 5000: this broker allows 6000 to 1800000");
    assert!(backend.consumer(&short).is_err());
}

/// A member goes on, in this process, where the group's offset is; what a transaction is about to store is none yet.
#[tokio::test(start_paused = true)]
async fn an_offset_that_a_transaction_stores_counts_once_it_is_committed() {
    let backend = backend();
    topic(&backend, "t", 1);
    send(&producer(&backend), "t", 0, 0..9).await;
    let broker = &backend.broker;
    let x = broker.init_transactional_producer("x", 60_000, None).await.expect("given");
    let partition = TopicPartition::new("t", 0);
    let nobody = broker_core::MemberIdentity::administrator();
    let commit = |offset| broker_core::OffsetCommit { topic: "t", partition: 0, offset, leader_epoch: -1, metadata: "" };
    broker.commit_offsets("g", nobody, &[commit(2)]).expect("stored");
    for (commits, before, after) in [(false, 2, 2), (true, 2, 6)] {
        broker.add_offsets_to_transaction("x", x, "g").await.expect("added");
        broker.txn_offset_commit("x", x, "g", nobody, &[commit(6)]).await.expect("asked").remove(0).expect("stored");
        for offset in [before, after] {
            let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
            assert_eq!(poll(&mut consumer).await, format!("assigned [t-0@{offset}]"));
            let stored = consumer.committed(std::slice::from_ref(&partition)).await.expect("read");
            assert_eq!(stored[0].as_ref().map(|stored| stored.offset), Some(offset));
            consumer.close().await.expect("closed");
            if broker.describe_transaction("x").expect("known").state.name() == "Ongoing" {
                broker.end_transaction("x", x, commits).await.expect("ended");
            }
        }
    }
}
