//! The main job: real flights go as JSON through the embedded broker to annotated listeners, each in a group of its own.
//!
//! `cargo run --release --example flights` reads January 2013 as shipped; `--input PATH` another file, `-` standard input.
//! `--keep DIR` makes it durable: killed at any moment and started again, it goes on where it had committed, says how many rows
//! came twice, and the table is still right.

mod listeners;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::input;
use examples::table::Table;
use kafka_listener::container::{EventKind, EventStream};
use kafka_listener::prelude::*;

use listeners::{FLIGHTS, GROUPS, RESULTS, Results, Routes, RowsInLog, strict};
use progress::Progress;

/// Flights of 2013 through annotated listeners: a table of carriers.
#[derive(Parser)]
struct Args {
    /// A CSV of flights: a path (.gz is unpacked), or - for standard input; January 2013 if not given.
    #[arg(long)]
    input: Option<String>,
    /// Keeps the log in this folder, and goes on where an earlier run ended.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Prints the table as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// How many sends may be under way before the sender waits for the oldest.
const SENDS_UNDER_WAY: usize = 1000;
const PARTITIONS: i32 = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let rows = input::open(args.input.as_deref())?;
    let embedded = args.keep.as_ref().map_or_else(Embedded::memory, Embedded::dir);
    let app = KafkaApp::builder()
        .embedded(embedded)
        .property("auto.offset.reset", "earliest")
        .topic(NewTopic::new(FLIGHTS).partitions(PARTITIONS))
        .topic(NewTopic::new(RESULTS).partitions(1))
        .topic(NewTopic::new(format!("{FLIGHTS}-dlt")).partitions(PARTITIONS))
        .state(Results::default())
        .state(Routes::default())
        .state(RowsInLog::default())
        .factory(strict())
        .factory(listeners::counting())
        .listener(listeners::results())
        .listener(listeners::rows_in_log().auto_startup(args.keep.is_some()))
        .start()
        .await?;
    let outcome = tokio::select! {
        outcome = job(&app, rows, args.keep.is_some()) => outcome,
        error = unreadable(app.events()) => Err(error),
        _ = tokio::signal::ctrl_c() => {
            app.shutdown().await?;
            bail!("interrupted: nothing is lost; run it again with the same --keep to go on");
        }
    };
    let results = app.try_state::<Results>().context("the app keeps the results")?;
    let routes = app.try_state::<Routes>().context("the app keeps the routes")?;
    app.shutdown().await?;
    let sent = outcome?;
    let (table, twice) = results.table();
    report(&sent, &table, twice, &routes);
    if args.json {
        println!("{}", serde_json::to_string(&table)?);
    } else {
        print!("{table}");
    }
    Ok(())
}

struct Sent {
    rows: u64,
    already_there: u64,
    took: Duration,
    dead_letters: i64,
}

fn report(sent: &Sent, table: &Table, twice: u64, routes: &Routes) {
    let flights: u64 = table.carriers.iter().map(|carrier| carrier.flights).sum();
    if sent.already_there > 0 {
        eprintln!("{} rows were in the log already", sent.already_there);
    }
    eprintln!(
        "{} rows sent, {flights} flights counted, {} dead letters in {FLIGHTS}-dlt, {} routes in this run, in {:.2?}; {twice} results came twice, each row counts once",
        sent.rows,
        sent.dead_letters,
        routes.count(),
        sent.took,
    );
}

/// Sends what is not in the log yet, then waits until every listener has committed everything.
async fn job(app: &RunningApp, rows: input::Rows, keep: bool) -> Result<Sent> {
    let start = Instant::now();
    let already_there = if keep { highest_complete(app).await? } else { 0 };
    let progress = Progress::new();
    let template = app.template();
    let mut under_way = std::collections::VecDeque::new();
    let mut sent = 0;
    for row in rows {
        let row = row?;
        if row.row <= already_there {
            continue;
        }
        let record = ProducerRecord::new(FLIGHTS, Json(&row)).key(row.carrier.as_str()).header("row", row.row.to_string());
        under_way.push_back(template.send_record(record));
        sent += 1;
        if under_way.len() >= SENDS_UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
        progress.say(|| format!("{sent} rows sent"));
    }
    for send in under_way {
        send.await?;
    }
    drained(app, &progress).await?;
    let mut dead_letters = 0;
    for partition in 0..PARTITIONS {
        dead_letters += app.admin().offsets(&TopicPartition::new(format!("{FLIGHTS}-dlt"), partition)).await?.1;
    }
    Ok(Sent { rows: sent, already_there, took: start.elapsed(), dead_letters })
}

/// The highest row below which every row is in the log: a killed sender may have left gaps above it.
async fn highest_complete(app: &RunningApp) -> Result<u64> {
    let mut there = 0;
    for partition in 0..PARTITIONS {
        there += app.admin().offsets(&TopicPartition::new(FLIGHTS, partition)).await?.1;
    }
    let rows: Arc<RowsInLog> = app.try_state().context("the app keeps the rows")?;
    wait_for("the log to be read", || rows.seen() >= there as u64).await?;
    app.registry().get("rows_in_log")?.stop().await;
    let rows: BTreeSet<u64> = rows.take();
    Ok((1..).zip(&rows).take_while(|(expected, row)| expected == *row).count() as u64)
}

/// Every group has committed the whole log, and every result was read.
async fn drained(app: &RunningApp, progress: &Progress) -> Result<()> {
    let admin = app.admin();
    let results: Arc<Results> = app.try_state().context("the app keeps the results")?;
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let mut left = 0;
        for partition in 0..PARTITIONS {
            let end = admin.offsets(&TopicPartition::new(FLIGHTS, partition)).await?.1;
            for group in GROUPS {
                left += end - app.committed(group, FLIGHTS, partition).await?.unwrap_or(0);
            }
        }
        let unread = admin.offsets(&TopicPartition::new(RESULTS, 0)).await?.1 - results.seen() as i64;
        if left == 0 && unread == 0 {
            return Ok(());
        }
        progress.say(|| format!("{left} records left for {} listeners, {unread} results unread", GROUPS.len()));
        for container in app.registry().all() {
            if let kafka_listener::container::ContainerState::Failed(reason) = container.state() {
                bail!("listener '{}' stopped: {reason}", container.id());
            }
        }
        if Instant::now() > deadline {
            bail!("{left} records left after 10 minutes");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Completes when a listener has met the same damage again and again: nothing would ever come behind it.
async fn unreadable(mut events: EventStream) -> anyhow::Error {
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    while let Some(event) = events.next().await {
        if let EventKind::PollFailed { error } = &event.kind {
            let times = met.entry(error.clone()).or_default();
            *times += 1;
            if *times == 3 {
                return anyhow::anyhow!("listener '{}' cannot read on: {error}", event.listener_id);
            }
        }
    }
    std::future::pending().await
}

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        if Instant::now() > deadline {
            bail!("after a minute, still waiting for {what}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
