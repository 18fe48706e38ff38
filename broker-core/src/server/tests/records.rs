//! Records in and out: Produce, Fetch, ListOffsets.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, DeleteRecordsRequest, FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};

use tokio::time::timeout;

use super::metered::MeteredDisk;
use super::{Bench, name, versions};
use crate::broker::{Broker, NewTopic};
use crate::record::BatchBuilder;
#[cfg(feature = "zstd")]
use crate::record::{Codec, Compression};
use crate::server::ServerConfig;
use crate::storage::MemoryDisk;

pub(super) fn batch(value: &[u8]) -> Bytes {
    let mut batch = BatchBuilder::new();
    batch.append(1000, Some(b"k"), Some(value), &[]);
    batch.build().freeze()
}

pub(super) fn produce(topic: &'static str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])
}

pub(super) fn fetch(topic: &'static str, partition: i32, offset: i64) -> FetchRequest {
    let partition =
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(1).with_topics(vec![topic])
}

#[tokio::test]
async fn what_is_produced_is_fetched_byte_for_byte() {
    let mut bench = Bench::new().await;
    for (offset, version) in versions::<ProduceRequest>().enumerate() {
        let answer = bench.ask(version, &produce("t", 0, batch(b"v"))).await;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!(
            (answer.error_code, answer.base_offset, answer.log_append_time_ms),
            (0, offset as i64, -1),
            "version {version}"
        );
    }
    let end = bench.broker.partition("t", 0).expect("there").end_offset();
    for version in versions::<FetchRequest>() {
        let answer = bench.ask(version, &fetch("t", 0, 2)).await;
        let found = &answer.responses[0].partitions[0];
        assert_eq!((found.error_code, found.high_watermark, found.last_stable_offset), (0, end, end), "version {version}");
        assert!(found.aborted_transactions.is_none());
        let mut expected = BytesMut::new();
        for offset in 2..end {
            let mut one = BytesMut::from(&batch(b"v")[..]);
            one[..8].copy_from_slice(&offset.to_be_bytes());
            one[12..16].copy_from_slice(&[0; 4]);
            expected.extend_from_slice(&one);
        }
        assert_eq!(found.records.as_deref(), Some(&expected[..]), "version {version}");
        let committed = bench.ask(version, &fetch("t", 0, 2).with_isolation_level(1)).await;
        assert_eq!(committed.responses[0].partitions[0].aborted_transactions.as_ref().map(Vec::len), Some(0));
    }
}

#[tokio::test]
async fn an_empty_fetch_is_an_empty_run_and_outside_the_log_is_an_error() {
    let mut bench = Bench::new().await;
    for version in versions::<FetchRequest>() {
        for (topic, partition, offset, error) in
            [("t", 0, 0, 0), ("t", 0, 1, 1), ("t", 0, -1, 1), ("t", 2, 0, 3), ("absent", 0, 0, 3)]
        {
            let answer = bench.ask(version, &fetch(topic, partition, offset)).await;
            let found = &answer.responses[0].partitions[0];
            assert_eq!((found.error_code, found.records.as_deref()), (error, Some(&b""[..])), "{topic}-{partition} at {offset}");
        }
    }
    let mut ahead = fetch("t", 0, 0);
    ahead.topics[0].partitions[0].current_leader_epoch = 7;
    assert_eq!(bench.ask(9, &ahead).await.responses[0].partitions[0].error_code, 75);
    assert_eq!(bench.ask(7, &fetch("t", 0, 0).with_session_id(5).with_session_epoch(1)).await.error_code, 70);
    let session = bench.ask(7, &fetch("t", 0, 0).with_session_epoch(0)).await;
    assert_eq!((session.error_code, session.session_id), (0, 0));
}

#[tokio::test]
async fn a_partition_that_is_asked_about_twice_is_refused_as_by_kafka() {
    let disk = MeteredDisk::default();
    let meter = disk.meter.clone();
    let broker = Broker::builder().disk(Arc::new(disk)).open().expect("opened");
    broker.create_topic(&NewTopic::new("t").partitions(2)).expect("a topic");
    let mut bench = Bench::on(broker, ServerConfig::default()).await;
    bench.ask(9, &produce("t", 0, batch(&[7; 100_000]))).await;
    let one = |index| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(1);
    let topic = |partitions| ListOffsetsTopic::default().with_name(name("t")).with_partitions(partitions);
    let before = meter.read();
    let many = topic(vec![one(0); 1000]);
    let asked = ListOffsetsRequest::default().with_topics(vec![many, topic(vec![one(1), one(0)])]);
    let answer = bench.ask(7, &asked).await;
    let told: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code).collect();
    assert_eq!((told.len(), told[0], told[999], told[1000], told[1001]), (1002, 42, 42, 0, 42));
    assert!(meter.read() - before < 1_000_000, "{} bytes read", meter.read() - before);
}

