//! Produce (0), versions 3 to 12: a batch for each of some partitions is appended.
//!
//! - Versions 0 to 2 are in the table since older clients switch compression off otherwise, and none sends them.
//! - One v2 batch a partition; each partition is answered for itself, with a text (8) where it is refused, and the records that
//!   were the reason (8).
//! - zstd needs version 7.
//! - With acks 0 there is no answer; an error closes the connection, the only way to tell.
//! - With acks 1 and -1 the answer comes when the batch is in the log, and as durable as the topic's `flush.messages` asks: there is
//!   one broker, so both mean the same. If that takes longer than the request's `timeout_ms`, it says so, and the batch stays.
//! - A transactional batch needs the request's transactional id, whose producer's open transaction must hold the partition:
//!   `TRANSACTION_ABORTABLE` (11) otherwise, `INVALID_TXN_STATE` before. From version 12 on the partition becomes part of the
//!   transaction by this alone, and the first one begins it (KIP-890).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, timeout_at};

use super::{millis, text};
use crate::broker::{Broker, Counts, writer};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::partition::PartitionHandle;
use crate::quota::QuotaKind;
use crate::record::{Batch, CONTROL_BIT, Codec, TRANSACTIONAL_BIT, at, header};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::dispatch::Maybe;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BYTES, Field, I16, I32, TEXT, array};

/// The format of batches.
const MAGIC: u8 = 2;
/// From this version on a partition becomes part of a transaction by what is written to it.
const JOINS: i16 = 12;

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I16, I32, array(&[TEXT, array(&[I32, BYTES])])];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: ProduceRequest) -> Maybe<ProduceResponse> {
    let acceptable = check(client, &body);
    let sent = body.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let sent = sent.map(|data| data.records.as_ref().map_or(0, |records| records.len())).sum();
    let throttled = client.take_of_quota(QuotaKind::Produce, request, sent);
    let within = body.transactional_id.as_ref().map(|id| id.as_str());
    let deadline = Instant::now() + Duration::from_millis(millis(body.timeout_ms));
    let outside = match within {
        Some(id) if request.version >= JOINS && acceptable.is_ok() => join(client, id, &body, deadline).await,
        _ => BTreeMap::new(),
    };
    let mut first_error = None;
    let mut waits = Vec::new();
    let topics = body.topic_data.into_iter().enumerate().map(|(place, topic)| {
        let acceptable = acceptable
            .as_ref()
            .map_err(|error| Error::new(error.code(), error.to_string()))
            .and_then(|()| client.check(Operation::Write, Resource::Topic(&topic.name)));
        let one = |(inner, data): (usize, PartitionProduceData)| {
            let index = data.index;
            let mut waits_for = |partition, end| waits.push(Waits { place: (place, inner), partition, end });
            let produced = match &acceptable {
                Ok(()) => produce(&client.shared.broker, &topic.name, data, (within, &outside), request.version, &mut waits_for),
                Err(error) => Err(Error::new(error.code(), error.to_string())),
            };
            produced.unwrap_or_else(|error| {
                first_error.get_or_insert_with(|| error.to_string());
                refused(index, &error, request.version)
            })
        };
        let partitions = topic.partition_data.into_iter().enumerate().map(one).collect();
        TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(partitions)
    });
    let mut response = ProduceResponse::default().with_responses(topics.collect()).with_throttle_time_ms(throttled);
    for Waits { place, partition, end } in waits {
        // Without acks as well: an error has to be told.
        let error = match timeout_at(deadline, partition.acknowledged(end)).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => {
                first_error.get_or_insert_with(|| error.to_string());
                error
            }
            // No error for who wants no answer: it is in the log.
            Err(_) => late(&partition, body.timeout_ms),
        };
        let index = partition.topic_partition().partition;
        response.responses[place.0].partition_responses[place.1] = refused(index, &error, request.version);
    }
    match first_error {
        Some(error) if body.acks == 0 => Maybe::Close(format!("a produce without acks failed: {error}")),
        None if body.acks == 0 => Maybe::Silent,
        _ => Maybe::Body(response),
    }
}

/// A batch that does not count before the disk has it: which answer it belongs to, and what to wait for.
struct Waits {
    place: (usize, usize),
    partition: PartitionHandle,
    end: i64,
}

/// The write stands, but the disk takes longer than the client waits.
fn late(partition: &PartitionHandle, timeout_ms: i32) -> Error {
    let text = format!("{}: written, but not durable within {timeout_ms} ms", partition.topic_partition());
    Error::new(ErrorCode::RequestTimedOut, text)
}

fn check(client: &Client, body: &ProduceRequest) -> Result<(), Error> {
    if !matches!(body.acks, -1..=1) {
        return Err(Error::new(ErrorCode::InvalidRequiredAcks, format!("acks is {}: -1, 0 or 1", body.acks)));
    }
    if let Some(id) = &body.transactional_id {
        client.check(Operation::Write, Resource::TransactionalId(id))?;
    }
    Ok(())
}

