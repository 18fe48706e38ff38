//! Compaction against a plain model, at every place a crash may come, and under readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::super::{LogConfig, Opening};
use super::*;
use crate::record::{BatchBuilder, Codec, Compression, batches};
use crate::storage::{Disk, MemoryDisk};

pub(super) const FOLDER: &str = "t-0";
pub(super) const HOUR: i64 = 3_600_000;

pub(super) fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 100, ..LogConfig::default() }
}

pub(super) fn open(disk: &MemoryDisk, segment_bytes: u64) -> Log {
    let opening = Opening { compacted_to: Some(0), ..Opening::default() };
    Log::open(Arc::new(disk.clone()), FOLDER, config(segment_bytes), opening).expect("opened")
}

/// A record: its key, and its value or a tombstone.
pub(super) type Record<'a> = (&'a str, Option<&'a str>);

/// Appends one batch.
pub(super) fn append(log: &mut Log, records: &[Record<'_>], codec: Codec, producer: Option<(i64, i32)>) {
    let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
    let base = log.end();
    for (index, (key, value)) in records.iter().enumerate() {
        let header: [(&str, Option<&[u8]>); 1] = [("h", Some(b"1"))];
        builder.append(base + index as i64, Some(key.as_bytes()), value.map(str::as_bytes), &header);
    }
    if let Some((id, sequence)) = producer {
        builder.producer(id, 0, sequence);
    }
    let mut built: BytesMut = builder.build();
    built[..8].copy_from_slice(&base.to_be_bytes());
    let last = base + records.len() as i64 - 1;
    log.append(built.freeze(), last, last, last).expect("appended");
}

pub(super) fn run(log: &mut Log, now: i64, dedupe_bytes: usize) -> Option<Compacted> {
    run_with(log, now, dedupe_bytes, &|_| false)
}

fn run_with(log: &mut Log, now: i64, dedupe_bytes: usize, is_producers_last: &dyn Fn(&Batch) -> bool) -> Option<Compacted> {
    let (delete_retention_ms, stable, is_over) = (HOUR, i64::MAX, &|| false);
    let wanted = Compaction { now, min_lag_ms: 0, delete_retention_ms, dedupe_bytes, stable, is_over, is_producers_last };
    log.sync().expect("synced");
    compact(|look| look(log), &wanted).expect("compacted")
}

/// All records, read as a client does: offset, timestamp, key, value.
pub(super) fn contents(log: &mut Log) -> Vec<(i64, i64, String, Option<String>)> {
    let mut found = Vec::new();
    let mut next = log.start();
    while next < log.end() {
        for bytes in super::super::read(|look| look(log), next, i64::MAX, 1).expect("read") {
            for batch in batches(&bytes) {
                let batch = batch.expect("a batch");
                batch.verify_crc().expect("sound");
                next = batch.last_offset() + 1;
                for record in batch.decompressed(usize::MAX).expect("unpacked").records() {
                    let record = record.expect("sound");
                    assert_eq!(record.headers().count(), 1);
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    found.push((record.offset, record.timestamp, text(record.key().expect("a key")), record.value().map(text)));
                }
            }
        }
    }
    found
}

fn all_batches(log: &mut Log) -> Vec<Batch> {
    let start = log.start();
    let runs = super::super::read(|look| look(log), start, i64::MAX, usize::MAX).expect("read");
    runs.iter().flat_map(batches).map(|batch| batch.expect("a batch")).collect()
}

fn read_all(file: &dyn DiskFile) -> Vec<u8> {
    super::super::read::read_exact(file, 0, file.size() as usize).expect("read").to_vec()
}

pub(super) fn files(disk: &MemoryDisk) -> Vec<String> {
    disk.files(FOLDER).expect("listed")
}

/// Ten segments of three keys: only what was last is left, each at its offset.
pub(super) fn three_keys(codec: Codec) -> (MemoryDisk, Log) {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 400);
    for number in 0..30 {
        let value = format!("{number}");
        append(&mut log, &[("a", Some(&value)), ("b", Some(&value)), ("c", Some(&value))], codec, None);
    }
    log.roll().expect("rolled");
    (disk, log)
}

