use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{DataSignal, Flusher, PartitionConfig, PartitionHandle, Surroundings};
use crate::config::BrokerConfig;
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::log::{Log, Opening};
use crate::record::builder::{recompress, set_crc};
use crate::record::{Batch, BatchBuilder, Codec, Compression, at, batches};
use crate::storage::{Disk, FileDisk, MemoryDisk};
use crate::time::Clock;
use crate::topic_config::{CleanupPolicy, TopicConfig};

/// A clock that goes on when the test says so; clones are one clock.
#[derive(Debug, Clone)]
pub(super) struct Time(Arc<AtomicI64>);

impl Time {
    /// It is [`NOW`].
    pub fn now() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    pub fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Time {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        (self.wall_ms() - NOW) as u64
    }
}

/// Flushes on the spot.
#[derive(Debug)]
struct OnTheSpot;

impl Flusher for OnTheSpot {
    fn flush(&self, partition: &PartitionHandle) {
        partition.flush();
    }

    fn look_again(&self) {}
}

pub(super) fn around(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Arc<Surroundings> {
    Arc::new(Surroundings { disk, clock, flusher: Arc::new(OnTheSpot) })
}

pub(super) const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

pub(super) fn config() -> PartitionConfig {
    let topic = TopicConfig { segment_bytes: 1 << 20, max_message_bytes: 1000, ..TopicConfig::default() };
    with(topic)
}

pub(super) fn with(topic: TopicConfig) -> PartitionConfig {
    let broker = BrokerConfig { message_decompressed_bytes_max: 100_000, ..BrokerConfig::default() };
    PartitionConfig::new(topic, &broker)
}

/// The usual settings, with one changed.
pub(super) fn but(change: impl FnOnce(&mut TopicConfig)) -> PartitionConfig {
    let mut topic = config().topic;
    change(&mut topic);
    with(topic)
}

pub(super) fn open(disk: &Arc<dyn Disk>, config: PartitionConfig) -> PartitionHandle {
    let clock = Arc::new(Time::now());
    PartitionHandle::open(around(disk.clone(), clock), TopicPartition::new("t", 0), config, Opening::default()).expect("opened")
}

pub(super) fn memory() -> Arc<dyn Disk> {
    Arc::new(MemoryDisk::new())
}

fn batch(timestamps: &[i64]) -> BytesMut {
    let mut builder = BatchBuilder::new();
    for timestamp in timestamps {
        builder.append(*timestamp, Some(b"k"), Some(b"value"), &[("h", None)]);
    }
    builder.build()
}

fn segments(bytes: i64, index_interval: i64) -> PartitionConfig {
    but(|topic| (topic.segment_bytes, topic.index_interval_bytes) = (bytes, index_interval))
}

/// A batch of this many bytes.
fn sized(size: usize) -> BytesMut {
    let mut builder = BatchBuilder::new();
    let overhead = {
        builder.append(NOW, None, Some(&vec![0; size - 100]), &[]);
        builder.build().len() - (size - 100)
    };
    builder.append(NOW, None, Some(&vec![0; size - overhead]), &[]);
    let built = builder.build();
    assert_eq!(built.len(), size);
    built
}

pub(super) fn put(batch: &mut BytesMut, from: usize, bytes: &[u8]) {
    batch[from..from + bytes.len()].copy_from_slice(bytes);
    set_crc(batch);
}

pub(super) fn all(partition: &PartitionHandle) -> Vec<Batch> {
    let fetched = partition.fetch(partition.log_start(), usize::MAX).expect("fetched");
    fetched.batches.iter().flat_map(batches).map(|batch| batch.expect("sound")).collect()
}

/// What must be done to a sound batch of three records so that it is refused, with which code and words.
type Refusal = (&'static str, fn(&mut BytesMut), ErrorCode, &'static str);

const REFUSALS: &[Refusal] = &[
    ("nothing", |b| b.clear(), ErrorCode::CorruptMessage, "incomplete"),
    ("cut short", |b| b.truncate(b.len() - 1), ErrorCode::CorruptMessage, "of its"),
    ("length 0", |b| b[8..12].fill(0), ErrorCode::CorruptMessage, "length"),
    ("negative length", |b| b[8..12].fill(0xff), ErrorCode::CorruptMessage, "length"),
    ("old format", |b| b[16] = 1, ErrorCode::UnsupportedForMessageFormat, "v1"),
    ("unknown format", |b| b[16] = 3, ErrorCode::CorruptMessage, "magic"),
    ("base offset", |b| b[7] = 1, ErrorCode::InvalidRecord, "base offset is 1"),
    ("flipped checksum", |b| b[17] ^= 1, ErrorCode::CorruptMessage, "checksum"),
    ("flipped body", |b| *b.last_mut().expect("bytes") ^= 1, ErrorCode::CorruptMessage, "checksum"),
    ("two batches", |b| b.extend_from_slice(&b.clone()), ErrorCode::InvalidRecord, "more than one"),
    ("codec", |b| put(b, 21, &[0, 5]), ErrorCode::UnsupportedCompressionType, "codec 5"),
    ("append time", |b| put(b, 21, &[0, 8]), ErrorCode::InvalidTimestamp, "LogAppendTime"),
    ("transactional", |b| put(b, 21, &[0, 16]), ErrorCode::InvalidRecord, "transactional"),
    ("control", |b| put(b, 21, &[0, 32]), ErrorCode::InvalidRecord, "control"),
    ("producer without an epoch", |b| put(b, 43, &[0; 8]), ErrorCode::InvalidRecord, "epoch -1"),
    (
        "producer without a sequence",
        |b| {
            put(b, 43, &[0; 10]);
        },
        ErrorCode::InvalidRecord,
        "sequence -1",
    ),
    ("last delta", |b| put(b, 23, &[0, 0, 0, 5]), ErrorCode::InvalidRecord, "last offset delta"),
    (
        "no records",
        |b| {
            put(b, 57, &[0; 4]);
            put(b, 23, &[0xff; 4])
        },
        ErrorCode::InvalidRecord,
        "0 records",
    ),
    (
        "too few records",
        |b| {
            put(b, 57, &[0, 0, 0, 4]);
            put(b, 23, &[0, 0, 0, 3])
        },
        ErrorCode::InvalidRecord,
        "record 3",
    ),
    (
        "too many records",
        |b| {
            put(b, 57, &[0, 0, 0, 2]);
            put(b, 23, &[0, 0, 0, 1])
        },
        ErrorCode::InvalidRecord,
        "left over",
    ),
    (
        "huge count",
        |b| {
            put(b, 57, &[0x7f, 0xff, 0xff, 0xff]);
            put(b, 23, &[0x7f, 0xff, 0xff, 0xfe])
        },
        ErrorCode::InvalidRecord,
        "record 3",
    ),
    (
        "header",
        |b| {
            let last = b.len() - 1;
            put(b, last, &[2])
        },
        ErrorCode::InvalidRecord,
        "headers",
    ),
];

#[test]
fn what_is_no_sound_batch_is_refused_and_takes_no_offset() {
    let partition = open(&memory(), config());
    for (what, damage, code, words) in REFUSALS {
        let mut bytes = batch(&[NOW, NOW, NOW]);
        damage(&mut bytes);
        let error = partition.produce(bytes).expect_err(what);
        let text = error.to_string();
        assert_eq!(error.code(), *code, "{what}: {text}");
        assert!(text.starts_with("t-0: ") && text.contains(words), "{what}: {text}");
        assert_eq!(partition.end_offset(), 0, "{what}");
    }
    assert_eq!(partition.produce(batch(&[NOW])).expect("sound").base_offset, 0);
}

#[test]
fn a_batch_of_n_records_moves_the_end_by_n() {
    let partition = open(&memory(), config());
    for (count, base) in [(1, 0), (3, 1), (2, 4)] {
        let mut bytes = batch(&vec![NOW; count]);
        // Whatever epoch a producer sends, the broker's is written over it.
        bytes[at::LEADER_EPOCH..at::LEADER_EPOCH + 4].copy_from_slice(&99i32.to_be_bytes());
        assert_eq!(partition.produce(bytes).expect("produced").base_offset, base);
    }
    assert_eq!((partition.log_start(), partition.end_offset()), (0, 6));
    let stored: Vec<_> = all(&partition).iter().map(|batch| (batch.base_offset(), batch.leader_epoch(), batch.count())).collect();
    assert_eq!(stored, [(0, 0, 1), (1, 0, 3), (4, 0, 2)]);
}

#[test]
fn a_part_of_a_second_batch_is_cut_off() {
    let partition = open(&memory(), config());
    let whole = batch(&[NOW]);
    for part in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&whole[..part]);
        assert_eq!(partition.produce(bytes).expect("produced").base_offset, part as i64);
    }
    assert!(all(&partition).iter().all(|batch| batch.size() == whole.len()));
}

