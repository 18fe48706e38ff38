//! How long a broker with many partitions takes to open after a stop in order, and what each holds while nobody uses it:
//! `cargo run --release -p broker-core --example open -- [PARTITIONS] [--json]`.
//!
//! Each partition has one segment with ten records. The first start after the stop counts, and the four after it, each behind a
//! stop in order of its own; beside them the same walk over the folders that does nothing but look at each file's size.

use std::alloc::System;
use std::path::Path;
use std::time::{Duration, Instant};

use broker_core::record::BatchBuilder;
use broker_core::{Broker, Error, NewTopic};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPICS: i32 = 10;
const ROUNDS: usize = 5;

fn fill(dir: &Path, partitions: i32) -> Result<Broker, Error> {
    let broker = Broker::open(dir)?;
    for topic in 0..TOPICS {
        let name = format!("topic-{topic}");
        broker.create_topic(&NewTopic::new(&name).partitions(partitions / TOPICS))?;
        for number in 0..partitions / TOPICS {
            let mut batch = BatchBuilder::new();
            for _ in 0..10 {
                batch.append(broker.clock().wall_ms(), Some(b"key"), Some(&[7; 100]), &[]);
            }
            broker.partition(&name, number)?.produce(batch.build())?;
        }
    }
    Ok(broker)
}

/// Looks at the size of each file of each folder.
fn walk(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { walk(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let partitions: i32 = arguments.iter().find_map(|text| text.parse().ok()).unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = tempfile::tempdir()?;
    runtime.block_on(fill(dir.path(), partitions)?.close())?;
    let (mut opened, mut walked, mut heap) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let region = Region::new(ALLOCATOR);
        let began = Instant::now();
        let broker = Broker::open(dir.path())?;
        opened.push(began.elapsed());
        let held = region.change();
        heap = held.bytes_allocated.saturating_sub(held.bytes_deallocated) / partitions as usize;
        assert_eq!(broker.partition("topic-3", partitions / TOPICS - 1)?.end_offset(), 10);
        runtime.block_on(broker.close())?;
        drop(broker);
        let began = Instant::now();
        assert!(walk(dir.path())? > 0);
        walked.push(began.elapsed());
    }
    let (seconds, walk_seconds) = (median(opened), median(walked));
    if arguments.iter().any(|argument| argument == "--json") {
        println!(
            r#"{{"bench":"open","partitions":{partitions},"seconds":{seconds:.3},"walk_seconds":{walk_seconds:.3},"heap_bytes_per_partition":{heap}}}"#
        );
    } else {
        println!("{partitions} partitions open in {seconds:.3} s (a walk over their files: {walk_seconds:.3} s)");
        println!("{heap} bytes of heap each");
    }
    Ok(())
}
