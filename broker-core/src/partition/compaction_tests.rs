//! What compaction makes of transactions, at every place a crash may come.

use std::sync::Arc;

use super::tests::{Time, all, around, but};
use super::{CommittedOnly, PartitionConfig, PartitionHandle, TransactionEnd};
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::record::{BatchBuilder, Marker, batches};
use crate::storage::held::HeldDisk;
use crate::storage::{Disk, MemoryDisk};
use crate::time::Clock;
use crate::topic_config::CleanupPolicy;

const HOUR: i64 = 3_600_000;

struct World {
    disk: MemoryDisk,
    time: Time,
    partition: PartitionHandle,
}

fn config() -> PartitionConfig {
    but(|topic| {
        topic.cleanup_policy = CleanupPolicy { delete: false, compact: true };
        (topic.segment_bytes, topic.index_interval_bytes, topic.delete_retention_ms) = (400, 100, HOUR);
    })
}

fn open(disk: &MemoryDisk, time: &Time, recovery_point: i64) -> PartitionHandle {
    open_compacted(disk, time, recovery_point, 0)
}

fn open_compacted(disk: &MemoryDisk, time: &Time, recovery_point: i64, to: i64) -> PartitionHandle {
    open_on(Arc::new(disk.clone()), time, recovery_point, to)
}

fn open_on(disk: Arc<dyn Disk>, time: &Time, recovery_point: i64, to: i64) -> PartitionHandle {
    let surroundings = around(disk, Arc::new(time.clone()));
    let opening = Opening { recovery_point, compacted_to: Some(to), ..Opening::default() };
    let opened = PartitionHandle::open(surroundings, TopicPartition::new("t", 0), config(), opening).expect("opened");
    opened.may_have_gaps();
    opened
}

impl World {
    fn new() -> Self {
        let (disk, time) = (MemoryDisk::new(), Time::now());
        Self { partition: open(&disk, &time, 0), disk, time }
    }

    /// One record; of nobody, or of a producer's transaction.
    fn put(&self, key: &str, value: Option<&str>, of: Option<(i64, i32)>) -> i64 {
        let mut builder = BatchBuilder::new();
        if let Some((id, sequence)) = of {
            builder.producer(id, 0, sequence);
            builder.transactional();
        }
        builder.append(self.time.wall_ms(), Some(key.as_bytes()), value.map(str::as_bytes), &[]);
        self.partition.produce(builder.build()).expect("produced").base_offset
    }

    fn end(&self, producer_id: i64, committed: bool) -> i64 {
        let end = TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: 0, committed };
        self.partition.end_transaction(&end).expect("ended").base_offset
    }

    /// Ends the segment.
    fn fill(&self) {
        for n in 0..8 {
            self.put("filler", Some(&format!("{n}...............................")), None);
        }
    }

    fn compact(&self) {
        self.partition.compact(usize::MAX).expect("compacted");
    }

    fn pass(&self, ms: i64) {
        self.time.pass(ms);
    }

    /// Writes what makes the log worth compacting again, and compacts it.
    fn compact_again(&self) {
        self.fill();
        self.compact();
    }

    fn markers(&self) -> Vec<i64> {
        all(&self.partition).iter().filter(|b| Marker::of(b.bytes()).is_some()).map(|b| b.base_offset()).collect()
    }

    /// The offsets of all records that are there, fillers left out.
    fn there(&self) -> Vec<i64> {
        let data = all(&self.partition).into_iter().filter(|batch| !batch.is_control());
        let mut offsets = Vec::new();
        for batch in data {
            offsets.extend(
                batch.records().map(|record| record.expect("sound")).filter(|r| r.key() != Some(b"filler")).map(|r| r.offset),
            );
        }
        offsets
    }

    /// Keys and values of committed records, fillers left out.
    fn committed(&self) -> Vec<(i64, String)> {
        committed(&self.partition)
    }

    fn index_files(&self) -> Vec<String> {
        let mut names = self.disk.files("t-0").expect("listed");
        names.retain(|name| name.contains("txnindex"));
        names
    }
}