#[test]
fn only_the_last_record_of_each_key_is_left() {
    for codec in Codec::ALL {
        let (disk, mut log) = three_keys(codec);
        let before = files(&disk).len();
        let done = run(&mut log, 1000, usize::MAX).expect("something to do");
        assert!(done.bytes_after < done.bytes_before / 3, "{codec}: {done:?}");
        assert_eq!(done.to, 90);
        let expected = ["a", "b", "c"].iter().enumerate();
        let expected: Vec<_> =
            expected.map(|(i, key)| (87 + i as i64, 87 + i as i64, (*key).to_owned(), Some("29".to_owned()))).collect();
        assert_eq!(contents(&mut log), expected, "{codec}");
        assert!(files(&disk).len() < before && files(&disk).iter().all(|name| !name.contains("swap") && !name.contains("clean")));
        assert_eq!(run(&mut log, 1000, usize::MAX), None, "nothing more to do");
        // Opened again, after a crash and looked through.
        let mut log = open(&disk, 400);
        assert_eq!((contents(&mut log), log.end()), (expected, 90), "{codec}");
    }
}

#[test]
fn offsets_in_gaps_and_timestamps_are_found() {
    let (_disk, mut log) = three_keys(Codec::None);
    run(&mut log, 1000, usize::MAX);
    for offset in 0..90 {
        let runs = super::super::read(|look| look(&mut log), offset, i64::MAX, 1).expect("read");
        let first = batches(&runs[0]).next().expect("one").expect("a batch");
        assert!(first.last_offset() >= offset, "{offset}");
    }
    let found = super::super::find_timestamp(|look| look(&mut log), 3).expect("read");
    assert_eq!(found, Some((87, 87)));
}

/// Else a power cut could take a key's last record, and the compaction would have taken the one before.
#[test]
fn what_is_not_durable_is_not_compacted() {
    let (disk, mut log) = three_keys(Codec::None);
    let wanted = Compaction {
        now: 0,
        min_lag_ms: 0,
        delete_retention_ms: HOUR,
        dedupe_bytes: usize::MAX,
        stable: i64::MAX,
        is_over: &|| false,
        is_producers_last: &|_| false,
    };
    assert_eq!(compact(|look| look(&mut log), &wanted).expect("looked"), None);
    log.sync().expect("synced");
    append(&mut log, &[("a", None), ("b", None), ("c", None)], Codec::None, None);
    log.roll().expect("rolled");
    assert_eq!(compact(|look| look(&mut log), &wanted).expect("compacted").map(|done| done.to), Some(90));
    drop(log);
    disk.crash();
    let mut log = open(&disk, 400);
    let last =
        contents(&mut log).into_iter().map(|(_, _, key, value)| (key, value)).collect::<std::collections::BTreeMap<_, _>>();
    let expected = ["a", "b", "c"].map(|key| (key.to_owned(), Some("29".to_owned())));
    assert_eq!(last, expected.into());
}

/// The checksum does not cover a batch's first offset: where nothing was compacted, a gap still shows that it is damaged.
#[test]
fn a_damaged_offset_behind_what_was_compacted_is_no_gap() {
    let (disk, mut log) = three_keys(Codec::None);
    run(&mut log, 1000, usize::MAX);
    let position = log.segments.last().expect("one").size();
    for _ in 0..2 {
        append(&mut log, &[("d", Some("1"))], Codec::None, None);
    }
    drop(log);
    let active = format!("{:020}.log", 90);
    disk.flip(FOLDER, &active, position + 2, 3);
    assert_eq!(open(&disk, 400).end(), 90, "cut off");
}

/// What was compacted and then damaged ends at the damage, and is the last segment: what is appended next must not go where, at the
/// next start, the gaps before it would be taken for damage. `open` says that nothing was compacted yet, as after a crash.
#[test]
fn what_is_appended_behind_damage_in_what_was_compacted_is_kept() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 1 << 20);
    for number in 0..6 {
        append(&mut log, &[(&format!("only {number}"), Some("1"))], Codec::None, None);
        append(&mut log, &[("often", Some("1"))], Codec::None, None);
    }
    log.roll().expect("rolled");
    run(&mut log, 1000, usize::MAX).expect("something to do");
    append(&mut log, &[("d", Some("1"))], Codec::None, None);
    drop(log);
    let compacted = disk.files(FOLDER).expect("listed").into_iter().find(|name| name.ends_with(".log")).expect("one");
    let size = disk.open(FOLDER, &compacted).expect("there").size();
    disk.flip(FOLDER, &compacted, size - 1, 0);
    let mut log = open(&disk, 1 << 20);
    let end = log.end();
    assert_eq!(end, 11, "the damage begins with the last record of what was compacted");
    append(&mut log, &[("e", Some("1"))], Codec::None, None);
    log.sync().expect("synced");
    drop(log);
    for crash in [false, true] {
        if crash {
            disk.crash();
        }
        assert_eq!(open(&disk, 1 << 20).end(), end + 1, "after a power cut: {crash}");
    }
}

