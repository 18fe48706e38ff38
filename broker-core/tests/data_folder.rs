//! The data folder: what is refused, how a stop in order is told from a crash, and what the checkpoints keep.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_core::record::BatchBuilder;
use broker_core::storage::{Disk, MemoryDisk, TOP};
use broker_core::{Broker, BrokerConfig, MemberIdentity, NewTopic, OffsetCommit, PartitionHandle, TokioClock};
use bytes::Bytes;

fn open(disk: &MemoryDisk) -> Broker {
    let config = BrokerConfig { offsets_topic_num_partitions: 1, ..BrokerConfig::default() };
    Broker::builder().disk(Arc::new(disk.clone())).config(config).seed(1).open().expect("opened")
}

fn produce(partition: &PartitionHandle, count: usize) {
    for _ in 0..count {
        let mut builder = BatchBuilder::new();
        builder.append(0, None, Some(&[7; 50]), &[]);
        partition.produce(builder.build()).expect("produced");
    }
}

/// All files and what they hold.
fn everything(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            all.extend(everything(&entry.path()).into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            all.insert(name, std::fs::read(entry.path()).expect("read"));
        }
    }
    all
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[tokio::test]
async fn a_folder_that_is_not_ours_is_refused_and_stays_as_it_was() {
    type Case = (&'static str, fn(&Path), &'static [&'static str]);
    let cases: &[Case] = &[
        ("a foreign file", |dir| write(&dir.join("notes.txt"), "x"), &["holds what is no broker's", "notes.txt"]),
        ("a foreign folder", |dir| std::fs::create_dir(dir.join("photos")).expect("made"), &["photos"]),
        (
            "two of them",
            |dir| {
                write(&dir.join("a.txt"), "x");
                write(&dir.join("b.txt"), "y")
            },
            &["a.txt, b.txt"],
        ),
        (
            "a newer format",
            |dir| write(&dir.join("meta.properties"), "format.version=2\nversion=1\n"),
            &["its format is 2", "newer than 1"],
        ),
        ("Kafka's own", |dir| write(&dir.join("meta.properties"), "node.id=1\nversion=1\n"), &["another broker's"]),
        ("a damaged format", |dir| write(&dir.join("meta.properties"), "format.version=x\n"), &["meta.properties is damaged"]),
        (
            "a damaged checkpoint of starts",
            |dir| write(&dir.join("log-start-offset-checkpoint"), "0\n5\n"),
            &["log-start-offset-checkpoint is damaged", "0 partitions of 5"],
        ),
    ];
    for used in [false, true] {
        for (what, spoil, texts) in cases {
            let dir = tempfile::tempdir().expect("a temporary folder");
            if used {
                let broker = Broker::open(dir.path()).expect("opened");
                broker.create_topic(&NewTopic::new("t")).expect("made");
                produce(&broker.partition("t", 0).expect("there"), 2);
                broker.close().await.expect("closed");
            }
            spoil(dir.path());
            let before = everything(dir.path());
            let error = Broker::open(dir.path()).expect_err(what).to_string();
            for text in texts.iter().chain([&dir.path().to_str().expect("text")]) {
                assert!(error.contains(text), "{what}: {error}");
            }
            assert_eq!(everything(dir.path()), before, "{what}: something was changed");
        }
    }
}

#[tokio::test]
async fn a_folder_with_nothing_foreign_opens_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("lost+found")).expect("made");
    for round in 0..3 {
        let broker = Broker::open(dir.path()).expect("opened");
        broker.topic_or_create("t").expect("there");
        let partition = broker.partition("t", 0).expect("there");
        assert_eq!(partition.end_offset(), 5 * round);
        produce(&partition, 5);
        broker.init_producer_id().expect("given");
        let error = Broker::open(dir.path()).expect_err("locked").to_string();
        assert!(error.contains(&format!("is in use by process {}", std::process::id())), "{error}");
        if round % 2 == 0 {
            broker.close().await.expect("closed");
        }
        assert_eq!(dir.path().join(".kafka_cleanshutdown").exists(), round % 2 == 0);
    }
    let meta = std::fs::read_to_string(dir.path().join("meta.properties")).expect("read");
    assert!(meta.contains("\nformat.version=1\n"), "{meta}");
}

