//! The table of carriers: flights, cancelled ones, mean and 95th percentile of the departure delay.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

static AIRLINES: &str = include_str!("../data/airlines.csv");

/// One carrier's line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Carrier {
    /// Its code.
    pub carrier: String,
    /// Its name.
    pub name: String,
    /// All its flights.
    pub flights: u64,
    /// Those without a departure time.
    pub cancelled: u64,
    /// In minutes, over the flights that have a delay.
    pub mean_dep_delay: Option<f64>,
    /// In minutes, by nearest rank, over the flights that have a delay.
    pub p95_dep_delay: Option<i32>,
}

/// All carriers, by code.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The lines.
    pub carriers: Vec<Carrier>,
}

/// Collects flights; each is to be given once.
#[derive(Debug, Default)]
pub struct Collector(BTreeMap<String, Delays>);

#[derive(Debug, Default)]
struct Delays {
    flights: u64,
    cancelled: u64,
    delays: Vec<i32>,
}

impl Collector {
    /// Takes a flight.
    pub fn add(&mut self, carrier: &str, cancelled: bool, delay: Option<i32>) {
        if !self.0.contains_key(carrier) {
            self.0.insert(carrier.to_owned(), Delays::default());
        }
        if let Some(delays) = self.0.get_mut(carrier) {
            delays.flights += 1;
            delays.cancelled += u64::from(cancelled);
            delays.delays.extend(delay);
        }
    }

    /// The table of what was taken.
    pub fn table(self) -> Table {
        let name = |code: &str| {
            let line = AIRLINES.lines().find_map(|line| line.split_once(',').filter(|(carrier, _)| *carrier == code));
            line.map_or(code, |(_, name)| name).to_owned()
        };
        let one = |(carrier, mut delays): (String, Delays)| {
            delays.delays.sort_unstable();
            let count = delays.delays.len();
            let sum: i64 = delays.delays.iter().map(|delay| i64::from(*delay)).sum();
            let rank = (count * 95).div_ceil(100);
            Carrier {
                name: name(&carrier),
                carrier,
                flights: delays.flights,
                cancelled: delays.cancelled,
                mean_dep_delay: (count > 0).then(|| sum as f64 / count as f64),
                p95_dep_delay: rank.checked_sub(1).map(|index| delays.delays[index]),
            }
        };
        Table { carriers: self.0.into_iter().map(one).collect() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<3} {:<28} {:>8} {:>10} {:>12} {:>11}", "", "carrier", "flights", "cancelled", "mean delay", "p95 delay")?;
        for one in &self.carriers {
            let mean = one.mean_dep_delay.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}"));
            let p95 = one.p95_dep_delay.map_or_else(|| "-".to_owned(), |p95| p95.to_string());
            writeln!(f, "{:<3} {:<28} {:>8} {:>10} {:>12} {:>11}", one.carrier, one.name, one.flights, one.cancelled, mean, p95)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank_and_mean() {
        let mut collector = Collector::default();
        (1..=20).for_each(|delay| collector.add("UA", false, Some(delay)));
        collector.add("UA", true, None);
        collector.add("ZZ", true, None);
        let table = collector.table();
        let (ua, zz) = (&table.carriers[0], &table.carriers[1]);
        assert_eq!((ua.flights, ua.cancelled, ua.mean_dep_delay, ua.p95_dep_delay), (21, 1, Some(10.5), Some(19)));
        assert_eq!(ua.name, "United Air Lines Inc.");
        assert_eq!((zz.flights, zz.mean_dep_delay, zz.p95_dep_delay), (1, None, None));
    }
}
