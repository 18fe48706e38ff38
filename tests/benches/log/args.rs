use std::path::{Path, PathBuf};

use anyhow::Result;
use broker_core::record::Codec;
use clap::{Parser, ValueEnum};
use tempfile::TempDir;

/// Batches appended to the log and fetched from it, beside plain writes and reads of the same bytes.
#[derive(Parser)]
pub struct Args {
    /// Less data, fewer cases and runs: ends within 40 seconds.
    #[arg(long)]
    pub quick: bool,
    /// Prints one line of JSON a figure.
    #[arg(long)]
    pub json: bool,
    /// Runs whose median counts; 5 if not given.
    #[arg(long)]
    runs: Option<usize>,
    /// Only this kind of figure.
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Only this many partitions.
    #[arg(long)]
    partitions: Option<i32>,
    /// Only values of this many bytes.
    #[arg(long)]
    value_bytes: Option<usize>,
    /// Only batches of this many records.
    #[arg(long)]
    batch_records: Option<usize>,
    /// Only this codec: none, gzip, snappy, lz4, zstd.
    #[arg(long)]
    codec: Option<String>,
    /// Only this durability.
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// Where the folders are made; the system's place for temporary files if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Append,
    Read,
    Iterate,
}

/// When a produce counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// When it is in the page cache.
    PageCache,
    /// When it is on the disk (`flush.messages` = 1); producers share syncs.
    GroupFsync,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Self::PageCache => "page_cache",
            Self::GroupFsync => "group_fsync",
        }
    }

    pub fn is_synced(self) -> bool {
        self == Self::GroupFsync
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub partitions: i32,
    pub value_bytes: usize,
    pub batch_records: usize,
    pub codec: Codec,
    pub durability: Durability,
}

const VALUE_SIZES: [usize; 3] = [100, 1024, 10 * 1024];
const RUNS: usize = 5;
const RUNS_QUICK: usize = 3;
/// Bytes of values a run.
const BYTES: usize = 256 << 20;
const BYTES_QUICK: usize = 24 << 20;
/// Batches a run at most.
const BATCHES: usize = 200_000;
const BATCHES_QUICK: usize = 30_000;
/// The same where each waits for the disk.
const SYNCED_BATCHES: usize = 4000;
const SYNCED_BATCHES_QUICK: usize = 100;

impl Args {
    pub fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.quick { RUNS_QUICK } else { RUNS }).max(1)
    }

    pub fn wants(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    pub fn value_sizes(&self) -> impl Iterator<Item = usize> + '_ {
        VALUE_SIZES.into_iter().filter(|size| self.value_bytes.is_none_or(|only| only == *size))
    }

    /// How many bytes of values a run appends.
    pub fn bytes(&self, case: Case) -> usize {
        let most = if self.quick { BYTES_QUICK } else { BYTES };
        let batches = match (case.durability.is_synced(), self.quick) {
            (false, false) => BATCHES,
            (false, true) => BATCHES_QUICK,
            (true, false) => SYNCED_BATCHES,
            (true, true) => SYNCED_BATCHES_QUICK,
        };
        most.min(batches * case.batch_records * case.value_bytes)
    }

    /// Every case that was asked for; of the quick ones those that differ from the plainest in few things.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for durability in [Durability::PageCache, Durability::GroupFsync] {
            for codec in Codec::ALL {
                for partitions in [1, 100] {
                    for value_bytes in self.value_sizes() {
                        for batch_records in [500, 1] {
                            cases.push(Case { partitions, value_bytes, batch_records, codec, durability });
                        }
                    }
                }
            }
        }
        cases.retain(|case| {
            self.partitions.is_none_or(|only| only == case.partitions)
                && self.batch_records.is_none_or(|only| only == case.batch_records)
                && self.codec.as_ref().is_none_or(|only| *only == case.codec.to_string())
                && self.durability.is_none_or(|only| only == case.durability)
                && !(self.quick && case.is_special())
        });
        cases
    }

    /// A folder that is removed with the value.
    pub fn temporary(&self) -> Result<TempDir> {
        Ok(match self.dir.as_deref() {
            Some(dir) => tempfile::tempdir_in(dir)?,
            None => tempfile::tempdir()?,
        })
    }
}

impl Case {
    /// Left out when it has to be quick: a codec with small batches, many partitions or large values; syncs of large values;
    /// many partitions with large values.
    fn is_special(self) -> bool {
        let compressed = self.codec != Codec::None;
        let large = self.value_bytes > 1024;
        compressed && (self.batch_records == 1 || self.partitions > 1 || large || self.durability.is_synced())
            || self.durability.is_synced() && self.value_bytes > 100
            || self.partitions > 1 && large
    }
}

/// A partition's log in a broker's folder.
pub fn log_file(dir: &Path, topic: &str, partition: i32) -> PathBuf {
    dir.join(format!("{topic}-{partition}")).join("00000000000000000000.log")
}
