//! Every API in every version that is served, over a real connection, read back by the messages' library.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request as KafkaRequest, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{APIS, Server, ServerConfig};
use crate::broker::{Broker, NewTopic};
use crate::record::BatchBuilder;

/// A server, and a client of it.
pub(super) struct Bench {
    pub server: Server,
    pub broker: Broker,
    stream: TcpStream,
    correlation: i32,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(ServerConfig::default()).await
    }

    pub async fn with(config: ServerConfig) -> Self {
        let broker = Broker::in_memory();
        broker.create_topic(&NewTopic::new("t").partitions(2)).expect("a topic");
        let server = Server::start(broker.clone(), config).await.expect("a server");
        let stream = TcpStream::connect(server.address()).await.expect("connected");
        Self { server, broker, stream, correlation: 0 }
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    /// Sends a request and returns its correlation id.
    pub async fn send<R: KafkaRequest>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation += 1;
        let mut frame = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("bench")));
        header.encode(&mut frame, R::header_version(version)).expect("a header");
        request.encode(&mut frame, version).expect("a request");
        self.stream.write_all(&(frame.len() as i32).to_be_bytes()).await.expect("written");
        self.stream.write_all(&frame).await.expect("written");
        self.correlation
    }

    /// Bytes of the next answer; `None` if the connection was closed.
    pub async fn receive_raw(&mut self) -> Option<Bytes> {
        let size = match self.stream.read_i32().await {
            Ok(size) => size,
            Err(_) => return None,
        };
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.expect("a whole answer");
        Some(Bytes::from(frame))
    }

    /// The next answer.
    pub async fn receive<R: KafkaRequest>(&mut self, version: i16, correlation: i32) -> R::Response {
        let mut frame = self.receive_raw().await.expect("an answer");
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, correlation);
        let response = R::Response::decode(&mut frame, version).expect("an answer of this version");
        assert!(!frame.has_remaining(), "{} bytes behind the answer, version {version}", frame.len());
        response
    }

    pub async fn ask<R: KafkaRequest>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation = self.send(version, request).await;
        self.receive::<R>(version, correlation).await
    }
}

/// The versions that are read, of an API.
fn versions<R: KafkaRequest>() -> std::ops::RangeInclusive<i16> {
    let api = APIS.iter().find(|api| api.key == R::KEY).expect("in the table");
    api.read_min..=api.max
}

pub(super) fn name(topic: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(topic))
}

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
async fn every_api_row_is_told() {
    let mut bench = Bench::new().await;
    for version in versions::<ApiVersionsRequest>() {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request = request
                .with_client_software_name(StrBytes::from_static_str("bench"))
                .with_client_software_version(StrBytes::from_static_str("1.0"));
        }
        let told = bench.ask(version, &request).await;
        let rows: Vec<_> = told.api_keys.iter().map(|row| (row.api_key, row.min_version, row.max_version)).collect();
        let table: Vec<_> = APIS.iter().map(|api| (api.key, api.min, api.max)).collect();
        assert_eq!((told.error_code, rows), (0, table), "version {version}");
    }
    let nameless = bench.ask(3, &ApiVersionsRequest::default()).await;
    assert_eq!(nameless.error_code, 42);
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let mut bench = Bench::new().await;
    let mut frame = BytesMut::new();
    frame.put_i32(13);
    frame.put_slice(&[0, 18, 0, 99, 0, 0, 0, 9, 0xff, 0xff, 0, 0, 0]);
    bench.send_raw(&frame).await;
    let mut answer = bench.receive_raw().await.expect("an answer");
    assert_eq!(answer.get_i32(), 9);
    let told = ApiVersionsResponse::decode(&mut answer, 0).expect("version 0");
    assert_eq!((told.error_code, told.api_keys.len(), told.api_keys[0].api_key), (35, 1, 18));
    // The connection goes on.
    assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
}