fn committed(partition: &PartitionHandle) -> Vec<(i64, String)> {
    let (mut found, mut next) = (Vec::new(), partition.log_start());
    while next < partition.stable_offset() {
        let fetched = partition.fetch_committed(next, 100).expect("fetched");
        let mut only = CommittedOnly::new(fetched.aborted);
        assert!(!fetched.batches.is_empty(), "nothing at {next}");
        for batch in fetched.batches.iter().flat_map(batches).map(|batch| batch.expect("sound")) {
            next = batch.last_offset() + 1;
            if only.leaves_out(&batch) {
                continue;
            }
            for record in batch.records().map(|record| record.expect("sound")) {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
                if record.key() != Some(b"filler") {
                    found.push((record.offset, format!("{}={}", text(record.key()), text(record.value()))));
                }
            }
        }
    }
    found
}

fn told(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(offset, text)| (*offset, (*text).to_owned())).collect()
}

#[test]
fn nothing_at_or_above_an_open_transaction_is_touched() {
    let world = World::new();
    world.put("a", Some("1"), None);
    world.put("a", Some("2"), None);
    world.fill();
    let first = world.put("a", Some("3"), Some((1, 0)));
    world.put("b", Some("1"), None);
    world.put("b", Some("2"), None);
    world.fill();
    let before: Vec<_> = all(&world.partition).into_iter().filter(|batch| batch.base_offset() >= first).collect();
    world.compact();
    assert!(world.partition.compacted_to().is_some_and(|to| to > 0 && to <= first));
    let after: Vec<_> = all(&world.partition).into_iter().filter(|batch| batch.base_offset() >= first).collect();
    let bytes = |batches: &[crate::record::Batch]| batches.iter().map(|batch| batch.bytes().clone()).collect::<Vec<_>>();
    assert_eq!(bytes(&after), bytes(&before), "byte for byte");
    assert_eq!(world.committed(), told(&[(1, "a=2")]));
    world.end(1, true);
    world.compact_again();
    assert_eq!(world.committed(), told(&[(first, "a=3"), (first + 2, "b=2")]));
}

#[test]
fn aborted_records_go_and_hide_no_committed_one() {
    let mut world = World::new();
    world.put("a", Some("1"), None);
    world.put("b", Some("1"), Some((2, 0)));
    world.put("a", Some("2"), Some((1, 0)));
    world.put("a", None, Some((1, 1)));
    world.put("c", Some("1"), Some((1, 2)));
    world.end(1, false);
    world.put("b", Some("2"), Some((2, 1)));
    world.end(2, true);
    world.put("c", Some("2"), Some((1, 3)));
    world.end(1, true);
    world.fill();
    let expected = told(&[(0, "a=1"), (6, "b=2"), (8, "c=2")]);
    for _ in 0..3 {
        world.compact_again();
        assert_eq!((world.there(), world.committed()), (vec![0, 6, 8], expected.clone()));
        world.partition = open(&world.disk, &world.time, 0);
        assert_eq!((world.there(), world.committed()), (vec![0, 6, 8], expected.clone()), "opened again");
    }
}

#[test]
fn a_marker_stays_until_nothing_is_left_and_its_time_is_over() {
    let world = World::new();
    world.put("a", Some("1"), Some((1, 0)));
    let commits = world.end(1, true);
    world.put("b", Some("1"), Some((2, 0)));
    let aborts = world.end(2, false);
    // Others come last, so that no batch need stay for its producer.
    world.put("z", Some("1"), Some((1, 1)));
    let last = world.end(1, true);
    world.put("z", Some("2"), Some((2, 1)));
    let of_2 = world.end(2, true);
    world.fill();
    world.compact();
    assert_eq!(world.index_files().len(), 1);
    assert_eq!(world.markers(), [commits, aborts, last, of_2], "there were batches of each");
    world.compact_again();
    world.pass(HOUR - 1);
    world.compact_again();
    assert_eq!(world.markers(), [commits, aborts, last, of_2], "of the second nothing is left, but its time is not over");
    world.pass(1);
    world.compact_again();
    assert_eq!(world.markers(), [commits, last, of_2], "the batch is a producer's last in the third");
    assert_eq!(world.index_files().len(), 1, "empty");
    // A later value takes the place of the first one's, and batches of the producers come behind.
    world.put("a", Some("2"), Some((1, 2)));
    world.put("z", Some("3"), Some((2, 2)));
    let behind = [world.end(1, true), world.end(2, true)];
    world.fill();
    // A batch at a segment's end stays, empty, until the segment is merged with others.
    for _ in 0..6 {
        world.compact_again();
        world.pass(HOUR);
    }
    assert_eq!(world.markers(), behind);
    let stable = world.partition.stable_offset();
    assert_eq!(stable, world.partition.end_offset());
    let world = World { partition: open(&world.disk, &world.time, 0), ..world };
    assert_eq!(world.partition.stable_offset(), stable, "no transaction is open that was ended");
    assert_eq!(world.committed().iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["a=2", "z=3"]);
}

