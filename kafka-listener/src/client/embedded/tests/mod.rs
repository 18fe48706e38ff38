//! The contract of the client traits, held against the embedded broker under a paused clock.

mod group;
mod reading;
mod sending;
mod statics;

use std::sync::Arc;
use std::time::Duration;

use broker_core::{Broker, TokioClock};

use super::EmbeddedBackend;
use crate::client::{
    Backend, ClientErrorKind, CommitOffset, Consumer, Polled, Producer, Properties, RawProducerRecord, SeekTo, StartOffset,
    Subscription, TopicPartition,
};

const WAIT: Duration = Duration::from_secs(30);

fn backend() -> EmbeddedBackend {
    let broker = Broker::builder().clock(Arc::new(TokioClock::new(1_000_000))).seed(7).open().expect("opened");
    EmbeddedBackend::new(broker, true)
}

fn topic(backend: &EmbeddedBackend, name: &str, partitions: i32) {
    backend.broker.create_topic(&broker_core::NewTopic::new(name).partitions(partitions)).expect("created");
}

fn settings(group: &str) -> Properties {
    Properties::new().with("group.id", group).with("auto.offset.reset", "earliest").with("enable.auto.commit", false)
}

fn producer(backend: &EmbeddedBackend) -> Arc<dyn Producer> {
    backend.producer(&Properties::new()).expect("made")
}

async fn send(producer: &Arc<dyn Producer>, topic: &str, partition: i32, values: std::ops::Range<i32>) {
    for value in values {
        let text = value.to_string();
        let record = RawProducerRecord {
            topic,
            partition: Some(partition),
            timestamp: None,
            key: None,
            value: Some(text.as_bytes()),
            headers: &[],
        };
        producer.send(record).await.expect("sent");
    }
}

fn subscribed(backend: &EmbeddedBackend, settings: &Properties, topics: &[&str]) -> Box<dyn Consumer> {
    let mut consumer = backend.consumer(settings).expect("made");
    consumer.subscribe(Subscription::Topics(topics.iter().map(|topic| Arc::from(*topic)).collect())).expect("subscribed");
    consumer
}

fn text(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// One poll, in words.
async fn poll(consumer: &mut Box<dyn Consumer>) -> String {
    match consumer.poll(WAIT).await {
        Ok(Polled::Records(records)) => {
            let one = |part: &crate::client::PartitionRecords| {
                let (first, last) = (part.records[0].offset(), part.records[part.records.len() - 1].offset());
                format!("{} {first}..={last}", part.topic_partition)
            };
            let all: Vec<String> = records.partitions.iter().map(one).collect();
            if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
        }
        Ok(Polled::Assigned(assigned)) => {
            let one = |one: &crate::client::AssignedPartition| format!("{}@{}", one.topic_partition, one.position);
            format!("assigned [{}]", assigned.iter().map(one).collect::<Vec<_>>().join(" "))
        }
        Ok(Polled::Revoked(partitions)) => format!("revoked [{}]", text(&partitions)),
        Ok(Polled::Lost(partitions)) => format!("lost [{}]", text(&partitions)),
        Ok(Polled::Woken) => "woken".to_owned(),
        Err(error) => format!("error {:?}", error.kind()),
    }
}

#[tokio::test(start_paused = true)]
async fn buffered_records_come_in_portions_and_none_is_left() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = producer(&backend);
    send(&producer, "t", 0, 0..600).await;
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@0]");
    assert_eq!(poll(&mut consumer).await, "t-0 0..=499");
    assert_eq!(consumer.position(&TopicPartition::new("t", 0)).expect("assigned"), 500);
    assert_eq!(poll(&mut consumer).await, "t-0 500..=599");
    // A portion that ends with a batch leaves nothing behind that would keep the next records from being fetched.
    for round in 0..4 {
        send(&producer, "t", 0, 0..500).await;
        assert_eq!(poll(&mut consumer).await, format!("t-0 {}..={}", 600 + 500 * round, 1099 + 500 * round));
    }
    consumer.close().await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_data_comes() {
    let backend = backend();
    topic(&backend, "t", 2);
    let producer = producer(&backend);
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@0 t-1@0]");
    assert_eq!(poll(&mut consumer).await, "nothing");
    let later = async {
        tokio::time::sleep(Duration::from_millis(70)).await;
        send(&producer, "t", 1, 0..1).await;
    };
    let start = tokio::time::Instant::now();
    let (polled, ()) = tokio::join!(poll(&mut consumer), later);
    assert_eq!((polled.as_str(), start.elapsed().as_millis()), ("t-1 0..=0", 70));
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_are_where_the_next_member_starts() {
    let backend = backend();
    topic(&backend, "t", 1);
    send(&producer(&backend), "t", 0, 0..10).await;
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut consumer).await;
    let partition = TopicPartition::new("t", 0);
    consumer.commit(&[CommitOffset { topic_partition: partition.clone(), offset: 4 }]).await.expect("committed");
    let stored = consumer.committed(&[partition]).await.expect("read");
    assert_eq!(stored[0].as_ref().map(|stored| stored.offset), Some(4));
    consumer.close().await.expect("closed");
    let mut next = subscribed(&backend, &settings("g"), &["t"]);
    assert_eq!(poll(&mut next).await, "assigned [t-0@4]");
}

