use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker_core::record::{BatchBuilder, Codec, batches};
use bytes::Bytes;
use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};

use super::Bootstrap;
use super::consume::{FETCH, request as fetch_request};
use super::print::out;
use super::produce::{PRODUCE, acks, check, codec, compression, now_ms, request as produce_request};
use crate::client::{Connection, EARLIEST, Failure, LATEST, Result, fail, refused};

/// How much one fetch may bring.
const FETCH_BYTES: i32 = 8 << 20;

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum Perf {
    /// Sends records of one size over one connection; latency is from a record's making to its acknowledgment.
    Produce(Sending),
    /// Reads records over one connection.
    Consume(Reading),
}

/// Which partition, of which brokers.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The topic.
    #[arg(long, short = 't')]
    topic: String,
    /// Its partition.
    #[arg(long, short = 'p', default_value_t = 0)]
    partition: i32,
}

#[derive(Debug, Args)]
pub struct Sending {
    #[command(flatten)]
    place: Place,
    /// How many records to send.
    #[arg(long, default_value_t = 1_000_000)]
    num_records: u64,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100)]
    record_size: usize,
    /// Records a second; as many as go if none.
    #[arg(long)]
    throughput: Option<u64>,
    /// Bytes at which a batch is sent.
    #[arg(long, default_value_t = 16_384)]
    batch_size: usize,
    /// How long a batch that is not full waits for more, in milliseconds.
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
    /// Requests that are not answered yet.
    #[arg(long, default_value_t = 5)]
    max_in_flight: usize,
    /// 0, 1 or all.
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: i16,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none", value_parser = codec)]
    compression_type: Codec,
    /// One JSON object in place of a sentence.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Reading {
    #[command(flatten)]
    place: Place,
    /// How many records to read, from the first that is there.
    #[arg(long, default_value_t = 1_000_000)]
    num_records: u64,
    /// Ends with an error when nothing came for this long.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000)]
    timeout_ms: u64,
    /// One JSON object in place of a sentence.
    #[arg(long)]
    json: bool,
}

pub async fn run(perf: Perf) -> Result<()> {
    match perf {
        Perf::Produce(sending) => sending.run().await,
        Perf::Consume(reading) => reading.run().await,
    }
}

/// What is on its way: the records of a batch, and when they were made.
type InFlight = VecDeque<Vec<Instant>>;

impl Sending {
    async fn run(&self) -> Result<()> {
        if self.max_in_flight == 0 || self.record_size > 512 << 20 {
            return fail("--max-in-flight is at least 1, --record-size at most 512 MiB");
        }
        let mut cluster = self.place.bootstrap.connect().await?;
        cluster.topic(&self.place.topic, true).await?;
        // Answered once there is a leader.
        cluster.offset(&self.place.topic, self.place.partition, LATEST).await?;
        let mut connection = cluster.connect_to_leader(&self.place.topic, self.place.partition).await?;
        let version = connection.version::<ProduceRequest>(PRODUCE)?;
        let mut latency = Histogram::<u64>::new(3).map_err(|error| Failure(error.to_string()))?;
        let mut batch = BatchBuilder::new().compression(compression(self.compression_type)?);
        // Not all the same byte, lest compression looks better than it is.
        let value: Vec<u8> = (0..self.record_size).map(|index| b'a' + (index * 7 % 26) as u8).collect();
        let mut flight = InFlight::new();
        let mut made = Vec::new();
        let begun = Instant::now();
        for number in 0..self.num_records {
            let due = self.throughput.map_or(begun, |rate| begun + Duration::from_secs_f64(number as f64 / rate.max(1) as f64));
            if due > Instant::now() {
                // The batch is not kept for the next record longer than it lingers.
                if due > made.first().copied().unwrap_or(due) + Duration::from_millis(self.linger_ms) {
                    self.send(&mut connection, version, &mut batch, &mut made, &mut flight).await?;
                    while !flight.is_empty() {
                        self.take(&mut connection, version, &mut flight, &mut latency).await?;
                    }
                }
                tokio::time::sleep_until(due.into()).await;
            }
            made.push(Instant::now());
            batch.append(now_ms(), None, Some(&value), &[]);
            if batch.size() + value.len() > self.batch_size {
                self.send(&mut connection, version, &mut batch, &mut made, &mut flight).await?;
                // Another login waits until nothing is on its way.
                let rests = connection.wants_another_login();
                while flight.len() >= self.max_in_flight || rests && !flight.is_empty() {
                    self.take(&mut connection, version, &mut flight, &mut latency).await?;
                }
            }
        }
        self.send(&mut connection, version, &mut batch, &mut made, &mut flight).await?;
        while !flight.is_empty() {
            self.take(&mut connection, version, &mut flight, &mut latency).await?;
        }
        self.tell(begun.elapsed(), &latency)
    }

