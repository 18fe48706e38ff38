//! What a partition holds that nobody uses: a broker may have very many of them.

use std::alloc::System;

use broker_core::record::BatchBuilder;
use broker_core::{Broker, NewTopic};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PARTITIONS: i32 = 2000;

/// A broker, and what it holds that was not held before.
fn open(dir: &tempfile::TempDir) -> (Broker, i32) {
    let region = Region::new(ALLOCATOR);
    let broker = Broker::open(dir.path()).expect("opened");
    let change = region.change();
    (broker, change.bytes_allocated as i32 - change.bytes_deallocated as i32)
}

#[tokio::test]
async fn after_a_stop_in_order_an_idle_partition_holds_less_than_a_kibibyte() {
    // In memory if there is such a place: closing syncs each partition, and it is not the disk that is looked at.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder");
    let (broker, empty) = open(&dir);
    broker.create_topic(&NewTopic::new("many").partitions(PARTITIONS)).expect("made");
    for number in 0..PARTITIONS {
        let mut batch = BatchBuilder::new();
        batch.append(broker.clock().wall_ms(), Some(b"key"), Some(&[7; 100]), &[]);
        broker.partition("many", number).expect("there").produce(batch.build()).expect("produced");
    }
    broker.close().await.expect("closed");
    drop(broker);
    let (broker, full) = open(&dir);
    let held = (full - empty) / PARTITIONS;
    assert!((1..1024).contains(&held), "{held} bytes a partition");
    assert_eq!(broker.partition("many", PARTITIONS - 1).expect("there").end_offset(), 1);
}
