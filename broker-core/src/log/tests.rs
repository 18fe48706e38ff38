use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{Log, LogConfig, Opening};
use crate::record::builder::set_crc;
use crate::record::{BatchBuilder, Codec, Compression, at, batches};
use crate::storage::{Disk, FileDisk, MemoryDisk};

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 100, ..LogConfig::default() }
}

/// A batch of `count` records whose values are their offsets, stamped.
fn batch(base: i64, count: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    for offset in base..base + count {
        builder.append(offset * 10, None, Some(&offset.to_be_bytes()), &[]);
    }
    let mut built: BytesMut = builder.build();
    built[..8].copy_from_slice(&base.to_be_bytes());
    built.freeze()
}

fn open(disk: &Arc<dyn Disk>, segment_bytes: u64) -> io::Result<Log> {
    Log::open(disk.clone(), "t-0", config(segment_bytes), Opening::default())
}

/// The names of the segments' own files.
fn logs(disk: &Arc<dyn Disk>) -> Vec<String> {
    let mut files = disk.files("t-0").expect("listed");
    files.retain(|name| name.ends_with(".log"));
    files
}

fn append(log: &mut Log, count: i64) {
    let base = log.end();
    log.append(batch(base, count), base + count - 1, (base + count - 1) * 10, 0).expect("appended");
}

fn read(log: &mut Log, offset: i64, max_bytes: usize) -> std::io::Result<Vec<Bytes>> {
    super::read(|look| look(log), offset, i64::MAX, max_bytes)
}

fn find_timestamp(log: &mut Log, timestamp: i64) -> Option<(i64, i64)> {
    super::find_timestamp(|look| look(log), timestamp).expect("read")
}

fn offsets(runs: &[Bytes]) -> Vec<i64> {
    let all = runs.iter().flat_map(batches).map(|batch| batch.expect("sound"));
    all.flat_map(|batch| batch.records().map(|record| record.expect("sound").offset).collect::<Vec<_>>()).collect()
}

fn disk() -> (MemoryDisk, Arc<dyn Disk>) {
    let disk = MemoryDisk::new();
    (disk.clone(), Arc::new(disk))
}

#[test]
fn every_offset_is_found_over_rolls_and_reopens() {
    let (_, disk) = disk();
    let mut log = open(&disk, 300).expect("opened");
    for count in [1, 3, 2, 5, 1, 1, 7, 2, 4] {
        append(&mut log, count);
    }
    assert!(logs(&disk).len() > 2, "it rolled");
    for reopened in [false, true] {
        if reopened {
            log = open(&disk, 300).expect("opened");
        }
        assert_eq!((log.start(), log.end()), (0, 26));
        for offset in 0..26 {
            for max_bytes in [1, 200, 10_000] {
                let got = offsets(&read(&mut log, offset, max_bytes).expect("read"));
                assert!(got.contains(&offset), "offset {offset} within {max_bytes}: {got:?}");
                assert!(got.windows(2).all(|pair| pair[1] == pair[0] + 1), "{got:?}");
            }
        }
        assert_eq!(offsets(&read(&mut log, 0, 100_000).expect("read")), (0..26).collect::<Vec<_>>());
    }
}

#[test]
fn the_tail_is_as_long_as_asked_for_and_little_longer() {
    let (_, disk) = disk();
    let mut log = open(&disk, 1000).expect("opened");
    for _ in 0..40 {
        append(&mut log, 2);
    }
    let (one, all) = (batch(0, 2).len() as u64, log.size());
    for bytes in (0..all + 200).step_by(50) {
        let from = log.tail(bytes).expect("found");
        let mut walked = 0;
        super::headers(&mut log, from, |_| walked += one).expect("walked");
        let most = bytes + 2 * one + 100;
        assert!((bytes.min(all)..=most.max(one)).contains(&walked), "{walked} bytes from {from} on, {bytes} were asked for");
    }
}