#[test]
fn an_epoch_that_only_a_marker_tells_of_is_kept() {
    let mut world = World::new();
    world.put("a", Some("1"), Some((1, 0)));
    let fencing = TransactionEnd { producer_id: 1, producer_epoch: 5, coordinator_epoch: 2, committed: false };
    world.partition.end_transaction(&fencing).expect("ended");
    world.fill();
    for _ in 0..4 {
        world.compact_again();
        world.pass(2 * HOUR);
    }
    assert_eq!(world.markers(), Vec::<i64>::new());
    // Without its snapshots, from what is left in the log.
    for name in world.disk.files("t-0").expect("listed").iter().filter(|name| name.ends_with(".snapshot")) {
        world.disk.remove("t-0", name).expect("removed");
    }
    world.partition = open(&world.disk, &world.time, 0);
    let found = world.partition.producers();
    assert_eq!(found.iter().map(|one| (one.id, one.epoch, one.transaction_start)).collect::<Vec<_>>(), [(1, 5, None)]);
}

#[test]
fn who_writes_and_reads_does_not_wait_for_the_disk_while_segments_are_put_in_place() {
    let (memory, time) = (MemoryDisk::new(), Time::now());
    let (disk, holder) = HeldDisk::over(Arc::new(memory.clone()));
    let world = World { partition: open_on(disk, &time, 0, 0), disk: memory, time };
    world.put("a", Some("1"), None);
    world.put("b", Some("1"), Some((2, 0)));
    world.end(2, false);
    world.put("a", Some("2"), None);
    world.fill();
    world.partition.sync().expect("synced");
    // What the new files take the place of is gone by then, and the new ones are not there yet.
    let beside = || {
        assert_eq!(world.committed(), told(&[(0, "a=1"), (3, "a=2")]), "as before");
        let written = world.put("c", Some("1"), None);
        assert_eq!(world.committed().last(), Some(&(written, "c=1".to_owned())));
    };
    holder.beside_making("t-0", || world.compact(), beside);
    assert_eq!(world.committed().first(), Some(&(3, "a=2".to_owned())), "compacted");
    assert_eq!(world.there().len(), 2);
}

/// A transaction that was open when a segment ended, and whose marker is gone, or emptied, by now. The snapshot of that segment's end
/// is the newest one.
fn ended_long_ago(fenced: bool) -> World {
    let world = World::new();
    world.put("a", Some("1"), Some((1, 0)));
    // They stay, and so does the segment.
    for n in 0..4 {
        world.put(&format!("other {n}"), Some(&"x".repeat(50)), None);
    }
    let producer_epoch = if fenced { 5 } else { 0 };
    let end = TransactionEnd { producer_id: 1, producer_epoch, coordinator_epoch: 2, committed: !fenced };
    let marker = world.partition.end_transaction(&end).expect("ended").base_offset;
    world.put("a", Some("2"), None);
    for _ in 0..6 {
        world.compact_again();
        // The producer is forgotten, or was fenced just now.
        world.pass(if fenced { 2 * HOUR } else { 25 * HOUR });
        world.partition.retain().expect("forgotten");
    }
    assert_eq!(world.markers(), Vec::<i64>::new());
    let left = all(&world.partition).into_iter().filter(|batch| batch.producer_id() == 1).count();
    assert_eq!((world.there().first(), left), (Some(&1), usize::from(fenced)), "nothing else is left of the transaction");
    let mut snapshots = world.disk.files("t-0").expect("listed");
    snapshots.retain(|name| name.ends_with(".snapshot"));
    for newer in snapshots.extract_if(.., |name| *name > format!("{marker:020}.snapshot")) {
        world.disk.remove("t-0", &newer).expect("removed");
    }
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    world
}

#[test]
fn a_transaction_whose_marker_was_compacted_away_is_not_open_again() {
    let world = ended_long_ago(false);
    let (point, to) = (world.partition.recovery_point(), world.partition.compacted_to().expect("compacted"));
    let again = open_compacted(&world.disk, &world.time, point, to);
    assert_eq!(again.producers().iter().find(|one| one.id == 1), None, "it was forgotten");
    assert_eq!(again.stable_offset(), again.end_offset());
}