fn flip(disk: &MemoryDisk, file: &str, at: usize) {
    let open = disk.open("t-0", file).expect("opened");
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < open.size() {
        bytes.extend_from_slice(&open.read(bytes.len() as u64, 1 << 20).expect("read"));
    }
    bytes[at] ^= 1;
    open.truncate(0).expect("cut");
    open.append(Bytes::from(bytes)).expect("appended");
    open.sync().expect("synced");
}

/// A damaged bit far from any end shows whether the log was looked through.
#[tokio::test]
async fn fact_11_a_clean_stop_is_trusted_and_a_crash_is_not() {
    for (clean, end) in [(true, 100), (false, 1)] {
        let disk = MemoryDisk::new();
        let broker = open(&disk);
        broker.create_topic(&NewTopic::new("t")).expect("made");
        produce(&broker.partition("t", 0).expect("there"), 100);
        if clean {
            broker.close().await.expect("closed");
        }
        drop(broker);
        flip(&disk, "00000000000000000000.log", 200);
        for _ in 0..2 {
            let broker = open(&disk);
            assert_eq!(broker.partition("t", 0).expect("there").end_offset(), end, "clean: {clean}");
            assert!(!disk.files(TOP).expect("listed").iter().any(|name| name == ".kafka_cleanshutdown"));
            if clean {
                // Again: the mark is of one stop.
                broker.close().await.expect("closed");
            }
        }
    }
}

#[tokio::test]
async fn a_topic_made_again_inherits_nothing_from_the_checkpoints() {
    for crash in [false, true] {
        let disk = MemoryDisk::new();
        let broker = open(&disk);
        broker.create_topic(&NewTopic::new("t")).expect("made");
        produce(&broker.partition("t", 0).expect("there"), 100);
        broker.close().await.expect("closed");
        let broker = open(&disk);
        if crash {
            // The folder goes, the checkpoint still speaks of it.
            drop(broker);
            disk.remove_folder("t-0").expect("removed");
        } else {
            broker.delete_topic("t").expect("deleted");
        }
        let broker = open(&disk);
        assert!(broker.topic("t").is_none());
        broker.create_topic(&NewTopic::new("t")).expect("made");
        produce(&broker.partition("t", 0).expect("there"), 3);
        drop(broker);
        flip(&disk, "00000000000000000000.log", 200);
        assert_eq!(open(&disk).partition("t", 0).expect("there").end_offset(), 1, "it was looked through");
        let text = disk.open(TOP, "recovery-point-offset-checkpoint").expect("opened");
        assert_eq!(&text.read(0, 1000).expect("read")[..], b"0\n0\n");
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_of_recovery_points_only_costs_time() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    broker.create_topic(&NewTopic::new("t")).expect("made");
    produce(&broker.partition("t", 0).expect("there"), 10);
    broker.close().await.expect("closed");
    disk.open(TOP, "recovery-point-offset-checkpoint").expect("opened").truncate(3).expect("cut");
    assert_eq!(open(&disk).partition("t", 0).expect("there").end_offset(), 10);
}

#[test]
fn deleted_records_stay_deleted_after_a_power_cut() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    broker.create_topic(&NewTopic::new("t")).expect("made");
    produce(&broker.partition("t", 0).expect("there"), 10);
    broker.sync().expect("synced");
    assert_eq!(broker.delete_records("t", 0, 4).expect("deleted"), 4);
    disk.crash();
    let broker = open(&disk);
    let partition = broker.partition("t", 0).expect("there");
    assert_eq!((partition.log_start(), partition.end_offset()), (4, 10));
    assert_eq!(broker.delete_records("t", 0, 2).expect("fine"), 4, "the start never goes back");
    assert_eq!(broker.delete_records("t", 0, 11).expect_err("outside").code(), broker_core::ErrorCode::OffsetOutOfRange);
}