#[test]
fn tombstones_stay_for_their_time_and_then_go() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 1 << 20);
    append(&mut log, &[("a", Some("1")), ("b", Some("1"))], Codec::None, None);
    append(&mut log, &[("a", None), ("c", Some("1"))], Codec::Lz4, None);
    log.roll().expect("rolled");
    run(&mut log, 1000, usize::MAX).expect("something to do");
    let left = contents(&mut log);
    let keys: Vec<_> = left.iter().map(|(offset, time, key, value)| (*offset, *time, key.as_str(), value.is_some())).collect();
    assert_eq!(keys, [(1, 1, "b", true), (2, 2, "a", false), (3, 3, "c", true)]);
    assert_eq!(all_batches(&mut log)[1].delete_horizon(), Some(1000 + HOUR));
    // New records make the log dirty again; before the horizon the tombstone stays, and its horizon does not move.
    append(&mut log, &[("d", Some("1"))], Codec::None, None);
    log.roll().expect("rolled");
    run(&mut log, 500 + HOUR, usize::MAX).expect("something to do");
    assert_eq!(all_batches(&mut log)[1].delete_horizon(), Some(1000 + HOUR));
    append(&mut log, &[("e", Some("1"))], Codec::None, None);
    log.roll().expect("rolled");
    run(&mut log, 1000 + HOUR, usize::MAX).expect("something to do");
    let keys: Vec<_> = contents(&mut log).into_iter().map(|(offset, _, key, _)| (offset, key)).collect();
    assert_eq!(keys, [(1, "b".to_owned()), (3, "c".to_owned()), (4, "d".to_owned()), (5, "e".to_owned())]);
}

#[test]
fn a_producers_last_batch_stays_without_its_records() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 1 << 20);
    append(&mut log, &[("a", Some("1"))], Codec::None, Some((7, 0)));
    append(&mut log, &[("a", Some("2"))], Codec::None, Some((7, 1)));
    append(&mut log, &[("a", Some("3"))], Codec::None, Some((8, 0)));
    append(&mut log, &[("a", Some("4"))], Codec::None, None);
    log.roll().expect("rolled");
    run_with(&mut log, 0, usize::MAX, &|batch| [(7, 1), (8, 2)].contains(&(batch.producer_id(), batch.last_offset())))
        .expect("something to do");
    let left: Vec<_> =
        all_batches(&mut log).iter().map(|b| (b.base_offset(), b.count(), b.producer_id(), b.base_sequence())).collect();
    assert_eq!(left, [(1, 0, 7, 1), (2, 0, 8, 0), (3, 1, -1, -1)]);
    assert_eq!(contents(&mut log).len(), 1);
}

#[test]
fn what_does_not_fit_into_memory_is_left_for_the_next_time() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 500);
    for number in 0..40 {
        let key = format!("k{}", number % 20);
        append(&mut log, &[(&key, Some("v"))], Codec::None, None);
    }
    log.roll().expect("rolled");
    let first = run(&mut log, 0, 8 * 50).expect("something to do");
    assert!(first.to > 0 && first.to < 40, "{first:?}");
    let mut rounds = 1;
    while run(&mut log, 0, 8 * 50).is_some() {
        rounds += 1;
        assert!(rounds < 100, "it goes on and on");
    }
    let keys: Vec<i64> = contents(&mut log).into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(keys, (20..40).collect::<Vec<_>>(), "after {rounds} rounds");
}

#[test]
fn what_is_young_and_what_is_appended_to_stays() {
    let (_disk, mut log) = three_keys(Codec::None);
    log.sync().expect("synced");
    let wanted = Compaction {
        now: 45,
        min_lag_ms: 20,
        delete_retention_ms: 0,
        dedupe_bytes: usize::MAX,
        stable: i64::MAX,
        is_over: &|| false,
        is_producers_last: &|_| false,
    };
    let done = compact(|look| look(&mut log), &wanted).expect("compacted").expect("something to do");
    assert!(done.to <= 26, "{done:?}");
    assert!(contents(&mut log).iter().filter(|(offset, ..)| *offset >= 27).count() == 63);
    let mut log = open(&MemoryDisk::new(), 1 << 20);
    append(&mut log, &[("a", Some("1")), ("a", Some("2"))], Codec::None, None);
    assert_eq!(run(&mut log, 0, usize::MAX), None, "the only segment is appended to");
}

