//! Snapshots of producers: their bytes, and that they say what the log says.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::producer_snapshot::{decode, encode};
use super::producer_state::{Appended, ProducerState, ProducerStates};
use super::tests::{NOW, Time, around, but};
use super::{PartitionConfig, PartitionHandle};
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::record::BatchBuilder;
use crate::record::checksum::crc32c;
use crate::storage::{Disk, MemoryDisk, read_whole};

/// A disk and a clock that outlive the partition.
struct World {
    disk: MemoryDisk,
    time: Time,
}

/// Two batches of [`from`] a segment.
fn small() -> PartitionConfig {
    but(|topic| (topic.segment_bytes, topic.retention_bytes) = (150, -1))
}

fn from(id: i64, sequence: i32) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 0, sequence);
    builder.append(NOW, None, None, &[]);
    builder.build()
}

impl World {
    fn new() -> Self {
        Self { disk: MemoryDisk::new(), time: Time::now() }
    }

    fn open(&self, config: PartitionConfig, opening: Opening) -> PartitionHandle {
        let surroundings = around(Arc::new(self.disk.clone()), Arc::new(self.time.clone()));
        PartitionHandle::open(surroundings, TopicPartition::new("t", 0), config, opening).expect("opened")
    }

    /// As after a kill: nothing is known to be durable.
    fn killed(&self) -> PartitionHandle {
        self.open(small(), Opening::default())
    }

    /// As after a stop in order.
    fn stopped(&self, partition: &PartitionHandle) -> PartitionHandle {
        partition.close().expect("closed");
        let (recovery_point, log_start) = (partition.recovery_point(), partition.log_start());
        self.open(small(), Opening { clean: true, recovery_point, log_start, compacted_to: None })
    }

    fn snapshots(&self) -> Vec<i64> {
        let names = self.disk.files("t-0").expect("listed");
        names.iter().filter_map(|name| name.strip_suffix(".snapshot")?.parse().ok()).collect()
    }

    fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        let file = self.disk.open("t-0", name).expect("opened");
        file.truncate(0).expect("cut");
        file.append(bytes.into()).expect("written");
    }
}

/// The offset of a batch that was there before; none for a new one.
fn duplicate(partition: &PartitionHandle, id: i64, sequence: i32) -> Result<Option<i64>, ErrorCode> {
    let produced = partition.produce(from(id, sequence)).map_err(|error| error.code())?;
    Ok(produced.duplicate.then_some(produced.base_offset))
}

fn states() -> ProducerStates {
    let mut states = ProducerStates::default();
    let last = Appended { last_sequence: 9, last_offset: 30, offset_delta: 4, timestamp: 1 };
    states.insert(7, ProducerState::with_last(3, Some(last), NOW));
    states.insert(8, ProducerState::with_last(0, None, NOW - 1));
    states
}

#[test]
fn its_bytes_are_kafkas() {
    let bytes = encode(&states());
    let mut expected = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 4]);
    expected.extend_from_slice(&NOW.to_be_bytes());
    expected.extend_from_slice(&[0xff; 12]);
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
    expected.extend_from_slice(&[0xff; 12]);
    expected.extend_from_slice(&[0; 4]);
    expected.extend_from_slice(&(NOW - 1).to_be_bytes());
    expected.extend_from_slice(&[0xff; 12]);
    let crc = crc32c(&expected[6..]);
    expected[2..6].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(bytes, expected);
    let read = decode(&bytes, 31, NOW).expect("sound");
    assert_eq!(encode(&read), bytes);
    assert_eq!(encode(&decode(&encode(&ProducerStates::default()), 0, NOW).expect("empty")).len(), 10);
}

#[test]
fn a_damaged_one_is_told() {
    let bytes = encode(&states());
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut], 31, NOW).is_err(), "cut to {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged, 31, NOW).is_err(), "bit {bit}");
    }
    assert!(decode(&bytes, 30, NOW).expect_err("it speaks of what was not there yet").contains("offset 30"));
}

#[test]
fn a_snapshot_is_durable_with_what_stands_behind_it() {
    let world = World::new();
    let mut config = small();
    config.topic.flush_messages = 1;
    let partition = world.open(config, Opening::default());
    for sequence in 0..7 {
        partition.produce(from(1, sequence)).expect("produced");
    }
    // The segments before may be deleted, and are gone for good then: the producer must not go with them.
    world.disk.crash();
    for offset in [2, 4, 6] {
        let bytes = read_whole(&world.disk, "t-0", &format!("{offset:020}.snapshot")).expect("read").expect("there");
        decode(&bytes, offset, NOW).expect("sound");
    }
}

