use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use kafka_listener::prelude::AckMode;

use crate::latency::Load;
use crate::through::{Case, Storage};

/// Records per second through template, broker, container and handler, and their latency.
#[derive(Parser)]
pub struct Args {
    /// Fewer records and fewer runs: ends within 40 seconds.
    #[arg(long)]
    pub quick: bool,
    /// Prints one line of JSON a figure.
    #[arg(long)]
    pub json: bool,
    /// Records a run; 2,000,000 if not given.
    #[arg(long)]
    records: Option<u64>,
    /// Runs whose median counts; 5 if not given.
    #[arg(long)]
    runs: Option<usize>,
    /// Only this kind of figure.
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Only this ack mode; may be given again.
    #[arg(long = "mode")]
    modes: Vec<AckMode>,
    /// Only record listeners (false) or batch listeners (true).
    #[arg(long)]
    batch: Option<bool>,
    /// Only this concurrency.
    #[arg(long)]
    concurrency: Option<u32>,
    /// Only this storage.
    #[arg(long, value_enum)]
    storage: Option<Storage>,
    /// Where the folders of durable brokers are made; the system's place for temporary files if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Through,
    SendAwaited,
    Latency,
}

const RECORDS: u64 = 2_000_000;
const RECORDS_QUICK: u64 = 150_000;
const RUNS: usize = 5;
const RUNS_QUICK: usize = 3;

impl Args {
    pub fn records(&self) -> u64 {
        self.records.unwrap_or(if self.quick { RECORDS_QUICK } else { RECORDS }).max(1)
    }

    pub fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.quick { RUNS_QUICK } else { RUNS }).max(1)
    }

    pub fn wants(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    pub fn storages(&self) -> impl Iterator<Item = Storage> + '_ {
        [Storage::Memory, Storage::File].into_iter().filter(|storage| self.storage.is_none_or(|only| only == *storage))
    }

    /// Every case that was asked for. `Record` is no mode of a batch listener.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for storage in self.storages() {
            for batch in [false, true] {
                for mode in AckMode::ALL {
                    for concurrency in [1, 4] {
                        cases.push(Case { mode, batch, concurrency, storage });
                    }
                }
            }
        }
        cases.retain(|case| {
            !(case.batch && case.mode == AckMode::Record)
                && (self.modes.is_empty() || self.modes.contains(&case.mode))
                && self.batch.is_none_or(|batch| batch == case.batch)
                && self.concurrency.is_none_or(|concurrency| concurrency == case.concurrency)
        });
        cases
    }

    pub fn latency_records(&self, load: Load) -> u64 {
        match (load, self.quick) {
            (Load::Alone, true) => 10_000,
            (Load::Paced, true) => 20_000,
            (Load::Alone | Load::Paced, false) => 200_000,
        }
    }
}
