//! Figures, for people or as lines of JSON.

use std::fmt;

use serde::Serialize;

use crate::args::{Args, Case};
use crate::iterate::Walked;

/// One figure: a line of JSON. What does not belong to it is left out.
#[derive(Debug, Default, Serialize)]
pub struct Figure {
    bench: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    value_bytes: usize,
    batch_records: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mb_per_s: Option<f64>,
    /// The median of the runs' own ratios, as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_write: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_synced_write: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_pread: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_memcpy: Option<f64>,
}

impl Figure {
    fn of(bench: &'static str, case: Case, rates: &[f64]) -> Self {
        let Case { partitions, value_bytes, batch_records, codec, durability } = case;
        Self {
            bench,
            partitions: Some(partitions),
            value_bytes,
            batch_records,
            codec: Some(codec.to_string()),
            durability: Some(durability.name()),
            mb_per_s: median(rates).map(|rate| (rate / 1e5).round() / 10.0),
            ..Self::default()
        }
    }

    pub fn append(case: Case, rates: &[f64], plain: &[f64], synced: &[f64]) -> Self {
        Self {
            ratio_to_write: ratio(rates, plain),
            ratio_to_synced_write: ratio(rates, synced),
            ..Self::of("append", case, rates)
        }
    }

    pub fn read(case: Case, rates: &[f64], plain: &[f64]) -> Self {
        Self { ratio_to_pread: ratio(rates, plain), ..Self::of("read", case, rates) }
    }

    pub fn iterate(value_bytes: usize, walked: &Walked) -> Self {
        Self {
            bench: "iterate",
            value_bytes,
            batch_records: 500,
            records_per_s: median(&walked.records_per_s).map(f64::round),
            ratio_to_memcpy: ratio(&walked.records_per_s, &walked.copied_per_s),
            ..Self::default()
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn ratio(rates: &[f64], ceilings: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = rates.iter().zip(ceilings).map(|(rate, ceiling)| rate / ceiling).collect();
    median(&ratios).map(|ratio| (ratio * 1000.0).round() / 1000.0)
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:>5} B x {:<3}", self.bench, self.value_bytes, self.batch_records)?;
        if let (Some(partitions), Some(codec), Some(durability)) = (self.partitions, &self.codec, self.durability) {
            write!(f, "  {partitions:>3} partitions  {codec:<6} {durability:<11}")?;
        }
        if let Some(rate) = self.mb_per_s {
            write!(f, " {rate:>8} MB/s")?;
        }
        if let Some(rate) = self.records_per_s {
            write!(f, " {:>6.1} M records/s", rate / 1e6)?;
        }
        for (ratio, of) in [
            (self.ratio_to_write, "plain writes"),
            (self.ratio_to_synced_write, "writes each synced"),
            (self.ratio_to_pread, "plain reads"),
            (self.ratio_to_memcpy, "a copy"),
        ] {
            if let Some(ratio) = ratio {
                write!(f, "  {ratio:.3} of {of}")?;
            }
        }
        Ok(())
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
            println!("medians of {} runs, each followed by its ceiling", args.runs());
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
