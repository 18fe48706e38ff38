//! Old records go, by retention and by compaction, in the broker's own time.

use std::time::Duration;

use broker_core::TokioClock;

use super::*;

/// Past the first look of retention, and past one of compaction.
const A_WHILE: Duration = Duration::from_secs(31);

/// A broker whose time is tokio's, with the topic `t`.
fn paused(disk: &MemoryDisk, configs: &[(&str, &str)]) -> (Broker, PartitionHandle) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let broker = Broker::builder().disk(disk).clock(Arc::new(TokioClock::new(NOW))).seed(7).open().expect("opened");
    if broker.topic("t").is_none() {
        let mut topic = NewTopic::new("t").partitions(1);
        topic.configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        broker.create_topic(&topic).expect("made");
    }
    let t = broker.partition("t", 0).expect("there");
    (broker, t)
}

fn put(broker: &Broker, t: &PartitionHandle, key: &str, value: Option<&[u8]>) {
    let mut builder = BatchBuilder::new();
    builder.append(broker.clock().wall_ms(), Some(key.as_bytes()), value, &[]);
    t.produce(builder.build()).expect("produced");
}

/// Ends the segment: what is appended to is never cleaned.
fn end_segment(broker: &Broker, t: &PartitionHandle) {
    put(broker, t, "filler", Some(&[0; 900]));
}

/// Offset, key and value of all records but the fillers; markers are none.
fn left(t: &PartitionHandle) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all = Vec::new();
    for batch in stored(t).iter().filter(|batch| !batch.is_control()) {
        all.extend(batch.records().map(|record| {
            let record = record.expect("sound");
            (record.offset, record.key().map(text).unwrap_or_default(), record.value().map(text))
        }));
    }
    all.retain(|(_, key, _)| key != "filler");
    all
}

fn size(disk: &MemoryDisk) -> u64 {
    let names = disk.files("t-0").expect("listed");
    let logs = names.iter().filter(|name| name.ends_with(".log"));
    logs.map(|name| disk.size("t-0", name).expect("asked").unwrap_or(0)).sum()
}

const COMPACT: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "1024"), ("min.cleanable.dirty.ratio", "0.01")];

#[tokio::test(start_paused = true)]
async fn fact_15_over_its_bytes_a_log_loses_its_oldest_segments_and_no_more() {
    let disk = MemoryDisk::new();
    let (broker, t) = paused(&disk, &[("segment.bytes", "1024"), ("retention.bytes", "3072")]);
    for _ in 0..5 {
        put(&broker, &t, "k", Some(&[0; 900]));
    }
    let segment = size(&disk) / 5;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((t.log_start(), t.end_offset()), (1, 5), "four of {segment} bytes are over 3072, three are below");
    assert!((3072..3072 + segment).contains(&size(&disk)), "{} bytes", size(&disk));
}

#[tokio::test(start_paused = true)]
async fn fact_16_when_everything_is_too_old_the_log_goes_on_empty() {
    let disk = MemoryDisk::new();
    let (broker, t) = paused(&disk, &[("segment.bytes", "1024"), ("retention.ms", "10000")]);
    for _ in 0..3 {
        put(&broker, &t, "k", Some(&[0; 900]));
    }
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((t.log_start(), t.end_offset()), (3, 3));
    assert_eq!(produce(&t, batch(1)), Ok(3));
    drop((broker, t));
    let (_broker, t) = paused(&disk, &[]);
    assert_eq!((t.log_start(), t.end_offset()), (3, 4), "after a restart too");
}

#[tokio::test(start_paused = true)]
async fn fact_18_of_each_key_the_last_record_stays_where_it_was() {
    let (broker, t) = paused(&MemoryDisk::new(), &COMPACT);
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        put(&broker, &t, key, Some(value.as_bytes()));
    }
    end_segment(&broker, &t);
    tokio::time::sleep(A_WHILE).await;
    let expected = [(1, "b".to_owned(), Some("1".to_owned())), (2, "a".to_owned(), Some("2".to_owned()))];
    assert_eq!((left(&t), t.end_offset()), (expected.to_vec(), 4));
}

