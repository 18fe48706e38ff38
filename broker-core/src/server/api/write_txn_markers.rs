//! WriteTxnMarkers (27), version 1: transactions end in some partitions, whatever their coordinator knows: an administrator's way
//! out of one that hangs (`kafka-transactions abort`).
//!
//! - Each partition is answered for itself, when its marker is as durable as its topic asks.
//! - An epoch of the producer or of its coordinator that is older than what the partition has seen is refused.

use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::broker::Broker;
use crate::error::Error;
use crate::id::TopicPartition;
use crate::partition::TransactionEnd;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, I16, I32, I64, TEXT, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[I64, I16, BOOL, array(&[TEXT, list(&I32)]), I32])];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let right = match client.may(Operation::Alter, Resource::Cluster) {
        true => Ok(()),
        false => client.check(Operation::ClusterAction, Resource::Cluster),
    };
    let mut markers = Vec::new();
    let mut failures = Failures::default();
    for marker in body.markers {
        markers.push(write(&client.shared.broker, &right, marker, &mut failures).await);
    }
    failures.tell();
    WriteTxnMarkersResponse::default().with_markers(markers)
}

/// The markers of a request that could not be written: one line of the log, however many there are.
#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<(TopicPartition, i64, Error)>,
}

impl Failures {
    fn tell(self) {
        let (count, Some((partition, producer_id, error))) = (self.count, self.first) else { return };
        // Quoted: a client named it.
        let (partition, error) = (partition.to_string(), error.to_string());
        let text = "no marker is written; of those of the request that are not, this is the first";
        tracing::warn!(target: "broker_core::server", count, partition, producer_id, error, "{text}");
    }
}

async fn write(
    broker: &Broker,
    right: &Result<(), Error>,
    marker: WritableTxnMarker,
    failures: &mut Failures,
) -> WritableTxnMarkerResult {
    let end = TransactionEnd {
        producer_id: marker.producer_id.0,
        producer_epoch: marker.producer_epoch,
        coordinator_epoch: marker.coordinator_epoch,
        committed: marker.transaction_result,
    };
    let mut topics = Vec::new();
    for topic in marker.topics {
        let mut partitions = Vec::new();
        for number in topic.partition_indexes {
            let code = match right {
                Ok(()) => tell(broker, TopicPartition::new(topic.name.as_str(), number), &end, failures).await,
                Err(error) => error.code().code(),
            };
            partitions.push(WritableTxnMarkerPartitionResult::default().with_partition_index(number).with_error_code(code));
        }
        topics.push(WritableTxnMarkerTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics)
}

async fn tell(broker: &Broker, partition: TopicPartition, end: &TransactionEnd, failures: &mut Failures) -> i16 {
    let told = match broker.write_transaction_marker(&partition, end) {
        Ok(Some((partition, end))) => partition.acknowledged(end).await,
        other => other.map(drop),
    };
    // There may be very many of them.
    tokio::task::yield_now().await;
    match told {
        Ok(()) => 0,
        Err(error) => {
            let code = error.code().code();
            failures.count += 1;
            failures.first.get_or_insert((partition, end.producer_id, error));
            code
        }
    }
}