#[test]
fn offsets_that_do_not_follow_one_another_are_given_anew() {
    for compression in [Compression::NONE, Compression::new(Codec::Lz4).unwrap_or_default()] {
        let partition = open(&memory(), config());
        let plain = {
            let mut bytes = batch(&[NOW, NOW - 7, NOW + 9]);
            // The deltas of three records of the same size: 2, 0, 70.
            let size = (bytes.len() - 61) / 3;
            (bytes[64], bytes[64 + size], bytes[64 + 2 * size]) = (4, 0, 70);
            bytes
        };
        partition.produce(recompress(&plain, compression)).expect("produced");
        let stored = all(&partition).remove(0);
        stored.verify_crc().expect("computed anew");
        assert_eq!(stored.codec(), Ok(compression.codec()));
        let plain = stored.decompressed(1000).expect("fits");
        let read: Vec<_> = plain.records().map(|record| record.expect("sound")).collect();
        let told: Vec<_> = read.iter().map(|record| (record.offset, record.timestamp, record.key(), record.value())).collect();
        let (key, value) = (Some(&b"k"[..]), Some(&b"value"[..]));
        assert_eq!(told, [(0, NOW, key, value), (1, NOW - 7, key, value), (2, NOW + 9, key, value)]);
        assert!(read.iter().all(|record| record.headers().count() == 1));
    }
}

