//! Records through an app as users write it: annotated listeners that do nothing, every setting its
//! default but those of `Time` and `Count`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::ValueEnum;
use kafka_listener::prelude::*;
use serde::Serialize;
use tempfile::TempDir;

use crate::{VALUE, temporary};

const TOPIC: &str = "through";
const GROUP: &str = "through";
/// For `Count` and `CountTime`.
const ACK_COUNT: u64 = 1000;
/// For `Time` and `CountTime`, and for the poll of `Count` that finds nothing: short, since the last commit waits for it.
const ACK_TIME: Duration = Duration::from_millis(5);
/// The sending task lets others run after this many records.
const TURN: u64 = 1024;
/// How often the stored offsets are looked at.
const LOOK: Duration = Duration::from_micros(500);
/// How long the commits may take.
const DEADLINE: Duration = Duration::from_secs(120);

#[kafka_listener(
    topic = "through",
    group_id = "through",
    container_factory = "bench",
    ack_mode = "${mode}",
    concurrency = "${concurrency}"
)]
async fn record(_value: Bytes) {}

#[kafka_listener(
    topic = "through",
    group_id = "through",
    container_factory = "bench",
    ack_mode = "${mode}",
    concurrency = "${concurrency}"
)]
async fn record_by_hand(_value: Bytes, ack: Acknowledgment) -> ListenerResult {
    Ok(ack.acknowledge().await?)
}

#[kafka_listener(
    topic = "through",
    group_id = "through",
    container_factory = "bench",
    ack_mode = "${mode}",
    concurrency = "${concurrency}"
)]
async fn batch(_values: Batch<Bytes>) {}

#[kafka_listener(
    topic = "through",
    group_id = "through",
    container_factory = "bench",
    ack_mode = "${mode}",
    concurrency = "${concurrency}"
)]
async fn batch_by_hand(_values: Batch<Bytes>, ack: Acknowledgment) -> ListenerResult {
    Ok(ack.acknowledge().await?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    Memory,
    File,
}

/// What is measured: as many partitions as workers.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub mode: AckMode,
    pub batch: bool,
    pub concurrency: u32,
    pub storage: Storage,
}

impl Case {
    /// Whether its ceiling is that of plain writes.
    pub fn writes_each_commit(&self) -> bool {
        self.storage == Storage::File && self.mode == AckMode::Record
    }
}

/// Where a broker keeps its data; a folder is removed with the value.
pub struct Place(Option<TempDir>);

impl Place {
    pub fn new(storage: Storage, dir: Option<&Path>) -> Result<Self> {
        Ok(Self(match storage {
            Storage::Memory => None,
            Storage::File => Some(temporary(dir)?),
        }))
    }

    pub fn embedded(&self) -> Embedded {
        self.0.as_ref().map_or_else(Embedded::memory, |dir| Embedded::dir(dir.path()))
    }
}

pub fn app(place: &Place) -> KafkaAppBuilder {
    KafkaApp::builder()
        .environment([])
        .handle_signals(false)
        .embedded(place.embedded())
        .property("auto.offset.reset", "earliest")
        .listeners([])
}

/// From the first send to the last commit read back.
pub async fn run(place: Place, case: Case, records: u64) -> Result<Duration> {
    let listeners = match (case.batch, case.mode.is_manual()) {
        (false, false) => listeners![record],
        (false, true) => listeners![record_by_hand],
        (true, false) => listeners![batch],
        (true, true) => listeners![batch_by_hand],
    };
    let factory = ContainerFactory::named("bench").ack_count(ACK_COUNT).ack_time(ACK_TIME);
    let factory = if case.mode == AckMode::Count { factory.poll_timeout(ACK_TIME) } else { factory };
    let app = app(&place)
        .topic(NewTopic::new(TOPIC).partitions(case.concurrency as i32))
        .factory(factory)
        .config("mode", case.mode.name())
        .config("concurrency", case.concurrency)
        .listeners(listeners)
        .start()
        .await?;
    // One record a partition: the group has formed and every worker has committed before the clock starts.
    for partition in 0..case.concurrency as i32 {
        app.template().send_to(TOPIC, partition, (), &VALUE[..]).await?;
    }
    let before = u64::from(case.concurrency);
    committed(&app, before).await?;
    let (template, value) = (app.template(), Bytes::copy_from_slice(&VALUE));
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for number in 1..=records {
            drop(template.send(TOPIC, value.clone()));
            if number % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        template.flush().await
    });
    sending.await??;
    committed(&app, before + records).await?;
    let took = start.elapsed();
    app.shutdown().await?;
    Ok(took)
}

/// Waits until the group has stored offsets for this many records in all.
async fn committed(app: &RunningApp, records: u64) -> Result<()> {
    let (admin, deadline) = (app.admin(), Instant::now() + DEADLINE);
    loop {
        let stored: i64 = admin.group_offsets(GROUP).await?.iter().map(|(_, stored)| stored.offset).sum();
        if stored.cast_unsigned() >= records {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("after {DEADLINE:?}, group '{GROUP}' has committed {stored} of {records} records");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A loop of awaited sends.
pub async fn send_awaited(place: Place, records: u64) -> Result<Duration> {
    let app = app(&place).topic(NewTopic::new(TOPIC).partitions(1)).start().await?;
    let (template, value) = (app.template(), Bytes::copy_from_slice(&VALUE));
    let sending = tokio::spawn(async move {
        let start = Instant::now();
        for _ in 0..records {
            template.send(TOPIC, value.clone()).await?;
        }
        Ok::<_, SendError>(start.elapsed())
    });
    let took = sending.await?.context("a send failed")?;
    app.shutdown().await?;
    Ok(took)
}
