//! Old records go: by size, by age, by order; segments end by age.

use std::sync::Arc;

use super::PartitionHandle;
use super::tests::{NOW, Time, around, with};
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::record::{BatchBuilder, batches};
use crate::storage::{Disk, MemoryDisk};
use crate::time::Clock;
use crate::topic_config::TopicConfig;

struct World {
    disk: MemoryDisk,
    time: Time,
    partition: PartitionHandle,
}

/// Settings by which nothing goes.
fn keep() -> TopicConfig {
    TopicConfig { retention_ms: -1, segment_ms: i64::MAX, ..TopicConfig::default() }
}

fn one(timestamp: i64) -> bytes::BytesMut {
    let mut builder = BatchBuilder::new();
    builder.append(timestamp, None, Some(&[7; 100]), &[]);
    builder.build()
}

impl World {
    /// Segments of two batches of one record each, if the settings do not say otherwise.
    fn new(topic: TopicConfig) -> Self {
        let (disk, time) = (MemoryDisk::new(), Time::now());
        let size = one(NOW).len() as i64;
        let segment_bytes = if topic.segment_bytes == keep().segment_bytes { 2 * size } else { topic.segment_bytes };
        let config = with(TopicConfig { segment_bytes, ..topic });
        let id = TopicPartition::new("t", 0);
        let partition =
            PartitionHandle::open(around(Arc::new(disk.clone()), Arc::new(time.clone())), id, config, Opening::default());
        Self { disk, time, partition: partition.expect("opened") }
    }

    fn produce(&self, count: usize) {
        for _ in 0..count {
            self.partition.produce(one(self.time.wall_ms())).expect("produced");
        }
    }

    /// The segments' first offsets.
    fn segments(&self) -> Vec<i64> {
        let names = self.disk.files("t-0").expect("listed");
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect()
    }

    fn files(&self, ending: &str) -> usize {
        self.disk.files("t-0").expect("listed").iter().filter(|name| name.ends_with(ending)).count()
    }

    fn readable(&self) -> Vec<i64> {
        let fetched = self.partition.fetch(self.partition.log_start(), usize::MAX).expect("fetched");
        let all = fetched.batches.iter().flat_map(batches).map(|batch| batch.expect("sound").base_offset());
        all.filter(|offset| *offset >= self.partition.log_start()).collect()
    }
}

#[test]
fn fact_15_the_oldest_segments_go_by_size_and_never_more_than_is_over() {
    let size = one(NOW).len() as i64 * 2;
    for (bytes, left) in [(3 * size, 6), (3 * size - 1, 6), (3 * size + 1, 8), (4 * size, 8), (5 * size, 10), (0, 0)] {
        let world = World::new(TopicConfig { retention_bytes: bytes, ..keep() });
        world.produce(10);
        world.partition.retain().expect("retained");
        assert_eq!(world.readable(), (10 - left..10).collect::<Vec<_>>(), "{bytes} bytes");
        assert_eq!(world.partition.log_start(), 10 - left);
    }
}

#[test]
fn fact_16_when_everything_is_old_the_log_goes_on_empty_where_it_ended() {
    let world = World::new(TopicConfig { retention_ms: 1000, ..keep() });
    world.produce(5);
    world.time.pass(1000);
    world.partition.retain().expect("retained");
    assert_eq!(world.readable().len(), 5, "not older than it may become");
    world.time.pass(1);
    for _ in 0..2 {
        world.partition.retain().expect("retained");
        assert_eq!((world.partition.log_start(), world.partition.end_offset()), (5, 5));
        assert_eq!(world.segments(), [5]);
    }
    world.produce(1);
    assert_eq!(world.readable(), [5]);
    assert_eq!(world.partition.fetch(4, 1).expect_err("gone").code(), ErrorCode::OffsetOutOfRange);
}

#[test]
fn a_record_of_tomorrow_keeps_its_segment_and_those_behind_it() {
    let world = World::new(TopicConfig { retention_ms: 1000, ..keep() });
    world.produce(2);
    world.partition.produce(one(NOW + 60_000)).expect("produced");
    world.produce(4);
    world.time.pass(50_000);
    world.partition.retain().expect("retained");
    assert_eq!(world.readable(), [2, 3, 4, 5, 6]);
    world.time.pass(11_001);
    world.partition.retain().expect("retained");
    assert!(world.readable().is_empty());
}

#[test]
fn without_timestamps_age_counts_from_when_the_segment_was_seen() {
    let world = World::new(TopicConfig { retention_ms: 1000, ..keep() });
    for _ in 0..4 {
        world.partition.produce(one(-1)).expect("produced");
    }
    world.time.pass(1001);
    world.partition.retain().expect("retained");
    assert_eq!(world.partition.log_start(), 4);
}

