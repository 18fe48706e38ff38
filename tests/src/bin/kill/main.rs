//! Kills a process under load, again and again, and checks what is left: no acknowledged record is lost, no committed offset
//! goes back, every uncommitted record is delivered again, in order.
//!
//! `cargo run --release -p integration-tests --bin kill -- --times 50`; with `--log 200` the broker alone, under writers.
//!
//! The parent starts itself as a child that sends and listens on a durable broker and tells, line by line on its standard
//! output, what was acknowledged and what was delivered. The parent keeps its own list of that, kills the child at a random
//! moment, opens the folder itself and compares. A kill counts only if at that moment some records were delivered and not
//! committed, and some were acknowledged and not delivered.

mod log;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use broker_core::record::batches;
use broker_core::{Broker, TopicPartition};
use clap::Parser;
use kafka_listener::app::Embedded;
use kafka_listener::prelude::*;

const TOPIC: &str = "kill";
const GROUP: &str = "killed";
const PARTITIONS: i32 = 3;
/// How long a child may take to say that it is ready, or to drain.
const CHILD_DEADLINE: Duration = Duration::from_secs(60);

/// Kills a process under load and checks what is left.
#[derive(Parser)]
struct Args {
    /// How many kills must count.
    #[arg(long, default_value_t = 50)]
    times: u32,
    /// Where the random moments start; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// Kill the flights example instead, this many times in one pass, and check its table.
    #[arg(long)]
    flights: Option<u32>,
    /// Kill a broker under writers instead, this many times, and check its logs.
    #[arg(long)]
    log: Option<u32>,
    /// The child's folder: for the program itself.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
    /// The folder of a child of `--log`: for the program itself.
    #[arg(long, hide = true)]
    writers: Option<PathBuf>,
    /// The child ends when it has delivered everything: for the program itself.
    #[arg(long, hide = true)]
    drain: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(dir) = &args.child {
        return tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(child(dir, args.drain));
    }
    if let Some(dir) = &args.writers {
        return log::child(dir);
    }
    let seed = args
        .seed
        .unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64));
    eprintln!("seed {seed}");
    match (args.flights, args.log) {
        (Some(times), _) => flights(times, seed),
        (None, Some(times)) => log::parent(times, seed),
        (None, None) => parent(args.times, seed),
    }
}

/// A line on standard output in one write: it is in the pipe before the process goes on, and survives its end.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // Without a parent there is nobody to tell.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

