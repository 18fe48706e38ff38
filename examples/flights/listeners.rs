//! The listeners: one function each, each in a group of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use examples::input::Flight;
use examples::table::{Collector, Table};
use kafka_listener::prelude::*;
use serde::{Deserialize, Serialize};

pub const FLIGHTS: &str = "flights";
pub const RESULTS: &str = "flights-results";
/// The groups that must have committed everything before the job is done.
pub const GROUPS: [&str; 4] = ["delays", "routes", "long-haul", "complete"];

/// What a listener needs of a flight, borrowed from the log's bytes.
#[derive(Deserialize)]
struct FlightView<'a> {
    row: u64,
    #[serde(borrow)]
    carrier: &'a str,
    dep_time: Option<i32>,
    dep_delay: Option<i32>,
}

/// A flight's result: small, and written before its record is done.
#[derive(Serialize, Deserialize)]
struct Outcome {
    row: u64,
    carrier: String,
    cancelled: bool,
    delay: Option<i32>,
}

/// Record listener, `Count`: each flight's delay goes to the result topic, and is in the log before the flight is done.
#[kafka_listener(topic = "flights", group_id = "delays", ack_mode = Count, ack_count = 500, concurrency = 3, container_factory = "counting")]
async fn delays(Json(flight): Json<FlightView<'_>>, template: State<KafkaTemplate>) -> ListenerResult {
    let result = Outcome {
        row: flight.row,
        carrier: flight.carrier.to_owned(),
        cancelled: flight.dep_time.is_none(),
        delay: flight.dep_delay,
    };
    template.send(RESULTS, Json(&result)).await?;
    Ok(())
}

/// Batch listener, `Batch`: how often each route is flown.
#[kafka_listener(topic = "flights", group_id = "routes", ack_mode = Batch)]
async fn routes(flights: Batch<Json<Flight>>, routes: State<Routes>) {
    let mut counts = lock(&routes.0);
    for Json(flight) in flights.iter() {
        *counts.entry((flight.origin.clone(), flight.dest.clone())).or_default() += 1;
    }
}

/// Consumer-aware, manual immediate: the commit is done before the next record comes.
#[kafka_listener(topic = "flights", group_id = "long-haul", ack_mode = ManualImmediate)]
async fn long_haul(
    record: ConsumerRecord<String, Json<Flight>>,
    ack: Acknowledgment,
    consumer: ConsumerHandle,
) -> ListenerResult {
    let partition = record.topic_partition();
    if record.value().distance > 4_900 && !consumer.assignment().contains(&partition) {
        return Err(ListenerError::msg(format!("{partition} is not ours")));
    }
    ack.acknowledge().await?;
    Ok(())
}

/// A flight with missing data: no retry mends it.
#[derive(Debug, thiserror::Error)]
#[error("row {row} of carrier {carrier}: {missing} is missing (NA)")]
struct Dirty {
    row: u64,
    carrier: String,
    missing: &'static str,
}

/// Flights must be complete; the others end in `flights-dlt`, the reason in the headers.
#[kafka_listener(topic = "flights", group_id = "complete", container_factory = "strict")]
async fn complete(Json(flight): Json<Flight>) -> Result<(), Dirty> {
    let missing = match &flight {
        Flight { dep_time: None, .. } => "dep_time",
        Flight { arr_delay: None, .. } => "arr_delay",
        Flight { tailnum: None, .. } => "tailnum",
        _ => return Ok(()),
    };
    Err(Dirty { row: flight.row, carrier: flight.carrier, missing })
}

/// A count's remainder is committed on the first empty poll: polls are short, so that the job ends soon.
pub fn counting() -> ContainerFactory {
    ContainerFactory::named("counting").poll_timeout(Duration::from_millis(50))
}

/// What is dirty stays dirty: no retries, dead letters at once.
pub fn strict() -> ContainerFactory {
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::from_millis(100), 3))
        .not_retryable::<Dirty>()
        .dead_letters(DeadLetters::to_suffix("-dlt"));
    ContainerFactory::named("strict").error_handler(handler)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often each route is flown.
#[derive(Default)]
pub struct Routes(Mutex<BTreeMap<(String, String), u64>>);

impl Routes {
    pub fn count(&self) -> usize {
        lock(&self.0).len()
    }
}

/// The results, each row once.
#[derive(Default)]
pub struct Results(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    records: u64,
    rows: BTreeSet<u64>,
    collector: Collector,
}

impl Results {
    pub fn seen(&self) -> u64 {
        lock(&self.0).records
    }

    /// The table, and how many results came more than once.
    pub fn table(&self) -> (Table, u64) {
        let seen = std::mem::take(&mut *lock(&self.0));
        (seen.collector.table(), seen.records - seen.rows.len() as u64)
    }
}

/// Reads the result topic from its beginning, on each start, without a group: made without the attribute.
pub fn results() -> Listener {
    let read = |results: Batch<Json<Outcome>>, into: State<Results>| async move {
        let mut seen = lock(&into.0);
        for Json(result) in results.iter() {
            seen.records += 1;
            if seen.rows.insert(result.row) {
                seen.collector.add(&result.carrier, result.cancelled, result.delay);
            }
        }
    };
    Listener::new("results", read).partitions_from(RESULTS, "0", "beginning")
}

/// The rows that an earlier run has sent.
#[derive(Default)]
pub struct RowsInLog(Mutex<(u64, BTreeSet<u64>)>);

impl RowsInLog {
    pub fn seen(&self) -> u64 {
        lock(&self.0).0
    }

    pub fn take(&self) -> BTreeSet<u64> {
        std::mem::take(&mut lock(&self.0).1)
    }
}

/// Reads the flights topic from its beginning: each row's number is a header.
pub fn rows_in_log() -> Listener {
    let read = |flights: Batch<ConsumerRecord<(), ()>>, into: State<RowsInLog>| async move {
        let mut rows = lock(&into.0);
        for flight in flights.iter() {
            let row: Option<u64> = flight.header("row").flatten().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            rows.0 += 1;
            rows.1.extend(row);
        }
    };
    Listener::new("rows_in_log", read).partitions_from(FLIGHTS, "0-2", "beginning")
}
