//! Every write durable before it counts: on real files, with a thread that syncs for everybody.

use std::sync::Arc;
use std::time::Duration;

use broker_core::record::BatchBuilder;
use broker_core::storage::{Disk, MemoryDisk};
use broker_core::{Broker, NewTopic, PartitionHandle, TokioClock};
use bytes::BytesMut;

/// No test waits longer.
const DEADLINE: Duration = Duration::from_secs(60);

fn one(value: u64) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(&value.to_be_bytes()), &[]);
    builder.build()
}

fn topic(setting: &str, value: &str) -> NewTopic {
    let mut topic = NewTopic::new("t").partitions(3);
    topic.configs.insert(setting.to_owned(), value.to_owned());
    topic
}

async fn write(partition: PartitionHandle, from: u64) {
    for value in from..from + 40 {
        let end = partition.produce(one(value)).expect("produced").end_offset;
        partition.acknowledged(end).await.expect("durable");
        assert!(partition.end_offset() >= end, "what was acknowledged can be read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_the_syncs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let broker = Broker::open(dir.path()).expect("opened");
    broker.create_topic(&topic("flush.messages", "1")).expect("made");
    let writers: Vec<_> = (0..12u64)
        .map(|writer| tokio::spawn(write(broker.partition("t", (writer % 3) as i32).expect("there"), writer * 1000)))
        .collect();
    for writer in writers {
        tokio::time::timeout(DEADLINE, writer).await.expect("within a minute").expect("no panic");
    }
    let ends: i64 = (0..3).map(|number| broker.partition("t", number).expect("there").end_offset()).sum();
    assert_eq!(ends, 12 * 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_broker_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let broker = Broker::open(dir.path()).expect("opened");
    broker.create_topic(&topic("flush.messages", "1")).expect("made");
    let partition = broker.partition("t", 0).expect("there");
    let waiting: Vec<_> =
        (0..50).map(|value| partition.acknowledged(partition.produce(one(value)).expect("produced").end_offset)).collect();
    broker.close().await.expect("closed");
    drop(broker);
    for waiting in waiting {
        tokio::time::timeout(DEADLINE, waiting).await.expect("within a minute").expect("durable");
    }
    // Who writes later syncs itself.
    let end = partition.produce(one(50)).expect("produced").end_offset;
    tokio::time::timeout(DEADLINE, partition.acknowledged(end)).await.expect("within a minute").expect("durable");
}

#[tokio::test(start_paused = true)]
async fn in_memory_a_flush_in_time_follows_the_runtimes_clock() {
    let disk = MemoryDisk::new();
    let open = || Broker::builder().disk(Arc::new(disk.clone())).clock(Arc::new(TokioClock::new(0))).open().expect("opened");
    let broker = open();
    broker.create_topic(&topic("flush.ms", "250")).expect("made");
    let partition = broker.partition("t", 0).expect("there");
    partition.produce(one(1)).expect("produced");
    tokio::time::sleep(Duration::from_millis(251)).await;
    partition.produce(one(2)).expect("produced");
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(broker);
    disk.crash();
    assert_eq!(open().partition("t", 0).expect("there").end_offset(), 1, "the first had its time, the second had not");
    assert!(disk.folders().expect("listed").contains(&"t-0".to_owned()));
}
