//! How long a record takes from `send` into its handler.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use kafka_listener::prelude::*;
use tokio::sync::Notify;

use crate::VALUE;
use crate::through::{Place, app};

const TOPIC: &str = "timed";
/// A tick of the paced load, and its records.
const TICK: Duration = Duration::from_millis(1);
const RECORDS_A_TICK: u64 = 20;
/// What is not counted: the group forms, caches fill.
const WARM_UP: u64 = 1000;
/// How long the last record may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What times are counted from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Each is sent when the one before was handled.
    Alone,
    /// 20,000 a second, not awaited: `linger.ms` counts.
    Paced,
}

impl Load {
    pub const ALL: [Self; 2] = [Self::Alone, Self::Paced];

    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "one at a time",
            Self::Paced => "20000/s",
        }
    }
}

/// What was seen, in microseconds.
pub struct Seen {
    pub p50_us: f64,
    pub p99_us: f64,
}

#[derive(Clone)]
struct Recorder {
    times: Arc<Mutex<Histogram<u64>>>,
    handled: Arc<Notify>,
}

impl Recorder {
    fn times(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[kafka_listener(topic = "timed", group_id = "timed")]
async fn timed(value: Bytes, recorder: State<Recorder>) -> Result<(), anyhow::Error> {
    let sent = u64::from_be_bytes(value.get(..8).context("the value holds its time")?.try_into()?);
    let took = (ORIGIN.elapsed().as_nanos() as u64).saturating_sub(sent);
    recorder.times().record(took)?;
    recorder.handled.notify_one();
    Ok(())
}

fn value() -> [u8; VALUE.len()] {
    let mut value = VALUE;
    value[..8].copy_from_slice(&(ORIGIN.elapsed().as_nanos() as u64).to_be_bytes());
    value
}

pub async fn run(place: Place, load: Load, records: u64) -> Result<Seen> {
    LazyLock::force(&ORIGIN);
    let recorder = Recorder { times: Arc::new(Mutex::new(Histogram::new(3)?)), handled: Arc::default() };
    let app = app(&place)
        .topic(NewTopic::new(TOPIC).partitions(1))
        .state(recorder.clone())
        .listeners(listeners![timed])
        .start()
        .await?;
    let (template, sender) = (app.template(), recorder.clone());
    let sending = tokio::spawn(async move {
        alone(&template, &sender, WARM_UP).await?;
        sender.times().reset();
        match load {
            Load::Alone => alone(&template, &sender, records).await,
            Load::Paced => paced(&template, records).await,
        }
    });
    sending.await??;
    tokio::time::timeout(DEADLINE, async {
        while recorder.times().len() < records {
            tokio::time::sleep(TICK).await;
        }
    })
    .await
    .with_context(|| format!("after {DEADLINE:?}, {} of {records} records were handled", recorder.times().len()))?;
    app.shutdown().await?;
    let histogram = recorder.times();
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Seen { p50_us: at(0.5), p99_us: at(0.99) })
}

async fn alone(template: &KafkaTemplate, recorder: &Recorder, records: u64) -> Result<()> {
    for _ in 0..records {
        template.send(TOPIC, &value()[..]).await?;
        recorder.handled.notified().await;
    }
    Ok(())
}

async fn paced(template: &KafkaTemplate, records: u64) -> Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    for number in 0..records {
        if number % RECORDS_A_TICK == 0 {
            ticks.tick().await;
        }
        drop(template.send(TOPIC, &value()[..]));
    }
    Ok(template.flush().await?)
}
