//! The seeded simulation of transactions: producers of a few transactional ids, more than one at a time of each, do at random what
//! producers do, under a paused clock. All the time, and after a stop of the machine at any operation on its disk, who reads what is
//! committed sees the records of the committed transactions, all of each and in order, and no transaction hangs.
//!
//! `TXN_SEED=n cargo test -p broker-core --test transactions` repeats a seed; `TXN_RUNS=n` tries more seeds.

mod ledger;
mod play;
#[path = "../crash/tape.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod tape;
mod view;

use std::sync::{Arc, Mutex};

use broker_core::storage::MemoryDisk;
use broker_core::{Broker, BrokerConfig, TokioClock};

use ledger::Ledger;
use play::{Play, Random};
use tape::{Moment, Tape};

/// Seeds of a plain run, and how many stops of each are looked at.
const RUNS: u64 = 60;
const STOPS: usize = 12;
const NOW: i64 = 1_767_225_600_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// The logs of the ids are rewritten soon, and time-outs looked at often.
fn config() -> BrokerConfig {
    BrokerConfig {
        offsets_topic_num_partitions: 1,
        transaction_state_log_num_partitions: 2,
        transaction_state_log_segment_bytes: 1500,
        transaction_abort_timed_out_transaction_cleanup_interval_ms: 100,
        ..BrokerConfig::default()
    }
}

fn open(disk: Arc<dyn broker_core::storage::Disk>, now: i64) -> Broker {
    Broker::builder().clock(Arc::new(TokioClock::new(now))).config(config()).seed(1).disk(disk).open().expect("opened")
}

fn on_paused_clock<T>(act: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(act)
}

/// Plays a seed; every moment of it, and how much was committed.
fn moments(seed: u64) -> (Vec<Moment<Ledger>>, usize) {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let tape = Tape::new(&ledger, None, false);
    on_paused_clock(async {
        let broker = open(Arc::new(tape.clone()), NOW);
        Play::new(broker, ledger.clone(), seed).run().await;
    });
    let committed = ledger.lock().expect("sound").committed();
    (tape.take(), committed)
}

/// The machine stops at a moment; `worst` of what a power cut may leave, or what a kill does.
fn stop_at(moment: &Moment<Ledger>, power_cut: Option<u64>) -> Result<(), String> {
    let disk: MemoryDisk = moment.disk.fork();
    match power_cut {
        None => {}
        Some(seed) if seed.is_multiple_of(2) => disk.crash(),
        Some(seed) => disk.crash_by_chance(seed),
    }
    on_paused_clock(view::after_stop(
        open(Arc::new(disk), moment.promised.now.max(NOW) + 1),
        &moment.promised,
        power_cut.is_some(),
    ))
}

fn check(seed: u64) -> usize {
    let (moments, committed) = moments(seed);
    let mut random = Random(seed);
    for _ in 0..STOPS {
        let number = random.below(moments.len() as u64) as usize;
        let power_cut = (random.below(2) == 1).then(|| random.next());
        stop_at(&moments[number], power_cut).unwrap_or_else(|what| {
            panic!("TXN_SEED={seed}, stopped at {number} before {}, power cut {power_cut:?}: {what}", moments[number].before)
        });
    }
    committed
}

#[test]
fn transactions_are_all_or_nothing() {
    if let Some(seed) = variable("TXN_SEED") {
        println!("TXN_SEED={seed}: {} committed", check(seed));
        return;
    }
    let runs = variable("TXN_RUNS").unwrap_or(RUNS);
    let committed: usize = (0..runs).map(check).sum();
    println!("{runs} seeds, {committed} transactions committed, {} stops", runs as usize * STOPS);
    assert!(committed > runs as usize, "the producers hardly ever commit: {committed} in {runs} seeds");
}

#[test]
fn a_stop_at_every_operation_leaves_whole_transactions() {
    let (moments, _) = moments(1);
    for (number, moment) in moments.iter().enumerate() {
        let power_cut = [None, Some(0), Some(2 * number as u64 + 1)][number % 3];
        stop_at(moment, power_cut)
            .unwrap_or_else(|what| panic!("stopped at {number} before {}, power cut {power_cut:?}: {what}", moment.before));
    }
    assert!(moments.len() > 100, "{} operations", moments.len());
}
