//! Records through template, broker, container and handler, beside what the machine could do at most in the same run.
//!
//! `cargo bench -p integration-tests --bench listeners`; behind `--`: `--quick`, `--json`, `--help` for the rest.
//!
//! Each run is followed by one of its ceiling, so that both meet the same machine; figures are medians of these pairs.

mod args;
mod ceiling;
mod latency;
mod report;
mod through;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use args::{Args, Kind};
use report::{Figure, Report};
use through::{Case, Place, Storage};

/// Every value that is sent, but for those that carry their time.
const VALUE: [u8; 100] = [b'v'; 100];

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = Report::new(args.json);
    report.heading(&args);
    if args.wants(Kind::Through) {
        for case in args.cases() {
            report.print(&through(&runtime, &args, case)?);
        }
    }
    for storage in args.storages() {
        if args.wants(Kind::SendAwaited) {
            report.print(&send_awaited(&runtime, &args, storage)?);
        }
        if args.wants(Kind::Latency) {
            for load in latency::Load::ALL {
                let place = Place::new(storage, args.dir.as_deref())?;
                let seen = runtime.block_on(latency::run(place, load, args.latency_records(load)))?;
                report.print(&Figure::latency(storage, load, seen));
            }
        }
    }
    report.print(&Figure::heap());
    Ok(())
}

/// One case, each run followed by its ceilings.
fn through(runtime: &tokio::runtime::Runtime, args: &Args, case: Case) -> Result<Figure> {
    let records = args.records();
    let (mut rates, mut channels, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.runs() {
        let place = Place::new(case.storage, args.dir.as_deref())?;
        rates.push(rate(records, runtime.block_on(through::run(place, case, records))?));
        channels.push(rate(records, runtime.block_on(ceiling::channel(records))?));
        if case.writes_each_commit() {
            writes.push(rate(records, ceiling::write(args.dir.as_deref(), records)?));
        }
    }
    Ok(Figure::through(case, &rates, &channels, &writes))
}

/// `send(..).await` in a loop.
fn send_awaited(runtime: &tokio::runtime::Runtime, args: &Args, storage: Storage) -> Result<Figure> {
    let records = args.records() / 10;
    let rates = (0..args.runs()).map(|_| {
        let place = Place::new(storage, args.dir.as_deref())?;
        Ok(rate(records, runtime.block_on(through::send_awaited(place, records))?))
    });
    Ok(Figure::send_awaited(storage, &rates.collect::<Result<Vec<_>>>()?))
}

fn rate(records: u64, took: Duration) -> f64 {
    records as f64 / took.as_secs_f64()
}

/// A folder that is removed with the value.
fn temporary(dir: Option<&Path>) -> Result<tempfile::TempDir> {
    Ok(match dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    })
}
