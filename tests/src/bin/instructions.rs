//! Work whose instructions are counted: `tests/instructions.sh` runs it twice under valgrind, with more rounds the second time, and
//! takes the difference.

use std::hint::black_box;

use anyhow::{Context, Result, bail};
use broker_core::record::{Batch, BatchBuilder};
use broker_core::{Broker, NewTopic};
use bytes::{Bytes, BytesMut};

/// Records of 100 bytes in a batch.
const RECORDS: usize = 500;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (work, rounds) = (args.next().context("what to do")?, args.next().context("how many batches")?.parse()?);
    match work.as_str() {
        "append" => append(rounds),
        "iterate" => iterate(rounds),
        other => bail!("neither append nor iterate: {other}"),
    }
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new();
    for _ in 0..RECORDS {
        builder.append(1_700_000_000_000, None, Some(&[b'v'; 100]), &[]);
    }
    builder.build().freeze()
}

/// To a file, one batch a round.
fn append(rounds: usize) -> Result<()> {
    let (dir, batch) = (tempfile::tempdir()?, batch());
    let broker = Broker::open(dir.path())?;
    broker.create_topic(&NewTopic::new("counted").partitions(1))?;
    let partition = broker.partition("counted", 0)?;
    for _ in 0..rounds {
        partition.produce(BytesMut::from(&batch[..]))?;
    }
    Ok(())
}

/// One batch a round: each record's key, value, offset and time.
fn iterate(rounds: usize) -> Result<()> {
    let batch = Batch::parse(&batch())?;
    for _ in 0..rounds {
        for record in black_box(&batch).records() {
            let record = record?;
            black_box((record.offset, record.timestamp, record.key(), record.value()));
        }
    }
    Ok(())
}