#[tokio::test(start_paused = true)]
async fn without_an_offset_the_reset_policy_decides() {
    for (reset, expected) in
        [("earliest", "assigned [t-0@0]"), ("latest", "assigned [t-0@3]"), ("none", "error NoOffsetForPartition")]
    {
        let backend = backend();
        topic(&backend, "t", 1);
        send(&producer(&backend), "t", 0, 0..3).await;
        let mut consumer = subscribed(&backend, &settings("g").with("auto.offset.reset", reset), &["t"]);
        assert_eq!(poll(&mut consumer).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn eager_members_give_up_all_before_the_next_generation() {
    let backend = backend();
    topic(&backend, "t", 2);
    let mut first = subscribed(&backend, &settings("g"), &["t"]);
    assert_eq!(poll(&mut first).await, "assigned [t-0@0 t-1@0]");
    let mut second = subscribed(&backend, &settings("g"), &["t"]);
    let (one, two) = tokio::join!(
        async {
            assert_eq!(poll(&mut first).await, "revoked [t-0 t-1]");
            assert_eq!(first.assignment().len(), 2, "owned until the next poll");
            poll(&mut first).await
        },
        poll(&mut second)
    );
    let mut both = [one, two];
    both.sort();
    assert_eq!(both, ["assigned [t-0@0]", "assigned [t-1@0]"]);
    second.close().await.expect("closed");
    assert!(poll(&mut first).await.starts_with("revoked"));
    assert_eq!(poll(&mut first).await, "assigned [t-0@0 t-1@0]");
}

#[tokio::test(start_paused = true)]
async fn cooperative_members_give_up_only_what_moves() {
    let backend = backend();
    topic(&backend, "t", 4);
    let cooperative = settings("g").with("partition.assignment.strategy", "cooperative-sticky");
    let mut first = subscribed(&backend, &cooperative, &["t"]);
    assert_eq!(poll(&mut first).await, "assigned [t-0@0 t-1@0 t-2@0 t-3@0]");
    let mut second = subscribed(&backend, &cooperative, &["t"]);
    let (revoked, fresh) = tokio::join!(poll(&mut first), poll(&mut second));
    assert_eq!((revoked.as_str(), fresh.as_str()), ("revoked [t-2 t-3]", "assigned []"));
    let (kept, given) = tokio::join!(poll(&mut first), poll(&mut second));
    assert_eq!((kept.as_str(), given.as_str()), ("assigned []", "assigned [t-2@0 t-3@0]"));
    assert_eq!(text(&first.assignment()), "t-0 t-1");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_silent_too_long_loses_everything() {
    let backend = backend();
    topic(&backend, "t", 1);
    let short = settings("g").with("max.poll.interval.ms", 20_000).with("session.timeout.ms", 10_000);
    let mut consumer = subscribed(&backend, &short, &["t"]);
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@0]");
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        consumer.mark_progress();
    }
    assert!(!consumer.rebalance_pending(), "progress keeps the membership");
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(consumer.rebalance_pending());
    let commit = consumer.commit(&[CommitOffset { topic_partition: TopicPartition::new("t", 0), offset: 1 }]).await;
    assert_eq!(commit.expect_err("left").kind(), ClientErrorKind::Fenced);
    assert_eq!(poll(&mut consumer).await, "lost [t-0]");
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@0]");
}

#[tokio::test(start_paused = true)]
async fn pause_resume_and_seek() {
    let backend = backend();
    topic(&backend, "t", 2);
    let producer = producer(&backend);
    send(&producer, "t", 0, 0..5).await;
    send(&producer, "t", 1, 0..5).await;
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut consumer).await;
    let (zero, one) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
    consumer.pause(std::slice::from_ref(&zero)).expect("assigned");
    assert_eq!(poll(&mut consumer).await, "t-1 0..=4");
    consumer.resume(&[zero]).expect("assigned");
    assert_eq!(poll(&mut consumer).await, "t-0 0..=4");
    for (to, position) in [
        (SeekTo::Beginning, 0),
        (SeekTo::End, 5),
        (SeekTo::Offset(2), 2),
        (SeekTo::FromEnd(1), 4),
        (SeekTo::FromCurrent(-3), 1),
        (SeekTo::Timestamp(0), 0),
        (SeekTo::Timestamp(i64::MAX), 5),
    ] {
        assert_eq!(consumer.seek(&one, to).expect("moved"), position, "{to:?}");
    }
    consumer.seek(&one, SeekTo::Offset(3)).expect("moved");
    assert_eq!(poll(&mut consumer).await, "t-1 3..=4");
    let error = consumer.seek(&TopicPartition::new("t", 9), SeekTo::End).expect_err("not assigned");
    assert_eq!(error.kind(), ClientErrorKind::IllegalState);
}

