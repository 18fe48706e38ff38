//! Transactions through the broker's public API: what a fault, a kill or a power cut at any moment leaves of them, and what ends those
//! whose producers are gone.

use std::sync::Arc;
use std::time::Duration;

use broker_core::record::{BatchBuilder, batches};
use broker_core::storage::{Disk, MemoryDisk};
use broker_core::{
    AlterConfig, Broker, BrokerConfig, CommittedOnly, ConfigChange, Error, ErrorCode, MemberIdentity, NewTopic, OffsetCommit,
    PartitionHandle, TokioClock, TopicPartition, TransactionEnd,
};

const NOW: i64 = 1_700_000_000_000;
/// Small, so that a few transactions make the shard rewrite itself.
const REWRITE_BYTES: u64 = 500;
type Producer = (i64, i16);

fn open(disk: &MemoryDisk, now: i64) -> Broker {
    open_with(disk, now, REWRITE_BYTES)
}

/// A broker that does not write its log of transactions anew, which makes it durable.
fn open_plain(disk: &MemoryDisk, now: i64) -> Broker {
    open_with(disk, now, 1 << 20)
}

fn open_with(disk: &MemoryDisk, now: i64, rewrite_bytes: u64) -> Broker {
    let config = BrokerConfig {
        transaction_state_log_num_partitions: 1,
        transaction_state_log_segment_bytes: rewrite_bytes,
        ..BrokerConfig::default()
    };
    let builder = Broker::builder().disk(Arc::new(disk.clone())).clock(Arc::new(TokioClock::new(now)));
    builder.config(config).seed(1).open().expect("opened")
}

/// A broker with topics `a` and `b`, of one partition each, with these settings.
fn with_topics(disk: &MemoryDisk, settings: [&[(&str, &str)]; 2]) -> Broker {
    topics_in(open(disk, NOW), settings)
}

fn topics_in(broker: Broker, settings: [&[(&str, &str)]; 2]) -> Broker {
    for (name, settings) in ["a", "b"].into_iter().zip(settings) {
        let mut topic = NewTopic::new(name).partitions(1);
        topic.configs = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        broker.create_topic(&topic).expect("made");
    }
    broker
}

fn both(broker: &Broker) -> [PartitionHandle; 2] {
    ["a", "b"].map(|topic| broker.partition(topic, 0).expect("there"))
}

fn within(producer: Producer, sequence: i32) -> bytes::BytesMut {
    valued(producer, sequence, sequence)
}

fn valued(producer: Producer, sequence: i32, value: i32) -> bytes::BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(producer.0, producer.1, sequence);
    builder.transactional();
    builder.append(NOW, Some(b"k"), Some(&value.to_be_bytes()), &[]);
    builder.build()
}

/// What a new instance of the producer gets, once its transaction of before has ended.
async fn init(broker: &Broker) -> Result<Producer, Error> {
    loop {
        match broker.init_transactional_producer("x", 60_000, None).await {
            Err(error) if error.code() == ErrorCode::ConcurrentTransactions => {}
            other => return other,
        }
    }
}

/// One record to each, and the end.
async fn transaction(broker: &Broker, producer: Producer, sequence: i32, commits: bool) -> Result<(), Error> {
    begin(broker, producer, sequence).await?;
    broker.end_transaction("x", producer, commits).await
}

/// How transactions are done: partitions join by themselves and each has an epoch of its own, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    async fn begin(self, broker: &Broker, producer: Producer, number: i32) -> Result<(), Error> {
        if self == Self::V1 {
            return begin(broker, producer, number).await;
        }
        for partition in &both(broker) {
            broker.produce_in_transaction_v2("x", partition, valued(producer, 0, number)).await?;
        }
        let read = OffsetCommit { topic: "a", partition: 0, offset: i64::from(number), leader_epoch: -1, metadata: "" };
        let stored = broker.txn_offset_commit_v2("x", producer, "g", MemberIdentity::administrator(), &[read]).await?;
        stored.into_iter().collect()
    }

    /// The producer that goes on.
    async fn end(self, broker: &Broker, producer: Producer, commits: bool) -> Result<Producer, Error> {
        match self {
            Self::V1 => broker.end_transaction("x", producer, commits).await.map(|()| producer),
            Self::V2 => broker.end_transaction_v2("x", producer, commits).await,
        }
    }
}

