//! Fetch, and plain reads of the same files.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{Result, ensure};
use broker_core::PartitionHandle;
use bytes::Bytes;

use crate::Rates;
use crate::append::produced;
use crate::args::{Args, Case, log_file};
use crate::data::{Data, Opened, TOPIC, open};

/// How much is asked for at a time: `max.partition.fetch.bytes`.
const FETCH_BYTES: usize = 1 << 20;

pub fn run(args: &Args, case: Case, data: &Data) -> Result<Rates> {
    let Opened { partitions, dir, .. } = &open(args, case)?;
    produced(data.fresh(), partitions)?;
    let files: Vec<_> = (0..case.partitions).map(|partition| File::open(log_file(dir.path(), TOPIC, partition))).collect();
    let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (bytes, mut rates) = (data.bytes(), Rates::default());
    for _ in 0..args.runs() {
        let start = Instant::now();
        let fetched = partitions.iter().map(fetch).sum::<Result<usize>>()?;
        rates.ours.push(bytes as f64 / start.elapsed().as_secs_f64());
        ensure!(fetched == bytes, "{fetched} of {bytes} bytes were fetched");
        let mut buffer = vec![0; FETCH_BYTES];
        let start = Instant::now();
        let read = files.iter().map(|file| pread(file, &mut buffer)).sum::<Result<usize>>()?;
        rates.plain.push(bytes as f64 / start.elapsed().as_secs_f64());
        ensure!(read == bytes, "{read} of {bytes} bytes were read");
    }
    Ok(rates)
}

fn fetch(partition: &PartitionHandle) -> Result<usize> {
    let (mut next, mut bytes) = (partition.log_start(), 0);
    while next < partition.end_offset() {
        let fetched = partition.fetch(next, FETCH_BYTES)?;
        bytes += fetched.batches.iter().map(Bytes::len).sum::<usize>();
        let last = fetched.batches.iter().flat_map(broker_core::record::batches).last();
        next = last.transpose()?.map_or(next, |batch| batch.last_offset() + 1);
        black_box(fetched);
    }
    Ok(bytes)
}

fn pread(file: &File, buffer: &mut [u8]) -> Result<usize> {
    let mut position = 0;
    loop {
        match file.read_at(buffer, position as u64)? {
            0 => return Ok(position),
            read => position += read,
        }
        black_box(&*buffer);
    }
}