/// Such a batch was taken under another bound, or by another broker.
#[test]
fn a_batch_that_unpacks_to_too_much_is_not_searched() {
    let (_, disk) = disk();
    let mut log = open(&disk, 1 << 20).expect("opened");
    append(&mut log, 3);
    let Ok(compression) = Compression::new(Codec::Gzip) else { return };
    let mut builder = BatchBuilder::new().compression(compression);
    for timestamp in [100, 101] {
        builder.append(timestamp, None, Some(&[7; 10_000]), &[]);
    }
    let mut built = builder.build();
    built[..8].copy_from_slice(&3i64.to_be_bytes());
    log.append(built.freeze(), 4, 101, 4).expect("appended");
    assert_eq!(find_timestamp(&mut log, 101), Some((4, 101)));
    log.reconfigure(Arc::new(LogConfig { decompressed_bytes_max: 1000, ..config(1 << 20) }));
    assert_eq!(find_timestamp(&mut log, 15), Some((2, 20)));
    let told = super::find_timestamp(|look| look(&mut log), 101).expect_err("too large").to_string();
    assert!(told.contains("offset 3: the gzip block holds more than 1000 bytes (message.decompressed.bytes.max)"), "{told}");
}

#[test]
fn timestamps_are_found() {
    let (_, disk) = disk();
    let mut log = open(&disk, 400).expect("opened");
    for _ in 0..10 {
        append(&mut log, 3);
    }
    for (timestamp, expected) in
        [(-5, Some((0, 0))), (0, Some((0, 0))), (95, Some((10, 100))), (290, Some((29, 290))), (291, None)]
    {
        assert_eq!(find_timestamp(&mut log, timestamp), expected, "{timestamp}");
    }
}

