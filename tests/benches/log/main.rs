//! The log beside the file system: batches appended and fetched, next to plain write(2) and pread of the same bytes in the same run;
//! records walked, next to a copy of their bytes.
//!
//! `cargo bench -p integration-tests --bench log`; behind `--`: `--quick`, `--json`, `--help` for the rest.
//!
//! Each run is followed by one of its ceiling, so that both meet the same machine; figures are medians of these pairs.

mod append;
mod args;
mod data;
mod iterate;
mod read;
mod report;

use anyhow::Result;
use clap::Parser;

use args::{Args, Kind};
use data::Data;
use report::{Figure, Report};

fn main() -> Result<()> {
    let args = Args::parse();
    let report = Report::new(args.json);
    report.heading(&args);
    for case in args.cases() {
        let data = Data::new(case, args.bytes(case))?;
        if args.wants(Kind::Append) {
            let opened = data::open(&args, case)?;
            for partition in &opened.partitions {
                // Files are made with the first batch.
                partition.produce(data.first())?;
            }
            report.print(&runs(&args, || append::run(&args, case, &data, &opened))?.append(case));
        }
        if args.wants(Kind::Read) && !case.durability.is_synced() {
            report.print(&read::run(&args, case, &data)?.read(case));
        }
    }
    if args.wants(Kind::Iterate) {
        for value_bytes in args.value_sizes() {
            report.print(&Figure::iterate(value_bytes, &iterate::run(value_bytes, args.runs())?));
        }
    }
    Ok(())
}

/// What pairs of runs gave: bytes a second of each, and of its ceilings.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    plain: Vec<f64>,
    synced: Vec<f64>,
}

impl Rates {
    fn append(&self, case: args::Case) -> Figure {
        Figure::append(case, &self.ours, &self.plain, &self.synced)
    }

    fn read(&self, case: args::Case) -> Figure {
        Figure::read(case, &self.ours, &self.plain)
    }
}

fn runs(args: &Args, mut one: impl FnMut() -> Result<append::Run>) -> Result<Rates> {
    let mut rates = Rates::default();
    for _ in 0..args.runs() {
        let append::Run { ours, plain, synced } = one()?;
        rates.ours.push(ours);
        rates.plain.push(plain);
        rates.synced.extend(synced);
    }
    Ok(rates)
}