fn recovery_points(disk: &dyn Disk) -> String {
    let file = disk.open(TOP, "recovery-point-offset-checkpoint").expect("opened");
    String::from_utf8_lossy(&file.read(0, 1000).expect("read")).into_owned()
}

#[tokio::test(start_paused = true)]
async fn in_memory_upkeep_follows_the_runtimes_clock() {
    let disk = MemoryDisk::new();
    let broker = Broker::builder().disk(Arc::new(disk.clone())).clock(Arc::new(TokioClock::new(0))).open().expect("opened");
    broker.create_topic(&NewTopic::new("t")).expect("made");
    produce(&broker.partition("t", 0).expect("there"), 3);
    broker.partition("t", 0).expect("there");
    tokio::time::sleep(Duration::from_millis(59_999)).await;
    assert_eq!(recovery_points(&disk), "");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(recovery_points(&disk), "0\n1\nt 0 0\n", "nothing is durable yet, but the partition is known");
    broker.close().await.expect("closed");
    assert_eq!(recovery_points(&disk), "0\n1\nt 0 3\n");
}

#[test]
fn with_files_upkeep_has_a_thread_that_ends_with_the_broker() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = BrokerConfig { log_flush_offset_checkpoint_interval_ms: 5, ..BrokerConfig::default() };
    for _ in 0..3 {
        let broker =
            Broker::builder().dir(dir.path()).config(config.clone()).open().expect("opened, so the last one's thread is gone");
        broker.topic_or_create("t").expect("there");
        let file = dir.path().join("recovery-point-offset-checkpoint");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains("t 0 0")) {
            assert!(std::time::Instant::now() < deadline, "no checkpoint within 20 seconds");
            std::thread::yield_now();
        }
    }
}

/// Checkpoints that are written at the same time: the one that looked first must not be written last.
#[test]
fn a_deletion_that_was_told_is_in_every_checkpoint_from_then_on() {
    let disk = MemoryDisk::new();
    let broker = open(&disk);
    broker.create_topic(&NewTopic::new("t")).expect("made");
    produce(&broker.partition("t", 0).expect("there"), 1000);
    let kept = || {
        let text = disk.open(TOP, "log-start-offset-checkpoint").expect("opened").read(0, 1000).expect("read");
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().find_map(|line| line.strip_prefix("t 0 ")?.parse::<i64>().ok()).expect("there")
    };
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    broker.sync().expect("synced");
                }
            });
        }
        let wrong = (1..=1000).find(|before| {
            broker.delete_records("t", 0, *before).expect("deleted");
            (0..5).any(|_| kept() < *before)
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(wrong, None, "a checkpoint went back");
    });
}

#[tokio::test(start_paused = true)]
async fn another_number_of_internal_partitions_is_refused_where_something_would_not_be_found() {
    let disk = MemoryDisk::new();
    let open = |offsets, transactions| {
        let config = BrokerConfig {
            offsets_topic_num_partitions: offsets,
            transaction_state_log_num_partitions: transactions,
            ..BrokerConfig::default()
        };
        Broker::builder().disk(Arc::new(disk.clone())).config(config).seed(1).open()
    };
    let broker = open(1, 1).expect("opened");
    broker.create_topic(&NewTopic::new("t")).expect("made");
    broker.init_transactional_producer("x", 60_000, None).await.expect("a producer");
    let commit = OffsetCommit { topic: "t", partition: 0, offset: 7, leader_epoch: -1, metadata: "" };
    broker.commit_offsets("g", MemberIdentity::administrator(), &[commit]).expect("committed");
    drop(broker);
    let told = [open(50, 1), open(1, 50)].map(|opened| opened.expect_err("refused").to_string());
    assert!(told[0].contains("offsets.topic.num.partitions is 50, but group 'g' is in partition 0"), "{told:?}");
    assert!(
        told[1].contains("transaction.state.log.num.partitions is 50, but transactional id 'x' is in partition 0"),
        "{told:?}"
    );
    let broker = open(1, 1).expect("as before");
    assert_eq!((broker.list_transactions().len(), broker.fetch_offsets("g", None).len()), (1, 1));
}