    async fn send(
        &self,
        connection: &mut Connection,
        version: i16,
        batch: &mut BatchBuilder,
        made: &mut Vec<Instant>,
        flight: &mut InFlight,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let request = produce_request(&self.place.topic, self.place.partition, self.acks, batch.build().freeze());
        if self.acks == 0 {
            made.clear();
            return connection.send_unanswered(version, &request).await;
        }
        connection.send(version, &request).await?;
        flight.push_back(std::mem::take(made));
        Ok(())
    }

    async fn take(
        &self,
        connection: &mut Connection,
        version: i16,
        flight: &mut InFlight,
        latency: &mut Histogram<u64>,
    ) -> Result<()> {
        let answer = connection.receive::<ProduceRequest>(version).await?;
        check(&self.place.topic, &answer)?;
        let now = Instant::now();
        for made in flight.pop_front().unwrap_or_default() {
            latency.saturating_record((now - made).as_micros() as u64);
        }
        Ok(())
    }

    fn tell(&self, took: Duration, latency: &Histogram<u64>) -> Result<()> {
        let seconds = took.as_secs_f64();
        let (records, mib) =
            (self.num_records as f64 / seconds, self.num_records as f64 * self.record_size as f64 / seconds / 1_048_576.0);
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
        let (mean, p50, p95, p99, p999) = (latency.mean() / 1000.0, ms(0.5), ms(0.95), ms(0.99), ms(0.999));
        let told = if self.json {
            format!(
                "{{\"perf\":\"produce\",\"records\":{},\"records_per_s\":{records:.0},\"mib_per_s\":{mib:.2},\"mean_ms\":{mean:.3},\"p50_ms\":{p50:.3},\"p95_ms\":{p95:.3},\"p99_ms\":{p99:.3},\"p999_ms\":{p999:.3}}}\n",
                self.num_records
            )
        } else if self.acks == 0 {
            format!("{} records sent, {records:.0} records/s ({mib:.2} MiB/s); acks=0: no latency is known\n", self.num_records)
        } else {
            format!(
                "{} records acknowledged, {records:.0} records/s ({mib:.2} MiB/s); latency mean {mean:.2} ms, p50 {p50:.2}, p95 {p95:.2}, p99 {p99:.2}, p99.9 {p999:.2}\n",
                self.num_records
            )
        };
        out(told.as_bytes()).map(drop)
    }
}

impl Reading {
    async fn run(&self) -> Result<()> {
        let mut cluster = self.place.bootstrap.connect().await?;
        cluster.topic(&self.place.topic, false).await?;
        let mut next = cluster.offset(&self.place.topic, self.place.partition, EARLIEST).await?.unwrap_or(0);
        let mut connection = cluster.connect_to_leader(&self.place.topic, self.place.partition).await?;
        let version = connection.version::<FetchRequest>(FETCH)?;
        let (mut count, mut bytes) = (0u64, 0u64);
        let begun = Instant::now();
        let mut last = begun;
        while count < self.num_records {
            let request = fetch_request(&self.place.topic, &[(self.place.partition, next)], FETCH_BYTES, FETCH_BYTES, 500);
            connection.send(version, &request).await?;
            let answer = connection.receive::<FetchRequest>(version).await?;
            let before = count;
            for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
                refused(&format!("{}-{}@{next}", self.place.topic, self.place.partition), part.error_code, None)?;
                let Some(records) = &part.records else { continue };
                self.count(records, &mut next, &mut count, &mut bytes)?;
            }
            if count > before {
                last = Instant::now();
            } else if last.elapsed() >= Duration::from_millis(self.timeout_ms) {
                return fail(format!("{} of {} records came, then nothing for {} ms", count, self.num_records, self.timeout_ms));
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let (rate, mib) = (count as f64 / seconds, bytes as f64 / seconds / 1_048_576.0);
        let told = if self.json {
            format!("{{\"perf\":\"consume\",\"records\":{count},\"records_per_s\":{rate:.0},\"mib_per_s\":{mib:.2}}}\n")
        } else {
            format!("{count} records read, {rate:.0} records/s ({mib:.2} MiB/s)\n")
        };
        out(told.as_bytes()).map(drop)
    }

    fn count(&self, records: &Bytes, next: &mut i64, count: &mut u64, bytes: &mut u64) -> Result<()> {
        let place = |at: i64, error: &dyn std::fmt::Display| {
            Failure(format!("{}-{}@{at}: {error}", self.place.topic, self.place.partition))
        };
        for batch in batches(records) {
            // A fetch may end with a part of a batch.
            let Ok(batch) = batch else { break };
            batch.verify_crc().map_err(|error| place(batch.base_offset(), &error))?;
            let plain = batch.decompressed(1 << 30).map_err(|error| place(batch.base_offset(), &error))?;
            for record in plain.records() {
                let record = record.map_err(|error| place(*next, &error))?;
                if record.offset < *next || *count >= self.num_records {
                    continue;
                }
                *count += 1;
                *bytes += (record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len)) as u64;
            }
            *next = (*next).max(batch.last_offset() + 1);
        }
        Ok(())
    }
}