#[tokio::test(start_paused = true)]
async fn patterns_find_new_topics_and_topics_that_grow_are_shared_anew() {
    let backend = backend();
    topic(&backend, "a.1", 1);
    let mut consumer = backend.consumer(&settings("g")).expect("made");
    consumer.subscribe(Subscription::Pattern("a\\..*".to_owned())).expect("subscribed");
    assert_eq!(poll(&mut consumer).await, "assigned [a.1-0@0]");
    topic(&backend, "a.2", 1);
    topic(&backend, "b.1", 1);
    assert_eq!(poll(&mut consumer).await, "revoked [a.1-0]");
    assert_eq!(poll(&mut consumer).await, "assigned [a.1-0@0 a.2-0@0]");
    backend.broker.create_partitions("a.1", 2).expect("grown");
    assert_eq!(poll(&mut consumer).await, "revoked [a.1-0 a.2-0]");
    assert_eq!(poll(&mut consumer).await, "assigned [a.1-0@0 a.1-1@0 a.2-0@0]");
}

#[tokio::test(start_paused = true)]
async fn auto_commit_stores_what_earlier_polls_returned() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = producer(&backend);
    send(&producer, "t", 0, 0..2).await;
    let auto = settings("g").with("enable.auto.commit", true).with("auto.commit.interval.ms", 100);
    let mut consumer = subscribed(&backend, &auto, &["t"]);
    poll(&mut consumer).await;
    assert_eq!(poll(&mut consumer).await, "t-0 0..=1");
    let stored = |backend: &EmbeddedBackend| {
        backend.broker.fetch_offsets("g", None).first().and_then(|(_, stored)| stored.clone()).map(|s| s.offset)
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stored(&backend), None, "what this poll returned is not stored before a later one");
    assert_eq!(poll(&mut consumer).await, "nothing");
    assert_eq!(stored(&backend), Some(2));
    send(&producer, "t", 0, 0..1).await;
    assert_eq!(poll(&mut consumer).await, "t-0 2..=2");
    consumer.close().await.expect("closed");
    assert_eq!(stored(&backend), Some(3), "closing stores the rest");
}

