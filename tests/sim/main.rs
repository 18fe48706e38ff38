//! The seeded simulation: apps, containers and the broker on one thread under a paused clock, so that one seed is one run.
//!
//! `SIM_SEED=n cargo test -p integration-tests --test sim scenarios` repeats a seed and prints its trace; `SIM_RUNS=n` tries
//! more seeds, from `SIM_FROM`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

mod cases;
mod handler;
mod model;
mod random;
mod rebalance;
mod scenario;
mod subscriber;

/// Seeds of a plain run.
const RUNS: u64 = 1000;
/// Seeds that found a bug, each run besides.
const FOUND: [u64; 3] = [538, 7450, 8310];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Simulated panics are no news.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"simulated panic") {
                tell(info);
            }
        }));
    });
}

fn check(seed: u64) -> Result<usize, String> {
    let report = scenario::run(seed);
    if report.broken.is_empty() {
        return Ok(report.deliveries);
    }
    let tail: Vec<_> = report.trace.iter().rev().take(60).rev().cloned().collect();
    Err(format!("SIM_SEED={seed}\n{}\n...\n{}\n{}", report.trace[0], tail.join("\n"), report.broken.join("\n")))
}

#[test]
fn scenarios() {
    quiet_panics();
    if let Some(seed) = variable("SIM_SEED") {
        println!("SIM_SEED={seed}");
        let report = scenario::run(seed);
        println!("{}", report.trace.join("\n"));
        assert!(report.broken.is_empty(), "SIM_SEED={seed}: {:#?}", report.broken);
        return;
    }
    let (from, runs) = (variable("SIM_FROM").unwrap_or(0), variable("SIM_RUNS").unwrap_or(RUNS));
    println!("seeds {from} to {}; SIM_SEED=n repeats one", from + runs - 1);
    let (mut failed, mut deliveries) = (Vec::new(), 0);
    for seed in FOUND.into_iter().chain(from..from + runs) {
        match check(seed) {
            Ok(count) => deliveries += count,
            Err(what) => {
                println!("{what}\n");
                failed.push(seed);
            }
        }
    }
    println!("{runs} seeds, {deliveries} deliveries");
    assert!(failed.is_empty(), "{} of {runs} seeds failed: {failed:?}", failed.len());
}

#[test]
fn one_seed_is_one_run() {
    quiet_panics();
    let mut all = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (first, second) = (scenario::run(seed).trace, scenario::run(seed).trace);
        for (index, (one, two)) in first.iter().zip(&second).enumerate() {
            assert_eq!(one, two, "SIM_SEED={seed}: line {index} of the trace differs");
        }
        assert_eq!(first.len(), second.len(), "SIM_SEED={seed}: one trace is longer");
        all.insert(first[1..].join("\n"));
    }
    assert_eq!(all.len(), 50, "different seeds are different runs");
}
