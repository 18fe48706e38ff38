//! Transactions of a partition: what opens and ends one, what stays undecided, and that a stop forgets nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::BytesMut;

use super::tests::{NOW, all, around, but, with};
use super::{Flusher, PartitionConfig, PartitionHandle, Surroundings, TransactionEnd};
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::record::{BatchBuilder, Marker, at};
use crate::storage::MemoryDisk;
use crate::time::Clock;

#[derive(Debug, Clone)]
struct Time(Arc<AtomicI64>);

impl Clock for Time {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        (self.wall_ms() - NOW) as u64
    }
}

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
        let (disk, time) = (MemoryDisk::new(), Time(Arc::new(AtomicI64::new(NOW))));
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
    world.time.0.fetch_add(10 * 86_400_000, Ordering::Relaxed);
    for _ in 0..2 {
        world.partition.retain().expect("looked");
        assert_eq!((world.start_of(1), world.stable()), (Some(0), 0));
        assert_eq!(world.partition.producers().len(), 1);
        world.stop();
    }
    world.end(1, true);
    world.time.0.fetch_add(10 * 86_400_000, Ordering::Relaxed);
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

#[test]
fn a_marker_decides_when_it_is_durable() {
    let mut topic = with(crate::topic_config::TopicConfig::default());
    topic.topic.flush_messages = 1;
    let time = Time(Arc::new(AtomicI64::new(NOW)));
    let surroundings =
        Surroundings { disk: Arc::new(MemoryDisk::new()), clock: Arc::new(time.clone()), flusher: Arc::new(Never) };
    let opened = PartitionHandle::open(Arc::new(surroundings), TopicPartition::new("t", 0), topic, Opening::default());
    let world = World { disk: MemoryDisk::new(), time, partition: opened.expect("opened") };
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
    world.time.0.fetch_add(5, Ordering::Relaxed);
    world.end(1, true);
    for _ in 0..2 {
        assert_eq!(world.partition.offset_of_max_timestamp().expect("asked"), Some((0, NOW)));
        assert_eq!(world.partition.offset_for_timestamp(NOW + 1).expect("asked"), None);
        world.kill();
    }
}