#[tokio::test]
async fn metadata_of_all_of_none_of_one_and_of_what_is_not_there() {
    let mut bench = Bench::new().await;
    let port = i32::from(bench.server.address().port());
    for version in versions::<MetadataRequest>() {
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let told = bench.ask(version, &MetadataRequest::default().with_topics(all)).await;
        assert_eq!((told.brokers[0].node_id.0, &*told.brokers[0].host, told.brokers[0].port), (0, "127.0.0.1", port));
        let named: Vec<_> =
            told.topics.iter().map(|topic| (topic.name.as_ref().expect("named").as_str(), topic.partitions.len())).collect();
        assert!(named.contains(&("t", 2)), "version {version}: {named:?}");
        assert!(version < 1 || told.controller_id.0 == 0);
        assert!(version < 2 || told.cluster_id.is_some_and(|id| !id.is_empty()));
        let asked = |topic| vec![MetadataRequestTopic::default().with_name(Some(name(topic)))];
        if version >= 1 {
            let none = bench.ask(version, &MetadataRequest::default().with_topics(Some(Vec::new()))).await;
            assert!(none.topics.is_empty());
        }
        let one = bench.ask(version, &MetadataRequest::default().with_topics(Some(asked("t")))).await;
        let leads = &one.topics[0].partitions[1];
        assert_eq!((one.topics[0].error_code, leads.partition_index, leads.leader_id.0), (0, 1, 0));
        assert_eq!((leads.replica_nodes.len(), leads.isr_nodes.len()), (1, 1));
        let wrong = bench.ask(version, &MetadataRequest::default().with_topics(Some(asked("no/name")))).await;
        assert_eq!(wrong.topics[0].error_code, 17);
        if version >= 4 {
            let request = MetadataRequest::default().with_topics(Some(asked("absent"))).with_allow_auto_topic_creation(false);
            assert_eq!(bench.ask(version, &request).await.topics[0].error_code, 3);
        }
    }
    let made = vec![MetadataRequestTopic::default().with_name(Some(name("fresh")))];
    let made = bench.ask(4, &MetadataRequest::default().with_topics(Some(made))).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 1));
    assert!(bench.broker.topic("fresh").is_some());
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
        (produce("t", 0, Bytes::new()), 2, "not a record batch"),
        (produce("t", 9, batch(b"v")), 3, "it has 2"),
        (produce("absent", 0, batch(b"v")), 3, "no such topic"),
        (produce("t", 0, batch(b"v")).with_acks(2), 21, "acks is 2"),
        (
            produce("t", 0, batch(b"v")).with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("x")))),
            42,
            "transactions",
        ),
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
async fn what_is_not_served_closes_the_connection() {
    for (key, version) in [(1i16, 3i16), (0, 2), (3, 99), (7, 0), (999, 0), (-1, 0)] {
        let mut bench = Bench::new().await;
        let mut frame = BytesMut::new();
        frame.put_i32(10);
        for part in [key, version, 0, 1, -1] {
            frame.put_i16(part);
        }
        bench.send_raw(&frame).await;
        assert!(bench.receive_raw().await.is_none(), "API {key} version {version}");
    }
}

#[tokio::test]
async fn what_was_answered_before_a_damaged_request_is_still_sent() {
    let mut bench = Bench::new().await;
    let correlation = bench.send(0, &ApiVersionsRequest::default()).await;
    bench.send_raw(&[0, 0, 0, 1, 0]).await;
    bench.receive::<ApiVersionsRequest>(0, correlation).await;
    assert!(bench.receive_raw().await.is_none());
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_places_become_free() {
    let mut bench = Bench::with(ServerConfig { max_connections_per_ip: 1, ..ServerConfig::default() }).await;
    bench.ask(0, &ApiVersionsRequest::default()).await;
    let mut second = TcpStream::connect(bench.server.address()).await.expect("connected");
    assert_eq!(second.read(&mut [0; 1]).await.expect("closed"), 0);
    drop(bench.stream);
    // The place is free once the server has seen the end.
    loop {
        bench.stream = TcpStream::connect(bench.server.address()).await.expect("connected");
        bench.send(0, &ApiVersionsRequest::default()).await;
        if bench.receive_raw().await.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn a_stop_ends_parked_fetches() {
    let mut bench = Bench::new().await;
    bench.ask(0, &ApiVersionsRequest::default()).await;
    bench.send(4, &fetch("t", 1, 0).with_max_wait_ms(60_000)).await;
    let Bench { server, mut stream, .. } = bench;
    let address = server.address();
    server.stop().await;
    assert!(stream.read_i32().await.is_err(), "no answer");
    assert!(TcpStream::connect(address).await.is_err());
}
