//! DeleteRecords (21), versions 0 to 2: a partition begins at an offset from now on; -1 is its end.
//!
//! - Each partition is answered for itself, with the first offset that can be read then. It is there for good when the answer is:
//!   there is one replica to wait for.
//! - Topics that are compacted only, and internal ones, are refused.

use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::one_by_one;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, I64, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, array(&[I32, I64])]), I32];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::new();
    for topic in body.topics {
        let one = |asked: DeleteRecordsPartition| {
            let answer = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            let right = client.check(Operation::Delete, Resource::Topic(&topic.name));
            let broker = &client.shared.broker;
            match right.and_then(|()| broker.delete_records(&topic.name, asked.partition_index, asked.offset)) {
                Ok(start) => answer.with_low_watermark(start),
                Err(error) => answer.with_low_watermark(-1).with_error_code(error.code().code()),
            }
        };
        let partitions = one_by_one(topic.partitions.into_iter().map(one)).await;
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}
