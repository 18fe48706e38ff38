//! Timestamps: who sets them, how far off they may be, and how they are searched.

use super::*;

const HOUR: i64 = 3_600_000;

fn at(timestamps: &[i64]) -> BytesMut {
    let mut builder = BatchBuilder::new();
    for timestamp in timestamps {
        builder.append(*timestamp, Some(b"k"), Some(b"v"), &[]);
    }
    builder.build()
}

#[test]
fn fact_12_with_log_append_time_the_broker_says_when() {
    let world = World::new();
    let t = world.topic(&[("message.timestamp.type", "LogAppendTime")]);
    world.clock.pass(500);
    let produced = t.produce(at(&[5, NOW + 9 * HOUR])).expect("a producer's times do not matter");
    assert_eq!(produced.log_append_time, Some(NOW + 500));
    let batch = stored(&t).remove(0);
    batch.verify_crc().expect("computed anew");
    assert_eq!((batch.is_log_append_time(), batch.max_timestamp()), (true, NOW + 500));
    assert!(batch.records().all(|record| record.expect("sound").timestamp == NOW + 500));
    let t = World::new().topic(&[]);
    assert_eq!(t.produce(at(&[5])).expect("produced").log_append_time, None);
    assert!(!stored(&t)[0].is_log_append_time());
}

#[test]
fn fact_13_a_time_too_far_ahead_refuses_the_whole_batch_and_names_the_records() {
    let t = World::new().topic(&[]);
    let error = t.produce(at(&[NOW, NOW + HOUR + 1, NOW + HOUR, NOW + 2 * HOUR])).expect_err("over an hour");
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    assert_eq!(error.record_errors().iter().map(|record| record.batch_index).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(t.end_offset(), 0);
    assert_eq!(produce(&t, at(&[NOW + HOUR, -1, 0])), Ok(0));
    let t = World::new().topic(&[("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "10")]);
    for (timestamp, expected) in [
        (NOW - 1001, Err(ErrorCode::InvalidTimestamp)),
        (NOW + 11, Err(ErrorCode::InvalidTimestamp)),
        (NOW - 1000, Ok(0)),
        (NOW + 10, Ok(1)),
    ] {
        assert_eq!(produce(&t, at(&[timestamp])), expected, "{timestamp}");
    }
}

#[test]
fn fact_14_offsets_are_found_by_time() {
    for batches in [&[&[10, 20, 30][..]][..], &[&[10], &[20], &[30]], &[&[10, 20], &[30]]] {
        let t = World::new().topic(&[]);
        for timestamps in batches {
            t.produce(at(timestamps)).expect("produced");
        }
        for (timestamp, expected) in
            [(0, Some((0, 10))), (10, Some((0, 10))), (15, Some((1, 20))), (30, Some((2, 30))), (31, None)]
        {
            assert_eq!(t.offset_for_timestamp(timestamp).expect("looked"), expected, "{timestamp} in {batches:?}");
        }
        assert_eq!(t.offset_of_max_timestamp().expect("looked"), Some((2, 30)));
        t.produce(at(&[7])).expect("produced");
        assert_eq!(t.offset_of_max_timestamp().expect("looked"), Some((2, 30)), "not the last record's");
    }
}