#[test]
fn the_records_that_are_wrong_are_named() {
    let compacted = |topic: &mut TopicConfig| topic.cleanup_policy = CleanupPolicy { delete: false, compact: true };
    let partition = open(&memory(), but(compacted));
    let mut builder = BatchBuilder::new();
    for n in 0..5 {
        builder.append(NOW, (n % 2 == 0).then_some(b"k"), Some(b"v"), &[]);
    }
    let keyless = builder.build();
    let error = partition.produce(keyless.clone()).expect_err("records 1 and 3 have no key");
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    assert!(error.to_string().contains("2 of the batch's 5 records may not be appended; record 1: "), "{error}");
    assert_eq!(error.record_errors().iter().map(|record| record.batch_index).collect::<Vec<_>>(), [1, 3]);
    assert!(error.record_errors()[0].message.contains("needs a key"));
    // A timestamp is the reason that a client is told, and both are named.
    let mut builder = BatchBuilder::new();
    builder.append(NOW, None, None, &[]);
    builder.append(NOW + HOUR + 1, Some(b"k"), None, &[]);
    let error = partition.produce(builder.build()).expect_err("both are wrong");
    assert_eq!((error.code(), error.record_errors().len()), (ErrorCode::InvalidTimestamp, 2));
    let many = batch(&[NOW + 2 * HOUR; 150]);
    let error = open(&memory(), but(|topic| topic.max_message_bytes = 1 << 20)).produce(many).expect_err("all are wrong");
    assert_eq!(error.record_errors().len(), 100);
    assert_eq!(partition.end_offset(), 0);
    assert_eq!(open(&memory(), config()).produce(keyless).expect("no key is needed").base_offset, 0);
}

