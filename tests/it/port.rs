use std::net::SocketAddr;
use std::time::Duration;

use broker_core::record::BatchBuilder;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_listener::prelude::*;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How long anything over the port may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

fn app(dir: &std::path::Path) -> KafkaAppBuilder {
    KafkaApp::builder()
        .environment([])
        .embedded(Embedded::dir(dir))
        .topic(NewTopic::new("t").partitions(1))
        .property("auto.offset.reset", "earliest")
        .handle_signals(false)
        .listeners([])
}

/// A listener of `t` that hands on what it is given.
fn telling() -> (Listener, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let listener = Listener::new("l", move |record: ConsumerRecord<String, String>| {
        let (offset, key, value) = (record.offset(), record.key(), record.value());
        tell.send(format!("{offset} {key}={value}")).unwrap();
        async {}
    });
    (listener.topic("t").group_id("g"), told)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("after {DEADLINE:?}, still waiting for {what}"))
}

/// A request as it goes over the wire, with its length before it.
fn frame<R: Request>(version: i16, request: R) -> Bytes {
    let mut body = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    header.encode(&mut body, R::header_version(version)).unwrap();
    request.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u32(body.len() as u32);
    frame.unsplit(body);
    frame.freeze()
}

/// One request over a connection of its own.
async fn ask<R: Request>(address: SocketAddr, version: i16, request: R) -> R::Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&frame(version, request)).await.unwrap();
    let size = stream.read_i32().await.unwrap();
    let mut answer = vec![0; size as usize];
    stream.read_exact(&mut answer).await.unwrap();
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
    let response = R::Response::decode(&mut answer, version).unwrap();
    assert!(!answer.has_remaining());
    response
}

fn produce(value: &str) -> ProduceRequest {
    let mut batch = BatchBuilder::new();
    batch.append(1000, Some(b"outside"), Some(value.as_bytes()), &[]);
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch.build().freeze()));
    let topic = TopicProduceData::default().with_name(TopicName(StrBytes::from_static_str("t"))).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

/// How many bytes of records a client from outside finds in `t`.
async fn fetched(address: SocketAddr) -> usize {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(StrBytes::from_static_str("t"))).with_partitions(vec![partition]);
    let answer = ask(address, 4, FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic])).await;
    answer.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_from_outside_meet_the_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, mut told) = telling();
    let app = app(dir.path()).listen("127.0.0.1:${port:0}").listener(listener).start().await.unwrap();
    let address = app.addresses()[0];
    let produced = within("produce", ask(address, 3, produce("in"))).await;
    let answer = &produced.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    app.template().send_keyed("t", "inside", "out".to_owned()).await.unwrap();
    let handled = [within("the first record", told.recv()).await, within("the second", told.recv()).await];
    assert_eq!(handled, [Some("0 outside=in".to_owned()), Some("1 inside=out".to_owned())]);
    assert!(within("fetch", fetched(address)).await > 100, "what the template sent is there for clients from outside");
    app.shutdown().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed with the app");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_hand_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let app = app(dir.path()).listen("127.0.0.1:0").start().await.unwrap();
    let address = app.addresses()[0];
    // A connection that says nothing, and one whose fetch waits for data.
    let idle = TcpStream::connect(address).await.unwrap();
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(StrBytes::from_static_str("t"))).with_partitions(vec![partition]);
    let fetch = FetchRequest::default().with_min_bytes(1).with_max_wait_ms(600_000).with_topics(vec![topic]);
    // Both in one write: the broker has the fetch in hand when it has answered what came before it.
    let requests = [frame(0, ApiVersionsRequest::default()), frame(4, fetch)].concat();
    waiting.write_all(&requests).await.unwrap();
    let size = within("the answer before the waiting one", waiting.read_i32()).await.unwrap();
    waiting.read_exact(&mut vec![0; size as usize]).await.unwrap();
    assert_eq!(within("an answer beside the waiting one", fetched(address)).await, 0);
    within("the end", app.shutdown()).await.unwrap();
    // Answered empty or closed, but not left alone.
    let _ = within("the end of the waiting fetch", waiting.read_i32()).await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_or_no_address_is_told_with_the_rest() {
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = held.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let app = app(dir.path()).listen("127.0.0.1:0").listen("nowhere");
    let error = app.listen(taken.to_string()).start().await.expect_err("two addresses that cannot be had");
    let problems = error.problems();
    assert_eq!(problems.len(), 2, "{error}");
    assert!(problems[0].contains("cannot listen on 'nowhere'"), "{error}");
    assert!(problems[1].contains(&format!("cannot listen on '{taken}'")), "{error}");
    drop(held);
    let error = self::app(dir.path()).listen("127.0.0.1:${no.port}").start().await.expect_err("a name that is nowhere");
    assert!(error.to_string().contains("listen(\"127.0.0.1:${no.port}\"): 'no.port' is set nowhere"), "{error}");
}
