//! The index files: their bytes, and what happens when they are not what they should be.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{Log, LogConfig, Opening};
use crate::record::{BatchBuilder, batches};
use crate::storage::{Disk, MemoryDisk};

const FOLDER: &str = "t-0";
const BASE: &str = "00000000000000000000";

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 200, ..LogConfig::default() }
}

/// A batch of these timestamps, stamped.
fn batch(base: i64, timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for timestamp in timestamps {
        builder.append(*timestamp, None, Some(b"0123456789"), &[]);
    }
    let mut built: BytesMut = builder.build();
    built[..8].copy_from_slice(&base.to_be_bytes());
    built.freeze()
}

fn append(log: &mut Log, timestamps: &[i64]) {
    let base = log.end();
    let largest = *timestamps.iter().max().expect("a record");
    log.append(batch(base, timestamps), base + timestamps.len() as i64 - 1, largest, 0).expect("appended");
}

fn open(disk: &MemoryDisk, segment_bytes: u64, opening: Opening) -> Log {
    Log::open(Arc::new(disk.clone()), FOLDER, config(segment_bytes), opening).expect("opened")
}

fn contents(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let file = disk.open(FOLDER, name).expect("opened");
    let mut all = Vec::new();
    while (all.len() as u64) < file.size() {
        all.extend_from_slice(&file.read(all.len() as u64, 1 << 20).expect("read"));
    }
    all
}

fn put(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    disk.remove(FOLDER, name).expect("removed");
    disk.open(FOLDER, name).expect("opened").append(Bytes::copy_from_slice(bytes)).expect("appended");
}

/// Everything that a file may suffer short of a change that its own batches contradict nowhere.
fn injuries(whole: &[u8], entry: usize) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all = vec![("missing".to_owned(), None), ("empty".to_owned(), Some(Vec::new()))];
    for size in (0..whole.len()).step_by(5) {
        all.push((format!("cut to {size}"), Some(whole[..size].to_vec())));
    }
    for size in [1, entry, 3 * entry] {
        all.push((format!("{size} zeros behind"), Some([whole, &vec![0; size]].concat())));
        all.push((format!("{size} ones behind"), Some([whole, &vec![0xff; size]].concat())));
    }
    for at in 0..whole.len() {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        all.push((format!("bit flipped in byte {at}"), Some(flipped)));
    }
    all
}

fn first_with(log: &mut Log, timestamp: i64) -> Option<i64> {
    super::find_timestamp(|look| look(log), timestamp).expect("searched").map(|(offset, _)| offset)
}

fn first_offset(log: &mut Log, offset: i64) -> i64 {
    let runs = super::read(|look| look(log), offset, i64::MAX, 1).expect("read");
    batches(&runs[0]).next().expect("a batch").expect("sound").base_offset()
}

#[test]
fn entries_name_a_batchs_last_offset_and_a_roll_forces_the_largest_timestamp() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 1 << 20, Opening::default());
    // 61 + 2 * 17 bytes each.
    for timestamps in [[10, 20], [15, 16], [30, 5], [31, 29], [1, 2], [3, 4], [5, 6]] {
        append(&mut log, &timestamps);
    }
    let size = contents(&disk, &format!("{BASE}.log")).len() / 7;
    assert!(contents(&disk, &format!("{BASE}.index")).is_empty(), "few entries wait in memory");
    log.close().expect("closed");
    // The fourth is the first behind more than 200 bytes, then the seventh.
    assert_eq!((size * 2 < 200, size * 3 > 200), (true, true), "{size}");
    let entry = |offset: i32, position: usize| [offset.to_be_bytes(), (position as i32).to_be_bytes()].concat();
    assert_eq!(contents(&disk, &format!("{BASE}.index")), [entry(7, 3 * size), entry(13, 6 * size)].concat());
    let time = |timestamp: i64, offset: i32| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()[..]].concat();
    assert_eq!(contents(&disk, &format!("{BASE}.timeindex")), time(31, 7));
    append(&mut log, &[40, 50]);
    log.roll().expect("rolled");
    assert_eq!(contents(&disk, &format!("{BASE}.timeindex")), [time(31, 7), time(50, 15)].concat());
    append(&mut log, &[7]);
    log.close().expect("closed");
    assert_eq!(contents(&disk, "00000000000000000016.timeindex"), time(7, 0), "offsets are relative to the segment's first");
}

