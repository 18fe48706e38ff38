use std::io::BufRead;

use broker_core::record::{BatchBuilder, Codec, Compression, murmur2};
use bytes::Bytes;
use clap::Args;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};

use super::{Bootstrap, assignment};
use crate::client::{Cluster, Failure, LATEST, LEADER_MOVED, RETRIES, Result, fail, refused, text};

/// How large a batch grows before it is sent.
const BATCH_BYTES: usize = 64 * 1024;
/// The highest version of Produce that names topics.
pub const PRODUCE: i16 = 11;
/// How long the broker may take, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;

#[derive(Debug, Args)]
pub struct Produce {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The topic; made where the broker makes topics by itself.
    #[arg(long, short = 't')]
    topic: String,
    /// The partition; by the key's murmur2 otherwise, and without a key one for each batch, in turn.
    #[arg(long, short = 'p')]
    partition: Option<i32>,
    /// What stands between key and value; without it, lines are values.
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// A value that is this text is a tombstone.
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,
    /// A header of every record.
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = assignment)]
    header: Vec<(String, String)>,
    /// 0, 1 or all.
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: i16,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none", value_parser = codec)]
    compression_type: Codec,
}

pub fn acks(text: &str) -> std::result::Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "0" => Ok(0),
        "1" => Ok(1),
        _ => Err("0, 1 or all".to_owned()),
    }
}

pub fn codec(name: &str) -> std::result::Result<Codec, String> {
    let found = Codec::ALL.into_iter().find(|codec| codec.to_string() == name);
    found.ok_or_else(|| "none, gzip, snappy, lz4 or zstd".to_owned())
}

pub fn compression(codec: Codec) -> Result<Compression> {
    Compression::new(codec).map_err(|error| Failure(format!("--compression-type {codec}: {error}")))
}

/// A request with one batch.
pub fn request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(TIMEOUT_MS).with_topic_data(vec![topic])
}

/// An error if the batch was refused.
pub fn check(topic: &str, answer: &ProduceResponse) -> Result<()> {
    for told in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
        refused(&format!("{topic}-{}", told.index), told.error_code, told.error_message.as_ref())?;
    }
    Ok(())
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64)
}

pub async fn run(produce: Produce) -> Result<()> {
    let mut cluster = produce.bootstrap.connect().await?;
    let partitions = cluster.topic(&produce.topic, true).await?.leaders.len();
    if produce.acks == 0 {
        // Nobody says that a leader is not there yet: ask.
        for partition in 0..partitions as i32 {
            cluster.offset(&produce.topic, partition, LATEST).await?;
        }
    }
    let mut sender = Sender { batches: Vec::new(), next: 0, sent: 0, cluster, produce: &produce };
    for _ in 0..partitions {
        sender.batches.push(BatchBuilder::new().compression(compression(produce.compression_type)?));
    }
    let (lines, mut read) = tokio::sync::mpsc::channel(1024);
    // Reading blocks, and only this thread waits for it.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut number = 0u64;
    loop {
        let line = match read.try_recv() {
            Ok(line) => Some(line),
            // Whoever types waits for what was typed to be sent.
            Err(_) => {
                sender.send_all().await?;
                read.recv().await
            }
        };
        let Some(line) = line else { break };
        number += 1;
        let line = line.map_err(|error| Failure(format!("standard input, line {number}: {error}")))?;
        sender.line(number, line.strip_suffix(b"\r").unwrap_or(&line)).await?;
    }
    sender.send_all().await?;
    let acknowledged = if produce.acks == 0 { "sent, unacknowledged" } else { "acknowledged" };
    eprintln!("{} records {acknowledged}", sender.sent);
    Ok(())
}

struct Sender<'a> {
    produce: &'a Produce,
    cluster: Cluster,
    /// By partition.
    batches: Vec<BatchBuilder>,
    /// The partition of records without a key.
    next: usize,
    sent: u64,
}

impl Sender<'_> {
    async fn line(&mut self, number: u64, line: &[u8]) -> Result<()> {
        let (key, value) = match self.produce.key_separator.as_deref().map(str::as_bytes) {
            None => (None, line),
            Some(separator) => match find(line, separator) {
                Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
                None => {
                    // What was read before is sent; nothing of it is lost.
                    self.send_all().await?;
                    let separator = String::from_utf8_lossy(separator).into_owned();
                    return fail(format!("standard input, line {number}: no '{separator}' between key and value"));
                }
            },
        };
        let value = (self.produce.null_marker.as_deref().map(str::as_bytes) != Some(value)).then_some(value);
        let headers: Vec<(&str, Option<&[u8]>)> =
            self.produce.header.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes()))).collect();
        let count = self.batches.len();
        let partition = match (self.produce.partition, key) {
            (Some(partition), _) => match usize::try_from(partition).ok().filter(|partition| *partition < count) {
                Some(partition) => partition,
                None => {
                    return fail(format!("topic '{}' has partitions 0 to {}, not {partition}", self.produce.topic, count - 1));
                }
            },
            (None, Some(key)) => (murmur2(key) & 0x7fff_ffff) as usize % count,
            (None, None) => self.next % count,
        };
        let batch = &mut self.batches[partition];
        batch.append(now_ms(), key, value, &headers);
        if batch.size() >= BATCH_BYTES {
            self.send(partition).await?;
        }
        Ok(())
    }

    async fn send_all(&mut self) -> Result<()> {
        for partition in 0..self.batches.len() {
            self.send(partition).await?;
        }
        Ok(())
    }

    async fn send(&mut self, partition: usize) -> Result<()> {
        if self.batches[partition].is_empty() {
            return Ok(());
        }
        let (topic, acks) = (&self.produce.topic, self.produce.acks);
        let count = self.batches[partition].count() as u64;
        let batch = self.batches[partition].build().freeze();
        let request = request(topic, partition as i32, acks, batch);
        for _ in 0..RETRIES {
            let leader = self.cluster.leader(topic, partition as i32).await?;
            let connection = self.cluster.node(leader).await?;
            if acks == 0 {
                connection.send_unanswered(connection.version::<ProduceRequest>(PRODUCE)?, &request).await?;
            } else {
                let answer = connection.ask(PRODUCE, &request).await?;
                let mut told = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
                if told.any(|told| LEADER_MOVED.contains(&told.error_code)) {
                    self.cluster.look_again(topic).await?;
                    continue;
                }
                check(topic, &answer)?;
            }
            self.sent += count;
            self.next += 1;
            return Ok(());
        }
        fail(format!("{topic}-{partition} has no leader that takes records"))
    }
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    if separator.is_empty() { None } else { line.windows(separator.len()).position(|window| window == separator) }
}
