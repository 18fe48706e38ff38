//! Changes of topics, and who produces and reads meanwhile.

use std::sync::Arc;

use super::{Broker, NewTopic};
use crate::error::ErrorCode;
use crate::partition::PartitionHandle;
use crate::record::BatchBuilder;
use crate::storage::held::HeldDisk;
use crate::storage::{Disk, FileDisk, MemoryDisk};
use crate::topic_config::{AlterConfig, ConfigChange};

fn produce(broker: &Broker) -> i64 {
    let mut batch = BatchBuilder::new();
    batch.append(1000, Some(b"k"), Some(b"v"), &[]);
    broker.partition("t", 0).expect("there").produce(batch.build()).expect("produced").end_offset
}

#[test]
fn who_produces_does_not_wait_for_the_disk_while_topics_change() {
    let (disk, holder) = HeldDisk::with_holder();
    let broker = Broker::builder().disk(disk).open().expect("opened");
    broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made");
    let new = NewTopic::new("new").partitions(2);
    holder.beside(
        || drop(broker.create_topic(&new).expect("made")),
        || {
            assert_eq!((produce(&broker), broker.topic("new")), (1, None), "not before it is whole");
            assert_eq!(broker.partition("new", 0).expect_err("not yet").code(), ErrorCode::UnknownTopicOrPartition);
        },
    );
    assert!(broker.partition("new", 1).is_ok());
    let change = ConfigChange { name: "retention.ms".to_owned(), change: AlterConfig::Set("7".to_owned()) };
    let alter = || broker.alter_configs("new", &[change], false).expect("altered");
    holder.beside(alter, || assert_eq!(produce(&broker), 2));
    assert_eq!(broker.topic_config("new").expect("there").retention_ms, 7);
    holder.beside(
        || broker.create_partitions("new", 4).expect("grown"),
        || {
            assert_eq!(produce(&broker), 3);
            assert!(broker.partition("new", 1).is_ok() && broker.partition("new", 2).is_err());
        },
    );
    assert!(broker.partition("new", 3).is_ok());
    holder.beside(|| broker.delete_topic("new").expect("deleted"), || assert_eq!(produce(&broker), 4));
    assert_eq!(broker.topic("new"), None);
    // Changes still come one after the other.
    let twice = broker.create_topic(&NewTopic::new("t")).expect_err("there");
    assert_eq!(twice.code(), ErrorCode::TopicAlreadyExists);
}

/// A topic of many small segments.
fn segments(config: (&str, &str)) -> NewTopic {
    let configs = [("segment.bytes", "1024"), config].map(|(name, value)| (name.to_owned(), value.to_owned()));
    NewTopic { configs: configs.into(), ..NewTopic::new("t").partitions(1) }
}

fn reopened(disk: &Arc<dyn Disk>) -> Broker {
    Broker::builder().disk(disk.clone()).open().expect("opened again")
}

/// Housework is held up before it makes a file whose name holds `part`, and its topic deleted meanwhile.
fn delete_across(files: Arc<dyn Disk>, part: &'static str, new: &NewTopic, housework: fn(&PartitionHandle), again: bool) {
    let (disk, holder) = HeldDisk::over(files);
    let broker = reopened(&disk);
    broker.create_topic(new).expect("made");
    for _ in 0..100 {
        produce(&broker);
    }
    let old = broker.partition("t", 0).expect("there");
    let meanwhile = || {
        broker.delete_topic("t").expect("deleted");
        if again {
            broker.create_topic(new).expect("made again");
            for _ in 0..3 {
                produce(&broker);
            }
        }
    };
    holder.across(part, || housework(&old), meanwhile);
    drop(broker);
    let is_left = disk.folders().expect("listed").iter().any(|folder| folder == "t-0");
    assert_eq!(is_left, again, "at {part}");
    let mut logs = disk.files("t-0").expect("listed");
    logs.retain(|name| name.contains(".log"));
    let expected: &[&str] = if again { &["00000000000000000000.log"] } else { &[] };
    assert_eq!(logs, expected, "at {part}");
    let broker = reopened(&disk);
    let end = broker.partition("t", 0).ok().map(|partition| (partition.log_start(), partition.end_offset()));
    assert_eq!(end, again.then_some((0, 3)), "at {part}");
}

#[test]
fn a_topic_that_is_deleted_while_house_is_kept_is_gone() {
    let compact: fn(&PartitionHandle) = |old| {
        old.compact(usize::MAX).expect("compacted");
    };
    let retain: fn(&PartitionHandle) = |old| old.retain().expect("old records gone");
    let (compacted, bounded) = (segments(("cleanup.policy", "compact")), segments(("retention.bytes", "0")));
    let cases = [(".log.cleaned", &compacted, compact), (".log.swap", &compacted, compact), (".deleted", &bounded, retain)];
    for (part, new, housework) in cases {
        for again in [false, true] {
            delete_across(Arc::new(MemoryDisk::new()), part, new, housework, again);
            let dir = tempfile::tempdir().expect("a folder");
            delete_across(Arc::new(FileDisk::open(dir.path()).expect("a disk")), part, new, housework, again);
        }
    }
}
