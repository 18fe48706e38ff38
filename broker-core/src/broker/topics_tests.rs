//! Changes of topics, and who produces and reads meanwhile.

use std::sync::{Arc, Mutex};

use super::{Broker, NewTopic};
use crate::coordinator::group::{MemberIdentity, OffsetCommit};
use crate::error::ErrorCode;
use crate::partition::PartitionHandle;
use crate::record::BatchBuilder;
use crate::storage::held::HeldDisk;
use crate::storage::{Disk, Fault, FileDisk, MemoryDisk};
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

/// Three records in a topic that is made again, where the one before had lost some.
fn three(broker: &Broker) {
    broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made again");
    for _ in 0..3 {
        produce(broker);
    }
}

fn lost_some(broker: &Broker) {
    broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made");
    for _ in 0..100 {
        produce(broker);
    }
    assert_eq!(broker.delete_records("t", 0, 50).expect("deleted"), 50);
}

/// What a kill leaves of the topic.
fn after_a_kill(left: MemoryDisk) -> (i64, i64) {
    let broker = reopened(&(Arc::new(left) as Arc<dyn Disk>));
    let partition = broker.partition("t", 0).expect("there");
    (partition.log_start(), partition.end_offset())
}

#[test]
fn a_topic_that_is_made_while_the_one_before_goes_starts_anew() {
    for file in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "cleaner-offset-checkpoint"] {
        let (memory, left) = (MemoryDisk::new(), Mutex::new(None));
        let (disk, holder) = HeldDisk::over(Arc::new(memory.clone()));
        let broker = reopened(&disk);
        lost_some(&broker);
        let again = || {
            three(&broker);
            *left.lock().expect("sound") = Some(memory.fork());
        };
        holder.across(file, || broker.delete_topic("t").expect("deleted"), again);
        let left = left.into_inner().expect("sound").expect("made again");
        assert_eq!(after_a_kill(left), (0, 3), "at {file}");
    }
}

#[test]
fn a_topic_whose_deletion_is_kept_nowhere_leaves_nothing_to_the_next_one() {
    let memory = MemoryDisk::new();
    let broker = reopened(&(Arc::new(memory.clone()) as Arc<dyn Disk>));
    lost_some(&broker);
    let commit = OffsetCommit { topic: "t", partition: 0, offset: 70, leader_epoch: -1, metadata: "" };
    broker.commit_offsets("g", MemberIdentity::administrator(), &[commit]).expect("committed");
    memory.inject(Fault::Syncs, 0);
    let told = broker.delete_topic("t").expect_err("the disk fails").to_string();
    assert!(told.contains("checkpoint"), "{told}");
    assert_eq!((broker.topic("t"), broker.fetch_offsets("g", None)), (None, Vec::new()), "it is gone, and so are its offsets");
    let told = broker.create_topic(&NewTopic::new("t")).expect_err("the disk fails").to_string();
    assert!(told.contains("checkpoint"), "{told}");
    memory.heal();
    three(&broker);
    assert_eq!(after_a_kill(memory.fork()), (0, 3));
}
