//! Every API in every version that is served, over a real connection, read back by the messages' library.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request as KafkaRequest, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod admin;
mod answers;
mod configs;
mod facts;
mod groups;
mod hostile;
mod limits;
mod log;
mod metered;
mod named;
mod offsets;
mod parked;
mod quotas;
mod reauth;
mod records;
mod rights;
mod sasl;
mod tls;
mod topics;
mod transactional;
mod transactional_v2;
mod transactions;
mod turns;

use super::dispatch::shape_of;
use super::{APIS, Server, ServerConfig, shape};
use crate::broker::{Broker, NewTopic};

/// A server, and a client of it.
struct Bench {
    server: Server,
    broker: Broker,
    stream: TcpStream,
    correlation: i32,
}

impl Bench {
    async fn new() -> Self {
        Self::with(ServerConfig::default()).await
    }

    async fn with(config: ServerConfig) -> Self {
        let broker = Broker::in_memory();
        broker.create_topic(&NewTopic::new("t").partitions(2)).expect("a topic");
        Self::on(broker, config).await
    }

    async fn on(broker: Broker, config: ServerConfig) -> Self {
        let server = Server::start(broker.clone(), config).await.expect("a server");
        let stream = TcpStream::connect(server.address()).await.expect("connected");
        Self { server, broker, stream, correlation: 0 }
    }

    /// Sends bytes as they are.
    async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    /// Sends a request and returns its correlation id.
    async fn send<R: KafkaRequest>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation += 1;
        self.stream.write_all(&frame(version, self.correlation, request)).await.expect("written");
        self.correlation
    }

    /// Bytes of the next answer; `None` if the connection was closed.
    async fn receive_raw(&mut self) -> Option<Bytes> {
        let size = match self.stream.read_i32().await {
            Ok(size) => size,
            Err(_) => return None,
        };
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.expect("a whole answer");
        Some(Bytes::from(frame))
    }

    /// The next answer.
    async fn receive<R: KafkaRequest>(&mut self, version: i16, correlation: i32) -> R::Response {
        let mut frame = self.receive_raw().await.expect("an answer");
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, correlation);
        let response = R::Response::decode(&mut frame, version).expect("an answer of this version");
        assert!(!frame.has_remaining(), "{} bytes behind the answer, version {version}", frame.len());
        response
    }

    async fn ask<R: KafkaRequest>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation = self.send(version, request).await;
        self.receive::<R>(version, correlation).await
    }
}

/// A request as it is sent. Its body must be what the server takes for its shape.
fn frame<R: KafkaRequest>(version: i16, correlation: i32, request: &R) -> BytesMut {
    let mut frame = BytesMut::from(&[0; 4][..]);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    header.encode(&mut frame, R::header_version(version)).expect("a header");
    let body = frame.len();
    request.encode(&mut frame, version).expect("a request");
    let shape = shape_of(R::KEY).expect("in the table");
    let left = shape::check(shape, version, R::header_version(version) >= 2, &frame[body..]);
    assert_eq!(left, Ok(0), "API {} version {version}: its shape is another", R::KEY);
    let size = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

/// The versions that are read, of an API.
fn versions<R: KafkaRequest>() -> std::ops::RangeInclusive<i16> {
    let api = APIS.iter().find(|api| api.key == R::KEY).expect("in the table");
    api.read_min..=api.max
}

/// The same without the last one, where that is for transactions of version 2.
fn versions_of_v1<R: KafkaRequest>() -> std::ops::RangeInclusive<i16> {
    let all = versions::<R>();
    *all.start()..=all.end() - 1
}

fn name(topic: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(topic))
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
    let by_id = vec![MetadataRequestTopic::default().with_name(None)];
    assert_eq!(bench.ask(12, &MetadataRequest::default().with_topics(Some(by_id))).await.topics[0].error_code, 100);
    let made = vec![MetadataRequestTopic::default().with_name(Some(name("fresh")))];
    let made = bench.ask(4, &MetadataRequest::default().with_topics(Some(made))).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 1));
    assert!(bench.broker.topic("fresh").is_some());
}

/// Who is told that a topic is not there yet asks until it is, for a minute; this one can never be.
#[tokio::test]
async fn a_name_that_no_topic_can_have_is_told_of_where_none_is_made_too() {
    let config = crate::config::BrokerConfig { auto_create_topics_enable: false, ..Default::default() };
    let broker = Broker::builder().config(config).open().expect("opened");
    for (broker, create) in [(Broker::in_memory(), false), (broker, true)] {
        let mut bench = Bench::on(broker, ServerConfig::default()).await;
        for (asked, code) in [("no/name", 17), ("", 17), ("absent", 3)] {
            let asked = vec![MetadataRequestTopic::default().with_name(Some(name(asked)))];
            let request = MetadataRequest::default().with_topics(Some(asked)).with_allow_auto_topic_creation(create);
            assert_eq!(bench.ask(4, &request).await.topics[0].error_code, code, "{request:?}");
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
    bench.send(4, &records::fetch("t", 1, 0).with_max_wait_ms(60_000)).await;
    let Bench { server, mut stream, .. } = bench;
    let address = server.address();
    server.stop().await;
    assert!(stream.read_i32().await.is_err(), "no answer");
    assert!(TcpStream::connect(address).await.is_err());
}

/// A port of IPv6 that takes IPv4, too, sees those addresses as `::ffff:127.0.0.1`.
#[tokio::test]
async fn an_override_holds_for_its_address_however_it_is_written() {
    for written in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let overrides = [(written.parse().expect("an address"), 1)].into();
        let config = ServerConfig { max_connections_per_ip_overrides: overrides, ..ServerConfig::default() };
        let config = ServerConfig { listen: "[::]:0".to_owned(), ..config };
        let server = Server::start(Broker::in_memory(), config).await.expect("a server");
        let connect = || TcpStream::connect(("127.0.0.1", server.address().port()));
        let mut first = connect().await.expect("connected");
        first.write_all(&frame(0, 1, &ApiVersionsRequest::default())).await.expect("written");
        assert!(first.read_i32().await.is_ok(), "{written}: the first is served");
        let mut second = connect().await.expect("connected");
        let _ = second.write_all(&frame(0, 1, &ApiVersionsRequest::default())).await;
        assert!(second.read_i32().await.is_err(), "{written}: one is over its bound");
        server.stop().await;
    }
}