async fn begin(broker: &Broker, producer: Producer, sequence: i32) -> Result<(), Error> {
    let partitions = both(broker);
    let named = partitions.each_ref().map(|partition| partition.topic_partition().clone());
    broker.add_partitions_to_transaction("x", producer, &named).await?;
    for partition in &partitions {
        let produced = broker.produce_in_transaction("x", partition, within(producer, sequence))?;
        partition.acknowledged(produced.end_offset).await?;
    }
    broker.add_offsets_to_transaction("x", producer, "g").await?;
    let read = OffsetCommit { topic: "a", partition: 0, offset: i64::from(sequence), leader_epoch: -1, metadata: "" };
    let stored = broker.txn_offset_commit("x", producer, "g", MemberIdentity::administrator(), &[read]).await?;
    stored.into_iter().collect()
}

/// The sequence up to which the group says that it has read.
fn offset(broker: &Broker) -> Option<i32> {
    let asked = [TopicPartition::new("a", 0)];
    broker.fetch_offsets("g", Some(&asked)).remove(0).1.map(|stored| stored.offset as i32)
}

/// The sequences that a reader of committed records is given.
fn committed(partition: &PartitionHandle) -> Vec<i32> {
    let (mut all, mut next) = (Vec::new(), partition.log_start());
    while next < partition.stable_offset() {
        let fetched = partition.fetch_committed(next, 1 << 20).expect("fetched");
        let mut only = CommittedOnly::new(fetched.aborted);
        for batch in fetched.batches.iter().flat_map(batches).map(|batch| batch.expect("sound")) {
            next = batch.last_offset() + 1;
            if !only.leaves_out(&batch) {
                let value = |value: Option<&[u8]>| i32::from_be_bytes(value.expect("a value").try_into().expect("four bytes"));
                all.extend(batch.records().map(|record| value(record.expect("sound").value())));
            }
        }
    }
    all
}

fn is_decided(partition: &PartitionHandle) -> bool {
    partition.stable_offset() == partition.end_offset()
}

fn in_a_runtime(what: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(what);
}

/// Three transactions, of which the second is aborted, until something fails: which ends were told, and which was asked for last.
async fn play(broker: &Broker, version: Version) -> (Vec<i32>, Option<i32>) {
    let mut told = Vec::new();
    let Ok(mut producer) = init(broker).await else { return (told, None) };
    for number in 0..3 {
        if version.begin(broker, producer, number).await.is_err() {
            return (told, None);
        }
        let commits = number != 1;
        match version.end(broker, producer, commits).await {
            Err(_) => return (told, commits.then_some(number)),
            Ok(next) => producer = next,
        }
        told.extend(commits.then_some(number));
    }
    (told, None)
}

/// What is there after a stop, and that it goes on from there.
async fn check(disk: &MemoryDisk, version: Version, told: &[i32], asked: Option<i32>, keeps: bool, what: &str) {
    let broker = open(disk, NOW + 1000);
    let state = broker.describe_transaction("x").map(|found| found.state.name());
    assert!(!state.is_some_and(|state| state.starts_with("Prepare")), "{what}: {state:?} after the open");
    let found = both(&broker).map(|partition| committed(&partition));
    if keeps {
        assert_eq!(found[0], found[1], "{what}: all partitions or none");
        assert_eq!(offset(&broker), found[0].last().copied(), "{what}: the offset and the records, or neither");
        let maybe: Vec<i32> = told.iter().copied().chain(asked).collect();
        assert!(found[0] == told || found[0] == maybe, "{what}: {:?}, told {told:?}, asked {asked:?}", found[0]);
    }
    let producer = init(&broker).await.expect("a new instance");
    for partition in both(&broker) {
        assert!(is_decided(&partition), "{what}: {partition:?} hangs");
    }
    version.begin(&broker, producer, 0).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    version.end(&broker, producer, true).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(offset(&broker), Some(0), "{what}");
    for (partition, before) in both(&broker).iter().zip(found) {
        assert!(is_decided(partition));
        let now = committed(partition);
        assert_eq!(now.len(), before.len() + 1, "{what}: {before:?}, then {now:?}");
    }
}