#[tokio::test]
async fn a_write_that_is_not_durable_in_time_is_told_so() {
    let disk = MeteredDisk::default();
    let meter = disk.meter.clone();
    let broker = Broker::builder().disk(Arc::new(disk)).open().expect("opened");
    let configs = [("flush.messages".to_owned(), "1".to_owned())].into();
    broker.create_topic(&NewTopic { configs, ..NewTopic::new("t") }).expect("a topic");
    let mut bench = Bench::on(broker, ServerConfig::default()).await;
    meter.stop_syncs(true);
    for acks in [-1, 1] {
        let asked = produce("t", 0, batch(b"v")).with_timeout_ms(50).with_acks(acks);
        let answer = timeout(Duration::from_secs(20), bench.ask(9, &asked)).await.expect("an answer in time");
        let answer = &answer.responses[0].partition_responses[0];
        let told = answer.error_message.as_deref().unwrap_or_default();
        assert_eq!((answer.error_code, told.contains("t-0") && told.contains("50 ms")), (7, true), "{told}");
    }
    meter.stop_syncs(false);
    let answer = bench.ask(9, &produce("t", 0, batch(b"v")).with_timeout_ms(20_000)).await;
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (0, 2), "the others are in the log all the same");
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_the_answers_before_it_do_not() {
    let mut bench = Bench::new().await;
    let first = bench.send(3, &MetadataRequest::default().with_topics(None)).await;
    let parked = bench.send(4, &fetch("t", 1, 0).with_max_wait_ms(60_000)).await;
    let last = bench.send(0, &ApiVersionsRequest::default()).await;
    bench.receive::<MetadataRequest>(3, first).await;
    let partition = bench.broker.partition("t", 1).expect("there");
    partition.produce(BytesMut::from(&batch(b"late")[..])).expect("produced");
    let answer = bench.receive::<FetchRequest>(4, parked).await;
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 1);
    bench.receive::<ApiVersionsRequest>(0, last).await;
}

#[tokio::test]
async fn a_fetch_waits_for_as_much_as_it_asks_for_but_no_longer_than_it_says() {
    let mut bench = Bench::new().await;
    let one = batch(&[7; 100]).len() as i32;
    bench.ask(3, &produce("t", 1, batch(&[7; 100]))).await;
    let size = |answer: &FetchResponse| answer.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len) as i32;
    for (min_bytes, max_wait_ms) in [(0, 60_000), (1, 60_000), (one, 60_000), (one + 1, 0), (one + 1, 30)] {
        let asked = std::time::Instant::now();
        let request = fetch("t", 1, 0).with_min_bytes(min_bytes).with_max_wait_ms(max_wait_ms);
        assert_eq!(size(&bench.ask(4, &request).await), one, "{min_bytes} bytes within {max_wait_ms} ms");
        if min_bytes > one {
            assert!(asked.elapsed().as_millis() as i32 >= max_wait_ms, "it waits");
        }
    }
    let parked = bench.send(4, &fetch("t", 1, 0).with_min_bytes(2 * one).with_max_wait_ms(60_000)).await;
    let partition = bench.broker.partition("t", 1).expect("there");
    partition.produce(BytesMut::from(&batch(&[7; 100])[..])).expect("produced");
    assert_eq!(size(&bench.receive::<FetchRequest>(4, parked).await), 2 * one);
}

#[tokio::test]
async fn the_first_batch_comes_whatever_the_limits_say() {
    let mut bench = Bench::new().await;
    for partition in [0, 1] {
        for _ in 0..3 {
            bench.ask(3, &produce("t", partition, batch(&[7; 1000]))).await;
        }
    }
    let both = |max_bytes, partition_max_bytes| {
        let partition =
            |partition| FetchPartition::default().with_partition(partition).with_partition_max_bytes(partition_max_bytes);
        let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition(1), partition(0)]);
        FetchRequest::default().with_max_bytes(max_bytes).with_topics(vec![topic])
    };
    let one = batch(&[7; 1000]).len();
    for (max_bytes, partition_max_bytes, expected) in [
        (1, 1 << 20, [one, 0]),
        (1 << 20, 1, [one, one]),
        (1 << 20, 1 << 20, [3 * one, 3 * one]),
        (3 * one as i32, 1 << 20, [3 * one, 0]),
    ] {
        let answer = bench.ask(4, &both(max_bytes, partition_max_bytes)).await;
        let found: Vec<_> =
            answer.responses[0].partitions.iter().map(|found| found.records.as_ref().map_or(0, Bytes::len)).collect();
        assert_eq!(found, expected, "{max_bytes} in all, {partition_max_bytes} a partition");
    }
}

