//! Transactions of a partition: what opens and ends one, what stays undecided, and that a stop forgets nothing.

use std::sync::Arc;

use bytes::BytesMut;

use super::tests::{NOW, Time, all, around, but, with};
use super::{AbortedTransaction, CommittedOnly, Flusher, PartitionConfig, PartitionHandle, Surroundings, TransactionEnd};
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::record::{BatchBuilder, Marker, at, batches};
use crate::storage::{Disk, MemoryDisk, read_whole};

/// A partition, and what outlives it.
struct World {
    disk: MemoryDisk,
    time: Time,
    partition: PartitionHandle,
}

/// About two batches a segment.
fn small() -> PartitionConfig {
    but(|topic| (topic.segment_bytes, topic.retention_ms) = (150, -1))
}

impl World {
    fn new(config: PartitionConfig) -> Self {
        let (disk, time) = (MemoryDisk::new(), Time::now());
        let partition = Self::open(&disk, &time, config, Opening::default());
        Self { disk, time, partition }
    }

    fn open(disk: &MemoryDisk, time: &Time, config: PartitionConfig, opening: Opening) -> PartitionHandle {
        let surroundings = around(Arc::new(disk.clone()), Arc::new(time.clone()));
        PartitionHandle::open(surroundings, TopicPartition::new("t", 0), config, opening).expect("opened")
    }

    fn kill(&mut self) {
        self.partition = Self::open(&self.disk, &self.time, small(), Opening::default());
    }

    fn stop(&mut self) {
        self.partition.close().expect("closed");
        let (recovery_point, log_start) = (self.partition.recovery_point(), self.partition.log_start());
        let opening = Opening { clean: true, recovery_point, log_start, compacted_to: None };
        self.partition = Self::open(&self.disk, &self.time, small(), opening);
    }

    /// One record.
    fn try_put(&self, id: i64, epoch: i16, sequence: i32, transactional: bool) -> Result<i64, ErrorCode> {
        let produced = self.partition.produce(batch(id, epoch, sequence, transactional));
        produced.map(|produced| produced.base_offset).map_err(|error| error.code())
    }

    fn put(&self, id: i64, sequence: i32) -> i64 {
        self.try_put(id, 0, sequence, true).expect("produced")
    }

    fn try_end(&self, end: &TransactionEnd) -> Result<i64, ErrorCode> {
        self.partition.end_transaction(end).map(|ended| ended.base_offset).map_err(|error| error.code())
    }

    fn end(&self, id: i64, committed: bool) -> i64 {
        self.try_end(&ending(id, 0, 0, committed)).expect("ended")
    }

    fn stable(&self) -> i64 {
        self.partition.stable_offset()
    }

    /// Where the transaction starts that a producer has open.
    fn start_of(&self, id: i64) -> Option<i64> {
        self.partition.producers().into_iter().find(|producer| producer.id == id).and_then(|found| found.transaction_start)
    }
}

/// The offsets of the committed records, read a few at a time.
fn committed(partition: &PartitionHandle) -> Vec<i64> {
    let (mut offsets, mut next) = (Vec::new(), partition.log_start());
    while next < partition.stable_offset() {
        let fetched = partition.fetch_committed(next, 200).expect("fetched");
        let mut only = CommittedOnly::new(fetched.aborted);
        for found in fetched.batches.iter().flat_map(batches) {
            let found = found.expect("sound");
            assert!(found.last_offset() < fetched.last_stable);
            if !only.leaves_out(&found) {
                offsets.extend(found.records().map(|record| record.expect("sound").offset).filter(|offset| *offset >= next));
            }
            next = next.max(found.last_offset() + 1);
        }
    }
    offsets
}

fn batch(id: i64, epoch: i16, sequence: i32, transactional: bool) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(id, epoch, sequence);
    if transactional {
        builder.transactional();
    }
    builder.append(NOW, Some(b"k"), None, &[]);
    builder.build()
}

fn ending(producer_id: i64, producer_epoch: i16, coordinator_epoch: i32, committed: bool) -> TransactionEnd {
    TransactionEnd { producer_id, producer_epoch, coordinator_epoch, committed }
}