#[test]
fn a_batch_may_be_as_large_as_the_limit() {
    let partition = open(&memory(), config());
    partition.produce(sized(1000)).expect("as large as max.message.bytes");
    let error = partition.produce(sized(1001)).expect_err("too large");
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    assert!(error.to_string().contains("1001") && error.to_string().contains("max.message.bytes (1000)"), "{error}");
    let small = but(|topic| topic.segment_bytes = 500);
    assert_eq!(open(&memory(), small).produce(sized(501)).expect_err("too large").code(), ErrorCode::RecordListTooLarge);
}

#[test]
fn a_fetch_brings_whole_batches_from_the_one_that_holds_the_offset() {
    let partition = open(&memory(), config());
    partition.produce(batch(&[NOW; 3])).expect("produced");
    partition.produce(batch(&[NOW; 2])).expect("produced");
    let bases = |offset, max_bytes| -> Vec<i64> {
        let fetched = partition.fetch(offset, max_bytes).expect("fetched");
        assert_eq!((fetched.log_start, fetched.high_watermark), (0, 5));
        fetched.batches.iter().flat_map(batches).map(|batch| batch.expect("sound").base_offset()).collect()
    };
    for (offset, max_bytes, expected) in
        [(0, 1, &[0][..]), (2, 0, &[0]), (0, 10_000, &[0, 3]), (3, 1, &[3]), (4, 10_000, &[3]), (5, 10_000, &[])]
    {
        assert_eq!(bases(offset, max_bytes), expected, "offset {offset} within {max_bytes}");
    }
    for offset in [-1, 6, i64::MAX, i64::MIN] {
        assert_eq!(partition.fetch(offset, 1).expect_err("outside").code(), ErrorCode::OffsetOutOfRange, "{offset}");
    }
}

#[test]
fn timestamps_too_far_ahead_are_refused_whatever_the_header_says() {
    let partition = open(&memory(), config());
    for (timestamps, fine) in [
        (&[NOW + HOUR][..], true),
        (&[NOW + HOUR + 1], false),
        (&[NOW, NOW + HOUR + 1, NOW], false),
        (&[-1], true),
        (&[0], true),
        (&[i64::MAX], false),
    ] {
        let mut bytes = batch(timestamps);
        put(&mut bytes, at::MAX_TIMESTAMP, &NOW.to_be_bytes());
        let result = partition.produce(bytes).map_err(|error| error.code());
        assert_eq!(result.map(drop), if fine { Ok(()) } else { Err(ErrorCode::InvalidTimestamp) }, "{timestamps:?}");
    }
    let stored: Vec<_> = all(&partition).into_iter().map(|batch| (batch.max_timestamp(), batch.verify_crc().is_ok())).collect();
    assert_eq!(stored, [(NOW + HOUR, true), (-1, true), (0, true)], "a wrong largest timestamp is put right");
}

#[test]
fn timestamps_too_far_back_are_refused() {
    let partition = open(&memory(), but(|topic| topic.message_timestamp_before_max_ms = HOUR));
    for (timestamps, fine) in [
        (&[NOW - HOUR][..], true),
        (&[NOW - HOUR - 1], false),
        (&[NOW, NOW - HOUR - 1, NOW], false),
        (&[-1], true),
        (&[NOW, -1], true),
        (&[0], false),
    ] {
        let result = partition.produce(batch(timestamps)).map_err(|error| error.code());
        assert_eq!(result.map(drop), if fine { Ok(()) } else { Err(ErrorCode::InvalidTimestamp) }, "{timestamps:?}");
    }
}