/// Such a batch was taken under another bound, or by another broker.
#[test]
fn a_batch_that_unpacks_to_too_much_stays_as_it_is() {
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None && codec.is_built()) {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, 400);
        let large = "x".repeat(10_000);
        for value in ["1", &large, "2"] {
            append(&mut log, &[("a", Some(value)), ("b", None)], codec, None);
            append(&mut log, &[("a", Some("between"))], codec, None);
        }
        log.roll().expect("rolled");
        log.reconfigure(Arc::new(LogConfig { decompressed_bytes_max: 1000, ..config(400) }));
        let done = run(&mut log, 0, usize::MAX).expect("something to do");
        assert_eq!(done.to, 9, "{codec}");
        let kept: Vec<_> = contents(&mut log).into_iter().map(|(offset, ..)| offset).collect();
        // Both of its records, though there are later ones of their keys; the last one of each; nothing else.
        assert_eq!(kept, [3, 4, 7, 8], "{codec}");
        assert_eq!(run(&mut log, 0, usize::MAX), None, "{codec}: nothing more to do");
        // The tombstone stays beyond its time: without it what it deletes would be there again.
        append(&mut log, &[("a", Some("3"))], codec, None);
        log.roll().expect("rolled");
        run(&mut log, 3 * HOUR, usize::MAX).expect("something to do");
        let kept: Vec<_> = contents(&mut log).into_iter().map(|(offset, ..)| offset).collect();
        assert_eq!(kept, [3, 4, 7, 9], "{codec}");
    }
}

#[test]
fn a_damaged_batch_is_an_error_and_nothing_is_thrown_away() {
    let (disk, mut log) = three_keys(Codec::None);
    log.sync().expect("synced");
    let before = files(&disk);
    let name = before.iter().find(|name| name.ends_with(".log") && !name.starts_with("00000000000000000000")).expect("a segment");
    let file = disk.open(FOLDER, name).expect("opened");
    let mut whole = read_all(file.as_ref());
    whole[80] ^= 1;
    file.truncate(0).expect("cut");
    file.append(Bytes::from(whole)).expect("written");
    let wanted = Compaction {
        now: 0,
        min_lag_ms: 0,
        delete_retention_ms: 0,
        dedupe_bytes: usize::MAX,
        stable: i64::MAX,
        is_over: &|| false,
        is_producers_last: &|_| false,
    };
    let error = compact(|look| look(&mut log), &wanted).expect_err("damaged");
    assert!(error.to_string().contains("it is not compacted"), "{error}");
    assert_eq!(files(&disk), before);
}

#[test]
fn a_reader_that_was_under_way_misses_nothing() {
    // The reader holds the log by turns: between two of its looks a compaction makes one segment of many.
    for at in 1..12 {
        let (disk, log) = three_keys(Codec::None);
        drop(log);
        let mut log = open(&disk, 1 << 20);
        append(&mut log, &[("d", Some("1"))], Codec::None, None);
        let mut looks = 0;
        let mut offsets = Vec::new();
        let mut next = 0;
        while next < log.end() {
            let log = std::cell::RefCell::new(&mut log);
            let runs = super::super::read(
                |look| {
                    looks += 1;
                    if looks == at {
                        run(&mut log.borrow_mut(), 0, usize::MAX).expect("something to do");
                    }
                    look(&mut log.borrow_mut());
                },
                next,
                i64::MAX,
                300,
            );
            for batch in runs.expect("read").iter().flat_map(batches) {
                let batch = batch.expect("a batch");
                assert!(batch.base_offset() >= next, "in order");
                next = batch.last_offset() + 1;
                offsets.extend(batch.records().map(|record| record.expect("sound").offset));
            }
        }
        assert!(looks >= at && offsets.ends_with(&[87, 88, 89, 90]), "at {at}: {offsets:?}");
    }
}

/// What a key's last record says, tombstones left out.
fn newest(records: &[(i64, i64, String, Option<String>)]) -> BTreeMap<String, String> {
    let mut newest = BTreeMap::new();
    for (_, _, key, value) in records {
        match value {
            Some(value) => newest.insert(key.clone(), value.clone()),
            None => newest.remove(key),
        };
    }
    newest
}

