//! The machine stops at each single operation on its disk, in each way in which it may: what was promised is kept.

mod check;
mod script;
mod tape;
mod transactions;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use broker_core::storage::{FileDisk, MemoryDisk};
use broker_core::{Broker, BrokerBuilder, TokioClock};

use check::{Stop, check};
use script::Script;
use tape::{Moment, Tape, everything, write_out};
use world::{NOW, Promised, config};

/// Plays the script; every moment of it.
fn moments(files: Option<FileDisk>) -> (Tape<Promised>, Vec<Moment<Promised>>) {
    let promised = Arc::new(Mutex::new(Promised::default()));
    let tape = Tape::new(&promised, files, false);
    let script = Script { disk: Arc::new(tape.clone()), promised };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(script.run());
    let moments = tape.take();
    (tape, moments)
}

/// What is left at a moment: after a kill, after the worst power cut, and after others.
fn left(moment: &Moment<Promised>, seed: u64) -> [(Stop, MemoryDisk); 3] {
    let [killed, worst, chance] = [(); 3].map(|()| moment.disk.fork());
    worst.crash();
    chance.crash_by_chance(seed);
    [(Stop::Kill, killed), (Stop::PowerCut, worst), (Stop::PowerCut, chance)]
}

/// Looks at each moment, on as many threads as there are processors.
fn in_parallel(moments: &[Moment<Promised>], look: impl Fn(usize, &Moment<Promised>) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, moment)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    moments.get(number).map(|moment| (number, moment))
                } {
                    look(number, moment);
                }
            });
        }
    });
}

/// A folder in memory if there is such a thing: what a sync leaves is played, and it need not take its time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// A minute later: no producer is forgotten.
fn again() -> BrokerBuilder {
    Broker::builder().clock(Arc::new(TokioClock::new(NOW + 60_000))).config(config()).seed(2)
}

fn open(disk: &MemoryDisk) -> Broker {
    again().disk(Arc::new(disk.clone())).open().expect("opened")
}

#[test]
fn in_memory_every_promise_is_kept_at_every_operation() {
    let (_, moments) = moments(None);
    in_parallel(&moments, |number, moment| {
        for (stop, disk) in left(moment, number as u64) {
            let told = |what: String| panic!("moment {number}, {stop:?} before {}: {what}", moment.before);
            check(&open(&disk), &moment.promised, stop).unwrap_or_else(told);
        }
    });
    let before = |what: &str| moments.iter().filter(|moment| moment.before.contains(what)).count();
    for what in [
        "log.cleaned",
        "log.swap",
        "txnindex",
        "txnindex.cleaned",
        "txnindex.swap",
        ".log.deleted",
        "topic.deleted",
        "cleanshutdown",
        "checkpoint",
        "half of",
        "sync folder",
    ] {
        println!("{} before an operation with {what}", before(what));
        assert!(before(what) > 0, "the script does nothing with {what}");
    }
    println!("{} moments, 3 crashes each", moments.len());
    assert!(moments.len() > 3000, "{} moments", moments.len());
}

#[test]
fn on_files_every_promise_is_kept() {
    let dir = folder();
    let (tape, moments) = moments(Some(FileDisk::open_with(dir.path(), 10).expect("opened")));
    let expected = everything(tape.memory());
    drop(tape);
    assert_eq!(everything(&FileDisk::open(dir.path()).expect("opened")), expected, "both disks hold the same in the end");
    let count = AtomicUsize::new(0);
    in_parallel(&moments, |number, moment| {
        if number % 3 > 0 {
            return;
        }
        let (stop, disk) = left(moment, number as u64)[number / 3 % 3].clone();
        let dir = folder();
        write_out(&disk, dir.path());
        let told = |what: String| panic!("moment {number}, {stop:?} before {}: {what}", moment.before);
        let broker = again().dir(dir.path()).open().expect("opened");
        check(&broker, &moment.promised, stop).unwrap_or_else(told);
        count.fetch_add(1, Ordering::Relaxed);
    });
    println!("{} of {} moments on files", count.into_inner(), moments.len());
}
