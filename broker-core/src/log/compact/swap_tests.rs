//! What becomes of a compacted segment that could not take the place of those that it was made from.

use std::sync::Arc;

use super::super::Opening;
use super::tests::{FOLDER, append, config, contents, files, open, run, three_keys};
use super::*;
use crate::record::Codec;
use crate::storage::{Disk, Fault, MemoryDisk};

const SEGMENT_BYTES: u64 = 1000;

fn wanted() -> Compaction<'static> {
    let (is_over, is_producers_last) = (&|| false, &|_: &Batch| false);
    let (delete_retention_ms, dedupe_bytes, stable) = (0, usize::MAX, i64::MAX);
    Compaction { now: 0, min_lag_ms: 0, delete_retention_ms, dedupe_bytes, stable, is_over, is_producers_last }
}

#[test]
fn a_swap_that_does_not_begin_leaves_nothing() {
    let (disk, mut log) = three_keys(Codec::None);
    log.sync().expect("synced");
    let (before, there) = (contents(&mut log), files(&disk));
    disk.inject(Fault::Keeps, 1);
    compact(|look| look(&mut log), &wanted()).expect_err("a file cannot be kept");
    disk.heal();
    assert_eq!(files(&disk), there);
    append(&mut log, &[("d", Some("1"))], Codec::None, None);
    assert_eq!(contents(&mut log).len(), before.len() + 1);
    run(&mut log, 0, usize::MAX).expect("tried again");
}

#[test]
fn a_swap_that_does_not_begin_and_stays_is_no_longer_written_to() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, SEGMENT_BYTES);
    append_some(&mut log, 200);
    run(&mut log, 0, usize::MAX);
    append_some(&mut log, 30);
    log.sync().expect("synced");
    let plan = log.plan_compaction(0, 0, i64::MAX).expect("planned");
    let (fresh, _) = written(&plan).expect("some fit into one");
    disk.fail_after(0);
    let gone = Fresh { covered: fresh.covered.iter().map(|one| Source { size: 0, ..one.clone() }).collect(), ..fresh };
    swap_in(&plan, &gone, &mut |look| look(&mut log)).expect_err("nor can it be removed");
    disk.heal();
    assert!(log.is_poisoned());
}

/// The first compacted segment that is made of more than one; it is whole, and takes nobody's place yet.
fn written(plan: &Plan) -> Option<(Fresh, u64)> {
    let upper = plan.sources.last()?.end;
    let aborts = Aborts::new(overlapping(&plan.aborts, 0, upper).expect("read"));
    let (keys, to) = collect(plan, &aborts, &wanted()).expect("read");
    let unpacked_bytes_max = plan.config.decompressed_bytes_max;
    let rule =
        Rule { keys: &keys, aborts: &aborts, to, now: 0, delete_retention_ms: 0, unpacked_bytes_max, left_one: Cell::new(false) };
    let groups = groups(&plan.sources, &plan.config);
    let group = groups.iter().find(|group| group.len() > 1)?;
    write(plan, group, &rule, &mut Begun::default(), &wanted()).expect("written")
}

/// Mostly the same few keys, and some that come once only.
fn append_some(log: &mut Log, count: i64) {
    for number in log.end()..log.end() + count {
        let key = if number % 8 == 0 { format!("once {number}") } else { format!("often {}", number % 3) };
        append(log, &[(key.as_str(), Some("a value of some length"))], Codec::None, None);
    }
}

/// Opens it as after a crash: what is lost of it.
fn lost(disk: &MemoryDisk, mut log: Log) -> Vec<i64> {
    log.sync().expect("synced");
    let (log_start, recovery_point, compacted_to) = (log.start(), log.recovery_point(), log.compacted_to());
    let opening = Opening { compacted_to, log_start, recovery_point, ..Opening::default() };
    let before = contents(&mut log);
    drop(log);
    let mut again = Log::open(Arc::new(disk.clone()), FOLDER, config(SEGMENT_BYTES), opening).expect("opened");
    let after = contents(&mut again);
    assert!(files(disk).iter().all(|name| !name.contains("swap")), "{:?}", files(disk));
    before.iter().filter(|one| !after.contains(one)).map(|one| one.0).collect()
}

#[test]
fn a_swap_that_was_left_takes_nothing_with_it() {
    for retention in [true, false] {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, SEGMENT_BYTES);
        append_some(&mut log, 200);
        run(&mut log, 0, usize::MAX);
        append_some(&mut log, 30);
        log.sync().expect("synced");
        let (fresh, _) = written(&log.plan_compaction(0, 0, i64::MAX).expect("planned")).expect("some fit into one");
        let (base, end) = (fresh.base, fresh.covered.last().expect("some").end);
        let left = disk.fork();
        if retention {
            // Old records go, and with them the segment that it begins with.
            log.delete_before(base + (end - base) / 2).expect("deleted");
            drop(log.retain(0, log.end()).expect("gone").rename().expect("renamed"));
        }
        for _ in 0..2 {
            append_some(&mut log, 60);
            run(&mut log, 0, usize::MAX);
        }
        // An older broker left it there whatever came.
        let there = files(&disk);
        for name in left.files(FOLDER).expect("listed").iter().filter(|name| name.contains("swap") && !there.contains(name)) {
            let (from, to) = (left.open(FOLDER, name).expect("opened"), disk.open(FOLDER, name).expect("opened"));
            let mut position = 0;
            while position < from.size() {
                let bytes = from.read(position, usize::MAX).expect("read");
                position += bytes.len() as u64;
                to.append(bytes).expect("copied");
            }
            to.sync().expect("synced");
        }
        assert!(files(&disk).contains(&format!("{base:020}.{}", swap::SWAP)));
        let lost = lost(&disk, log);
        assert!(lost.is_empty(), "swap {base}..{end}, retention {retention}: {lost:?} are lost");
    }
}