#[test]
fn an_emptied_marker_ends_a_transaction() {
    let world = ended_long_ago(true);
    // As if no checkpoint told of the compaction yet.
    let again = open(&world.disk, &world.time, world.partition.recovery_point());
    let found = again.producers();
    assert_eq!(found.iter().map(|one| (one.id, one.epoch, one.transaction_start)).collect::<Vec<_>>(), [(1, 5, None)]);
    assert_eq!(again.stable_offset(), again.end_offset());
}

#[test]
fn a_transaction_that_is_open_stays_open_when_a_compacted_log_is_opened_again() {
    let world = World::new();
    world.put("b", Some("1"), Some((2, 0)));
    world.end(2, true);
    world.fill();
    let first = world.put("a", Some("1"), Some((1, 0)));
    world.fill();
    world.compact();
    let (point, to) = (world.partition.recovery_point(), world.partition.compacted_to().expect("compacted"));
    assert!(to > 0 && to <= first, "{to}");
    let again = open_compacted(&world.disk, &world.time, point, to);
    assert_eq!(again.stable_offset(), first);
}

#[test]
fn a_transaction_whose_first_records_were_deleted_is_not_ended_by_that() {
    let (disk, time) = (MemoryDisk::new(), Time::now());
    let surroundings = around(Arc::new(disk.clone()), Arc::new(time.clone()));
    let id = TopicPartition::new("t", 0);
    let partition = PartitionHandle::open(surroundings, id, config(), Opening::default()).expect("opened");
    let world = World { disk, time, partition };
    world.put("a", Some("1"), Some((1, 0)));
    world.fill();
    world.partition.sync().expect("synced");
    world.partition.delete_records(3).expect("deleted");
    world.partition.may_have_gaps();
    let (point, to) = (world.partition.recovery_point(), world.partition.compacted_to().expect("there may be gaps"));
    let again = open_compacted(&world.disk, &world.time, point, to);
    let open = again.producers().into_iter().map(|one| (one.id, one.transaction_start));
    assert_eq!(open.collect::<Vec<_>>(), [(1, Some(0))]);
}

/// Transactions of three producers over many segments; everything is durable.
fn written() -> World {
    let world = World::new();
    let mut sequences = [0; 3];
    for round in 0..6 {
        for id in [0, 1, 2, 0, 1] {
            let sequence = sequences[id as usize];
            sequences[id as usize] += 1;
            world.put(&format!("k{id}{}", sequence % 3), Some(&format!("{round}-{sequence}")), Some((id, sequence)));
        }
        world.end(0, false);
        world.end(1, true);
        world.end(2, round % 2 == 0);
        world.put(&format!("k0{}", round % 3), Some("plain"), None);
    }
    world.fill();
    world.partition.sync().expect("synced");
    world
}

/// What the last committed record of each key is.
fn newest(records: &[(i64, String)]) -> std::collections::BTreeMap<String, (i64, String)> {
    let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    records.iter().map(|record| (key(&record.1), record.clone())).collect()
}

#[test]
fn a_crash_at_any_operation_shows_nothing_aborted_and_loses_nothing_committed() {
    let before = written().committed();
    let (mut points, mut done) = (0, false);
    while !done {
        for power_cut in [false, true] {
            let world = written();
            let recovery_point = world.partition.recovery_point();
            // So that indexes and markers are rewritten too.
            world.compact();
            world.fill();
            world.pass(2 * HOUR);
            world.disk.fail_after(points);
            done = world.partition.compact(usize::MAX).is_ok();
            world.disk.heal();
            if power_cut {
                world.disk.crash_by_chance(points);
            }
            let partition = open(&world.disk, &world.time, recovery_point);
            let at = format!("operation {points}, power cut: {power_cut}");
            let world = World { partition, ..world };
            let after = world.committed();
            assert!(after.iter().all(|record| before.contains(record)), "{at}: {after:?}");
            assert_eq!(newest(&after), newest(&before), "{at}");
            let names = world.index_files();
            assert!(names.iter().all(|name| name.ends_with(".txnindex")), "{at}: {names:?}");
            world.compact();
            assert_eq!(newest(&world.committed()), newest(&before), "{at}: compacted again");
        }
        points += 1;
    }
    assert!(points > 20, "{points}");
}