async fn child(dir: &Path, drain: bool) -> Result<()> {
    let delivered = std::sync::Arc::new(AtomicU64::new(0));
    let count = delivered.clone();
    let listener = Listener::new(GROUP, move |record: ConsumerRecord<(), String>| {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        async move {
            tell(&format!("D {} {} {}\n", record.partition(), record.offset(), record.value()));
            if nth % 32 == 31 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let app = KafkaApp::builder()
        .environment([])
        .embedded(Embedded::dir(dir))
        .property("auto.offset.reset", "earliest")
        .topic(NewTopic::new(TOPIC).partitions(PARTITIONS))
        .handle_signals(false)
        .listeners([])
        .listener(listener.topic(TOPIC).ack_mode(AckMode::Count).ack_count(50).concurrency(2))
        .start()
        .await?;
    tell("READY\n");
    if drain {
        let mut last = (u64::MAX, Instant::now());
        while last.1.elapsed() < Duration::from_millis(500) {
            let now = delivered.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        app.shutdown().await?;
        return Ok(());
    }
    let template = app.template();
    let start = std::process::id();
    let mut sequence = 0u64;
    loop {
        let pending: Vec<_> = (0..40)
            .map(|_| {
                sequence += 1;
                let value = format!("{start}-{sequence}");
                (template.send_to(TOPIC, (sequence % PARTITIONS as u64) as i32, (), value.as_str()), value)
            })
            .collect();
        for (send, value) in pending {
            let placed = send.await?;
            tell(&format!("A {} {} {value}\n", placed.partition, placed.offset));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What the parent knows, from the children's lines alone.
#[derive(Default)]
struct Known {
    acknowledged: BTreeMap<(i32, i64), String>,
    /// How often each record was delivered, over all runs.
    delivered: BTreeMap<(i32, i64), u32>,
    committed: BTreeMap<i32, i64>,
}

#[derive(Default)]
struct Counts {
    kills: u32,
    uncounted: u32,
    again: u64,
}

struct Running {
    child: Child,
    lines: Receiver<String>,
}

fn start(role: &[&str], dir: &Path) -> Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(role).arg(dir).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().context("the child could not be started")?;
    let out = child.stdout.take().context("the child has no standard output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let running = Running { child, lines };
    let first = running.lines.recv_timeout(CHILD_DEADLINE).context("the child was not ready in time")?;
    // Records may be delivered before the app says that it is ready.
    if first != "READY" {
        let mut early = vec![first];
        loop {
            let line = running.lines.recv_timeout(CHILD_DEADLINE).context("the child was not ready in time")?;
            if line == "READY" {
                break;
            }
            early.push(line);
        }
        let (sender, lines) = mpsc::channel();
        early.into_iter().try_for_each(|line| sender.send(line))?;
        let rest = running.lines;
        std::thread::spawn(move || {
            while let Ok(line) = rest.recv() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        return Ok(Running { child: running.child, lines });
    }
    Ok(running)
}

impl Known {
    /// Takes a run's lines; what was delivered must go on where the commits stood, in order.
    fn take(&mut self, lines: impl Iterator<Item = String>, counts: &mut Counts) -> Result<()> {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for line in lines {
            let parts: Vec<&str> = line.split(' ').collect();
            let [kind, partition, offset, value] = parts[..] else { continue };
            let (partition, offset): (i32, i64) = (partition.parse()?, offset.parse()?);
            match kind {
                "A" => drop(self.acknowledged.insert((partition, offset), value.to_owned())),
                "D" => {
                    let start = self.committed.get(&partition).copied().unwrap_or(0);
                    let expected = next.entry(partition).or_insert(start);
                    // A rebalance between the two workers may step back, to the last commit at most, never forward.
                    ensure!(
                        offset <= *expected,
                        "{TOPIC}-{partition}@{offset} delivered, but {expected} is next: records were passed over"
                    );
                    ensure!(
                        offset >= start,
                        "{TOPIC}-{partition}@{offset} delivered, but {start} was committed before the process started"
                    );
                    *expected = offset + 1;
                    let times = self.delivered.entry((partition, offset)).or_default();
                    *times += 1;
                    counts.again += u64::from(*times > 1);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the folder and compares. True if the kill came at a moment that counts.
    fn compare(&mut self, dir: &Path) -> Result<bool> {
        let broker = Broker::open(dir)?;
        let mut log: BTreeMap<(i32, i64), String> = BTreeMap::new();
        let mut counts = false;
        for partition in 0..PARTITIONS {
            let handle = broker.partition(TOPIC, partition)?;
            let mut next = 0;
            while next < handle.end_offset() {
                for run in handle.fetch(next, 1 << 20)?.batches {
                    for batch in batches(&run) {
                        let batch = batch?;
                        for record in batch.records() {
                            let record = record?;
                            ensure!(record.offset == next, "{TOPIC}-{partition}: offset {} follows {}", record.offset, next - 1);
                            next += 1;
                            log.insert(
                                (partition, record.offset),
                                String::from_utf8(record.value().unwrap_or_default().to_vec())?,
                            );
                        }
                    }
                }
            }
            let stored = broker.fetch_offsets(GROUP, Some(&[TopicPartition::new(TOPIC, partition)]));
            let committed = stored.into_iter().next().and_then(|(_, stored)| stored).map_or(0, |stored| stored.offset);
            let before = self.committed.insert(partition, committed).unwrap_or(0);
            ensure!(committed >= before, "{TOPIC}-{partition}: the committed offset went back from {before} to {committed}");
            for offset in before..committed {
                ensure!(
                    self.delivered.contains_key(&(partition, offset)),
                    "{TOPIC}-{partition}@{offset} was committed, but never delivered"
                );
            }
            let uncommitted = self.delivered.range((partition, committed)..(partition + 1, 0)).next().is_some();
            let undelivered = self
                .acknowledged
                .range((partition, committed)..(partition + 1, 0))
                .any(|(place, _)| !self.delivered.contains_key(place));
            counts |= uncommitted && undelivered;
        }
        for (place, value) in &self.acknowledged {
            let found = log.get(place);
            ensure!(found == Some(value), "{TOPIC}-{}@{}: '{value}' was acknowledged, the log holds {found:?}", place.0, place.1);
        }
        Ok(counts)
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn parent(times: u32, mut seed: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut known, mut counts) = (Known::default(), Counts::default());
    while counts.kills < times {
        ensure!(counts.uncounted < 10 * times + 10, "too many kills came at moments that do not count: {}", counts.uncounted);
        let mut running = start(&["--child"], dir.path())?;
        std::thread::sleep(Duration::from_micros(20_000 + random(&mut seed) % 100_000));
        running.child.kill()?;
        running.child.wait()?;
        known.take(running.lines.iter(), &mut counts)?;
        if known.compare(dir.path())? {
            counts.kills += 1;
        } else {
            counts.uncounted += 1;
        }
    }
    let mut running = start(&["--drain", "--child"], dir.path())?;
    ensure!(running.child.wait()?.success(), "the last child failed");
    known.take(running.lines.iter(), &mut counts)?;
    known.compare(dir.path())?;
    let missing = known.acknowledged.keys().filter(|place| !known.delivered.contains_key(place)).count();
    ensure!(missing == 0, "{missing} acknowledged records were never delivered");
    println!(
        "{} kills counted ({} more at moments that do not count): {} records acknowledged, 0 lost, 0 never delivered; {} delivered again; no committed offset went back; every partition in order",
        counts.kills,
        counts.uncounted,
        known.acknowledged.len(),
        counts.again,
    );
    Ok(())
}

/// Runs the flights example on a folder, kills it `times` times on the way, lets it finish, and compares its table with a run
/// that nobody killed.
fn flights(times: u32, mut seed: u64) -> Result<()> {
    let program = std::env::current_exe()?.parent().context("no folder")?.join("examples/flights");
    if !program.exists() {
        bail!("{} is not there; build it first: cargo build --release --example flights", program.display());
    }
    let dir = tempfile::tempdir()?;
    let run = |keep: Option<&Path>| {
        let mut command = Command::new(&program);
        command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        if let Some(keep) = keep {
            command.arg("--keep").arg(keep);
        }
        command
    };
    let expected = run(None).output()?;
    ensure!(expected.status.success(), "the example fails without any kill");
    let (mut killed, mut ended) = (0, 0);
    while killed < times {
        let mut child = run(Some(dir.path())).spawn()?;
        std::thread::sleep(Duration::from_micros(15_000 + random(&mut seed) % 60_000));
        if child.try_wait()?.is_some() {
            ended += 1;
            ensure!(ended < 3, "the example ended {ended} times before {times} kills: kill it sooner");
            continue;
        }
        child.kill()?;
        child.wait()?;
        killed += 1;
    }
    let last = run(Some(dir.path())).output()?;
    ensure!(last.status.success(), "the example fails after {killed} kills");
    let table = |output: &[u8]| -> Result<BTreeMap<String, serde_json::Value>> {
        let json: serde_json::Value = serde_json::from_slice(output)?;
        let carriers = json["carriers"].as_array().context("no carriers")?.clone();
        Ok(carriers.into_iter().map(|one| (one["carrier"].as_str().unwrap_or_default().to_owned(), one)).collect())
    };
    ensure!(table(&expected.stdout)? == table(&last.stdout)?, "the table differs after {killed} kills");
    println!("flights: {killed} kills in one pass, the table is right");
    Ok(())
}
