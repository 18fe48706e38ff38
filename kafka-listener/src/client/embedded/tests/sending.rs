//! Batches: what goes into one, when it is sent, and what its sends are told.

use super::*;
use crate::client::{RecordMetadata, SendHandle};

fn record<'a>(topic: &'a str, value: &'a [u8]) -> RawProducerRecord<'a> {
    RawProducerRecord { topic, partition: None, timestamp: None, key: None, value: Some(value), headers: &[] }
}

fn with(backend: &EmbeddedBackend, settings: &[(&str, &str)]) -> Arc<dyn Producer> {
    backend.producer(&settings.iter().copied().collect()).expect("made")
}

fn end(backend: &EmbeddedBackend, topic: &str, partition: i32) -> i64 {
    backend.broker.partition(topic, partition).expect("there").end_offset()
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_is_sent_by_who_filled_it_and_order_is_kept() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = with(&backend, &[("batch.size", "1000"), ("linger.ms", "60000")]);
    let value = [7u8; 200];
    let sends: Vec<SendHandle> = (0..9).map(|_| producer.send(record("t", &value))).collect();
    assert_eq!(end(&backend, "t", 0), 8, "two batches of four; the ninth lingers");
    for (index, send) in sends.into_iter().enumerate() {
        assert_eq!(send.await.expect("sent").offset, index as i64);
    }
}