fn produce(
    broker: &Broker,
    topic: &str,
    data: PartitionProduceData,
    (within, outside): (Option<&str>, &Outside),
    version: i16,
    waits_for: &mut impl FnMut(PartitionHandle, i64),
) -> Result<PartitionProduceResponse, Error> {
    let partition: PartitionHandle =
        broker.partition(topic, data.index).map_err(|error| match broker.topic(topic).is_some_and(|topic| topic.internal) {
            true => Error::new(ErrorCode::InvalidTopic, format!("'{topic}' is internal: clients do not write to it")),
            false => error,
        })?;
    let records = data.records.unwrap_or_default();
    check_batch(topic, data.index, &records, within)?;
    if version < 7 && Batch::parse(&records).is_ok_and(|batch| batch.codec() == Ok(Codec::Zstd)) {
        let text = format!("{topic}-{}: zstd needs version 7 of Produce, this is {version}", data.index);
        return Err(Error::new(ErrorCode::UnsupportedCompressionType, text));
    }
    // The request's bytes belong to all its partitions; a batch is stamped, so it needs bytes of its own.
    let batch = BytesMut::from(&records[..]);
    let produced = match within {
        Some(_) if let Some(error) = outside.get(&writer(&batch)).filter(|_| is_within(&batch)) => {
            return Err(Error::new(error.code(), error.to_string()));
        }
        Some(id) => broker.produce_in_transaction(id, &partition, batch).map_err(|error| abortable(error, version))?,
        None => partition.produce(batch)?,
    };
    if partition.end_offset() < produced.end_offset {
        waits_for(partition.clone(), produced.end_offset);
    }
    Ok(PartitionProduceResponse::default()
        .with_index(data.index)
        .with_base_offset(produced.base_offset)
        .with_log_append_time_ms(produced.log_append_time.unwrap_or(-1))
        .with_log_start_offset(partition.log_start()))
}

/// Clients before version 11 do not know that a transaction may be aborted, and the producer go on.
fn abortable(error: Error, version: i16) -> Error {
    match error.code() {
        ErrorCode::TransactionAbortable if version < 11 => Error::new(ErrorCode::InvalidTxnState, error.to_string()),
        _ => error,
    }
}

/// Whether a whole batch is a transaction's.
fn is_within(records: &[u8]) -> bool {
    let attributes = header::i16(records, at::ATTRIBUTES);
    attributes & TRANSACTIONAL_BIT != 0 && attributes & CONTROL_BIT == 0
}

/// Why producers cannot have their partitions in their transactions.
type Outside = BTreeMap<(i64, i16), Error>;

/// The partitions that a request writes to become part of the transactions of who writes: all of one at once, for its coordinator writes
/// all that it has each time. It counts before anything is written.
async fn join(client: &Client, id: &str, body: &ProduceRequest, deadline: Instant) -> Outside {
    let mut joining: BTreeMap<(i64, i16), Vec<TopicPartition>> = BTreeMap::new();
    for topic in &body.topic_data {
        if client.check(Operation::Write, Resource::Topic(&topic.name)).is_err() {
            continue;
        }
        let name: Arc<str> = Arc::from(topic.name.as_str());
        for data in &topic.partition_data {
            let (records, partition) =
                (data.records.as_deref().unwrap_or_default(), TopicPartition::new(name.clone(), data.index));
            let sound = check_batch(&topic.name, data.index, records, Some(id)).is_ok() && is_within(records);
            if sound && client.shared.broker.check_may_hold_transaction(&partition).is_ok() {
                joining.entry(writer(records)).or_default().push(partition);
            }
        }
    }
    let mut outside = Outside::new();
    for (producer, partitions) in joining {
        let error = match client.shared.broker.join_transaction(id, producer, &partitions) {
            Err(error) => Some(error),
            Ok(counts) => all_count(counts, deadline, body.timeout_ms).await.err(),
        };
        outside.extend(error.map(|error| (producer, error)));
    }
    outside
}

async fn all_count(counts: Vec<Counts>, deadline: Instant, timeout_ms: i32) -> Result<(), Error> {
    for one in counts {
        timeout_at(deadline, one).await.unwrap_or_else(|_| {
            let text = format!("the transaction that this belongs to is not durable within {timeout_ms} ms: nothing is written");
            Err(Error::new(ErrorCode::RequestTimedOut, text))
        })?;
    }
    Ok(())
}

/// Whether there is a whole batch, of the one format that is taken; one of a transaction, if the request has its id.
fn check_batch(topic: &str, index: i32, records: &[u8], within: Option<&str>) -> Result<(), Error> {
    let magic = records.get(at::MAGIC).copied();
    if records.len() >= at::RECORDS && magic == Some(MAGIC) {
        if is_within(records) && within.is_none() {
            // Kafka's answer: nobody may write in the transaction of no id.
            let text = format!("{topic}-{index}: a batch of a transaction, but no transactional id");
            return Err(Error::new(ErrorCode::TransactionalIdAuthorizationFailed, text));
        }
        return Ok(());
    }
    let text = match magic {
        Some(magic) if magic != MAGIC => format!("{topic}-{index}: a batch of format {magic}, only {MAGIC} is taken"),
        _ => format!("{topic}-{index}: {} bytes are no batch", records.len()),
    };
    Err(Error::new(ErrorCode::InvalidRecord, text))
}

fn refused(index: i32, error: &Error, version: i16) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index).with_error_code(error.code().code()).with_base_offset(-1);
    if version < 8 {
        return answer;
    }
    let records = error.record_errors().iter().map(|record| {
        let message = StrBytes::from_string(record.message.clone());
        BatchIndexAndErrorMessage::default().with_batch_index(record.batch_index).with_batch_index_error_message(Some(message))
    });
    answer.with_error_message(Some(text(error))).with_record_errors(records.collect())
}
