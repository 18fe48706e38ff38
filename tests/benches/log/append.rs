//! Produce, and plain writes of the same batches.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use broker_core::PartitionHandle;
use bytes::BytesMut;

use crate::args::{Args, Case};
use crate::data::{Data, Opened};

/// Producers that wait for the disk at a time: they share syncs.
const PRODUCERS: usize = 16;

/// Bytes a second.
pub struct Run {
    pub ours: f64,
    /// One write(2) a batch.
    pub plain: f64,
    /// One write(2) and one fdatasync(2) a batch, where ours waits for the disk.
    pub synced: Option<f64>,
}

/// To a broker that has some already.
pub fn run(args: &Args, case: Case, data: &Data, opened: &Opened) -> Result<Run> {
    let (batches, partitions) = (data.fresh(), &opened.partitions);
    let start = Instant::now();
    if case.durability.is_synced() {
        synced(batches, partitions)?;
    } else {
        produced(batches, partitions)?;
    }
    let ours = data.bytes() as f64 / start.elapsed().as_secs_f64();
    let plain = written(args, data, false)?;
    let synced = if case.durability.is_synced() { Some(written(args, data, true)?) } else { None };
    Ok(Run { ours, plain, synced })
}

pub fn produced(batches: Vec<BytesMut>, partitions: &[PartitionHandle]) -> Result<()> {
    for (batch, partition) in batches.into_iter().zip(partitions.iter().cycle()) {
        partition.produce(batch)?;
    }
    Ok(())
}

/// Each producer waits for each of its batches.
fn synced(batches: Vec<BytesMut>, partitions: &[PartitionHandle]) -> Result<()> {
    let work = Mutex::new(batches.into_iter().zip(partitions.iter().cycle()));
    let next = || work.lock().map_err(|_| anyhow!("another producer failed")).map(|mut work| work.next());
    std::thread::scope(|scope| {
        let producer = || -> Result<()> {
            while let Some((batch, partition)) = next()? {
                let produced = partition.produce(batch)?;
                let (done, acknowledged) = sync_channel(1);
                partition.when_acknowledged(produced.end_offset, move |result| drop(done.send(result)));
                acknowledged.recv().context("the broker forgot a producer")??;
            }
            Ok(())
        };
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(producer)).collect();
        producers.into_iter().try_for_each(|producer| producer.join().map_err(|_| anyhow!("a producer panicked"))?)
    })
}

fn written(args: &Args, data: &Data, sync: bool) -> Result<f64> {
    let dir = args.temporary()?;
    let mut file = File::create(dir.path().join("plain"))?;
    let batches = data.fresh();
    let start = Instant::now();
    for batch in batches {
        file.write_all(&batch)?;
        if sync {
            file.sync_data()?;
        }
    }
    Ok(data.bytes() as f64 / start.elapsed().as_secs_f64())
}
