//! The log: batches in and out, and what a crash leaves.

use broker_core::record::{Codec, HeaderView};

use super::*;

/// The golden vectors: a plain batch, one of a transaction, and a marker.
const A: &str = "\
    00000000000000000000003a0000000002e99b8dd80000000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff00000001\
    10000000026b027600";
const B: &str = "\
    0000000000000000000000490000000002bb3bed3a0010000000010000018bcfe568000000018bcfe5680500000000000003e800030000000000000002\
    1e000000010a68656c6c6f02026802310e000a02026b0100";
const C: &str = "\
    00000000000000070000004200000002028a773c250030000000000000018bcfe568000000018bcfe5680000000000000003e80003ffffffff00000001\
    2000000008000000010c00000000000500";

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn parse(text: &str) -> Batch {
    let batch = Batch::parse(&unhex(text).into()).expect("a batch");
    batch.verify_crc().expect("sound");
    batch
}

/// A batch of one record with a value of this size.
fn large(bytes: usize) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b"k"), Some(&vec![7; bytes]), &[]);
    builder.build()
}

/// Segments of the topic `t`, by base offset.
fn segments(world: &World) -> Vec<i64> {
    let names = world.disk.files("t-0").expect("listed");
    names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect()
}

fn file(base: i64, kind: &str) -> String {
    format!("{base:020}.{kind}")
}

/// Ten batches of two records in segments of two batches.
fn with_segments(settings: &[(&str, &str)]) -> World {
    let world = World::new();
    let t = world.topic(&[&[("segment.bytes", "1024"), ("index.interval.bytes", "100")], settings].concat());
    for _ in 0..10 {
        let mut builder = BatchBuilder::new();
        for _ in 0..2 {
            builder.append(NOW + t.end_offset(), Some(b"k"), Some(&[7; 200]), &[]);
        }
        t.produce(builder.build()).expect("produced");
    }
    assert_eq!(segments(&world), [0, 4, 8, 12, 16]);
    world
}

/// That every offset and timestamp is found, and all batches follow one another.
fn is_whole(t: &PartitionHandle, end: i64) {
    assert_eq!((t.log_start(), t.end_offset()), (0, end));
    for offset in 0..end {
        let run = t.fetch(offset, 1).expect("fetched").batches.remove(0);
        let batch = Batch::parse(&run).expect("a batch");
        assert!((batch.base_offset()..=batch.last_offset()).contains(&offset), "{offset}");
        let base = batch.base_offset();
        assert_eq!(t.offset_for_timestamp(NOW + base).expect("found"), Some((base, NOW + base)));
    }
    let bases: Vec<i64> = stored(t).iter().map(Batch::base_offset).collect();
    assert_eq!(bases, (0..end).step_by(2).collect::<Vec<_>>());
}

#[test]
fn fact_01_the_first_batch_starts_at_0_and_the_end_is_behind_it() {
    let t = World::new().topic(&[]);
    assert_eq!(t.end_offset(), 0);
    assert_eq!((produce(&t, batch(5)), t.end_offset()), (Ok(0), 5));
    assert_eq!((produce(&t, batch(2)), t.end_offset()), (Ok(5), 7));
}

#[test]
fn fact_02_the_golden_vectors_are_written_and_read() {
    let t = World::new().topic(&[]);
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b"k"), Some(b"v"), &[]);
    t.produce(builder.build()).expect("produced");
    assert_eq!(stored(&t)[0].bytes()[..], unhex(A)[..]);
    let a = parse(A);
    assert_eq!((a.size(), a.crc(), a.count(), a.base_offset(), a.leader_epoch()), (70, 0xe99b_8dd8, 1, 0, 0));
    assert_eq!((a.producer_id(), a.producer_epoch(), a.base_sequence(), a.codec()), (-1, -1, -1, Ok(Codec::None)));
    let b = parse(B);
    assert_eq!((b.size(), b.crc(), b.count(), b.is_transactional(), b.is_control()), (85, 0xbb3b_ed3a, 2, true, false));
    assert_eq!((b.producer_id(), b.producer_epoch(), b.base_sequence(), b.max_timestamp()), (1000, 3, 0, NOW + 5));
    let records: Vec<_> = b.records().map(|record| record.expect("sound")).collect();
    assert_eq!((records[0].key(), records[0].value()), (None, Some(&b"hello"[..])));
    assert_eq!(records[0].headers().collect::<Vec<_>>(), [HeaderView { name: b"h", value: Some(b"1") }]);
    assert_eq!((records[1].key(), records[1].value(), records[1].timestamp), (Some(&b"k"[..]), None, NOW + 5));
    let c = parse(C);
    assert_eq!((c.size(), c.crc(), c.base_offset(), c.leader_epoch(), c.is_control()), (78, 0x8a77_3c25, 7, 2, true));
    let marker = c.records().next().expect("one").expect("sound");
    assert_eq!((marker.key(), marker.value()), (Some(&[0, 0, 0, 1][..]), Some(&[0, 0, 0, 0, 0, 5][..])));
}

#[test]
fn fact_03_a_flipped_bit_is_refused() {
    let t = World::new().topic(&[]);
    let sound = batch(3);
    for bit in 21 * 8..sound.len() * 8 {
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(produce(&t, flipped), Err(ErrorCode::CorruptMessage), "bit {bit}");
    }
    assert_eq!((t.end_offset(), produce(&t, sound)), (0, Ok(0)));
}