#[tokio::test(start_paused = true)]
async fn fact_19_a_tombstone_is_read_until_its_time_is_over() {
    let settings = [&COMPACT[..], &[("delete.retention.ms", "60000")]].concat();
    let (broker, t) = paused(&MemoryDisk::new(), &settings);
    put(&broker, &t, "a", Some(b"1"));
    put(&broker, &t, "a", None);
    end_segment(&broker, &t);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(left(&t), [(1, "a".to_owned(), None)]);
    // Another pass before the time is over, and one behind it.
    end_segment(&broker, &t);
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(left(&t), [(1, "a".to_owned(), None)]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    end_segment(&broker, &t);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(left(&t), []);
}

#[test]
fn fact_20_a_compacted_topic_takes_no_record_without_a_key() {
    let t = World::new().topic(&[("cleanup.policy", "compact")]);
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b"k"), Some(b"v"), &[]);
    builder.append(NOW, None, Some(b"v"), &[]);
    builder.append(NOW, Some(b""), None, &[]);
    let error = t.produce(builder.build()).expect_err("the second has no key");
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    assert_eq!(error.record_errors().iter().map(|record| record.batch_index).collect::<Vec<_>>(), [1]);
    assert_eq!(t.end_offset(), 0);
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b""), Some(b"v"), &[]);
    assert_eq!(produce(&t, builder.build()), Ok(0), "an empty key is one");
}

#[tokio::test(start_paused = true)]
async fn fact_21_nothing_at_or_above_an_open_transaction_is_cleaned_and_aborted_records_go() {
    let put_within = |broker: &Broker, t: &PartitionHandle, sequence: i32, value: &str| {
        let mut builder = BatchBuilder::new();
        builder.producer(7, 0, sequence);
        builder.transactional();
        builder.append(broker.clock().wall_ms(), Some(b"a"), Some(value.as_bytes()), &[]);
        t.produce(builder.build()).expect("produced").base_offset
    };
    for commits in [false, true] {
        let disk = MemoryDisk::new();
        let (broker, t) = paused(&disk, &COMPACT);
        put(&broker, &t, "a", Some(b"1"));
        put(&broker, &t, "a", Some(b"2"));
        end_segment(&broker, &t);
        let first = put_within(&broker, &t, 0, "3");
        assert_eq!(put_within(&broker, &t, 1, "4"), first + 1);
        put(&broker, &t, "b", Some(b"1"));
        put(&broker, &t, "b", Some(b"2"));
        end_segment(&broker, &t);
        end_segment(&broker, &t);
        let above = || stored(&t).into_iter().filter(|batch| batch.base_offset() >= first).map(|batch| batch.bytes().clone());
        let before: Vec<_> = above().collect();
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(t.stable_offset(), first);
        assert_eq!(left(&t)[0], (1, "a".to_owned(), Some("2".to_owned())), "what is below is cleaned");
        assert_eq!(above().collect::<Vec<_>>(), before, "what is not is there, byte for byte");
        super::transactions::end(&t, 7, commits);
        // The producer's last batch stays, empty if need be: others come behind.
        end_segment(&broker, &t);
        tokio::time::sleep(A_WHILE).await;
        let offsets: Vec<i64> = left(&t).iter().map(|(offset, ..)| *offset).collect();
        let last_of_a = if commits { first + 1 } else { 1 };
        assert_eq!(offsets, [last_of_a, first + 3], "the last committed record of each key, committed: {commits}");
        let data = stored(&t).into_iter().filter(|batch| !batch.is_control());
        let records = |batch: Batch| batch.records().map(|record| record.expect("sound").offset).collect::<Vec<_>>();
        let everything: Vec<i64> = data.flat_map(records).collect();
        assert_eq!(super::transactions::committed(&t), everything, "an aborted record is nowhere");
    }
}

#[tokio::test(start_paused = true)]
async fn fact_23_a_crash_at_any_moment_of_a_compaction_leaves_the_old_or_the_new() {
    let (mut old, mut new) = (0, 0);
    for operations in 0..80 {
        let disk = MemoryDisk::new();
        let (broker, t) = paused(&disk, &COMPACT);
        for number in 0..40 {
            put(&broker, &t, ["a", "b", "c"][number % 3], Some(&[number as u8; 100]));
        }
        broker.sync().expect("synced");
        let before = left(&t);
        disk.fail_after(operations);
        tokio::time::sleep(A_WHILE).await;
        drop((broker, t));
        // Half of the runs are killed, half lose power.
        if operations % 2 == 0 {
            disk.crash();
        }
        disk.heal();
        let (_broker, t) = paused(&disk, &[]);
        let after = left(&t);
        assert_eq!(t.end_offset(), 40, "{operations} operations");
        let is_part = after.iter().all(|record| before.contains(record));
        assert!(is_part && after.windows(2).all(|pair| pair[0].0 < pair[1].0), "{operations} operations: {after:?}");
        for key in ["a", "b", "c"] {
            let last = |all: &[(i64, String, Option<String>)]| all.iter().rfind(|record| record.1 == key).cloned();
            assert_eq!(last(&after), last(&before), "{operations} operations, key {key}");
        }
        let names = disk.files("t-0").expect("listed");
        assert!(!names.iter().any(|name| name.contains(".swap") || name.contains(".cleaned")), "{names:?}");
        if after.len() == before.len() { old += 1 } else { new += 1 }
    }
    assert!(old > 3 && new > 3, "{old} times the old, {new} times the new");
}