/// Two segments of twenty batches each.
fn long_log(disk: &MemoryDisk) -> Log {
    let mut log = open(disk, 20 * 80, Opening::default());
    for number in 0..40 {
        append(&mut log, &[number * 10 + 5]);
    }
    log.close().expect("closed");
    log
}

#[test]
fn a_missing_short_or_damaged_index_is_made_anew() {
    let disk = MemoryDisk::new();
    let end = long_log(&disk).end();
    let names = disk.files(FOLDER).expect("listed");
    assert_eq!(names.iter().filter(|name| name.ends_with(".log")).count(), 2, "{names:?}");
    let clean = Opening { clean: true, recovery_point: end, log_start: 0, compacted_to: None };
    let mut cases = 0;
    for name in names.iter().filter(|name| name.ends_with("index")) {
        let whole = contents(&disk, name);
        assert!(whole.len() >= 48, "{name}: {} bytes", whole.len());
        for (injury, bytes) in injuries(&whole, if name.ends_with("timeindex") { 12 } else { 8 }) {
            for (opening, how) in [(clean, "clean"), (Opening::default(), "crash"), (Opening { clean: false, ..clean }, "synced")]
            {
                match &bytes {
                    Some(bytes) => put(&disk, name, bytes),
                    None => disk.remove(FOLDER, name).expect("removed"),
                }
                let mut log = open(&disk, 20 * 80, opening);
                assert_eq!(log.end(), end, "{name} {injury}, {how}");
                for offset in 0..end {
                    assert_eq!(first_offset(&mut log, offset), offset, "{name} {injury}, {how}");
                    assert_eq!(first_with(&mut log, offset * 10 - 2), Some(offset), "{name} {injury}, {how}");
                }
                log.close().expect("closed");
                cases += 1;
            }
            put(&disk, name, &whole);
        }
    }
    assert!(cases > 1000, "{cases}");
}

#[test]
fn an_index_that_was_lost_is_byte_for_byte_what_it_was() {
    let disk = MemoryDisk::new();
    let end = long_log(&disk).end();
    let before: Vec<_> = disk.files(FOLDER).expect("listed").into_iter().map(|name| (contents(&disk, &name), name)).collect();
    for (_, name) in before.iter().filter(|(_, name)| name.ends_with("index")) {
        disk.remove(FOLDER, name).expect("removed");
    }
    let mut log = open(&disk, 20 * 80, Opening { clean: true, recovery_point: end, log_start: 0, compacted_to: None });
    (0..end).for_each(|offset| assert_eq!(first_offset(&mut log, offset), offset));
    log.close().expect("closed");
    for (bytes, name) in before {
        assert_eq!(contents(&disk, &name), bytes, "{name}");
    }
}

#[test]
fn indexes_without_their_log_go() {
    let disk = MemoryDisk::new();
    long_log(&disk);
    for name in ["00000000000000000099.index", "00000000000000000099.timeindex", "00000000000000000007.log.deleted"] {
        put(&disk, name, b"12345678");
    }
    let before = disk.files(FOLDER).expect("listed").len();
    open(&disk, 20 * 80, Opening::default());
    assert_eq!(disk.files(FOLDER).expect("listed").len(), before - 3);
}

#[test]
fn a_full_index_starts_the_next_segment() {
    let disk = MemoryDisk::new();
    let config = LogConfig { index_bytes: 80, index_interval_bytes: 100, ..LogConfig::default() };
    let mut log = Log::open(Arc::new(disk.clone()), FOLDER, config, Opening::default()).expect("opened");
    for number in 0..60 {
        append(&mut log, &[number, number]);
    }
    log.close().expect("closed");
    let names = disk.files(FOLDER).expect("listed");
    assert!(names.iter().filter(|name| name.ends_with(".log")).count() > 3, "{names:?}");
    for name in names.iter().filter(|name| name.ends_with("index")) {
        assert!(contents(&disk, name).len() <= 80, "{name}");
    }
}

