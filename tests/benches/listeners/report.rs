//! Figures, for people or as lines of JSON.

use std::fmt;

use serde::Serialize;

use crate::args::Args;
use crate::latency::{Load, Seen};
use crate::through::{Case, Storage};

/// One figure: a line of JSON. What does not belong to it is left out.
#[derive(Debug, Default, Serialize)]
pub struct Figure {
    bench: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Storage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_per_s: Option<f64>,
    /// The median of the runs' own ratios.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_channel: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_write: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<f64>,
    /// The most memory that the process ever held, if the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_mib: Option<f64>,
}

impl Figure {
    /// Rates of the runs, each beside that of its ceiling.
    pub fn through(case: Case, rates: &[f64], channels: &[f64], writes: &[f64]) -> Self {
        Self {
            bench: "through",
            ack_mode: Some(case.mode.name()),
            batch: Some(case.batch),
            concurrency: Some(case.concurrency),
            storage: Some(case.storage),
            records_per_s: median(rates).map(f64::round),
            ratio_to_channel: ratio(rates, channels),
            channel_per_s: median(channels).map(f64::round),
            ratio_to_write: ratio(rates, writes),
            write_per_s: median(writes).map(f64::round),
            ..Self::default()
        }
    }

    pub fn send_awaited(storage: Storage, rates: &[f64]) -> Self {
        let records_per_s = median(rates).map(f64::round);
        Self { bench: "send_awaited", storage: Some(storage), records_per_s, ..Self::default() }
    }

    pub fn latency(storage: Storage, load: Load, seen: Seen) -> Self {
        let (p50_us, p99_us) = (Some(seen.p50_us), Some(seen.p99_us));
        Self { bench: "latency", storage: Some(storage), load: Some(load.name()), p50_us, p99_us, ..Self::default() }
    }

    pub fn heap() -> Self {
        Self { bench: "heap", peak_mib: peak_mib(), ..Self::default() }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn ratio(rates: &[f64], ceilings: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = rates.iter().zip(ceilings).map(|(rate, ceiling)| rate / ceiling).collect();
    median(&ratios).map(|ratio| (ratio * 10_000.0).round() / 10_000.0)
}

/// Linux tells a process its peak.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kib / 1024.0).round())
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}", self.bench.replace('_', " "))?;
        if let (Some(mode), Some(batch), Some(concurrency)) = (self.ack_mode, self.batch, self.concurrency) {
            write!(f, " {mode:<15} {:<6} x{concurrency}", if batch { "batch" } else { "record" })?;
        }
        if let Some(storage) = self.storage {
            write!(f, " {:<6}", format!("{storage:?}").to_lowercase())?;
        }
        if let Some(rate) = self.records_per_s {
            write!(f, " {rate:>10}/s")?;
        }
        if let (Some(ratio), Some(channel)) = (self.ratio_to_channel, self.channel_per_s) {
            write!(f, "  {ratio:.3} of the channel ({channel}/s)")?;
        }
        if let (Some(ratio), Some(write)) = (self.ratio_to_write, self.write_per_s) {
            write!(f, "  {ratio:.3} of plain writes ({write}/s)")?;
        }
        if let (Some(load), Some(p50), Some(p99)) = (self.load, self.p50_us, self.p99_us) {
            write!(f, " {load:<13}  p50 {p50:.0} us  p99 {p99:.0} us")?;
        }
        match self.peak_mib {
            Some(mib) => write!(f, " at most {mib} MiB"),
            None if self.bench == "heap" => write!(f, " not told by this system"),
            None => Ok(()),
        }
    }
}

/// Where figures go.
pub struct Report {
    json: bool,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn heading(&self, args: &Args) {
        if !self.json {
            let (records, runs) = (args.records(), args.runs());
            println!("{records} records of 100 bytes a run, medians of {runs} runs, each followed by its ceilings");
        }
    }

    pub fn print(&self, figure: &Figure) {
        if self.json {
            println!("{}", serde_json::to_string(figure).expect("plain data"));
        } else {
            println!("{figure}");
        }
    }
}