#[test]
fn a_crash_at_any_operation_leaves_every_keys_last_record() {
    let build = || {
        let (disk, mut log) = three_keys(Codec::None);
        append(&mut log, &[("a", None)], Codec::None, None);
        log.roll().expect("rolled");
        log.sync().expect("synced");
        (disk, log)
    };
    let expected = newest(&contents(&mut build().1));
    let mut points = 0;
    let mut done = false;
    while !done {
        for power_cut in [false, true] {
            let (disk, mut log) = build();
            disk.fail_after(points);
            let wanted = Compaction {
                now: 0,
                min_lag_ms: 0,
                delete_retention_ms: HOUR,
                dedupe_bytes: usize::MAX,
                stable: i64::MAX,
                is_over: &|| false,
                is_producers_last: &|_| false,
            };
            done = compact(|look| look(&mut log), &wanted).is_ok();
            disk.heal();
            drop(log);
            if power_cut {
                disk.crash();
            }
            let mut log = open(&disk, 400);
            assert_eq!(newest(&contents(&mut log)), expected, "operation {points}, power cut: {power_cut}");
            assert_eq!(log.end(), 91, "operation {points}, power cut: {power_cut}");
            let left = files(&disk);
            assert!(left.iter().all(|name| !name.ends_with(".swap") && !name.ends_with(".cleaned")), "{left:?}");
            run(&mut log, 0, usize::MAX);
            assert_eq!(newest(&contents(&mut log)), expected, "operation {points}: compacted again");
        }
        points += 1;
    }
    assert!(points > 20, "{points}");
    println!("crashed at {} points of a compaction", 2 * points);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is written, rolled, compacted and reopened: what each key says last is there, at its own offset, and no record
    /// that is left is out of place.
    #[test]
    fn compaction_keeps_what_it_must(
        steps in proptest::collection::vec((0u8..10, proptest::collection::vec((0u8..6, 0u8..8), 1..5)), 1..60),
        segment_bytes in 200u64..2000,
        dedupe_bytes in prop_oneof![Just(usize::MAX), 50usize..400],
    ) {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, segment_bytes);
        let mut written: Vec<(i64, i64, String, Option<String>)> = Vec::new();
        let mut now = 0;
        for (step, (kind, records)) in steps.into_iter().enumerate() {
            match kind {
                0 => log.roll().expect("rolled"),
                1 => { now += HOUR / 2; run(&mut log, now, dedupe_bytes); }
                2 => log = open(&disk, segment_bytes),
                _ => {
                    let texts: Vec<(String, Option<String>)> = records
                        .iter()
                        .map(|(key, value)| (format!("k{key}"), (*value > 0).then(|| format!("{step}-{value}"))))
                        .collect();
                    let base = log.end();
                    let borrowed: Vec<Record<'_>> = texts.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                    let codec = if kind == 3 { Codec::Snappy } else { Codec::None };
                    append(&mut log, &borrowed, codec, None);
                    written.extend(texts.into_iter().enumerate().map(|(i, (k, v))| (base + i as i64, base + i as i64, k, v)));
                }
            }
            let left = contents(&mut log);
            prop_assert!(left.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets rise");
            prop_assert!(left.iter().all(|record| written.contains(record)), "nothing is changed");
            prop_assert_eq!(newest(&left), newest(&written));
            let lasts: BTreeMap<&str, i64> = written.iter().filter(|r| r.3.is_some()).map(|r| (r.2.as_str(), r.0)).collect();
            for (key, value) in newest(&written) {
                let offset = lasts[key.as_str()];
                prop_assert!(left.iter().any(|r| r.0 == offset && r.3.as_deref() == Some(&value)), "{} at {}", key, offset);
            }
        }
    }
}

#[test]
fn segments_are_merged_up_to_their_bounds() {
    let (disk, mut log) = three_keys(Codec::None);
    let before = files(&disk).iter().filter(|name| name.ends_with(".log")).count();
    run(&mut log, 0, usize::MAX).expect("something to do");
    let merged = files(&disk).iter().filter(|name| name.ends_with(".log")).count();
    // Sources are grouped by what they were, not by what is left of them: the next round merges further.
    append(&mut log, &[("z", Some("1"))], Codec::None, None);
    log.roll().expect("rolled");
    run(&mut log, 0, usize::MAX).expect("something to do");
    let again = files(&disk).iter().filter(|name| name.ends_with(".log")).count();
    assert!(again <= merged && merged <= before && again < before, "{before} {merged} {again}");
}