const SYNCED: &[(&str, &str)] = &[("flush.messages", "1")];

#[test]
fn fact_47_whatever_stops_the_broker_a_decided_transaction_ends_that_way_everywhere() {
    for version in [Version::V1, Version::V2] {
        let mut decided_only = 0;
        for after in 0.. {
            let (disk, mut done) = (MemoryDisk::new(), false);
            in_a_runtime(async {
                let broker = with_topics(&disk, [&[], &[]]);
                disk.fail_after(after);
                let (told, asked) = play(&broker, version).await;
                done = told == [0, 2];
                let prepared = broker.describe_transaction("x").is_some_and(|found| found.state.name().starts_with("Prepare"));
                decided_only += usize::from(prepared);
                drop(broker);
                disk.heal();
                check(&disk, version, &told, asked, true, &format!("{version:?}, killed after {after} operations")).await;
            });
            if done {
                assert!(after > 15, "{version:?}: {after} operations");
                break;
            }
        }
        assert!(decided_only > 3, "{version:?}: {decided_only} stops between the decision and the last marker");
    }
}

/// And where they are not, nothing hangs, and no new record is taken for an old one.
#[test]
fn fact_47_a_power_cut_takes_no_decision_back_where_topics_are_durable() {
    let all = [[SYNCED, SYNCED], [SYNCED, &[]], [&[], SYNCED], [&[], &[]]];
    for (version, settings) in [Version::V1, Version::V2].into_iter().flat_map(|version| all.map(|settings| (version, settings)))
    {
        let keeps = settings.iter().all(|settings| !settings.is_empty());
        for after in 0.. {
            let mut done = false;
            for seed in 0..5 {
                let disk = MemoryDisk::new();
                in_a_runtime(async {
                    let broker = with_topics(&disk, settings);
                    broker.sync().expect("synced");
                    disk.fail_after(after);
                    let (told, asked) = play(&broker, version).await;
                    done = told == [0, 2];
                    drop(broker);
                    if seed == 0 {
                        disk.crash()
                    } else {
                        disk.crash_by_chance(seed)
                    }
                    let what = format!("{version:?}, a power cut after {after} operations, seed {seed}, {settings:?}");
                    check(&disk, version, &told, asked, keeps, &what).await;
                });
            }
            if done {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fact_50_one_that_is_open_for_too_long_is_aborted_without_anybody_asking() {
    let broker = with_topics(&MemoryDisk::new(), [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(!both(&broker).iter().any(is_decided));
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(both(&broker).iter().all(is_decided), "within the interval of 10 s");
    assert_eq!(broker.describe_transaction("x").expect("known").state.name(), "CompleteAbort");
    let [a, _] = both(&broker);
    assert!(committed(&a).is_empty());
    let late = broker.produce_in_transaction("x", &a, within(producer, 1)).expect_err("fenced");
    assert_eq!(late.code(), ErrorCode::InvalidProducerEpoch);
    let late = broker.end_transaction("x", producer, true).await.expect_err("fenced");
    assert_eq!(late.code(), ErrorCode::ProducerFenced);
}

#[tokio::test(start_paused = true)]
async fn one_whose_producer_went_with_the_broker_is_aborted_after_the_restart() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    drop(broker);
    let broker = open(&disk, NOW + 30_000);
    let readers = both(&broker);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(!readers.iter().any(is_decided));
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert!(readers.iter().all(is_decided), "the time that it was open before counts");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_nobody_uses_is_forgotten_and_stays_so() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    transaction(&broker, producer, 0, true).await.expect("committed");
    tokio::time::sleep(Duration::from_secs(7 * 24 * 3600 - 10)).await;
    assert!(broker.describe_transaction("x").is_some());
    tokio::time::sleep(Duration::from_secs(3700)).await;
    assert_eq!(broker.describe_transaction("x"), None);
    drop(broker);
    let broker = open(&disk, NOW);
    assert_eq!(broker.describe_transaction("x"), None, "after a restart");
    assert!(init(&broker).await.expect("given").0 > producer.0);
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_cannot_be_written_is_written_later() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    // The decision and the first marker, the group's.
    disk.fail_after(2);
    let told = broker.end_transaction("x", producer, true).await.expect_err("two partitions cannot be told");
    assert_eq!(told.code(), ErrorCode::ConcurrentTransactions);
    disk.heal();
    for (what, code) in [(true, ErrorCode::ConcurrentTransactions), (false, ErrorCode::InvalidTxnState)] {
        assert_eq!(broker.end_transaction("x", producer, what).await.expect_err("decided").code(), code);
    }
    let again = broker.init_transactional_producer("x", 60_000, None).await.expect_err("it is being ended");
    assert_eq!(again.code(), ErrorCode::ConcurrentTransactions);
    // A partition whose write failed takes none any more: a topic that is deleted holds nothing up.
    let failed: Vec<_> = both(&broker).into_iter().filter(|partition| !is_decided(partition)).collect();
    assert_eq!(failed.len(), 2);
    failed.iter().for_each(|failed| broker.delete_topic(&failed.topic_partition().topic).expect("deleted"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    broker.end_transaction("x", producer, true).await.expect("it is complete");
    init(&broker).await.expect("given");
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_nothing_half_done() {
    let broker = with_topics(&MemoryDisk::new(), [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    drop(broker.end_transaction("x", producer, true));
    assert_eq!(broker.describe_transaction("x").expect("known").state.name(), "PrepareCommit", "it is decided");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(both(&broker).iter().all(is_decided));
    assert_eq!(both(&broker).map(|partition| committed(&partition)), [[0], [0]]);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_next_completes_what_nobody_completes() {
    let broker = with_topics(&MemoryDisk::new(), [&[], &[]]);
    let mut producer = init(&broker).await.expect("given");
    for sequence in 0..2 {
        begin(&broker, producer, sequence).await.expect("begun");
        drop(broker.end_transaction("x", producer, true));
        let refused = broker.end_transaction("x", producer, false).await.expect_err("the other way");
        assert_eq!(refused.code(), ErrorCode::InvalidTxnState);
        if sequence == 0 {
            broker.end_transaction("x", producer, true).await.expect("asked again, at once");
        } else {
            let again = broker.init_transactional_producer("x", 60_000, None).await.expect_err("come again");
            assert_eq!(again.code(), ErrorCode::ConcurrentTransactions);
            producer = broker.init_transactional_producer("x", 60_000, None).await.expect("at once");
        }
        assert!(both(&broker).iter().all(is_decided));
    }
    assert_eq!(producer.1, 1);
    assert_eq!(both(&broker).map(|partition| committed(&partition)), [[0, 1], [0, 1]]);
    // Nobody takes over from who is at it: the same end again, while the first waits.
    begin(&broker, producer, 0).await.expect("begun");
    let first = broker.end_transaction("x", producer, true);
    let second = broker.end_transaction("x", producer, true);
    assert_eq!(second.await.expect_err("the first is at it").code(), ErrorCode::ConcurrentTransactions);
    first.await.expect("committed");
}

#[tokio::test(start_paused = true)]
async fn the_log_of_transactions_stays_bounded_and_is_there_again() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], &[]]);
    let folder = "__transaction_state-0";
    let size = |disk: &MemoryDisk| -> u64 {
        let files = disk.files(folder).expect("listed");
        files.iter().map(|file| disk.open(folder, file).expect("opened").size()).sum()
    };
    let mut producer = init(&broker).await.expect("given");
    for sequence in 0..200 {
        transaction(&broker, producer, sequence, sequence % 3 != 0).await.expect("ended");
        assert!(size(&disk) < REWRITE_BYTES + 1000, "{} bytes for one id", size(&disk));
    }
    assert!(!disk.files(folder).expect("listed").contains(&"00000000000000000000.log".to_owned()), "it was rewritten");
    let described = broker.describe_transaction("x");
    drop(broker);
    let broker = open(&disk, NOW);
    assert_eq!(broker.describe_transaction("x"), described);
    let next = init(&broker).await.expect("given");
    assert_eq!(next, (producer.0, producer.1 + 1));
    producer = next;
    transaction(&broker, producer, 0, true).await.expect("ended");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_holds_up_no_end() {
    let broker = with_topics(&MemoryDisk::new(), [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    broker.delete_topic("b").expect("deleted");
    let [a] = ["a"].map(|topic| broker.partition(topic, 0).expect("there"));
    broker.end_transaction("x", producer, true).await.expect("committed");
    assert_eq!((is_decided(&a), committed(&a)), (true, vec![0]));
    let absent = [TopicPartition::new("b", 0)];
    let refused = broker.add_partitions_to_transaction("x", producer, &absent).await.expect_err("gone");
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
}

#[tokio::test]
async fn on_files_an_end_waits_for_what_the_topic_asks() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let broker = Broker::open(dir.path()).expect("opened");
    for (name, flush) in [("a", "1"), ("b", "9223372036854775807")] {
        let mut topic = NewTopic::new(name).partitions(1);
        topic.configs.insert("flush.messages".to_owned(), flush.to_owned());
        broker.create_topic(&topic).expect("made");
    }
    let producer = init(&broker).await.expect("given");
    for sequence in 0..5 {
        transaction(&broker, producer, sequence, true).await.expect("committed");
    }
    let [a, b] = both(&broker);
    assert!(is_decided(&a) && is_decided(&b) && a.unacknowledged().is_none());
    assert_eq!(committed(&a), committed(&b));
    broker.close().await.expect("closed");
    drop((a, b, broker));
    let broker = Broker::open(dir.path()).expect("opened again");
    assert_eq!(committed(&both(&broker)[0]), [0, 1, 2, 3, 4]);
}

/// Whoever may write to one of its topics cannot keep a transaction from ending.
#[tokio::test(start_paused = true)]
async fn a_foreign_batch_of_a_newer_epoch_holds_up_no_end() {
    for what in ["plain", "marker", "marker of a newer coordinator", "within"] {
        let broker = with_topics(&MemoryDisk::new(), [&[], &[]]);
        let [a, b] = both(&broker);
        let producer = init(&broker).await.expect("given");
        if what == "plain" {
            let named = [&a, &b].map(|partition| partition.topic_partition().clone());
            broker.add_partitions_to_transaction("x", producer, &named).await.expect("added");
            broker.produce_in_transaction("x", &b, within(producer, 0)).expect("produced");
        } else {
            begin(&broker, producer, 0).await.expect("begun");
        }
        // By who guesses the producer's id, beside the coordinator.
        let newer = (producer.0, 30_000);
        let marker = |coordinator_epoch| TransactionEnd {
            producer_id: newer.0,
            producer_epoch: newer.1,
            coordinator_epoch,
            committed: false,
        };
        match what {
            "plain" => {
                let mut plain = BatchBuilder::new();
                plain.producer(newer.0, newer.1, 0);
                plain.append(NOW, Some(b"k"), Some(&[9; 4]), &[]);
                a.produce(plain.build()).map(drop)
            }
            "marker" => a.end_transaction(&marker(0)).map(drop),
            "within" => a.produce(within(newer, 0)).map(drop),
            _ => a.end_transaction(&marker(7)).map(drop),
        }
        .expect("taken");
        broker.end_transaction("x", producer, true).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(is_decided(&a) && is_decided(&b), "{what}");
        assert_eq!(committed(&b), [0], "{what}");
        assert_eq!(broker.describe_transaction("x").expect("known").state.name(), "CompleteCommit");
        init(&broker).await.expect("the next");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_takes_no_writes_holds_up_no_other_and_those_are_told_once() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], &[]]);
    let mut last = NewTopic::new("c");
    last.partitions = Some(1);
    broker.create_topic(&last).expect("made");
    let all = ["a", "b", "c"].map(|topic| broker.partition(topic, 0).expect("there"));
    let producer = init(&broker).await.expect("given");
    let named = all.each_ref().map(|partition| partition.topic_partition().clone());
    broker.add_partitions_to_transaction("x", producer, &named).await.expect("added");
    for partition in &all {
        broker.produce_in_transaction("x", partition, within(producer, 0)).expect("produced");
    }
    // The decision and `a`'s marker; then `b` fails, and takes nothing any more.
    disk.fail_after(2);
    broker.end_transaction("x", producer, true).await.expect_err("one partition cannot be told");
    disk.heal();
    let before = all.each_ref().map(PartitionHandle::end_offset);
    tokio::time::sleep(Duration::from_secs(3605)).await;
    let after = all.each_ref().map(PartitionHandle::end_offset);
    assert_eq!(after[0], before[0], "`a` knew");
    assert!(!is_decided(&all[1]));
    // It failed as well while the disk did, or it is told now.
    assert!(is_decided(&all[0]));
    drop((all, broker));
    let broker = open(&disk, NOW + 4_000_000);
    let all = ["a", "b", "c"].map(|topic| broker.partition(topic, 0).expect("there"));
    assert!(all.iter().all(is_decided), "after a restart");
    assert_eq!(all.each_ref().map(committed), [[0], [0], [0]]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_fails_first_keeps_no_other_from_being_told() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], &[]]);
    let [a, b] = both(&broker);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    // `a` takes no writes any more; the disk is sound again.
    disk.fail_after(0);
    let mut plain = BatchBuilder::new();
    plain.append(NOW, Some(b"k"), Some(&[9; 4]), &[]);
    a.produce(plain.build()).expect_err("failed");
    disk.heal();
    broker.end_transaction("x", producer, true).await.expect_err("`a` is not told");
    assert!(is_decided(&b), "`b` is");
    let end = b.end_offset();
    tokio::time::sleep(Duration::from_secs(3605)).await;
    assert_eq!(b.end_offset(), end, "once");
}

/// Makes durable what a topic holds, and nothing else.
async fn make_durable(broker: &Broker, partition: &PartitionHandle) {
    let topic = &partition.topic_partition().topic;
    let setting = ConfigChange::new("flush.messages", AlterConfig::Set("1".to_owned()));
    broker.alter_configs(topic, &[setting], false).expect("altered");
    let mut plain = BatchBuilder::new();
    plain.append(NOW, Some(b"k"), Some(&[9; 4]), &[]);
    let produced = partition.produce(plain.build()).expect("produced");
    partition.acknowledged(produced.end_offset).await.expect("durable");
}

/// The coordinator's abort is taken back, the partition's marker is not: the epochs differ. What one partition has aborted no other commits.
#[tokio::test(start_paused = true)]
async fn an_abort_that_a_power_cut_takes_back_in_part_is_one_everywhere() {
    let disk = MemoryDisk::new();
    let broker = topics_in(open_plain(&disk, NOW), [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    begin(&broker, producer, 0).await.expect("begun");
    broker.sync().expect("synced");
    tokio::time::sleep(Duration::from_secs(75)).await;
    make_durable(&broker, &both(&broker)[0]).await;
    drop(broker);
    disk.crash();
    let broker = open_plain(&disk, NOW + 1000);
    assert_eq!(broker.describe_transaction("x").expect("known").state.name(), "CompleteAbort");
    // Its producer, on another machine, does not know.
    let refused = broker.end_transaction("x", producer, true).await.expect_err("fenced");
    assert_eq!(refused.code(), ErrorCode::ProducerFenced);
    assert!(both(&broker).iter().all(is_decided));
    assert!(committed(&both(&broker)[1]).is_empty());
}

/// What a power cut left of a decided transaction does not decide the next one.
#[tokio::test(start_paused = true)]
async fn a_power_cut_commits_nothing_that_nobody_committed() {
    for restarts in [false, true] {
        let disk = MemoryDisk::new();
        let mut broker = topics_in(open_plain(&disk, NOW), [SYNCED, &[]]);
        let producer = init(&broker).await.expect("given");
        broker.sync().expect("synced");
        begin(&broker, producer, 0).await.expect("begun");
        let end = broker.end_transaction("x", producer, true);
        if restarts {
            drop(end);
            broker = open_plain(&disk, NOW + 1000);
        } else {
            end.await.expect("committed");
        }
        let [_, b] = both(&broker);
        broker.add_partitions_to_transaction("x", producer, &[b.topic_partition().clone()]).await.expect("added");
        broker.produce_in_transaction("x", &b, within(producer, 1)).expect("produced");
        make_durable(&broker, &b).await;
        drop((b, broker));
        disk.crash();
        let [_, b] = both(&open_plain(&disk, NOW + 1000));
        assert!(b.end_offset() > 2 && !committed(&b).contains(&1), "restarts {restarts}: {:?}", committed(&b));
    }
}

/// Nor does it where each has an epoch of its own, whatever became of one in between that wrote nothing.
#[tokio::test(start_paused = true)]
async fn a_power_cut_commits_nothing_of_the_next_epoch() {
    for aborts_nothing in [false, true] {
        let disk = MemoryDisk::new();
        let broker = topics_in(open_plain(&disk, NOW), [SYNCED, &[]]);
        let producer = init(&broker).await.expect("given");
        broker.sync().expect("synced");
        Version::V2.begin(&broker, producer, 0).await.expect("begun");
        let mut producer = Version::V2.end(&broker, producer, true).await.expect("committed");
        if aborts_nothing {
            producer = Version::V2.end(&broker, producer, false).await.expect("aborted");
        }
        let [_, b] = both(&broker);
        broker.produce_in_transaction_v2("x", &b, valued(producer, 0, 1)).await.expect("produced");
        make_durable(&broker, &b).await;
        drop((b, broker));
        disk.crash();
        let broker = open_plain(&disk, NOW + 1000);
        let [_, b] = both(&broker);
        assert!(b.end_offset() > 2 && !committed(&b).contains(&1), "aborts nothing {aborts_nothing}: {:?}", committed(&b));
        assert!(is_decided(&b) || broker.describe_transaction("x").is_some_and(|one| one.state.name() == "Ongoing"));
    }
}

/// The marker of an abort is lost, and what its producer wrote next in that partition, but not that the next transaction is committed:
/// what was aborted is not of it.
#[tokio::test(start_paused = true)]
async fn an_abort_whose_marker_a_power_cut_takes_is_not_committed_by_the_next_one() {
    let disk = MemoryDisk::new();
    let broker = topics_in(open_plain(&disk, NOW), [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    Version::V2.begin(&broker, producer, 0).await.expect("begun");
    broker.sync().expect("synced");
    let next = Version::V2.end(&broker, producer, false).await.expect("aborted");
    Version::V2.begin(&broker, next, 1).await.expect("begun");
    make_durable(&broker, &both(&broker)[1]).await;
    drop(broker.end_transaction_v2("x", next, true));
    drop(broker);
    disk.crash();
    let broker = open_plain(&disk, NOW + 1000);
    let found = both(&broker);
    assert!(found.iter().all(is_decided));
    assert_eq!(found.each_ref().map(committed), [vec![], vec![1, i32::from_be_bytes([9; 4])]]);
    assert_ne!(offset(&broker), Some(0), "it was aborted");
}

/// What is told by an answer that was lost is told again, whoever stopped in between.
#[tokio::test(start_paused = true)]
async fn fact_56_an_end_is_told_again_after_a_restart() {
    let disk = MemoryDisk::new();
    let broker = topics_in(open_plain(&disk, NOW), [&[], &[]]);
    let producer = init(&broker).await.expect("given");
    for (number, commits) in [(0, true), (1, false)] {
        let broker = open_plain(&disk.fork(), NOW);
        Version::V2.begin(&broker, producer, number).await.expect("begun");
        // Nobody waits for it.
        drop(broker.end_transaction_v2("x", producer, commits));
        let told = Version::V2.end(&broker, producer, commits).await.expect("ended");
        assert_eq!(told, (producer.0, producer.1 + 1));
        assert_eq!(Version::V2.end(&broker, producer, commits).await.expect("ended before"), told);
        let other = Version::V2.end(&broker, producer, !commits).await.expect_err("it ended otherwise");
        assert_eq!(other.code(), ErrorCode::InvalidTxnState);
        let late =
            broker.produce_in_transaction_v2("x", &both(&broker)[0], valued(producer, 1, 7)).await.expect_err("it is over");
        assert_eq!(late.code(), ErrorCode::InvalidProducerEpoch);
        assert_eq!(both(&broker).each_ref().map(committed), [vec![0; usize::from(commits)], vec![0; usize::from(commits)]]);
    }
    Version::V2.begin(&broker, producer, 0).await.expect("begun");
    drop(broker.end_transaction_v2("x", producer, true));
    drop(broker);
    let broker = open_plain(&disk, NOW + 1000);
    let told = Version::V2.end(&broker, producer, true).await.expect("ended");
    assert_eq!(told, (producer.0, producer.1 + 1));
    assert_eq!((committed(&both(&broker)[1]), offset(&broker)), (vec![0], Some(0)));
}

/// The offsets were stored before anything in the transaction asked for durability.
#[tokio::test(start_paused = true)]
async fn offsets_that_came_first_are_as_durable_as_the_decision() {
    let disk = MemoryDisk::new();
    let broker = with_topics(&disk, [&[], SYNCED]);
    let producer = init(&broker).await.expect("given");
    broker.sync().expect("synced");
    broker.add_offsets_to_transaction("x", producer, "g").await.expect("added");
    let read = OffsetCommit { topic: "a", partition: 0, offset: 7, leader_epoch: -1, metadata: "" };
    let stored = broker.txn_offset_commit("x", producer, "g", MemberIdentity::administrator(), &[read]).await.expect("asked");
    assert!(stored[0].is_ok());
    let [_, b] = both(&broker);
    broker.add_partitions_to_transaction("x", producer, &[b.topic_partition().clone()]).await.expect("added");
    let end = broker.produce_in_transaction("x", &b, within(producer, 0)).expect("produced").end_offset;
    b.acknowledged(end).await.expect("durable");
    // Decided, and nobody was told.
    drop(broker.end_transaction("x", producer, true));
    drop((b, broker));
    disk.crash();
    let broker = open(&disk, NOW + 1000);
    assert_eq!((committed(&both(&broker)[1]), offset(&broker)), (vec![0], Some(7)));
}

const DAY: i64 = 86_400_000;

/// The time of day, put by so many milliseconds.
#[derive(Debug)]
struct Put(TokioClock, std::sync::atomic::AtomicI64);

impl Put {
    fn to(&self, by: i64) {
        self.1.store(by, std::sync::atomic::Ordering::SeqCst);
    }
}

impl broker_core::Clock for Put {
    fn wall_ms(&self) -> i64 {
        self.0.wall_ms() + self.1.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.monotonic_ms()
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_day_ends_no_transaction_and_keeps_none_open() {
    // When it is put by how much: while the transaction is open, or while the broker is away.
    for (by, opens_again) in [(-DAY, false), (365 * DAY, false), (-DAY, true)] {
        let (disk, clock) = (MemoryDisk::new(), Arc::new(Put(TokioClock::new(NOW), 0.into())));
        let open = || Broker::builder().disk(Arc::new(disk.clone())).clock(clock.clone()).seed(1).open().expect("opened");
        let mut broker = topics_in(open(), [&[], &[]]);
        let producer = init(&broker).await.expect("given");
        begin(&broker, producer, 0).await.expect("begun");
        clock.to(by);
        if opens_again {
            drop(broker);
            broker = open();
            init_other(&broker).await;
        }
        let state = || broker.describe_transaction("x").expect("known").state.name();
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(state(), "Ongoing", "put by {by}, opened again: {opens_again}");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(state(), "CompleteAbort", "put by {by}, opened again: {opens_again}");
        assert!(both(&broker).iter().all(is_decided));
    }
}

/// It lets the broker's tasks begin.
async fn init_other(broker: &Broker) {
    broker.init_transactional_producer("other", 60_000, None).await.expect("given");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_day_forgets_no_id_that_is_used() {
    let clock = Arc::new(Put(TokioClock::new(NOW), 0.into()));
    // A machine that learns the time only after it has begun.
    clock.to(-NOW);
    let broker = Broker::builder().disk(Arc::new(MemoryDisk::new())).clock(clock.clone()).seed(1).open().expect("opened");
    init(&broker).await.expect("given");
    clock.to(0);
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    assert!(broker.describe_transaction("x").is_some());
    clock.to(-NOW);
    tokio::time::sleep(Duration::from_secs(7 * 24 * 3600)).await;
    assert!(broker.describe_transaction("x").is_none(), "seven days without use");
}
