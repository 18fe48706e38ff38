//! What is left after a fault, a kill or a power cut at any moment, seen through the broker's public API.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_core::record::{BatchBuilder, batches};
use broker_core::storage::{Disk, MemoryDisk};
use broker_core::{Broker, BrokerConfig, ErrorCode, MemberIdentity, NewTopic, OffsetCommit, PartitionHandle, TopicPartition};

const OFFSETS: &str = "__consumer_offsets-0";
const GROUPS: [&str; 3] = ["a", "b", "c"];
/// Small, so that a few commits make the shard rewrite itself.
const REWRITE_BYTES: u64 = 2000;

fn open(disk: &MemoryDisk) -> Broker {
    let config =
        BrokerConfig { offsets_topic_num_partitions: 1, offsets_topic_segment_bytes: REWRITE_BYTES, ..BrokerConfig::default() };
    Broker::builder().disk(Arc::new(disk.clone())).config(config).seed(1).open().expect("opened")
}

fn with_topic(disk: &MemoryDisk) -> Broker {
    let broker = open(disk);
    broker.create_topic(&NewTopic::new("t").partitions(2)).expect("made");
    broker
}

fn commit(broker: &Broker, group: &str, offset: i64) -> Result<(), broker_core::Error> {
    let commit = OffsetCommit { topic: "t", partition: 1, offset, leader_epoch: -1, metadata: "m" };
    broker.commit_offsets(group, MemberIdentity::administrator(), &[commit])
}

fn committed(broker: &Broker, group: &str) -> Option<i64> {
    let asked = [TopicPartition::new("t", 1)];
    broker.fetch_offsets(group, Some(&asked)).remove(0).1.map(|stored| stored.offset)
}

fn size_of(disk: &MemoryDisk, folder: &str) -> u64 {
    let files = disk.files(folder).expect("listed");
    files.iter().map(|file| disk.open(folder, file).expect("opened").size()).sum()
}

/// Where the offsets' log starts: behind 0 once it was rewritten.
fn start(disk: &MemoryDisk) -> String {
    disk.files(OFFSETS).expect("listed").into_iter().find(|name| name.ends_with(".log")).unwrap_or_default()
}

#[test]
fn commits_stay_bounded_and_are_there_again() {
    let disk = MemoryDisk::new();
    let broker = with_topic(&disk);
    for offset in 0..500 {
        for group in GROUPS {
            commit(&broker, group, offset).expect("stored");
            let size = size_of(&disk, OFFSETS);
            assert!(size <= REWRITE_BYTES + 1000, "{size} bytes for three groups of one offset");
        }
    }
    assert_ne!(start(&disk), "00000000000000000000.log", "it was rewritten");
    broker.delete_group("c").expect("deleted");
    for offset in 500..600 {
        commit(&broker, "a", offset).expect("stored");
    }
    drop(broker);
    for _ in 0..2 {
        let broker = open(&disk);
        assert_eq!(GROUPS.map(|group| committed(&broker, group)), [Some(599), Some(499), None]);
    }
}

/// Commits until the disk fails after so many operations; the last offset that each group was told is stored, and the one
/// that was refused first.
fn commit_until_fault(disk: &MemoryDisk, broker: &Broker, after: u64) -> (BTreeMap<&'static str, i64>, Option<i64>) {
    let mut told = BTreeMap::new();
    for group in GROUPS {
        commit(broker, group, 0).expect("stored");
        told.insert(group, 0);
    }
    disk.fail_after(after);
    for offset in 1..60 {
        for group in GROUPS {
            if let Err(error) = commit(broker, group, offset) {
                assert_eq!(error.code(), ErrorCode::KafkaStorageError);
                assert!(error.to_string().contains(OFFSETS), "{error}");
                assert_eq!(committed(broker, group), told.get(group).copied(), "a refused commit changes nothing");
                return (told, Some(offset));
            }
            told.insert(group, offset);
        }
    }
    (told, None)
}