#[test]
fn after_a_stop_in_order_nothing_else_is_needed() {
    let world = World::new();
    let partition = world.killed();
    for sequence in 0..7 {
        partition.produce(from(1, sequence)).expect("produced");
    }
    partition.close().expect("closed");
    assert_eq!(world.snapshots(), [2, 4, 6, 7]);
    // Whoever walked the log would stumble here.
    world.put("00000000000000000000.log", vec![0xff; 100]);
    for passed in [0, 600_000] {
        world.time.pass(passed);
        assert_eq!(duplicate(&world.stopped(&partition), 1, 6), Ok(Some(6)));
    }
    let partition = world.stopped(&partition);
    assert_eq!(duplicate(&partition, 1, 8), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(duplicate(&partition, 1, 7), Ok(None));
    // What is there again is not written again.
    let before = world.snapshots();
    let partition = world.stopped(&world.stopped(&partition));
    assert_eq!((before, world.snapshots()), (vec![2, 4, 6, 7], vec![2, 4, 6, 8]));
    assert_eq!(duplicate(&partition, 1, 7), Ok(Some(7)));
}

#[test]
fn after_a_stop_in_order_who_may_still_send_again_is_known_by_five_batches() {
    for (passed, known) in [(0, 5), (60_000, 5), (600_000, 1)] {
        let world = World::new();
        let partition = world.killed();
        for sequence in 0..9 {
            for id in [1, 2] {
                partition.produce(from(id, sequence)).expect("produced");
            }
        }
        partition.close().expect("closed");
        world.time.pass(passed);
        let partition = world.stopped(&partition);
        for id in [1, 2] {
            for sequence in 9 - known..9 {
                assert_eq!(duplicate(&partition, id, sequence), Ok(Some(i64::from(2 * sequence) + id - 1)), "{id}, {sequence}");
            }
            assert_eq!(duplicate(&partition, id, 8 - known), Err(ErrorCode::OutOfOrderSequenceNumber), "after {passed} ms");
            assert_eq!(duplicate(&partition, id, 10), Err(ErrorCode::OutOfOrderSequenceNumber));
            assert_eq!(duplicate(&partition, id, 9), Ok(None));
        }
    }
}

#[test]
fn after_a_kill_the_batches_of_the_last_two_segments_are_known() {
    for count in 1..12 {
        let world = World::new();
        let partition = world.killed();
        for sequence in 0..count {
            for id in [1, 2] {
                partition.produce(from(id, sequence)).expect("produced");
            }
        }
        let partition = world.killed();
        for id in [1, 2] {
            // Two segments hold two batches of each.
            for sequence in (count - 2).max(0)..count {
                assert_eq!(duplicate(&partition, id, sequence), Ok(Some(i64::from(2 * sequence) + id - 1)), "{id} of {count}");
            }
            assert_eq!(duplicate(&partition, id, count + 1), Err(ErrorCode::OutOfOrderSequenceNumber));
        }
    }
}

#[test]
fn one_that_is_gone_or_damaged_costs_a_longer_walk() {
    type Harm = fn(&World, &str);
    let harms: [Harm; 3] = [
        |world, name| world.disk.remove("t-0", name).expect("removed"),
        |world, name| world.put(name, vec![1; 5]),
        |world, name| {
            let mut bytes = read_whole(&world.disk, "t-0", name).expect("read").expect("there");
            bytes[20] ^= 1;
            world.put(name, bytes);
        },
    ];
    for harm in harms {
        for harmed in 1..5 {
            let world = World::new();
            let partition = world.killed();
            partition.produce(from(2, 0)).expect("produced");
            for sequence in 0..7 {
                partition.produce(from(1, sequence)).expect("produced");
            }
            partition.close().expect("closed");
            for offset in world.snapshots().into_iter().rev().take(harmed) {
                harm(&world, &format!("{offset:020}.snapshot"));
            }
            for partition in [world.stopped(&partition), world.killed()] {
                assert_eq!(duplicate(&partition, 2, 0), Ok(Some(0)), "{harmed} harmed");
                assert_eq!(duplicate(&partition, 1, 6), Ok(Some(7)));
                assert_eq!(duplicate(&partition, 1, 8), Err(ErrorCode::OutOfOrderSequenceNumber));
            }
        }
    }
}

#[test]
fn one_that_speaks_of_what_the_log_lost_is_removed() {
    let world = World::new();
    let partition = world.killed();
    partition.produce(from(1, 0)).expect("produced");
    let mut states = ProducerStates::default();
    let last = Appended { last_sequence: 9, last_offset: 5, offset_delta: 0, timestamp: NOW };
    states.insert(1, ProducerState::with_last(0, Some(last), NOW));
    world.put("00000000000000000006.snapshot", encode(&states));
    let partition = world.killed();
    assert!(world.snapshots().is_empty());
    assert_eq!(duplicate(&partition, 1, 1), Ok(None));
}

#[test]
fn they_go_with_their_segments_and_the_producers_stay() {
    let world = World::new();
    let partition = world.killed();
    for sequence in 0..7 {
        partition.produce(from(1, sequence)).expect("produced");
    }
    partition.delete_records(5).expect("deleted");
    partition.retain().expect("retained");
    assert_eq!(world.snapshots(), [4, 6]);
    partition.delete_records(7).expect("deleted");
    partition.retain().expect("retained");
    assert_eq!((partition.log_start(), world.snapshots()), (7, vec![7]));
    let partition = world.open(small(), Opening { log_start: 7, ..Opening::default() });
    assert_eq!(duplicate(&partition, 1, 6), Ok(Some(6)), "though the log is empty");
    assert_eq!(duplicate(&partition, 1, 7), Ok(None));
}

/// What was deleted and is still in its segment was written: else its producer's next batch would come too early.
#[test]
fn after_a_kill_what_was_deleted_is_known_too() {
    let world = World::new();
    let partition = world.killed();
    for sequence in 0..6 {
        partition.produce(from(1, sequence)).expect("produced");
    }
    assert_eq!((partition.delete_records(6).expect("deleted"), world.snapshots()), (6, vec![2, 4]));
    let partition = world.open(small(), Opening { log_start: 6, ..Opening::default() });
    assert_eq!(duplicate(&partition, 1, 6), Ok(None), "though its last batch cannot be read any more");
}

#[test]
fn who_writes_nothing_for_long_is_forgotten_though_nobody_else_writes() {
    let world = World::new();
    let partition = world.killed();
    let (expiration, interval) = (small().producer_id_expiration_ms, small().producer_id_expiration_check_interval_ms);
    partition.produce(from(1, 5)).expect("produced");
    world.time.pass(expiration - 1);
    partition.retain().expect("looked");
    assert_eq!(partition.producers().len(), 1);
    world.time.pass(interval);
    partition.retain().expect("looked");
    assert_eq!(partition.producers().len(), 0);
}

#[test]
fn who_wrote_nothing_for_long_is_not_there_again() {
    let world = World::new();
    let partition = world.killed();
    let expiration = small().producer_id_expiration_ms;
    partition.produce(from(1, 5)).expect("produced");
    world.time.pass(expiration - 1);
    partition.produce(from(2, 5)).expect("produced");
    let partition = world.stopped(&partition);
    assert_eq!(partition.producers().len(), 2);
    world.time.pass(1);
    let partition = world.stopped(&partition);
    assert_eq!(partition.producers().iter().map(|producer| producer.id).collect::<Vec<_>>(), [2]);
}

/// What happens to a partition.
#[derive(Debug, Clone, Copy)]
enum Step {
    Produce(i64),
    Kill,
    Stop,
    /// Records go, all but so many, and what retention may remove.
    Delete(i64),
    Minutes(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4i64).prop_map(Step::Produce),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
        1 => (0..6i64).prop_map(Step::Delete),
        1 => (1..20i64).prop_map(Step::Minutes),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever happens, each producer's last batch is known by its offset, and the next one is taken.
    #[test]
    fn a_producers_last_batch_is_never_forgotten(steps in steps()) {
        let world = World::new();
        let mut partition = world.killed();
        let mut last: BTreeMap<i64, (i32, i64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Produce(id) => {
                    let sequence = last.get(&id).map_or(0, |(sequence, _)| sequence + 1);
                    let produced = partition.produce(from(id, sequence)).expect("the next one is taken");
                    prop_assert!(!produced.duplicate);
                    last.insert(id, (sequence, produced.base_offset));
                }
                Step::Kill => {
                    let opening = Opening { log_start: partition.log_start(), ..Opening::default() };
                    partition = world.open(small(), opening);
                }
                Step::Stop => partition = world.stopped(&partition),
                Step::Delete(but) => {
                    partition.delete_records((partition.end_offset() - but).max(0)).expect("deleted");
                    partition.retain().expect("retained");
                }
                Step::Minutes(minutes) => {
                    world.time.pass(minutes * 60_000);
                }
            }
            for (id, (sequence, offset)) in &last {
                prop_assert_eq!(duplicate(&partition, *id, *sequence), Ok(Some(*offset)), "producer {} after {:?}", id, step);
                prop_assert_eq!(duplicate(&partition, *id, sequence + 2), Err(ErrorCode::OutOfOrderSequenceNumber));
            }
        }
    }
}
