//! What a broker says of transactions to who reads; the test plays their coordinator beside the wire.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{DescribeProducersRequest, FetchRequest, ListOffsetsRequest};

use super::records::fetch;
use super::{Bench, name, versions};
use crate::partition::{PartitionHandle, TransactionEnd};
use crate::record::BatchBuilder;

fn within(id: i64, sequence: i32) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 3, sequence);
    builder.transactional();
    builder.append(1000 * i64::from(sequence + 1), Some(b"k"), Some(b"v"), &[]);
    builder.build()
}

fn end(partition: &PartitionHandle, producer_id: i64, committed: bool) {
    let end = TransactionEnd { producer_id, producer_epoch: 3, coordinator_epoch: 5, committed };
    partition.end_transaction(&end).expect("ended");
}

#[tokio::test]
async fn a_reader_of_committed_records_gets_what_is_decided_and_what_was_aborted() {
    let mut bench = Bench::new().await;
    let t = bench.broker.partition("t", 0).expect("there");
    for (id, sequence) in [(1, 0), (2, 0), (1, 1)] {
        t.produce(within(id, sequence)).expect("produced");
    }
    end(&t, 2, false);
    end(&t, 1, false);
    t.produce(within(1, 2)).expect("produced");
    for version in versions::<FetchRequest>() {
        let answer = bench.ask(version, &fetch("t", 0, 0).with_isolation_level(1)).await;
        let found = &answer.responses[0].partitions[0];
        assert_eq!((found.error_code, found.high_watermark, found.last_stable_offset), (0, 6, 5), "version {version}");
        let aborted = found.aborted_transactions.as_ref().expect("a list");
        let aborted: Vec<_> = aborted.iter().map(|one| (one.producer_id.0, one.first_offset)).collect();
        assert_eq!(aborted, [(2, 1), (1, 0)], "version {version}");
        let committed = found.records.as_ref().map_or(0, Bytes::len);
        let all = bench.ask(version, &fetch("t", 0, 0)).await;
        let all = &all.responses[0].partitions[0];
        assert_eq!((all.high_watermark, all.last_stable_offset), (6, 5), "version {version}");
        assert!(all.aborted_transactions.is_none());
        assert!(all.records.as_ref().map_or(0, Bytes::len) > committed, "the open one's as well");
    }
}

#[tokio::test]
async fn a_reader_of_committed_records_waits_until_they_are_decided() {
    let mut bench = Bench::new().await;
    let t = bench.broker.partition("t", 0).expect("there");
    let asked = fetch("t", 0, 0).with_isolation_level(1).with_max_wait_ms(60_000);
    let parked = bench.send(11, &asked).await;
    t.produce(within(1, 0)).expect("produced");
    t.produce(within(2, 0)).expect("produced");
    end(&t, 2, true);
    end(&t, 1, true);
    let answer = bench.receive::<FetchRequest>(11, parked).await;
    let found = &answer.responses[0].partitions[0];
    assert_eq!((found.last_stable_offset, found.records.is_some()), (4, true), "not at the first marker");
}

#[tokio::test]
async fn offsets_for_a_reader_of_committed_records_end_where_they_are_not_decided() {
    let mut bench = Bench::new().await;
    let t = bench.broker.partition("t", 0).expect("there");
    t.produce(within(1, 0)).expect("produced");
    end(&t, 1, true);
    t.produce(within(1, 1)).expect("produced");
    for version in versions::<ListOffsetsRequest>().filter(|version| *version >= 2) {
        for (isolation, timestamp, offset) in
            [(0, -1, 3), (1, -1, 2), (0, -2, 0), (1, -2, 0), (0, 500, 0), (1, 500, 0), (0, 1500, 2), (1, 1500, -1)]
        {
            let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_isolation_level(isolation).with_topics(vec![topic]);
            let answer = bench.ask(version, &request).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset), (0, offset), "version {version}, {isolation} at {timestamp}");
        }
    }
}

#[tokio::test]
async fn a_producer_is_described_with_its_transaction() {
    let mut bench = Bench::new().await;
    let t = bench.broker.partition("t", 0).expect("there");
    t.produce(within(1, 0)).expect("produced");
    end(&t, 1, true);
    t.produce(within(2, 0)).expect("produced");
    let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let answer = bench.ask(0, &DescribeProducersRequest::default().with_topics(vec![topic])).await;
    let told = |one: &kafka_protocol::messages::describe_producers_response::ProducerState| {
        (one.producer_id.0, one.producer_epoch, one.coordinator_epoch, one.current_txn_start_offset)
    };
    let found: Vec<_> = answer.topics[0].partitions[0].active_producers.iter().map(told).collect();
    assert_eq!(found, [(1, 3, 5, -1), (2, 3, -1, 2)]);
}
