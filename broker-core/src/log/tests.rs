use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Log, LogConfig};
use crate::record::{BatchBuilder, batches};
use crate::storage::{Disk, MemoryDisk};

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 100 }
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

fn append(log: &mut Log, count: i64) {
    let base = log.end();
    log.append(batch(base, count), base + count - 1, (base + count - 1) * 10).expect("appended");
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
    let mut log = Log::open(disk.clone(), "t-0", config(300)).expect("opened");
    for count in [1, 3, 2, 5, 1, 1, 7, 2, 4] {
        append(&mut log, count);
    }
    assert!(disk.files("t-0").expect("listed").len() > 2, "it rolled");
    for reopened in [false, true] {
        if reopened {
            log = Log::open(disk.clone(), "t-0", config(300)).expect("opened");
        }
        assert_eq!((log.start(), log.end()), (0, 26));
        for offset in 0..26 {
            for max_bytes in [1, 200, 10_000] {
                let got = offsets(&log.read(offset, max_bytes).expect("read"));
                assert!(got.contains(&offset), "offset {offset} within {max_bytes}: {got:?}");
                assert!(got.windows(2).all(|pair| pair[1] == pair[0] + 1), "{got:?}");
            }
        }
        assert_eq!(offsets(&log.read(0, 100_000).expect("read")), (0..26).collect::<Vec<_>>());
    }
}

#[test]
fn timestamps_are_found() {
    let (_, disk) = disk();
    let mut log = Log::open(disk, "t-0", config(400)).expect("opened");
    for _ in 0..10 {
        append(&mut log, 3);
    }
    for (timestamp, expected) in
        [(-5, Some((0, 0))), (0, Some((0, 0))), (95, Some((10, 100))), (290, Some((29, 290))), (291, None)]
    {
        assert_eq!(log.find_timestamp(timestamp).expect("read"), expected, "{timestamp}");
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let whole = batch(0, 2);
    let last = batch(2, 3);
    for cut in 0..last.len() {
        let (_, disk) = disk();
        let mut file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(whole.clone()).expect("appended");
        file.append(last.slice(..cut)).expect("appended");
        for _ in 0..2 {
            let log = Log::open(disk.clone(), "t-0", config(1000)).expect("opened");
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
        let mut file = disk.open("t-0", "00000000000000000000.log").expect("opened");
        file.append(batch(0, 2)).expect("appended");
        let mut damaged = BytesMut::from(&last[..]);
        damaged[byte] ^= 0x40;
        file.append(damaged.freeze()).expect("appended");
        file.append(Bytes::from(vec![0; 300])).expect("appended");
        let log = Log::open(disk.clone(), "t-0", config(1000)).expect("opened");
        let end = log.end();
        // A flipped base offset may still be a legal, later one: then the batch stays, and what follows it goes.
        assert!(end == 2 || byte < 8, "byte {byte}: the log ends at {end}");
    }
}

#[test]
fn segments_behind_damage_are_removed() {
    let (_, disk) = disk();
    let mut log = Log::open(disk.clone(), "t-0", config(200)).expect("opened");
    for _ in 0..6 {
        append(&mut log, 2);
    }
    let files = disk.files("t-0").expect("listed");
    assert!(files.len() >= 3, "{files:?}");
    drop(log);
    disk.open("t-0", &files[1]).expect("opened").truncate(70).expect("cut");
    let log = Log::open(disk.clone(), "t-0", config(200)).expect("opened");
    assert!(log.end() < 12);
    assert_eq!(disk.files("t-0").expect("listed").len(), 2);
}

#[test]
fn a_failed_write_refuses_later_ones_and_reads_go_on() {
    let (memory, disk) = disk();
    let mut log = Log::open(disk, "t-0", config(1000)).expect("opened");
    append(&mut log, 2);
    memory.fail_after(0);
    log.append(batch(2, 1), 2, 20).expect_err("the disk fails");
    memory.fail_after(100);
    let error = log.append(batch(2, 1), 2, 20).expect_err("poisoned").to_string();
    assert!(error.contains("injected fault"), "{error}");
    assert_eq!(offsets(&log.read(0, 1000).expect("read")), [0, 1]);
}
