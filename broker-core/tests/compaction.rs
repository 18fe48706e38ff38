//! Compacted topics, seen through the broker's public API: what the housekeeping does in its time, and what is left after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_core::record::{BatchBuilder, batches};
use broker_core::storage::{Disk, Fault, MemoryDisk};
use broker_core::{Broker, NewTopic, PartitionHandle, TokioClock};

fn open(disk: &MemoryDisk) -> Broker {
    let clock = Arc::new(TokioClock::new(1_767_225_600_000));
    Broker::builder().disk(Arc::new(disk.clone())).clock(clock).seed(1).open().expect("opened")
}

fn compacted(broker: &Broker, more: &[(&str, &str)]) -> PartitionHandle {
    let mut topic = NewTopic::new("t");
    let settings = [("cleanup.policy", "compact"), ("segment.bytes", "2000"), ("file.delete.delay.ms", "1000")];
    for (name, value) in settings.iter().chain(more) {
        topic.configs.insert((*name).to_owned(), (*value).to_owned());
    }
    broker.create_topic(&topic).expect("made");
    broker.partition("t", 0).expect("there")
}

fn produce(broker: &Broker, to: &PartitionHandle, key: &str, value: Option<&str>) {
    let mut builder = BatchBuilder::new();
    builder.append(broker.clock().wall_ms(), Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    to.produce(builder.build()).expect("produced");
}

/// A hundred versions of ten keys.
fn fill(broker: &Broker, to: &PartitionHandle) {
    for number in 0..1000 {
        produce(broker, to, &format!("k{}", number % 10), Some(&format!("{number}")));
    }
}

/// How many records there are, and the last value of each key.
fn read(from: &PartitionHandle) -> (usize, BTreeMap<String, Option<String>>) {
    let (mut count, mut last) = (0, BTreeMap::new());
    let mut next = from.log_start();
    while next < from.end_offset() {
        for run in from.fetch(next, 1 << 20).expect("fetched").batches {
            for batch in batches(&run) {
                let batch = batch.expect("a batch");
                next = batch.last_offset() + 1;
                for record in batch.records() {
                    let record = record.expect("sound");
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    last.insert(text(record.key().expect("a key")), record.value().map(text));
                    count += 1;
                }
            }
        }
    }
    (count, last)
}

fn expected() -> BTreeMap<String, Option<String>> {
    (990..1000).map(|number| (format!("k{}", number % 10), Some(format!("{number}")))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dirty_log_is_compacted_in_time_and_outlives_crashes() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    let partition = compacted(&broker, &[]);
    fill(&broker, &partition);
    assert_eq!(read(&partition).0, 1000);
    tokio::time::sleep(Duration::from_secs(16)).await;
    let (count, last) = read(&partition);
    assert!(count < 60, "{count} records are left");
    assert_eq!(last, expected());
    assert_eq!(partition.end_offset(), 1000);
    // A kill: everything is looked through, and gaps are no damage.
    drop((broker, partition));
    let broker = open(&disk);
    let partition = broker.partition("t", 0).expect("there");
    assert_eq!((read(&partition).1, partition.end_offset()), (expected(), 1000));
    // More of the same, and a stop in order.
    fill(&broker, &partition);
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert!(read(&partition).0 < 60);
    broker.close().await.expect("closed");
    let partition = open(&disk).partition("t", 0).expect("there");
    assert_eq!((read(&partition).1, partition.end_offset()), (expected(), 2000));
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_again_does_not_inherit_gaps() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    let partition = compacted(&broker, &[]);
    fill(&broker, &partition);
    tokio::time::sleep(Duration::from_secs(16)).await;
    broker.delete_topic("t").expect("deleted");
    compacted(&broker, &[("cleanup.policy", "delete")]);
    let text = disk.open("", "cleaner-offset-checkpoint").expect("opened").read(0, 100).expect("read");
    assert_eq!(&text[..], b"0\n0\n");
}

#[tokio::test(start_paused = true)]
async fn tombstones_go_after_their_time_and_their_keys_with_them() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    let partition = compacted(&broker, &[("delete.retention.ms", "60000"), ("min.cleanable.dirty.ratio", "0.01")]);
    produce(&broker, &partition, "gone", Some("1"));
    produce(&broker, &partition, "gone", None);
    fill(&broker, &partition);
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(read(&partition).1.get("gone"), Some(&None), "who reads now must hear that it is gone");
    tokio::time::sleep(Duration::from_secs(60)).await;
    fill(&broker, &partition);
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(read(&partition).1, expected());
}

#[tokio::test(start_paused = true)]
async fn settings_decide_what_is_compacted_and_when() {
    // What is asked for, and whether 1000 records are compacted after 16 s and after 2 h.
    for (settings, soon, late) in [
        (vec![("cleanup.policy", "delete")], false, false),
        (vec![], true, true),
        (vec![("cleanup.policy", "compact,delete")], true, true),
        (vec![("min.compaction.lag.ms", "3600000")], false, true),
        (vec![("min.cleanable.dirty.ratio", "1"), ("max.compaction.lag.ms", "3600000")], false, true),
        (vec![("min.cleanable.dirty.ratio", "1")], false, false),
    ] {
        let broker = open(&MemoryDisk::new());
        let partition = compacted(&broker, &settings);
        fill(&broker, &partition);
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert_eq!(read(&partition).0 < 1000, soon, "{settings:?}, soon");
        tokio::time::sleep(Duration::from_secs(7200)).await;
        assert_eq!(read(&partition).0 < 1000, late, "{settings:?}, late");
        broker.close().await.expect("closed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_producer_is_known_although_its_records_are_gone() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    let partition = compacted(&broker, &[]);
    let batch = || {
        let mut builder = BatchBuilder::new();
        builder.append(broker.clock().wall_ms(), Some(b"k1"), Some(b"first"), &[]);
        builder.producer(7, 0, 0);
        builder.build()
    };
    let first = partition.produce(batch()).expect("produced");
    fill(&broker, &partition);
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert!(read(&partition).0 < 60);
    let again = partition.produce(batch()).expect("known");
    assert_eq!((again.base_offset, again.duplicate), (first.base_offset, true));
    let again = open(&disk).partition("t", 0).expect("there").produce(batch()).expect("known");
    assert_eq!((again.base_offset, again.duplicate), (first.base_offset, true), "after a crash too");
}

#[tokio::test(start_paused = true)]
async fn a_first_compaction_that_could_not_be_announced_is_announced_the_next_time() {
    let mut lost = Vec::new();
    for syncs in 0..20 {
        let disk = MemoryDisk::new();
        let broker = open(&disk);
        let partition = compacted(&broker, &[]);
        fill(&broker, &partition);
        tokio::time::sleep(Duration::from_secs(14)).await;
        disk.inject(Fault::Syncs, 0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(read(&partition).0, 1000, "nothing was compacted");
        disk.heal();
        // The next round is cut short somewhere, then the process is killed.
        disk.inject(Fault::Syncs, syncs);
        tokio::time::sleep(Duration::from_secs(15)).await;
        let left = disk.fork();
        left.heal();
        let partition = open(&left).partition("t", 0).expect("there");
        if read(&partition).1 != expected() || partition.end_offset() != 1000 {
            lost.push((syncs, partition.end_offset()));
        }
    }
    assert!(lost.is_empty(), "after so many syncs, the log ended there: {lost:?}");
}