#[test]
fn a_fault_at_any_operation_of_a_rewrite_loses_no_commit() {
    let mut faults = 0;
    for after in 0..220 {
        let disk = MemoryDisk::new();
        let broker = with_topic(&disk);
        let (told, refused) = commit_until_fault(&disk, &broker, after);
        faults += usize::from(refused.is_some());
        disk.heal();
        if refused.is_some() {
            let error = commit(&broker, "a", 99).expect_err("refused from the fault on").to_string();
            assert!(error.contains("injected fault"), "fault {after}: {error}");
        }
        // As a kill leaves it: what was written is there, synced or not.
        drop(broker);
        for opened in 0..2 {
            let broker = open(&disk);
            for (group, offset) in &told {
                assert_eq!(committed(&broker, group), Some(*offset), "fault {after}, opened {opened}, group {group}");
            }
        }
        let broker = open(&disk);
        commit(&broker, "a", 100).expect("it takes commits again");
        assert_eq!(committed(&open(&disk), "a"), Some(100));
    }
    assert!(faults > 100, "{faults} runs met their fault");
}

#[test]
fn a_power_cut_at_any_moment_of_a_rewrite_goes_back_to_one_that_was_told() {
    let mut rewritten = 0;
    for after in 0..220 {
        let disk = MemoryDisk::new();
        let broker = with_topic(&disk);
        broker.partition("t", 1).expect("there");
        let (told, _) = commit_until_fault(&disk, &broker, after);
        let had_rewritten = start(&disk) != "00000000000000000000.log";
        rewritten += usize::from(had_rewritten);
        disk.crash();
        let broker = open(&disk);
        for (group, offset) in &told {
            let left = committed(&broker, group);
            assert!(left <= Some(*offset), "fault {after}, group {group}: {left:?} was never told, {offset} was");
            assert!(left.is_some() || !had_rewritten, "fault {after}, group {group}: a rewrite is durable before the old goes");
        }
    }
    assert!(rewritten > 20, "{rewritten} runs had rewritten");
}

fn produce(partition: &PartitionHandle, value: i64) {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(&value.to_be_bytes()), &[]);
    partition.produce(builder.build()).expect("produced");
}

fn values(partition: &PartitionHandle) -> Vec<i64> {
    let runs = partition.fetch(partition.log_start(), usize::MAX).expect("fetched").batches;
    let all = runs.iter().flat_map(batches).map(|batch| batch.expect("sound"));
    let value = |bytes: Option<&[u8]>| i64::from_be_bytes(bytes.expect("a value").try_into().expect("eight bytes"));
    all.flat_map(|batch| batch.records().map(|record| value(record.expect("sound").value())).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn what_was_closed_survives_a_power_cut() {
    let disk = MemoryDisk::new();
    let broker = with_topic(&disk);
    for value in 0..20 {
        produce(&broker.partition("t", 1).expect("there"), value);
    }
    commit(&broker, "a", 7).expect("stored");
    broker.close().await.expect("closed");
    broker.close().await.expect("closing twice is fine");
    produce(&broker.partition("t", 1).expect("there"), 20);
    disk.crash();
    let broker = open(&disk);
    assert_eq!(values(&broker.partition("t", 1).expect("there")), (0..20).collect::<Vec<_>>());
    assert_eq!(committed(&broker, "a"), Some(7));
}

#[tokio::test]
async fn closing_tells_of_a_failed_partition_and_makes_the_others_durable() {
    let disk = MemoryDisk::new();
    let broker = with_topic(&disk);
    for number in 0..2 {
        produce(&broker.partition("t", number).expect("there"), 5);
    }
    disk.fail_after(0);
    let mut builder = BatchBuilder::new();
    builder.append(0, None, None, &[]);
    broker.partition("t", 0).expect("there").produce(builder.build()).expect_err("the disk fails");
    disk.heal();
    let error = broker.close().await.expect_err("partition 0 is not sound").to_string();
    assert!(error.contains("t-0") && error.contains("injected fault"), "{error}");
    disk.crash();
    assert_eq!(values(&open(&disk).partition("t", 1).expect("there")), [5]);
}
