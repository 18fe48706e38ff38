//! Idempotent producers.

use super::*;

/// A batch of producer 7.
fn from(epoch: i16, sequence: i32, count: usize) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(7, epoch, sequence);
    fill(builder, count)
}

#[test]
fn fact_34_a_batch_that_is_sent_twice_is_stored_once_and_told_the_same_offset() {
    let world = World::new();
    let t = world.topic(&[]);
    assert_eq!(produce(&t, batch(4)), Ok(0));
    for (sequence, count, base) in [(0, 3, 4), (3, 2, 7)] {
        let first = t.produce(from(0, sequence, count)).expect("new");
        let again = t.produce(from(0, sequence, count)).expect("a duplicate is no error");
        assert_eq!((first.base_offset, first.duplicate), (base, false));
        assert_eq!((again.base_offset, again.duplicate), (base, true));
    }
    assert_eq!((t.end_offset(), stored(&t).len()), (9, 3));
}

#[test]
fn fact_34_the_last_five_batches_are_known_and_no_older_one() {
    let world = World::new();
    let t = world.topic(&[]);
    for n in 0..6 {
        assert_eq!(produce(&t, from(0, 2 * n, 2)), Ok(2 * i64::from(n)));
    }
    for n in 1..6 {
        assert_eq!(produce(&t, from(0, 2 * n, 2)), Ok(2 * i64::from(n)), "batch {n}");
    }
    assert_eq!(produce(&t, from(0, 0, 2)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(produce(&t, from(0, 10, 1)), Err(ErrorCode::OutOfOrderSequenceNumber), "only a part of the last batch");
    assert_eq!(t.end_offset(), 12);
}

#[test]
fn fact_34_with_log_append_time_a_duplicate_is_told_the_time_of_then() {
    let world = World::new();
    let t = world.topic(&[("message.timestamp.type", "LogAppendTime")]);
    let first = t.produce(from(0, 0, 1)).expect("new");
    world.clock.pass(1000);
    let again = t.produce(from(0, 0, 1)).expect("a duplicate");
    assert_eq!((first.log_append_time, again.log_append_time), (Some(NOW), Some(NOW)));
}

#[test]
fn fact_35_a_gap_in_the_sequence_is_refused() {
    let world = World::new();
    let t = world.topic(&[]);
    assert_eq!(produce(&t, from(0, 0, 10)), Ok(0));
    assert_eq!(produce(&t, from(0, 11, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(t.end_offset(), 10);
    assert_eq!(produce(&t, from(0, 10, 1)), Ok(10));
}

#[test]
fn fact_37_an_older_epoch_is_fenced_and_a_newer_one_begins_at_0() {
    let world = World::new();
    let t = world.topic(&[]);
    assert_eq!(produce(&t, from(3, 0, 2)), Ok(0));
    assert_eq!(produce(&t, from(2, 2, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(produce(&t, from(4, 2, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(t.end_offset(), 2);
    assert_eq!(produce(&t, from(4, 0, 2)), Ok(2), "the same sequences in a new epoch are no duplicate");
    assert_eq!(produce(&t, from(3, 2, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(produce(&t, from(4, 2, 1)), Ok(4));
}

#[test]
fn fact_38_behind_the_largest_sequence_comes_0() {
    let world = World::new();
    let t = world.topic(&[]);
    assert_eq!(produce(&t, from(0, i32::MAX - 1, 2)), Ok(0));
    assert_eq!(produce(&t, from(0, 0, 1)), Ok(2));
    assert_eq!(produce(&t, from(0, i32::MAX - 1, 2)), Ok(0), "a duplicate");
    assert_eq!(produce(&t, from(0, 1, 1)), Ok(3));
    // A batch may lie across.
    let mut builder = BatchBuilder::new();
    builder.producer(8, 0, i32::MAX);
    assert_eq!(produce(&t, fill(builder, 3)), Ok(4));
    let mut builder = BatchBuilder::new();
    builder.producer(8, 0, 2);
    assert_eq!(produce(&t, fill(builder, 1)), Ok(7));
}

#[test]
fn fact_39_a_batch_that_is_sent_again_after_a_restart_is_a_duplicate() {
    let mut world = World::new();
    let t = world.topic(&[]);
    assert_eq!(produce(&t, from(0, 0, 3)), Ok(0));
    assert_eq!(produce(&t, from(0, 3, 2)), Ok(3));
    world.restart();
    let t = world.t();
    assert_eq!(produce(&t, from(0, 3, 2)), Ok(3));
    assert_eq!(t.end_offset(), 5);
    assert_eq!(produce(&t, from(0, 6, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(produce(&t, from(0, 5, 1)), Ok(5));
}

#[test]
fn fact_39_a_producer_that_outlives_a_power_cut_and_sends_again_makes_no_duplicate() {
    // The power fails before and after each write that a produce makes; the producer then sends again what was in flight.
    for sync in [false, true] {
        for lost in 0..4 {
            let mut world = World::new();
            world.topic(&[]);
            world.broker.sync().expect("synced");
            let mut sequence = 0;
            let mut acknowledged = Vec::new();
            for round in 0..4 {
                let t = world.t();
                if round == lost {
                    let in_flight = produce(&t, from(0, sequence, 2));
                    if sync {
                        world.broker.sync().expect("synced");
                    }
                    world.disk.crash();
                    world.restart();
                    assert!(in_flight.is_ok());
                }
                let base = produce(&world.t(), from(0, sequence, 2)).expect("sent again, or new");
                world.broker.sync().expect("synced");
                acknowledged.push(base);
                sequence += 2;
            }
            let values: usize = stored(&world.t()).iter().map(|batch| batch.records().count()).sum();
            assert_eq!((acknowledged, values), (vec![0, 2, 4, 6], 8), "lost in round {lost}, synced before: {sync}");
        }
    }
}

#[test]
fn fact_40_any_sequence_is_taken_from_a_producer_that_is_not_known() {
    let config =
        BrokerConfig { producer_id_expiration_ms: 1000, producer_id_expiration_check_interval_ms: 1, ..Default::default() };
    let world = World::with(config);
    let t = world.topic(&[]);
    assert_eq!(produce(&t, from(5, 17, 2)), Ok(0));
    assert_eq!(produce(&t, from(5, 50, 2)), Err(ErrorCode::OutOfOrderSequenceNumber));
    // Who writes nothing for producer.id.expiration.ms is forgotten: when somebody writes again.
    world.clock.pass(1000);
    let mut other = BatchBuilder::new();
    other.producer(8, 0, 0);
    assert_eq!(produce(&t, fill(other, 1)), Ok(2));
    assert_eq!(produce(&t, from(5, 50, 2)), Ok(3));
}

#[test]
fn fact_41_each_producer_id_is_given_once_and_at_epoch_0() {
    let mut world = World::new();
    let mut given = std::collections::BTreeSet::new();
    for round in 0..4 {
        for _ in 0..1500 {
            let (id, epoch) = world.broker.init_producer_id().expect("given");
            assert!(given.insert(id), "{id} twice, in round {round}");
            assert_eq!(epoch, 0);
        }
        // Whatever is lost, no id that was given is given again.
        if round % 2 == 0 {
            world.disk.crash();
        }
        world.restart();
    }
    world.disk.fail_after(0);
    for _ in 0..1000 {
        if let Err(error) = world.broker.init_producer_id() {
            assert_eq!(error.code(), ErrorCode::KafkaStorageError);
            return;
        }
    }
    panic!("ids are given that the disk does not know of");
}