#[test]
fn an_offset_is_found_by_its_time() {
    let partition = open(&memory(), config());
    partition.produce(batch(&[10, 20])).expect("produced");
    partition.produce(batch(&[30])).expect("produced");
    for (timestamp, found) in [(15, Some((1, 20))), (31, None), (30, Some((2, 30))), (-1, Some((0, 10)))] {
        assert_eq!(partition.offset_for_timestamp(timestamp).expect("read"), found, "{timestamp}");
    }
}

#[test]
fn with_log_append_time_the_broker_stamps() {
    let partition = open(&memory(), but(|topic| topic.log_append_time = true));
    let produced = partition.produce(batch(&[5, NOW + 2 * HOUR])).expect("no timestamp is too far ahead");
    assert_eq!(produced.log_append_time, Some(NOW));
    let stored = &all(&partition)[0];
    stored.verify_crc().expect("computed anew");
    assert!(stored.is_log_append_time());
    let stamps: Vec<_> = stored.records().map(|record| record.expect("sound").timestamp).collect();
    assert_eq!((stored.max_timestamp(), stamps.as_slice()), (NOW, &[NOW, NOW][..]));
    assert_eq!(partition.offset_for_timestamp(NOW).expect("read"), Some((0, NOW)));
}

#[test]
fn a_failed_write_is_told_and_later_ones_are_refused_by_name() {
    let disk = MemoryDisk::new();
    let partition = open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), config());
    partition.produce(batch(&[NOW])).expect("produced");
    disk.fail_after(0);
    for _ in 0..2 {
        let error = partition.produce(batch(&[NOW])).expect_err("the disk fails");
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
        assert!(error.to_string().starts_with("t-0 takes no writes") && error.to_string().contains("injected fault"), "{error}");
        disk.heal();
    }
    partition.close().expect_err("nothing is called durable any more");
    assert_eq!((partition.end_offset(), all(&partition).len()), (1, 1));
}

#[test]
fn a_deleted_partition_is_unknown_and_its_folder_stays_away() {
    let disk = memory();
    let partition = open(&disk, segments(200, 100));
    let stop = Duration::from_secs(20);
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while began.elapsed() < stop {
                        if let Err(error) = partition.produce(batch(&[NOW])) {
                            return error.code();
                        }
                    }
                    panic!("the deletion was not seen within {stop:?}");
                })
            })
            .collect();
        while partition.end_offset() < 20 && began.elapsed() < stop {
            std::thread::yield_now();
        }
        partition.delete();
        disk.remove_folder("t-0").expect("removed");
        for writer in writers {
            assert_eq!(writer.join().expect("no panic"), ErrorCode::UnknownTopicOrPartition);
        }
    });
    assert!(disk.folders().expect("listed").is_empty(), "no write brings the folder back");
    assert_eq!(partition.fetch(0, 1).expect_err("gone").code(), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(partition.offset_for_timestamp(0).expect_err("gone").code(), ErrorCode::UnknownTopicOrPartition);
}