#[test]
fn offsets_that_a_segment_cannot_hold_are_damage() {
    // In a log that may have gaps, whose batches' offsets nothing else is held against: no checksum covers them.
    let opening = Opening { compacted_to: Some(i64::MAX), ..Opening::default() };
    let far = i64::from(i32::MAX) + 1;
    for (base, end) in [(2, 4), (far - 2, far), (far - 1, 2), (far, 2), (i64::MAX - 1, 2), (i64::MAX, 2), (i64::MIN, 2)] {
        let (_, disk) = disk();
        let file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(batch(0, 2)).expect("appended");
        let mut second = BytesMut::from(&batch(2, 2)[..]);
        second[..8].copy_from_slice(&base.to_be_bytes());
        file.append(second.freeze()).expect("appended");
        let log = Log::open(disk, "t-0", config(1000), opening).expect("opened");
        assert_eq!(log.end(), end, "a second batch at {base}");
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let whole = batch(0, 2);
    let last = batch(2, 3);
    for cut in 0..last.len() {
        let (_, disk) = disk();
        let file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(whole.clone()).expect("appended");
        file.append(last.slice(..cut)).expect("appended");
        for _ in 0..2 {
            let log = open(&disk, 1000).expect("opened");
            assert_eq!(log.end(), 2, "cut at {cut}");
        }
        assert_eq!(disk.open("t-0", "00000000000000000000.log").expect("opened").size(), whole.len() as u64);
    }
}

#[test]
fn a_flipped_bit_anywhere_that_counts_ends_the_log_there() {
    let last = batch(2, 3);
    // The leader's epoch (12 to 15) is outside the checksum.
    for byte in (0..last.len()).filter(|byte| !(12..16).contains(byte)) {
        let (_, disk) = disk();
        let file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(batch(0, 2)).expect("appended");
        let mut damaged = BytesMut::from(&last[..]);
        damaged[byte] ^= 0x40;
        file.append(damaged.freeze()).expect("appended");
        file.append(Bytes::from(vec![0; 300])).expect("appended");
        let log = open(&disk, 1000).expect("opened");
        assert_eq!(log.end(), 2, "byte {byte}");
    }
}

#[test]
fn an_offset_at_the_end_of_numbers_is_damage() {
    for base in [i64::MAX, i64::MAX - 2, i64::MIN, -1, 3] {
        let (_, disk) = disk();
        let file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(batch(0, 2)).expect("appended");
        let mut damaged = BytesMut::from(&batch(2, 3)[..]);
        damaged[..8].copy_from_slice(&base.to_be_bytes());
        file.append(damaged.freeze()).expect("appended");
        assert_eq!(open(&disk, 1000).expect("opened").end(), 2, "{base}");
    }
}

/// Three batches of three, the second of which says another number of records or another last offset; its checksum is right. The
/// log was closed.
fn miscounted(count: i32, last_delta: i32) -> Arc<dyn Disk> {
    let (_, disk) = disk();
    let mut log = open(&disk, 1000).expect("opened");
    for base in [0, 3, 6] {
        let mut one = BytesMut::from(&batch(base, 3)[..]);
        if base == 3 {
            one[at::COUNT..at::COUNT + 4].copy_from_slice(&count.to_be_bytes());
            one[at::LAST_OFFSET_DELTA..at::LAST_OFFSET_DELTA + 4].copy_from_slice(&last_delta.to_be_bytes());
            set_crc(&mut one);
        }
        log.append(one.freeze(), base + 2, base * 10 + 20, 0).expect("appended");
    }
    log.close().expect("closed");
    disk
}

#[test]
fn a_batch_has_as_many_records_as_offsets_where_nothing_was_compacted() {
    for (count, last_delta) in [(3, 2_097_154), (3, 3), (3, 1), (2, 2), (4, 2), (0, 2), (-1, 2), (i32::MIN, 2)] {
        let opening = Opening::default();
        let cut = Log::open(miscounted(count, last_delta), "t-0", config(1000), opening).expect("opened");
        assert_eq!(cut.end(), 3, "{count} records, last offset delta {last_delta}");
        for (clean, compacted_to) in [(false, None), (true, None), (false, Some(3))] {
            let opening = Opening { clean, recovery_point: 8, compacted_to, ..opening };
            let disk = miscounted(count, last_delta);
            let told = Log::open(disk, "t-0", config(1000), opening).expect_err("it was durable").to_string();
            let expected =
                format!("(offset 3), although everything before offset 8 was durable: its header tells of {count} records");
            assert!(told.contains(&expected), "{count} records, last offset delta {last_delta}: {told}");
        }
    }
}

#[test]
fn what_was_compacted_has_fewer_records_than_offsets_and_never_more() {
    let opening = Opening { compacted_to: Some(9), ..Opening::default() };
    for (count, end) in [(0, 9), (2, 9), (3, 9), (4, 3), (-1, 3)] {
        let log = Log::open(miscounted(count, 2), "t-0", config(1000), opening).expect("opened");
        assert_eq!(log.end(), end, "{count} records");
    }
}

/// Checkpoints that contradict one another are another log's, or damaged: the log is looked through.
#[test]
fn what_was_compacted_behind_what_is_durable_is_not_trusted() {
    let (size, one) = (|disk: &Arc<dyn Disk>| disk.size("t-0", "00000000000000000000.log").expect("there"), batch(0, 3).len());
    for (to, batches) in [(9, 3), (10, 2)] {
        let disk = miscounted(3, 5);
        let opening = Opening { clean: true, recovery_point: 9, compacted_to: Some(to), ..Opening::default() };
        let log = Log::open(disk.clone(), "t-0", config(1000), opening).expect("opened");
        assert_eq!((log.end(), size(&disk)), (9, Some(batches * one as u64)), "compacted to {to}");
    }
}

#[test]
fn a_tail_of_zeros_is_cut() {
    for zeros in [1, 11, 12, 60, 61, 62, 5000] {
        let (_, disk) = disk();
        let file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(batch(0, 2)).expect("appended");
        file.append(Bytes::from(vec![0; zeros])).expect("appended");
        let mut log = open(&disk, 1000).expect("opened");
        append(&mut log, 3);
        drop(log);
        let mut log = open(&disk, 1000).expect("opened");
        assert_eq!(offsets(&read(&mut log, 0, 10_000).expect("read")), [0, 1, 2, 3, 4], "{zeros} zeros");
    }
}

#[test]
fn segments_behind_damage_are_removed() {
    let (_, disk) = disk();
    let mut log = open(&disk, 200).expect("opened");
    for _ in 0..6 {
        append(&mut log, 2);
    }
    let files = logs(&disk);
    assert!(files.len() >= 3, "{files:?}");
    drop(log);
    disk.open("t-0", &files[1]).expect("opened").truncate(70).expect("cut");
    let log = open(&disk, 200).expect("opened");
    assert!(log.end() < 12);
    assert_eq!(logs(&disk).len(), 2);
}

#[test]
fn a_failed_write_refuses_later_ones_and_reads_go_on() {
    let (memory, disk) = disk();
    let mut log = open(&disk, 1000).expect("opened");
    append(&mut log, 2);
    memory.fail_after(0);
    log.append(batch(2, 1), 2, 20, 0).expect_err("the disk fails");
    memory.fail_after(100);
    let error = log.append(batch(2, 1), 2, 20, 0).expect_err("poisoned").to_string();
    assert!(error.contains("injected fault"), "{error}");
    assert_eq!(offsets(&read(&mut log, 0, 1000).expect("read")), [0, 1]);
}

#[test]
fn a_failed_sync_is_not_forgotten() {
    let (memory, disk) = disk();
    let mut log = open(&disk, 300).expect("opened");
    append(&mut log, 2);
    memory.fail_after(0);
    log.sync().expect_err("the disk fails");
    memory.heal();
    for (what, result) in [
        ("sync", log.sync()),
        ("roll", log.roll()),
        ("remove", log.remove_before(2)),
        ("append", log.append(batch(2, 1), 2, 20, 0)),
    ] {
        let error = result.expect_err(what).to_string();
        assert!(error.contains("injected fault"), "{what}: {error}");
    }
    assert_eq!(offsets(&read(&mut log, 0, 1000).expect("read")), [0, 1]);
}

#[test]
fn no_limit_keeps_the_first_batch_back() {
    let (_, disk) = disk();
    let mut log = open(&disk, 1000).expect("opened");
    append(&mut log, 3);
    append(&mut log, 2);
    assert_eq!(offsets(&read(&mut log, 1, 0).expect("read")), [0, 1, 2]);
    assert_eq!(offsets(&read(&mut log, 3, 1).expect("read")), [3, 4]);
    assert!(read(&mut log, 5, 1).expect("read").is_empty());
}

#[test]
fn a_power_cut_leaves_what_was_synced_and_no_gap() {
    for synced in 0..9 {
        let (memory, disk) = disk();
        let mut log = open(&disk, 400).expect("opened");
        for round in 0..9 {
            if round == synced {
                log.sync().expect("synced");
            }
            append(&mut log, 2);
        }
        assert!(logs(&disk).len() > 2, "it rolled");
        memory.crash();
        for _ in 0..2 {
            let mut log = open(&disk, 400).expect("opened");
            assert_eq!((log.start(), log.end()), (0, synced * 2));
            assert_eq!(read_on(&mut log, 0, 10_000), (0..synced * 2).collect::<Vec<_>>());
        }
        let mut log = open(&disk, 400).expect("opened");
        append(&mut log, 2);
        log.sync().expect("synced");
        memory.crash();
        assert_eq!(open(&disk, 400).expect("opened").end(), synced * 2 + 2);
    }
}

#[test]
fn a_log_with_a_missing_segment_ends_before_it() {
    let (_, disk) = disk();
    let mut log = open(&disk, 200).expect("opened");
    for _ in 0..6 {
        append(&mut log, 2);
    }
    drop(log);
    let files = logs(&disk);
    let missing = super::place::base_of(&files[2], "log").expect("a segment");
    disk.remove("t-0", &files[2]).expect("removed");
    let mut log = open(&disk, 200).expect("opened");
    assert_eq!(log.end(), missing);
    assert_eq!(read_on(&mut log, 0, 10_000), (0..missing).collect::<Vec<_>>());
    assert_eq!(logs(&disk), files[..2]);
}

#[test]
fn a_fault_at_any_operation_loses_nothing_that_was_acknowledged() {
    for after in 0..40 {
        let (memory, disk) = disk();
        let mut log = open(&disk, 400).expect("opened");
        memory.fail_after(after);
        let mut acknowledged = 0;
        for _ in 0..12 {
            let base = log.end();
            match log.append(batch(base, 2), base + 1, (base + 1) * 10, 0) {
                Ok(()) => acknowledged = base + 2,
                Err(_) => assert_eq!(log.end(), acknowledged, "a refused batch takes no offset"),
            }
        }
        memory.heal();
        for opened in 0..2 {
            let log = open(&disk, 400).expect("opened");
            assert_eq!(log.end(), acknowledged, "fault {after}, opened {opened}");
        }
    }
}

#[test]
fn removed_segments_do_not_come_back() {
    let (_, disk) = disk();
    let mut log = open(&disk, 10_000).expect("opened");
    append(&mut log, 4);
    read(&mut log, 2, 1000).expect("read");
    log.roll().expect("rolled");
    append(&mut log, 3);
    log.remove_before(4).expect("removed");
    assert_eq!((log.start(), log.end()), (4, 7));
    assert_eq!(logs(&disk), ["00000000000000000004.log"]);
    drop(log);
    let mut log = open(&disk, 10_000).expect("opened");
    assert_eq!((log.start(), log.end()), (4, 7));
    assert_eq!(offsets(&read(&mut log, 4, 1000).expect("read")), [4, 5, 6]);
}

/// Reads everything from `offset` on in pieces of `max_bytes`, as a client does.
fn read_on(log: &mut Log, mut offset: i64, max_bytes: usize) -> Vec<i64> {
    let mut all = Vec::new();
    while offset < log.end() {
        let runs = read(log, offset, max_bytes).expect("read");
        let size: usize = runs.iter().map(Bytes::len).sum();
        let count = runs.iter().flat_map(batches).count();
        assert!(count == 1 || size <= max_bytes, "{count} batches of {size} bytes within {max_bytes}");
        all.extend(offsets(&runs).into_iter().filter(|read| *read >= offset));
        offset = all.last().expect("at least one batch") + 1;
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_read_is_as_one_of_a_list(
        counts in proptest::collection::vec(1i64..9, 1..30),
        segment_bytes in 200u64..3000,
        reads in proptest::collection::vec((0.0f64..1.0, 0usize..2500), 1..12),
    ) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file: Arc<dyn Disk> = Arc::new(FileDisk::open(dir.path()).expect("opened"));
        for disk in [disk().1, file] {
            let mut log = open(&disk, segment_bytes).expect("opened");
            for count in &counts {
                append(&mut log, *count);
            }
            for reopened in [false, true] {
                if reopened {
                    drop(log);
                    log = open(&disk, segment_bytes).expect("opened");
                }
                let end: i64 = counts.iter().sum();
                prop_assert_eq!((log.start(), log.end()), (0, end));
                for (from, max_bytes) in &reads {
                    let from = (*from * end as f64) as i64;
                    prop_assert_eq!(read_on(&mut log, from, *max_bytes), (from..end).collect::<Vec<_>>());
                    prop_assert_eq!(find_timestamp(&mut log, from * 10 - 3), Some((from, from * 10)));
                }
            }
        }
    }
}