#[test]
fn a_transaction_is_open_from_its_first_batch_to_its_marker() {
    let world = World::new(small());
    assert_eq!(world.try_put(9, 0, 0, false), Ok(0));
    assert_eq!((world.stable(), world.start_of(1)), (1, None));
    assert_eq!((world.put(1, 0), world.put(1, 1), world.put(2, 0)), (1, 2, 3));
    assert_eq!((world.stable(), world.start_of(1), world.start_of(2)), (1, Some(1), Some(3)));
    assert_eq!((world.end(1, true), world.stable()), (4, 3), "the other one is undecided still");
    assert_eq!((world.start_of(1), world.start_of(2)), (None, Some(3)));
    assert_eq!((world.put(1, 2), world.start_of(1)), (5, Some(5)), "sequences go on in the next one");
    assert_eq!((world.end(2, false), world.stable()), (6, 5));
    assert_eq!((world.end(1, true), world.stable()), (7, 8));
    let markers: Vec<_> = all(&world.partition).iter().filter_map(|batch| Marker::of(batch.bytes())).collect();
    assert_eq!(markers.iter().map(|marker| marker.commits).collect::<Vec<_>>(), [true, false, true]);
    for marker in all(&world.partition).iter().filter(|batch| batch.is_control()) {
        marker.verify_crc().expect("sound");
        assert_eq!((marker.is_transactional(), marker.base_sequence(), marker.max_timestamp()), (true, -1, NOW));
    }
}

#[test]
fn what_does_not_fit_the_transaction_is_refused() {
    let world = World::new(small());
    world.put(1, 0);
    assert_eq!(world.try_put(1, 0, 1, false), Err(ErrorCode::InvalidTxnState));
    assert_eq!(world.try_put(1, 1, 0, false), Err(ErrorCode::InvalidTxnState), "in a new epoch neither");
    assert_eq!(world.try_put(1, 0, 0, false), Ok(0), "a duplicate is told where it is");
    assert_eq!(world.try_put(-1, -1, -1, true), Err(ErrorCode::InvalidRecord), "nobody has a transaction");
    let mut control = batch(1, 0, 1, true);
    super::tests::put(&mut control, at::ATTRIBUTES, &[0, 0x30]);
    assert_eq!(world.partition.produce(control).map_err(|error| error.code()), Err(ErrorCode::InvalidRecord));
    assert_eq!(world.try_end(&ending(-1, 0, 0, true)), Err(ErrorCode::InvalidRecord));
    assert_eq!((world.partition.end_offset(), world.stable()), (1, 0));
    world.end(1, true);
    assert_eq!(world.try_put(1, 0, 1, false), Ok(2), "outside of one");
}