#[test]
fn after_a_clean_stop_nothing_is_looked_through_and_otherwise_what_was_not_synced_is() {
    let disk = MemoryDisk::new();
    let end = long_log(&disk).end();
    let name = format!("{BASE}.log");
    // A bit in the middle of a batch that no end is near.
    let mut damaged = contents(&disk, &name);
    damaged[300] ^= 1;
    put(&disk, &name, &damaged);
    let synced = Opening { clean: false, recovery_point: end, log_start: 0, compacted_to: None };
    for (opening, expected) in [(Opening { clean: true, ..synced }, end), (synced, end), (Opening::default(), 3)] {
        assert_eq!(open(&disk, 20 * 80, opening).end(), expected, "{opening:?}");
    }
}

#[test]
fn damage_in_what_was_durable_is_no_torn_tail() {
    let disk = MemoryDisk::new();
    let end = long_log(&disk).end();
    let name = disk.files(FOLDER).expect("listed").into_iter().rfind(|name| name.ends_with(".log")).expect("a log");
    let mut damaged = contents(&disk, &name);
    damaged[300] ^= 1;
    put(&disk, &name, &damaged);
    let opening = Opening { clean: false, recovery_point: end, log_start: 0, compacted_to: None };
    let config = LogConfig { segment_bytes: 20 * 80, index_interval_bytes: 100, ..LogConfig::default() };
    let error = Log::open(Arc::new(disk.clone()), FOLDER, config, opening).expect_err("refused").to_string();
    assert!(
        error.contains(&format!("{FOLDER}/{name} is damaged at position ")) && error.contains("Nothing was changed"),
        "{error}"
    );
    assert_eq!(contents(&disk, &name), damaged);
    // Not durable: cut off as after any crash.
    let log = open(&disk, 20 * 80, Opening::default());
    assert!(log.end() < end);
}

#[test]
fn a_log_that_is_not_as_it_was_closed_is_looked_through() {
    for extra in [0usize, 1, 30, 78] {
        let disk = MemoryDisk::new();
        let mut log = long_log(&disk);
        let end = log.end();
        let clean = Opening { clean: true, recovery_point: end, log_start: 0, compacted_to: None };
        let written = batch(end, &[7]);
        let whole = written.len() == extra;
        if extra > 0 && !whole {
            let last = disk.files(FOLDER).expect("listed").into_iter().rfind(|name| name.ends_with(".log")).expect("a log");
            disk.open(FOLDER, &last).expect("opened").append(written.slice(..extra)).expect("appended");
        } else if whole {
            append(&mut log, &[7]);
        }
        assert_eq!(open(&disk, 20 * 80, clean).end(), end + i64::from(whole), "{extra} bytes were written after the close");
    }
}

#[test]
fn a_log_that_ends_before_its_start_starts_there_empty() {
    let disk = MemoryDisk::new();
    long_log(&disk);
    let mut log = open(&disk, 20 * 80, Opening { clean: false, recovery_point: 0, log_start: 100, compacted_to: None });
    assert_eq!((log.start(), log.end()), (100, 100));
    append(&mut log, &[1]);
    drop(log);
    let log = open(&disk, 20 * 80, Opening { clean: false, recovery_point: 0, log_start: 100, compacted_to: None });
    assert_eq!((log.start(), log.end()), (100, 101));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Timestamps that go up and down: what is found by offset or time is what a scan finds.
    #[test]
    fn lookups_are_as_a_scan(
        times in proptest::collection::vec(proptest::collection::vec(0i64..300, 1..4), 1..60),
        segment_bytes in 300u64..3000,
        reopen in any::<bool>(),
    ) {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, segment_bytes, Opening::default());
        let mut all = Vec::new();
        for batch in &times {
            all.extend(batch.iter().map(|timestamp| (*timestamp, log.end())));
            append(&mut log, batch);
        }
        if reopen {
            log.close().expect("closed");
            log = open(&disk, segment_bytes, Opening { clean: true, recovery_point: log.end(), log_start: 0, compacted_to: None });
        }
        for timestamp in -1..301 {
            let mut offset = 0;
            let expected = times.iter().flatten().find_map(|time| { offset += 1; (*time >= timestamp).then_some(offset - 1) });
            prop_assert_eq!(first_with(&mut log, timestamp), expected, "{}", timestamp);
        }
        for (offset, (_, base)) in all.iter().enumerate() {
            prop_assert_eq!(first_offset(&mut log, offset as i64), *base);
        }
    }
}