#[tokio::test]
async fn produces_that_are_refused() {
    let mut bench = Bench::new().await;
    let mut damaged = BytesMut::from(&batch(b"v")[..]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let two = [batch(b"v"), batch(b"v")].concat();
    for (request, error, part) in [
        (produce("t", 0, damaged.freeze()), 2, "checksum"),
        (produce("t", 0, Bytes::from(two)), 87, "more than one batch"),
        (produce("t", 0, Bytes::new()), 87, "0 bytes are no batch"),
        (produce("t", 9, batch(b"v")), 3, "it has 2"),
        (produce("absent", 0, batch(b"v")), 3, "no such topic"),
        (produce("t", 0, batch(b"v")).with_acks(2), 21, "acks is 2"),
    ] {
        let answer = bench.ask(8, &request).await;
        let refused = &answer.responses[0].partition_responses[0];
        let told = refused.error_message.as_deref().unwrap_or_default();
        assert_eq!((refused.error_code, refused.base_offset), (error, -1), "{told}");
        assert!(told.contains(part), "{told}");
        assert!(bench.ask(3, &request).await.responses[0].partition_responses[0].error_message.is_none());
    }
    assert_eq!(bench.broker.partition("t", 0).expect("there").end_offset(), 0);
}

#[tokio::test]
async fn the_records_that_a_batch_is_refused_for_are_named() {
    let mut bench = Bench::new().await;
    let mut compacted = NewTopic::new("compacted").partitions(1);
    compacted.configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
    bench.broker.create_topic(&compacted).expect("made");
    let mut keyless = BatchBuilder::new();
    keyless.append(1000, Some(b"k"), Some(b"v"), &[]);
    keyless.append(1000, None, Some(b"v"), &[]);
    let request = produce("compacted", 0, keyless.build().freeze());
    for version in versions::<ProduceRequest>() {
        let answer = bench.ask(version, &request).await;
        let refused = &answer.responses[0].partition_responses[0];
        let named: Vec<_> = refused.record_errors.iter().map(|record| record.batch_index).collect();
        let expected: &[i32] = if version < 8 { &[] } else { &[1] };
        assert_eq!((refused.error_code, &named[..]), (87, expected), "version {version}");
        assert!(refused.record_errors.iter().all(|record| record.batch_index_error_message.is_some()));
    }
    assert_eq!(bench.broker.partition("compacted", 0).expect("there").end_offset(), 0);
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn zstd_is_for_clients_that_know_it() {
    let mut bench = Bench::new().await;
    let mut builder = BatchBuilder::new().compression(Compression::new(Codec::Zstd).expect("built"));
    builder.append(1000, None, Some(&[7; 1000]), &[]);
    let request = produce("t", 0, builder.build().freeze());
    for version in versions::<ProduceRequest>() {
        let answer = bench.ask(version, &request).await;
        let error = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(error, if version < 7 { 76 } else { 0 }, "version {version}");
    }
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_an_error_closes() {
    let mut bench = Bench::new().await;
    bench.send(3, &produce("t", 0, batch(b"v")).with_acks(0)).await;
    assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    assert_eq!(bench.broker.partition("t", 0).expect("there").end_offset(), 1);
    bench.send(3, &produce("t", 9, batch(b"v")).with_acks(0)).await;
    assert!(bench.receive_raw().await.is_none());
}

#[tokio::test]
async fn offsets_by_time() {
    let mut bench = Bench::new().await;
    bench.ask(3, &produce("t", 0, batch(b"v"))).await;
    for version in versions::<ListOffsetsRequest>() {
        for (topic, timestamp, expected) in [
            ("t", -1, (0, 1, -1)),
            ("t", -2, (0, 0, -1)),
            ("t", 1000, (0, 0, 1000)),
            ("t", 1001, (0, -1, -1)),
            ("t", -3, if version >= 7 { (0, 0, 1000) } else { (35, -1, -1) }),
            ("t", -4, if version >= 8 { (0, 0, -1) } else { (35, -1, -1) }),
            ("t", -5, if version >= 9 { (0, -1, -1) } else { (35, -1, -1) }),
            ("t", -9, (35, -1, -1)),
            ("absent", -1, (3, -1, -1)),
        ] {
            let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
            let answer = bench.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset, found.timestamp), expected, "{timestamp}, version {version}");
        }
    }
}

#[tokio::test]
async fn the_latest_timestamp_need_not_be_the_last() {
    let mut bench = Bench::new().await;
    let latest = |bench: &Bench| bench.broker.partition("t", 0).expect("there").offset_of_max_timestamp().expect("read");
    assert_eq!(latest(&bench), None);
    for timestamps in [&[5, 9][..], &[7, 30, 30], &[8]] {
        let mut batch = BatchBuilder::new();
        for timestamp in timestamps {
            batch.append(*timestamp, None, Some(b"v"), &[]);
        }
        bench.ask(3, &produce("t", 0, batch.build().freeze())).await;
    }
    assert_eq!(latest(&bench), Some((3, 30)));
}

/// With every write synced, an answer says that the disk has it, or that it has not.
#[tokio::test]
async fn an_answer_waits_for_the_disk_where_the_topic_asks_for_it() {
    let disk = MemoryDisk::new();
    let broker = Broker::builder().disk(Arc::new(disk.clone())).seed(1).open().expect("opened");
    let mut topic = NewTopic::new("t").partitions(2);
    topic.configs.insert("flush.messages".to_owned(), "1".to_owned());
    broker.create_topic(&topic).expect("a topic");
    let mut bench = Bench::on(broker, ServerConfig::default()).await;
    for acks in [1, -1] {
        let answer = bench.ask(9, &produce("t", 0, batch(b"v")).with_acks(acks)).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    // The write works, its sync does not.
    disk.fail_after(1);
    let answer = bench.ask(9, &produce("t", 0, batch(b"v"))).await;
    disk.heal();
    let answer = &answer.responses[0].partition_responses[0];
    let text = answer.error_message.as_ref().expect("a text");
    assert_eq!((answer.error_code, answer.base_offset), (56, -1));
    assert!(text.contains("t-0 takes no writes") && text.contains("injected fault"), "{text}");
    let answer = bench.ask(9, &produce("t", 0, batch(b"v"))).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 56, "refused from then on");
    let answer = bench.ask(9, &produce("t", 1, batch(b"v"))).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "the other partition goes on");
    let answer = bench.ask(12, &fetch("t", 0, 0)).await;
    let found = &answer.responses[0].partitions[0];
    assert_eq!((found.error_code, found.high_watermark), (0, 2), "what was acknowledged is read");
    disk.crash();
    let broker = Broker::builder().disk(Arc::new(disk)).seed(1).open().expect("opened");
    assert_eq!([0, 1].map(|number| broker.partition("t", number).expect("there").end_offset()), [2, 1]);
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let mut bench = Bench::new().await;
    for _ in 0..6 {
        bench.ask(3, &produce("t", 0, batch(b"v"))).await;
    }
    let mut compacted = NewTopic::new("compacted").partitions(1);
    compacted.configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
    bench.broker.create_topic(&compacted).expect("made");
    for (version, before) in versions::<DeleteRecordsRequest>().zip([2, 3, -1]) {
        for (topic, partition, offset, expected) in [
            ("t", 0, before, (0, if before == -1 { 6 } else { before })),
            ("t", 0, 0, (0, if before == -1 { 6 } else { before })),
            ("t", 0, 7, (1, -1)),
            ("t", 0, -2, (1, -1)),
            ("t", 5, 0, (3, -1)),
            ("absent", 0, 0, (3, -1)),
            ("compacted", 0, 0, (44, -1)),
            ("__consumer_offsets", 0, 0, (17, -1)),
        ] {
            let asked = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
            let asked = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![asked]);
            let answer = bench.ask(version, &DeleteRecordsRequest::default().with_topics(vec![asked])).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.low_watermark), expected, "{topic}-{partition} to {offset}, version {version}");
        }
    }
    for (offset, expected) in [(5, (1, -1)), (6, (0, 6))] {
        let answer = bench.ask(5, &fetch("t", 0, offset)).await;
        let found = &answer.responses[0].partitions[0];
        assert_eq!((found.error_code, found.log_start_offset), expected);
    }
}