#[test]
fn a_marker_fences_older_epochs_and_older_coordinators() {
    let world = World::new(small());
    assert_eq!(world.try_put(1, 3, 0, true), Ok(0));
    assert_eq!(world.try_end(&ending(1, 2, 7, false)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(world.try_end(&ending(1, 4, 7, false)), Ok(1), "a later epoch ends it too");
    assert_eq!(world.stable(), 2);
    assert_eq!(world.try_put(1, 3, 1, true), Err(ErrorCode::InvalidProducerEpoch), "it is fenced");
    assert_eq!(world.try_put(1, 4, 1, true), Err(ErrorCode::OutOfOrderSequenceNumber), "a new epoch begins at 0");
    assert_eq!(world.try_put(1, 4, 0, true), Ok(2));
    assert_eq!(world.try_end(&ending(1, 4, 6, true)), Err(ErrorCode::TransactionCoordinatorFenced));
    assert_eq!((world.partition.end_offset(), world.stable()), (3, 2));
    assert_eq!(world.try_end(&ending(1, 4, 7, true)), Ok(3));
    assert_eq!(world.try_end(&ending(1, 4, 8, true)), Ok(4), "said again, it does no harm");
    assert_eq!(world.try_end(&ending(5, 0, 0, true)), Ok(5), "nor of a producer that nobody knows");
    let found = world.partition.producers();
    assert_eq!(found.iter().map(|one| (one.id, one.epoch, one.coordinator_epoch)).collect::<Vec<_>>(), [(1, 4, 8), (5, 0, 0)]);
    assert_eq!(world.stable(), 6);
}

#[test]
fn a_stop_forgets_no_transaction() {
    for way in [World::kill, World::stop] {
        let mut world = World::new(small());
        world.put(1, 0);
        for sequence in 0..6 {
            world.put(2, sequence);
        }
        assert_eq!(world.try_end(&ending(2, 0, 4, true)), Ok(7));
        for _ in 0..2 {
            way(&mut world);
            assert_eq!((world.stable(), world.start_of(1), world.start_of(2)), (0, Some(0), None));
            assert_eq!(world.try_end(&ending(2, 0, 3, true)), Err(ErrorCode::TransactionCoordinatorFenced));
        }
        assert_eq!(world.try_put(1, 0, 1, false), Err(ErrorCode::InvalidTxnState));
        assert_eq!((world.end(1, false), world.stable()), (8, 9));
        way(&mut world);
        assert_eq!((world.stable(), world.start_of(1)), (9, None));
    }
}

#[test]
fn a_producer_with_an_open_transaction_is_never_forgotten() {
    let mut world = World::new(small());
    world.put(1, 0);
    world.try_put(2, 0, 0, false).expect("produced");
    world.time.pass(10 * 86_400_000);
    for _ in 0..2 {
        world.partition.retain().expect("looked");
        assert_eq!((world.start_of(1), world.stable()), (Some(0), 0));
        assert_eq!(world.partition.producers().len(), 1);
        world.stop();
    }
    world.end(1, true);
    world.time.pass(10 * 86_400_000);
    world.partition.retain().expect("looked");
    assert_eq!(world.partition.producers(), []);
}

#[test]
fn what_was_deleted_is_stable() {
    let world = World::new(small());
    world.put(1, 0);
    world.put(1, 1);
    assert_eq!(world.stable(), 0);
    world.partition.delete_records(1).expect("deleted");
    assert_eq!((world.stable(), world.partition.log_start()), (1, 1), "it begins before what may be read");
}

/// Asks for nothing: the test flushes.
#[derive(Debug)]
struct Never;

impl Flusher for Never {
    fn flush(&self, _: &PartitionHandle) {}

    fn look_again(&self) {}
}

/// Flushes when the test says so.
fn unflushed(flush_messages: i64) -> World {
    let mut topic = with(crate::topic_config::TopicConfig::default());
    topic.topic.flush_messages = flush_messages;
    let time = Time::now();
    let surroundings =
        Surroundings { disk: Arc::new(MemoryDisk::new()), clock: Arc::new(time.clone()), flusher: Arc::new(Never) };
    let opened = PartitionHandle::open(Arc::new(surroundings), TopicPartition::new("t", 0), topic, Opening::default());
    World { disk: MemoryDisk::new(), time, partition: opened.expect("opened") }
}

#[test]
fn a_transaction_that_begins_as_a_marker_comes_to_count_is_undecided() {
    let world = unflushed(2);
    world.put(1, 0);
    world.end(1, true);
    assert_eq!((world.partition.end_offset(), world.stable()), (1, 0), "the marker waits for the disk");
    world.partition.state().log.sync().expect("synced");
    world.put(2, 0);
    assert_eq!((world.partition.end_offset(), world.stable()), (3, 2));
    world.partition.flush();
    assert_eq!((world.stable(), world.start_of(2)), (2, Some(2)));
}

#[test]
fn a_marker_decides_when_it_is_durable() {
    let world = unflushed(1);
    world.put(1, 0);
    world.partition.flush();
    assert_eq!((world.partition.end_offset(), world.stable()), (1, 0));
    world.end(1, false);
    assert_eq!((world.partition.end_offset(), world.stable(), world.start_of(1)), (1, 0, None));
    world.put(1, 1);
    assert_eq!(world.stable(), 0);
    world.partition.flush();
    assert_eq!((world.partition.end_offset(), world.stable()), (3, 2), "up to the next one");
    world.end(1, true);
    assert_eq!(world.stable(), 2);
    world.partition.flush();
    assert_eq!((world.partition.end_offset(), world.stable()), (4, 4));
}

#[test]
fn nobody_who_asks_for_a_time_is_sent_to_a_marker() {
    let mut world = World::new(small());
    world.put(1, 0);
    world.time.pass(5);
    world.end(1, true);
    for _ in 0..2 {
        assert_eq!(world.partition.offset_of_max_timestamp().expect("asked"), Some((0, NOW)));
        assert_eq!(world.partition.offset_for_timestamp(NOW + 1).expect("asked"), None);
        world.kill();
    }
}

/// Three producers' transactions across each other, over several segments: 0 and 3 aborted, 1 committed, 2 open from the end on. The
/// offsets of the committed records.
fn interleaved(world: &World) -> Vec<i64> {
    let (mut expected, mut sequences) = (Vec::new(), [0; 4]);
    for round in 0..5 {
        let mut committed = Vec::new();
        for id in [0, 1, 1, 3, 0, 3, 1] {
            let offset = world.put(id, sequences[id as usize]);
            sequences[id as usize] += 1;
            committed.extend((id == 1).then_some(offset));
        }
        committed.push(world.try_put(9, 0, round, false).expect("produced"));
        world.end(3, false);
        world.end(1, true);
        world.end(0, false);
        expected.append(&mut committed);
    }
    world.put(2, 0);
    expected.sort_unstable();
    expected
}

fn index_files(world: &World) -> Vec<String> {
    let mut names = world.disk.files("t-0").expect("listed");
    names.retain(|name| name.ends_with(".txnindex"));
    names
}

fn contents(world: &World) -> Vec<(String, Vec<u8>)> {
    let read = |name: &String| read_whole(&world.disk, "t-0", name).expect("read").expect("there");
    index_files(world).iter().map(|name| (name.clone(), read(name))).collect()
}

#[test]
fn a_reader_of_committed_records_sees_these_and_no_other() {
    let world = World::new(small());
    let expected = interleaved(&world);
    let stable = world.partition.end_offset() - 1;
    assert_eq!(world.stable(), stable);
    assert_eq!(committed(&world.partition), expected);
    let all = world.partition.fetch(0, usize::MAX).expect("fetched");
    assert_eq!((all.aborted.as_slice(), all.last_stable), (&[][..], stable), "who reads all is told of none");
    for offset in 0..=stable + 1 {
        let found = world.partition.fetch_committed(offset, 1).expect("fetched");
        assert_eq!((found.last_stable, found.high_watermark), (stable, stable + 1));
        assert_eq!(found.batches.is_empty(), offset >= stable, "at {offset}");
    }
    assert!(world.partition.fetch_committed(stable + 2, 1).is_err(), "outside of the log");
    // The first transactions of 0 and 3 begin at offsets 0 and 3; their markers are at 10 and 8.
    let told = |offset: i64, bytes: usize| world.partition.fetch_committed(offset, bytes).expect("fetched").aborted;
    let (of_0, of_3) =
        (AbortedTransaction { producer_id: 0, first_offset: 0 }, AbortedTransaction { producer_id: 3, first_offset: 3 });
    assert_eq!(told(0, 1), [of_0]);
    assert_eq!(told(3, 1), [of_3, of_0], "by their markers");
    assert_eq!(told(8, 1), [of_3, of_0]);
    assert_eq!(told(9, 1), [of_0]);
    assert_eq!(told(11, 1), [AbortedTransaction { producer_id: 0, first_offset: 11 }]);
}

#[test]
fn its_index_is_kafkas() {
    let world = World::new(small());
    world.put(7, 0);
    world.put(8, 0);
    world.end(8, false);
    world.end(7, false);
    let mut expected = Vec::new();
    for (producer, first, last, stable) in [(8i64, 1i64, 2i64, 0i64), (7, 0, 3, 4)] {
        expected.extend_from_slice(&[0, 0]);
        [producer, first, last, stable].iter().for_each(|field| expected.extend_from_slice(&field.to_be_bytes()));
    }
    let bytes: Vec<u8> = contents(&world).into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(bytes, expected);
    let other = World::new(small());
    other.put(1, 0);
    other.end(1, true);
    assert_eq!(index_files(&other), Vec::<String>::new(), "there is none where nothing was aborted");
}

#[test]
fn after_a_kill_the_indexes_are_what_the_log_says() {
    let mut world = World::new(small());
    let expected = interleaved(&world);
    let sound = contents(&world);
    assert!(sound.len() > 3, "{} of them", sound.len());
    for (name, bytes) in &sound {
        let damaged = [vec![], vec![1; 34], bytes[..bytes.len() - 1].to_vec(), [bytes.clone(), bytes.clone()].concat()];
        for (nth, wrong) in damaged.iter().enumerate() {
            world.disk.remove("t-0", name).expect("removed");
            if nth > 0 {
                world.disk.open("t-0", name).expect("opened").append(wrong.clone().into()).expect("written");
            }
            world.kill();
            assert_eq!(contents(&world), sound, "{name}, damage {nth}");
            assert_eq!(committed(&world.partition), expected);
        }
    }
    // What a crash left of a file that was to take another's place.
    let file = world.disk.open("t-0", "00000000000000000000.txnindex.new").expect("made");
    file.append(vec![1].into()).expect("written");
    world.kill();
    assert!(!world.disk.files("t-0").expect("listed").iter().any(|name| name.ends_with(".new")));
}

#[test]
fn a_damaged_index_of_a_log_that_was_closed_is_made_anew() {
    let mut world = World::new(small());
    let expected = interleaved(&world);
    let sound = contents(&world);
    for (name, bytes) in &sound {
        let flipped = |at: usize| bytes.iter().enumerate().map(|(n, byte)| byte ^ (u8::from(n == at) << 7)).collect::<Vec<u8>>();
        for wrong in [bytes[..33].to_vec(), vec![9; 68], flipped(0), flipped(2), flipped(10), flipped(18), flipped(26)] {
            world.partition.close().expect("closed");
            let file = world.disk.open("t-0", name).expect("opened");
            file.truncate(0).expect("cut");
            file.append(wrong.clone().into()).expect("written");
            world.stop();
            assert_eq!(contents(&world), sound, "{name}: {wrong:?}");
            assert_eq!(committed(&world.partition), expected);
            // It is durable, since nobody would look again.
            world.disk.crash();
            world.stop();
            assert_eq!((contents(&world), committed(&world.partition)), (sound.clone(), expected.clone()));
        }
    }
}

#[test]
fn an_index_goes_with_its_segment() {
    let world = World::new(but(|topic| (topic.segment_bytes, topic.retention_ms, topic.file_delete_delay_ms) = (150, -1, 0)));
    let expected = interleaved(&world);
    let before = index_files(&world).len();
    let start = expected[expected.len() / 2];
    world.partition.delete_records(start).expect("deleted");
    world.partition.retain().expect("looked");
    world.partition.remove_files().expect("removed");
    let names = index_files(&world);
    assert!(!names.is_empty() && names.len() < before, "{names:?} of {before}");
    let is_there = |name: &String| world.disk.size("t-0", &name.replace("txnindex", "log")).expect("asked").is_some();
    assert!(names.iter().all(is_there), "{names:?}");
    let left: Vec<i64> = expected.into_iter().filter(|offset| *offset >= start).collect();
    assert_eq!(committed(&world.partition), left);
}

#[test]
fn a_disk_that_takes_no_entry_poisons_the_log() {
    let mut world = World::new(small());
    world.put(1, 0);
    for operations in 0.. {
        world.disk.fail_after(operations);
        let ended = world.try_end(&ending(1, 0, 0, false));
        world.disk.heal();
        if let Ok(marker) = ended {
            assert!(operations > 1, "it takes the marker and the entry");
            assert_eq!(world.stable(), marker + 1);
            break;
        }
        assert!(world.try_put(5, 0, 0, false).is_err(), "{operations}: what is on disk is unknown");
        world.kill();
        assert_eq!(committed(&world.partition), Vec::<i64>::new(), "{operations}");
    }
}

#[test]
fn an_entry_that_outlived_a_kill_is_made_durable_with_its_marker() {
    let mut world = World::new(small());
    world.put(1, 0);
    world.end(1, false);
    // Nothing was synced yet; afterwards its segment is one that nobody looks through.
    world.kill();
    world.partition.sync().expect("synced");
    for sequence in 0..5 {
        world.try_put(9, 0, sequence, false).expect("produced");
    }
    world.partition.sync().expect("synced");
    let opening = Opening { recovery_point: world.partition.recovery_point(), ..Opening::default() };
    world.disk.crash();
    world.partition = World::open(&world.disk, &world.time, small(), opening);
    assert_eq!(committed(&world.partition), [2, 3, 4, 5, 6]);
}