/// Who reads has seen that the partition is there, and comes to the log when it is not any more. Nobody has looked at its indexes.
#[test]
fn a_read_that_is_overtaken_by_a_deletion_leaves_no_folder_and_no_records() {
    let disk = memory();
    let before = open(&disk, segments(200, 100));
    for _ in 0..20 {
        before.produce(batch(&[NOW])).expect("produced");
    }
    before.close().expect("closed");
    let (id, opening) = (before.topic_partition().clone(), Opening { clean: true, recovery_point: 20, ..Opening::default() });
    let around = around(disk.clone(), Arc::new(Time::now()));
    let partition = PartitionHandle::open(around, id, segments(200, 100), opening).expect("opened");
    let overtaken = |look: &mut dyn FnMut(&mut Log)| {
        if !partition.is_deleted() {
            partition.delete();
            disk.remove_folder("t-0").expect("removed");
        }
        partition.with_log(look);
    };
    let read = partition.reading(crate::log::read(overtaken, 0, 20, 1));
    assert_eq!(read.expect_err("gone").code(), ErrorCode::UnknownTopicOrPartition);
    assert!(disk.folders().expect("listed").is_empty(), "the read brings the folder back");
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_of_writes_and_of_the_end() {
    let partition = open(&memory(), config());
    let signal = DataSignal::new();
    let told = async |signal: &DataSignal| tokio::time::timeout(Duration::from_secs(1), signal.notified()).await.is_ok();
    let guard = partition.watch(&signal);
    assert!(!told(&signal).await);
    partition.produce(batch(&[NOW])).expect("produced");
    partition.produce(batch(&[NOW])).expect("produced");
    assert!(told(&signal).await, "news before the wait are kept");
    assert!(!told(&signal).await, "one permit for both");
    drop(guard);
    partition.produce(batch(&[NOW])).expect("produced");
    assert!(!told(&signal).await, "nobody watches");
    let _guard = partition.watch(&signal);
    partition.delete();
    assert!(told(&signal).await);
}

/// Writers and readers on threads of their own: every record is read once, in each writer's order, without a gap.
fn write_and_read_at_once(disk: &Arc<dyn Disk>) {
    const WRITERS: u64 = 3;
    const BATCHES: u64 = 300;
    let partition = open(disk, segments(4000, 300));
    let total = (WRITERS * BATCHES * 2) as i64;
    let read_all = || {
        let (mut next, mut last) = (0, [0u64; WRITERS as usize]);
        let began = std::time::Instant::now();
        while next < total {
            assert!(began.elapsed() < Duration::from_secs(20), "only {next} of {total} records were there in time");
            for batch in partition.fetch(next, 700).expect("fetched").batches.iter().flat_map(batches) {
                let batch = batch.expect("sound");
                batch.verify_crc().expect("sound");
                for record in batch.records().map(|record| record.expect("sound")) {
                    assert_eq!(record.offset, next);
                    next += 1;
                    let value = record.value().expect("a value");
                    let (writer, number) = (usize::from(value[0]), u64::from_be_bytes(value[1..].try_into().expect("eight")));
                    assert_eq!(number, last[writer] + 1, "writer {writer}");
                    last[writer] = number;
                }
            }
        }
    };
    let write = |writer: u8| {
        let mut builder = BatchBuilder::new();
        for number in (1..=BATCHES * 2).step_by(2) {
            for number in [number, number + 1] {
                builder.append(NOW, None, Some(&[&[writer][..], &number.to_be_bytes()].concat()), &[]);
            }
            partition.produce(builder.build()).expect("produced");
        }
    };
    std::thread::scope(|scope| {
        (0..WRITERS as u8).for_each(|writer| drop(scope.spawn(move || write(writer))));
        (0..2).for_each(|_| drop(scope.spawn(read_all)));
    });
    assert_eq!(partition.end_offset(), total);
    drop(partition);
    assert_eq!(open(disk, config()).end_offset(), total, "all of it is there when it is opened again");
}

#[test]
fn writers_and_readers_at_once_in_memory() {
    write_and_read_at_once(&memory());
}

#[test]
fn writers_and_readers_at_once_in_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_and_read_at_once(&(Arc::new(FileDisk::open(dir.path()).expect("opened")) as Arc<dyn Disk>));
}

#[test]
fn in_memory_a_fetch_hands_out_the_produced_bytes_themselves() {
    let partition = open(&memory(), config());
    let bytes = batch(&[NOW]);
    let place = bytes.as_ptr();
    partition.produce(bytes).expect("produced");
    let fetched: Vec<Bytes> = partition.fetch(0, 1000).expect("fetched").batches;
    assert_eq!(fetched[0].as_ptr(), place);
}
