//! Records walked in their batch, and a copy of its bytes.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use broker_core::record::{Batch, BatchBuilder};

use crate::data::now_ms;

const BATCH_RECORDS: usize = 500;
const RECORDS: usize = 1_000_000;

/// What the runs gave.
#[derive(Default)]
pub struct Walked {
    pub records_per_s: Vec<f64>,
    /// The same records, their bytes copied.
    pub copied_per_s: Vec<f64>,
}

pub fn run(value_bytes: usize, runs: usize) -> Result<Walked> {
    let (mut builder, value) = (BatchBuilder::new(), vec![b'v'; value_bytes]);
    for _ in 0..BATCH_RECORDS {
        builder.append(now_ms(), Some(b"key-0001"), Some(&value), &[]);
    }
    let batch = Batch::parse(&builder.build().freeze())?;
    ensure!(walk(&batch) == BATCH_RECORDS * (8 + value_bytes), "not every record was walked");
    let mut copy = vec![0; batch.size()];
    let mut walked = Walked::default();
    for _ in 0..runs {
        let rate = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            (0..RECORDS / BATCH_RECORDS).for_each(|_| work());
            RECORDS as f64 / start.elapsed().as_secs_f64()
        };
        walked.records_per_s.push(rate(&mut || {
            black_box(walk(black_box(&batch)));
        }));
        walked.copied_per_s.push(rate(&mut || {
            copy.copy_from_slice(black_box(batch.bytes()));
            black_box(&mut copy);
        }));
    }
    Ok(walked)
}

/// Looks at each record's offset, time, key and value.
fn walk(batch: &Batch) -> usize {
    let mut sum = 0;
    for record in batch.records().flatten() {
        black_box((record.offset, record.timestamp));
        sum += record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
    }
    sum
}