#[test]
fn fact_04_a_batch_may_be_as_large_as_the_limit_and_no_larger() {
    let limit = large(1000).len();
    let t = World::new().topic(&[("max.message.bytes", &limit.to_string())]);
    assert_eq!(produce(&t, large(1001)), Err(ErrorCode::MessageTooLarge));
    assert_eq!(t.end_offset(), 0);
    assert_eq!(produce(&t, large(1000)), Ok(0));
}

#[test]
fn fact_05_two_batches_at_once_are_refused() {
    let t = World::new().topic(&[]);
    let mut two = batch(1);
    two.extend_from_slice(&batch(1));
    assert_eq!(produce(&t, two), Err(ErrorCode::InvalidRecord));
    assert_eq!(t.end_offset(), 0);
}

#[test]
fn fact_07_the_first_batch_comes_whole_whatever_the_limit_is() {
    let t = World::new().topic(&[]);
    for _ in 0..3 {
        t.produce(large(5000)).expect("produced");
    }
    let size = large(5000).len();
    for (limit, expected) in [(0, 1), (1, 1), (size - 1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (10 * size, 3)] {
        let runs = t.fetch(0, limit).expect("fetched").batches;
        let sizes: Vec<usize> = runs.iter().flat_map(batches).map(|batch| batch.expect("whole").size()).collect();
        assert_eq!(sizes, vec![size; expected], "within {limit}");
    }
}

#[test]
fn fact_08_at_the_end_there_is_nothing_and_outside_the_log_an_error() {
    let world = World::new();
    let t = world.topic(&[]);
    t.produce(batch(4)).expect("produced");
    let fetched = t.fetch(4, 1000).expect("nothing yet");
    assert_eq!((fetched.batches.len(), fetched.high_watermark, fetched.log_start), (0, 4, 0));
    world.broker.delete_records("t", 0, 2).expect("deleted");
    for offset in [5, i64::MAX, -1, 0, 1] {
        assert_eq!(t.fetch(offset, 1000).expect_err("outside").code(), ErrorCode::OffsetOutOfRange, "{offset}");
    }
    // The batch that holds it, from its start.
    assert_eq!(Batch::parse(&t.fetch(2, 1000).expect("fetched").batches[0]).expect("a batch").base_offset(), 0);
}

#[test]
fn fact_09_after_a_torn_write_the_log_ends_at_the_last_whole_batch() {
    let whole = with_segments(&[]);
    let names = whole.disk.files("t-0").expect("listed");
    assert!(names.contains(&file(8, "log")));
    let size = whole.disk.size("t-0", &file(8, "log")).expect("asked").expect("there");
    for cut in (1..size / 2).step_by(7) {
        let mut world = with_segments(&[]);
        world.disk.open("t-0", &file(8, "log")).expect("opened").truncate(size - cut).expect("cut");
        world.restart();
        is_whole(&world.t(), 10);
        assert_eq!(segments(&world), [0, 4, 8], "segments behind are gone");
        assert_eq!(produce(&world.t(), batch(1)), Ok(10));
    }
}

#[tokio::test]
async fn fact_10_an_index_that_is_gone_short_or_wrong_is_made_anew() {
    type Harm = fn(&MemoryDisk, &str);
    let harms: [Harm; 4] = [
        |disk, name| disk.remove("t-0", name).expect("removed"),
        |disk, name| disk.open("t-0", name).expect("opened").truncate(0).expect("cut"),
        |disk, name| disk.open("t-0", name).expect("opened").truncate(5).expect("cut"),
        |disk, name| {
            let file = disk.open("t-0", name).expect("opened");
            let bytes: Vec<u8> = file.read(0, 1000).expect("read").iter().map(|byte| byte ^ 0x55).collect();
            file.truncate(0).expect("cut");
            file.append(bytes.into()).expect("written");
        },
    ];
    for harm in harms {
        for base in [0, 8, 16] {
            for kind in ["index", "timeindex"] {
                for stopped in [false, true] {
                    let mut world = with_segments(&[]);
                    if stopped {
                        world.broker.close().await.expect("closed");
                    }
                    harm(&world.disk, &file(base, kind));
                    world.restart();
                    is_whole(&world.t(), 20);
                }
            }
        }
    }
}

#[tokio::test]
async fn fact_11_after_a_stop_in_order_nothing_is_looked_through() {
    let mut world = with_segments(&[]);
    world.broker.close().await.expect("closed");
    assert!(world.disk.files("").expect("listed").contains(&".kafka_cleanshutdown".to_owned()));
    // Whoever looked through this would stumble.
    let first = world.disk.open("t-0", &file(0, "log")).expect("opened");
    let size = first.size();
    first.truncate(0).expect("cut");
    first.append(vec![0xff; size as usize].into()).expect("written");
    world.restart();
    assert_eq!(world.t().end_offset(), 20);
    assert_eq!(produce(&world.t(), batch(1)), Ok(20));
}

#[test]
fn fact_11_after_a_kill_what_was_not_durable_is_looked_through() {
    let mut world = with_segments(&[]);
    world.broker.sync().expect("synced");
    let t = world.t();
    for _ in 0..2 {
        t.produce(batch(2)).expect("produced");
    }
    let last = *segments(&world).last().expect("one");
    let log = world.disk.open("t-0", &file(last, "log")).expect("opened");
    let mut bytes = log.read(0, 1 << 20).expect("read").to_vec();
    while (bytes.len() as u64) < log.size() {
        bytes.extend_from_slice(&log.read(bytes.len() as u64, 1 << 20).expect("read"));
    }
    *bytes.last_mut().expect("bytes") ^= 1;
    log.truncate(0).expect("cut");
    log.append(bytes.into()).expect("written");
    world.restart();
    assert_eq!(world.t().end_offset(), 22, "the batch with the flipped bit is gone");
}