#[test]
fn a_removed_segments_files_stay_for_a_while_for_who_reads_them() {
    let world = World::new(TopicConfig { retention_bytes: 0, file_delete_delay_ms: 500, ..keep() });
    world.produce(4);
    world.partition.retain().expect("retained");
    assert_eq!((world.files(".log"), world.files(".log.deleted")), (1, 2));
    assert_eq!(world.partition.remove_files().expect("removed"), Some(500));
    world.time.pass(499);
    world.partition.remove_files().expect("removed");
    assert_eq!(world.files(".deleted"), 2 * 2 + 1, "with their time indexes, and the snapshot that the second starts with");
    world.time.pass(1);
    assert_eq!(world.partition.remove_files().expect("removed"), None);
    assert_eq!((world.files(".deleted"), world.segments()), (0, vec![4]));
}

#[test]
fn records_are_deleted_up_to_an_offset_and_stay_deleted() {
    let world = World::new(keep());
    world.produce(7);
    for (before, start) in [(3, 3), (1, 3), (0, 3), (4, 4)] {
        assert_eq!(world.partition.delete_records(before).expect("deleted"), start, "the start never goes back");
        assert_eq!(world.readable(), (start..7).collect::<Vec<_>>());
    }
    for before in [-2, 8, i64::MIN, i64::MAX] {
        let error = world.partition.delete_records(before).expect_err("outside");
        assert_eq!(error.code(), ErrorCode::OffsetOutOfRange, "{error}");
    }
    assert_eq!(world.partition.fetch(3, 1).expect_err("deleted").code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(world.partition.offset_for_timestamp(0).expect("found"), Some((4, NOW)));
    world.partition.retain().expect("retained");
    assert_eq!(world.segments(), [4, 6], "segments wholly before the start go");
    assert_eq!(world.partition.delete_records(-1).expect("deleted"), 7);
    world.partition.retain().expect("retained");
    assert_eq!((world.segments(), world.readable()), (vec![7], vec![]));
    world.produce(1);
    assert_eq!(world.readable(), [7]);
}

#[test]
fn a_segment_ends_when_its_first_record_is_old() {
    let world = World::new(TopicConfig { segment_ms: 1000, ..keep() });
    world.produce(1);
    world.time.pass(1000);
    world.produce(1);
    assert_eq!(world.segments(), [0]);
    let world = World::new(TopicConfig { segment_ms: 1000, ..keep() });
    world.produce(1);
    world.time.pass(1001);
    world.produce(1);
    assert_eq!(world.segments(), [0, 1]);
    // The records' own time counts, not the clock's.
    world.partition.produce(one(NOW + 2003)).expect("produced");
    assert_eq!(world.segments(), [0, 1, 2]);
    // Without timestamps, the clock's.
    let world = World::new(TopicConfig { segment_ms: 1000, ..keep() });
    world.partition.produce(one(-1)).expect("produced");
    world.time.pass(1001);
    world.partition.produce(one(-1)).expect("produced");
    assert_eq!(world.segments(), [0, 1]);
}

#[test]
fn jitter_makes_segments_end_sooner_each_by_its_own() {
    let config = TopicConfig { segment_ms: 1000, segment_jitter_ms: 600, segment_bytes: 1 << 20, ..keep() };
    let ages = || {
        let world = World::new(config.clone());
        for _ in 0..600 {
            world.produce(1);
            world.time.pass(10);
        }
        let bases = world.segments();
        bases.windows(2).map(|pair| (pair[1] - pair[0]) * 10).collect::<Vec<_>>()
    };
    let first = ages();
    assert_eq!(first, ages(), "the same log ends its segments at the same ages");
    assert!(first.iter().all(|age| (400..=1010).contains(age)), "{first:?}");
    assert!(first.windows(2).any(|pair| pair[0] != pair[1]), "{first:?}");
}

#[test]
fn what_was_deleted_makes_nothing_durable() {
    let world = World::new(keep());
    world.produce(4);
    let mut builder = BatchBuilder::new();
    for _ in 0..3 {
        builder.append(NOW, None, Some(&[7; 40]), &[]);
    }
    world.partition.produce(builder.build()).expect("produced");
    // Inside the last batch, of which a power cut may leave a part.
    world.partition.delete_records(5).expect("deleted");
    world.partition.retain().expect("retained");
    assert_eq!((world.partition.log_start(), world.segments()), (5, vec![4]));
    assert_eq!(world.partition.recovery_point(), 4, "the segment that is appended to was never synced");
}