#[tokio::test(start_paused = true)]
async fn each_batch_lingers_its_own_time() {
    let backend = backend();
    topic(&backend, "a", 1);
    topic(&backend, "b", 1);
    let producer = with(&backend, &[("linger.ms", "50")]);
    let sleep = |ms| tokio::time::sleep(Duration::from_millis(ms));
    drop(producer.send(record("a", b"1")));
    sleep(30).await;
    // Awaited, so sent at once; the next batch of the same partition has all of its linger before it.
    producer.send(record("a", b"2")).await.expect("sent");
    drop(producer.send(record("a", b"3")));
    drop(producer.send(record("b", b"1")));
    assert_eq!((end(&backend, "a", 0), end(&backend, "b", 0)), (2, 0));
    sleep(40).await;
    assert_eq!((end(&backend, "a", 0), end(&backend, "b", 0)), (2, 0));
    sleep(15).await;
    assert_eq!((end(&backend, "a", 0), end(&backend, "b", 0)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn used_up_memory_sends_the_oldest_batches() {
    let backend = backend();
    topic(&backend, "t", 8);
    let producer = with(&backend, &[("batch.size", "1000"), ("buffer.memory", "3000"), ("linger.ms", "60000")]);
    let to = |partition| RawProducerRecord { partition: Some(partition), ..record("t", b"v") };
    for partition in 0..5 {
        drop(producer.send(to(partition)));
    }
    let ends: Vec<i64> = (0..5).map(|partition| end(&backend, "t", partition)).collect();
    assert_eq!(ends, [1, 1, 0, 0, 0], "three open batches fit");
    let big = vec![0; 3001];
    let error = producer.send(record("t", &big)).await.expect_err("never fits");
    assert_eq!(error.kind(), ClientErrorKind::RecordTooLarge);
    assert!(error.to_string().contains("buffer.memory (3000)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_topics_own_limit_bounds_its_batches() {
    let backend = backend();
    let small = broker_core::NewTopic {
        name: "t".to_owned(),
        partitions: Some(1),
        configs: [("max.message.bytes".to_owned(), "500".to_owned())].into(),
    };
    backend.broker.create_topic(&small).expect("created");
    let producer = with(&backend, &[("linger.ms", "60000")]);
    let (value, big) = ([7u8; 150], [7u8; 600]);
    let sends: Vec<SendHandle> =
        [&value[..], &value, &value, &big, &value].into_iter().map(|value| producer.send(record("t", value))).collect();
    let mut told = Vec::new();
    for send in sends {
        told.push(match send.await {
            Ok(RecordMetadata { offset, .. }) => offset.to_string(),
            Err(error) => format!("{:?}: {error}", error.kind()),
        });
    }
    assert_eq!([&told[0], &told[1], &told[2], &told[4]], ["0", "1", "2", "3"], "only the big one fails");
    assert!(told[3].contains("RecordTooLarge") && told[3].contains("max.message.bytes (500)"), "{}", told[3]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_goes_away_leaves_no_send_without_a_result() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = with(&backend, &[("linger.ms", "60000")]);
    let stale = producer.send(record("t", b"old"));
    backend.broker.delete_topic("t").expect("deleted");
    let fresh = producer.send(record("t", b"new"));
    assert_eq!(stale.await.expect_err("gone").kind(), ClientErrorKind::UnknownTopicOrPartition);
    assert_eq!(fresh.await.expect("made anew").offset, 0);
    let open = producer.send(record("t", b"open"));
    drop(producer);
    assert_eq!(open.await.expect("sent when the producer went").offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_waited_for_no_longer_than_max_block() {
    let config = broker_core::BrokerConfig { auto_create_topics_enable: false, ..Default::default() };
    let clock = Arc::new(TokioClock::new(1_000_000));
    let broker = Broker::builder().clock(clock).config(config).open().expect("opened");
    let backend = EmbeddedBackend::new(broker, true);
    let producer = with(&backend, &[("max.block.ms", "2000")]);
    let start = tokio::time::Instant::now();
    let error = producer.send(record("late", b"1")).await.expect_err("not there");
    assert_eq!((error.kind(), start.elapsed().as_millis()), (ClientErrorKind::UnknownTopicOrPartition, 2000));
    assert!(error.to_string().contains("max.block.ms (2000)"), "{error}");
    let made_in_time = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        topic(&backend, "late", 1);
    };
    let (sent, ()) = tokio::join!(producer.send(record("late", b"2")), made_in_time);
    assert_eq!((sent.expect("sent").offset, start.elapsed().as_millis()), (0, 2500));
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_before_1970_is_refused_alone() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = with(&backend, &[]);
    let good = producer.send(record("t", b"1"));
    let bad = producer.send(RawProducerRecord { timestamp: Some(i64::MIN), ..record("t", b"2") });
    assert!(bad.await.expect_err("refused").to_string().contains("must not be negative"));
    good.await.expect("sent");
}

#[tokio::test(start_paused = true)]
async fn awaited_sends_let_other_tasks_run() {
    let backend = backend();
    topic(&backend, "t", 1);
    let producer = with(&backend, &[]);
    let other = tokio::spawn(async {});
    let mut sent = 0;
    while !other.is_finished() {
        producer.send(record("t", b"v")).await.expect("sent");
        sent += 1;
        assert!(sent < 10_000, "the other task of this thread never ran");
    }
}

#[test]
fn a_producer_works_without_a_runtime_and_outlives_one() {
    let backend = EmbeddedBackend::new(Broker::in_memory(), true);
    topic(&backend, "t", 1);
    let producer = with(&backend, &[("linger.ms", "1")]);
    drop(producer.send(record("t", b"1")));
    assert_eq!(end(&backend, "t", 0), 1, "nobody could send it later");
    let run = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("made");
    run().block_on(async { drop(producer.send(record("t", b"2"))) });
    assert_eq!(end(&backend, "t", 0), 2, "the runtime ended");
    run().block_on(async {
        drop(producer.send(record("t", b"3")));
        let in_time = async {
            while end(&backend, "t", 0) < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(WAIT, in_time).await.expect("the next runtime sends it when linger.ms has passed");
    });
}

#[tokio::test(start_paused = true)]
async fn keyless_records_stay_with_a_partition_for_a_batch() {
    let backend = backend();
    topic(&backend, "t", 4);
    let producer = with(&backend, &[("batch.size", "1000")]);
    let mut runs: Vec<(i32, usize)> = Vec::new();
    for _ in 0..60 {
        let placed = producer.send(record("t", &[7; 80])).await.expect("sent");
        match runs.last_mut() {
            Some((partition, count)) if *partition == placed.partition => *count += 1,
            _ => runs.push((placed.partition, 1)),
        }
    }
    let whole = &runs[..runs.len() - 1];
    assert!(whole.len() > 3 && whole.iter().all(|(_, count)| (8..=13).contains(count)), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn compressed_batches_are_stored_compressed_and_read_as_sent() {
    for (codec, id) in [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)] {
        let backend = backend();
        topic(&backend, "t", 1);
        let made = backend.producer(&Properties::new().with("compression.type", codec).with("linger.ms", 60_000));
        let producer = match made {
            Ok(producer) => producer,
            Err(error) => {
                assert!(error.to_string().contains(&format!("the cargo feature '{codec}'")), "{error}");
                continue;
            }
        };
        let values: Vec<Vec<u8>> = (0..40).map(|n| [format!("{n} "), "v".repeat(80)].concat().into_bytes()).collect();
        let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"1")), ("none", None)];
        values.iter().for_each(|value| {
            drop(producer.send(RawProducerRecord { key: Some(b"key"), headers, ..record("t", value) }));
        });
        producer.flush().await.expect("flushed");
        let stored = backend.broker.partition("t", 0).expect("there").fetch(0, 1 << 20).expect("fetched").batches;
        assert_eq!((stored.len(), stored[0][22]), (1, id), "{codec}: one batch, its attributes");
        // Handed out in parts, and from the middle on.
        let mut consumer = subscribed(&backend, &settings("g").with("max.poll.records", 15), &["t"]);
        assert_eq!(poll(&mut consumer).await, "assigned [t-0@0]");
        let mut read = Vec::new();
        for _ in 0..3 {
            let Ok(Polled::Records(records)) = consumer.poll(WAIT).await else { panic!("records") };
            read.extend(records.partitions.into_iter().flat_map(|part| part.records));
        }
        assert_eq!(read.iter().map(|record| record.value().expect("a value").to_vec()).collect::<Vec<_>>(), values, "{codec}");
        assert_eq!(read.iter().map(|record| record.offset()).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>(), "{codec}");
        assert!(
            read.iter().all(|record| record.key() == Some(b"key") && record.headers().eq(headers.iter().copied())),
            "{codec}"
        );
        consumer.seek(&TopicPartition::new("t", 0), SeekTo::Offset(33)).expect("assigned");
        assert_eq!(poll(&mut consumer).await, "t-0 33..=39");
    }
}

#[test]
fn a_level_that_is_not_built_is_refused_by_name() {
    let settings = Properties::new().with("compression.type", "lz4").with("compression.lz4.level", 17);
    let error = backend().producer(&settings).map(drop).expect_err("refused");
    let feature_is_off = error.to_string().contains("the cargo feature 'lz4'");
    assert!(feature_is_off || error.to_string().contains("lz4 has no level 17: 9 to 9"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_idempotent_unless_its_settings_say_otherwise() {
    for (settings, idempotent) in [(&[][..], true), (&[("acks", "1")], false), (&[("enable.idempotence", "false")], false)] {
        let backend = backend();
        topic(&backend, "t", 2);
        let (producer, other) = (with(&backend, settings), with(&backend, settings));
        let to = |partition, value| RawProducerRecord { partition: Some(partition), ..record("t", value) };
        for _ in 0..2 {
            drop((producer.send(to(0, b"a")), producer.send(to(0, b"b")), producer.send(to(1, b"c"))));
            producer.flush().await.expect("flushed");
            other.send(to(1, b"d")).await.expect("sent");
        }
        let stored = |partition| -> Vec<(i64, i16, i32)> {
            let fetched = backend.broker.partition("t", partition).expect("there").fetch(0, 1 << 20).expect("fetched");
            let all = fetched.batches.iter().flat_map(broker_core::record::batches).map(|batch| batch.expect("sound"));
            all.map(|batch| (batch.producer_id(), batch.producer_epoch(), batch.base_sequence())).collect()
        };
        if idempotent {
            assert_eq!(stored(0), [(0, 0, 0), (0, 0, 2)], "sequences count records");
            assert_eq!(stored(1), [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)], "each producer and partition counts by itself");
        } else {
            assert!(stored(0).iter().chain(&stored(1)).all(|batch| *batch == (-1, -1, -1)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_the_disk_where_the_topic_asks_for_it() {
    let disk = broker_core::storage::MemoryDisk::new();
    let broker = Broker::builder().disk(Arc::new(disk.clone())).clock(Arc::new(TokioClock::new(1_000_000))).open();
    let backend = EmbeddedBackend::new(broker.expect("opened"), true);
    for (name, every) in [("synced", "1"), ("cached", "1000")] {
        let configs = [("flush.messages".to_owned(), every.to_owned())].into();
        let made = broker_core::NewTopic { name: name.to_owned(), partitions: Some(1), configs };
        backend.broker.create_topic(&made).expect("created");
    }
    let producer = producer(&backend);
    let synced = producer.send(record("synced", b"1")).await.expect("sent");
    producer.send(record("cached", b"1")).await.expect("sent");
    // The write works, its sync does not.
    disk.fail_after(1);
    let error = producer.send(record("synced", b"2")).await.expect_err("not durable").to_string();
    assert!(error.contains("synced-0 takes no writes") && error.contains("injected fault"), "{error}");
    disk.heal();
    producer.flush().await.expect("nobody is left waiting");
    producer.send(record("synced", b"3")).await.expect_err("refused from then on");
    producer.send(record("cached", b"2")).await.expect("the other topic goes on");
    producer.close().await.expect("closed");
    disk.crash();
    let broker = Broker::builder().disk(Arc::new(disk)).open().expect("opened");
    let ends = ["synced", "cached"].map(|name| broker.partition(name, 0).expect("there").end_offset());
    assert_eq!((ends, synced.offset), ([1, 0], 0), "what was acknowledged as durable, and nothing of the page cache");
}

/// Whatever the producer saw of the topic while it grew: it may be looked at in the middle.
#[tokio::test]
async fn partitions_that_come_while_a_topic_is_looked_up_are_found() {
    let backend = backend();
    let mut missed = Vec::new();
    for round in 0..3000 {
        let name = format!("t{round}");
        topic(&backend, &name, 1);
        let producer = producer(&backend);
        let to = |partition| RawProducerRecord { partition: Some(partition), ..record(&name, b"v") };
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                backend.broker.create_partitions(&name, 2).expect("grown");
            });
            both.wait();
            drop(producer.send(to(0)));
        });
        if producer.send(to(1)).await.is_err() {
            missed.push(round);
        }
        backend.broker.delete_topic(&name).expect("deleted");
    }
    assert!(missed.is_empty(), "the second partition is not there for the producer in rounds {missed:?}");
}