#[tokio::test(start_paused = true)]
async fn explicit_partitions_start_where_they_are_told() {
    let backend = backend();
    topic(&backend, "t", 2);
    send(&producer(&backend), "t", 0, 0..5).await;
    let mut consumer = backend.consumer(&Properties::new()).expect("made");
    let at = |partition, to| (TopicPartition::new("t", partition), StartOffset::At(to));
    consumer.assign(vec![at(0, SeekTo::FromEnd(2)), at(1, SeekTo::Beginning)]).expect("assigned");
    assert_eq!(poll(&mut consumer).await, "assigned [t-0@3 t-1@0]");
    assert_eq!(poll(&mut consumer).await, "t-0 3..=4");
    let error = consumer.subscribe(Subscription::Topics(Vec::new())).expect_err("assigned already");
    assert_eq!(error.kind(), ClientErrorKind::IllegalState);
}

#[tokio::test(start_paused = true)]
async fn wakeup_interrupts_a_poll() {
    let backend = backend();
    topic(&backend, "t", 1);
    let mut consumer = subscribed(&backend, &settings("g"), &["t"]);
    poll(&mut consumer).await;
    let wakeup = consumer.wakeup();
    wakeup.wake();
    assert_eq!(poll(&mut consumer).await, "woken");
    let (polled, ()) = tokio::join!(poll(&mut consumer), async { wakeup.wake() });
    assert_eq!(polled, "woken");
}

#[tokio::test(start_paused = true)]
async fn a_batch_lingers_unless_somebody_waits_for_it() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = backend.producer(&Properties::new().with("linger.ms", 50)).expect("made");
    let record =
        |value| RawProducerRecord { topic: "t", partition: None, timestamp: None, key: None, value: Some(value), headers: &[] };
    let partition = backend.broker.partition("t", 0).expect("there");
    let sends: Vec<_> = [&b"a"[..], b"b", b"c"].into_iter().map(|value| producer.send(record(value))).collect();
    assert_eq!(partition.end_offset(), 0);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(partition.end_offset(), 3, "linger.ms has passed");
    for (index, send) in sends.into_iter().enumerate() {
        assert_eq!(send.await.expect("sent").offset, index as i64);
    }
    let start = tokio::time::Instant::now();
    assert_eq!(producer.send(record(b"d")).await.expect("sent").offset, 3);
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(producer.send(record(b"e")));
    producer.flush().await.expect("flushed");
    assert_eq!(partition.end_offset(), 5, "dropping the future un-sends nothing");
}

#[tokio::test(start_paused = true)]
async fn sends_that_cannot_be_say_why() {
    let backend = backend();
    topic(&backend, "t", 2);
    let producer = backend.producer(&Properties::new().with("max.request.size", 100)).expect("made");
    let big = vec![0; 200];
    let base = RawProducerRecord { topic: "t", partition: None, timestamp: None, key: None, value: None, headers: &[] };
    for (record, kind, part) in [
        (RawProducerRecord { value: Some(&big), ..base }, ClientErrorKind::RecordTooLarge, "max.request.size (100)"),
        (RawProducerRecord { partition: Some(2), ..base }, ClientErrorKind::UnknownTopicOrPartition, "has 2 partitions"),
        (RawProducerRecord { topic: "no topic", ..base }, ClientErrorKind::Broker, "no topic name"),
        (RawProducerRecord { topic: "__consumer_offsets", ..base }, ClientErrorKind::Broker, "internal"),
    ] {
        let error = producer.send(record).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    producer.close().await.expect("closed");
    assert_eq!(producer.send(base).await.expect_err("closed").kind(), ClientErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn keys_go_to_kafkas_partition_and_acks_0_knows_no_offset() {
    let backend = backend();
    topic(&backend, "t", 1000);
    let producer = backend.producer(&Properties::new().with("acks", 0)).expect("made");
    let record =
        RawProducerRecord { topic: "t", partition: None, timestamp: Some(5), key: Some(b"abc"), value: None, headers: &[] };
    let placed = producer.send(record).await.expect("sent");
    assert_eq!((placed.partition, placed.offset, placed.timestamp), (107, -1, 5));
}
