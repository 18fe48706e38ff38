//! How fast batches are built, appended, fetched and walked, in memory and in files:
//! `cargo run --release -p broker-core --example rates`.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use broker_core::record::{Batch, BatchBuilder, batches};
use broker_core::{Broker, Error, NewTopic, OffsetCommit};

const VALUE: [u8; 100] = [7; 100];
const ROUNDS: usize = 5;

/// The best of some rounds, in millions a second.
fn rate(what: &str, count: usize, mut work: impl FnMut()) {
    let best = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{what:<60} {:>8.2} M/s", count as f64 / best / 1e6);
}

fn build(builder: &mut BatchBuilder, records: usize, now: i64) -> bytes::BytesMut {
    for _ in 0..records {
        builder.append(now, Some(b"key-0001"), Some(&VALUE), &[]);
    }
    builder.build()
}

fn walk(batch: &Batch) -> usize {
    let mut sum = 0;
    for record in batch.records().flatten() {
        sum += record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
    }
    sum
}

fn main() -> Result<(), Error> {
    let mut builder = BatchBuilder::new();
    let batch = Batch::parse(&build(&mut builder, 500, 0).freeze()).expect("just built");
    rate("walk records of 100 B, batches of 500", 1_000_000, || {
        for _ in 0..2000 {
            black_box(walk(black_box(&batch)));
        }
    });
    rate("build records of 100 B, batches of 500", 1_000_000, || {
        for _ in 0..2000 {
            black_box(build(&mut builder, 500, 0));
        }
    });
    let dir = std::env::temp_dir().join(format!("rates-{}", std::process::id()));
    for (kind, broker) in [("memory", Broker::in_memory()), ("files", Broker::open(&dir)?)] {
        let now = broker.clock().wall_ms();
        for records in [1, 10, 100, 500] {
            let total = if records == 1 { 200_000 } else { 500_000 };
            let name = format!("t{records}");
            broker.create_topic(&NewTopic::new(&name).partitions(1))?;
            let partition = broker.partition(&name, 0)?;
            rate(&format!("{kind}: build and append, batches of {records}"), total, || {
                for _ in 0..total / records {
                    partition.produce(build(&mut builder, records, now)).expect("produced");
                }
            });
            for (what, max_bytes) in [("1 MiB", 1 << 20), ("16 KiB", 1 << 14)] {
                rate(&format!("{kind}: fetch {what} and walk, batches of {records}"), total * ROUNDS, || {
                    let mut next = 0;
                    while next < partition.end_offset() {
                        for run in partition.fetch(next, max_bytes).expect("fetched").batches {
                            for batch in batches(&run).flatten() {
                                next = batch.last_offset() + 1;
                                black_box(walk(&batch));
                            }
                        }
                    }
                });
            }
        }
        for (readers, label) in [(0, "alone"), (1, "beside a reader of 1 MiB")] {
            let name = format!("shared{readers}");
            broker.create_topic(&NewTopic::new(&name).partitions(1))?;
            let partition = broker.partition(&name, 0)?;
            let (done, total) = (AtomicBool::new(false), 500_000);
            std::thread::scope(|scope| {
                if readers > 0 {
                    // Always from the start: it never runs out of bytes to read.
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            let middle = partition.end_offset() / 2;
                            black_box(partition.fetch(middle, 1 << 20).expect("fetched"));
                        }
                    });
                }
                rate(&format!("{kind}: build and append, batches of 100, {label}"), total, || {
                    for _ in 0..total / 100 {
                        partition.produce(build(&mut builder, 100, now)).expect("produced");
                    }
                });
                done.store(true, Ordering::Relaxed);
            });
        }
        rate(&format!("{kind}: commits"), 200_000, || {
            for offset in 0..200_000 {
                let commit = OffsetCommit { topic: "t1", partition: 0, offset, leader_epoch: -1, metadata: "" };
                broker.commit_offsets("g", broker_core::MemberIdentity::administrator(), &[commit]).expect("stored");
            }
        });
    }
    let began = Instant::now();
    drop(Broker::open(&dir)?);
    println!("opened again in {:.2?}", began.elapsed());
    std::fs::remove_dir_all(&dir).ok();
    Ok(())
}
