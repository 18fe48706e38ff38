//! ListOffsets (2), versions 1 to 10: offsets by time.
//!
//! - Version 0 is in the table for clients that look at the lowest number only.
//! - Timestamp -1 asks for the end, -2 for the start, others for the first record with that time or a later one; -1 is answered
//!   if there is none.
//! - -3 (7) asks for the record with the latest timestamp, -4 (8) for the first offset on the broker's own disk, which is the
//!   start; -5 (9) for what lies elsewhere, which is nothing.
//! - For a reader of committed records (2) the end is where the first open transaction begins.
//! - An epoch (4) ahead of the leader's is refused, and so is a partition that stands twice.

use std::collections::BTreeSet;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use tokio::task::coop::consume_budget;

use super::{LEADER_EPOCH, check_epoch};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I8, I32, I64, TEXT, array};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LATEST_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(in crate::server) const SHAPE: &[Field] = &[I32, I8.from(2), array(&[TEXT, array(&[I32, I32.from(4), I64])]), I32.from(10)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: ListOffsetsRequest) -> ListOffsetsResponse {
    let epoch = if request.version >= 4 { LEADER_EPOCH } else { -1 };
    let committed = body.isolation_level == 1;
    let twice = named_twice(&body.topics);
    let mut topics = Vec::with_capacity(body.topics.len());
    for topic in body.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            // A search takes its time, and a request may ask for many.
            consume_budget().await;
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            let found = match twice.contains(&(topic.name.clone(), asked.partition_index)) {
                true => Err(Error::new(ErrorCode::InvalidRequest, "it stands more than once in the request")),
                false => offset(client, &topic.name, &asked, committed, request.version),
            };
            partitions.push(match found {
                Ok(Some((offset, timestamp))) => answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch),
                Ok(None) => answer,
                Err(error) => answer.with_error_code(error.code().code()),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// Partitions that the request names more than once.
fn named_twice(topics: &[ListOffsetsTopic]) -> BTreeSet<(TopicName, i32)> {
    let mut seen = BTreeSet::new();
    let all = topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| (topic.name.clone(), one.partition_index)));
    all.filter(|one| !seen.insert(one.clone())).collect()
}

/// An offset, and the record's timestamp where one was asked for.
fn offset(
    client: &Client,
    topic: &str,
    asked: &ListOffsetsPartition,
    committed: bool,
    version: i16,
) -> Result<Option<(i64, i64)>, Error> {
    client.check(Operation::Describe, Resource::Topic(topic))?;
    check_epoch(asked.current_leader_epoch)?;
    let Some(partition) = client.shared.broker.partition_to_read(topic, asked.partition_index)? else {
        // One of the broker's own, which holds nothing yet.
        return Ok(matches!(asked.timestamp, LATEST | EARLIEST).then_some((0, -1)));
    };
    let end = if committed { partition.stable_offset() } else { partition.end_offset() };
    let before_end = |found: Option<(i64, i64)>| found.filter(|(offset, _)| *offset < end);
    match asked.timestamp {
        LATEST => Ok(Some((end, -1))),
        EARLIEST => Ok(Some((partition.log_start(), -1))),
        LATEST_TIMESTAMP if version >= 7 => partition.offset_of_max_timestamp().map(before_end),
        EARLIEST_LOCAL if version >= 8 => Ok(Some((partition.log_start(), -1))),
        LATEST_TIERED if version >= 9 => Ok(None),
        timestamp if timestamp >= 0 => partition.offset_for_timestamp(timestamp).map(before_end),
        other => Err(Error::new(ErrorCode::UnsupportedVersion, format!("timestamp {other} has no meaning here"))),
    }
}
