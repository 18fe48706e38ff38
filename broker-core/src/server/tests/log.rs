//! What the log is told: of many who are turned away, and of settings that let nobody in.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{GroupId, InitProducerIdRequest, JoinGroupRequest, TransactionalId, WriteTxnMarkersRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::Bench;
use crate::server::ServerConfig;

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

/// Keeps the counts of lines that have one, and what lines say, field by field, with how loud.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u64>>>, Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Count(self, *event.metadata().level()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Count<'a>(&'a Heard, Level);

impl Visit for Count<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "count" {
            self.0.0.lock().expect("sound").push(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let said = format!("{}={value:?}", field.name());
        self.0.1.lock().expect("sound").push(said.clone());
        self.0.2.lock().expect("sound").push((self.1, said));
    }
}

#[tokio::test]
async fn a_flood_of_connections_is_a_line_a_second() {
    let heard = Heard::default();
    let _hears = tracing::subscriber::set_default(heard.clone());
    let begun = Instant::now();
    let mut bench = Bench::with(ServerConfig { max_connections: 1, ..ServerConfig::default() }).await;
    // It is in, and stays.
    bench.ask(0, &kafka_protocol::messages::ApiVersionsRequest::default()).await;
    const MANY: u64 = 200;
    for _ in 0..MANY {
        let mut stream = TcpStream::connect(bench.server.address()).await.expect("connected");
        assert!(stream.read_u8().await.is_err(), "closed");
    }
    let told = || heard.0.lock().expect("sound").iter().sum::<u64>();
    while told() < MANY {
        assert!(begun.elapsed() < DEADLINE, "{} of {MANY} are told of after {DEADLINE:?}", told());
        tokio::task::yield_now().await;
    }
    let lines = heard.0.lock().expect("sound").clone();
    assert_eq!((lines[0], lines.iter().sum::<u64>()), (1, MANY), "the first at once, each once: {lines:?}");
    assert!(lines.len() as u64 <= 2 + begun.elapsed().as_secs(), "{lines:?}");
    assert_eq!(bench.server.metrics().turned_away, MANY);
}

#[tokio::test]
async fn rights_that_nobody_can_ever_have_are_told_of() {
    let rule = super::rights::anybodys();
    for (super_users, everyone, rules, told) in [
        (vec![], false, vec![], 1),
        (vec!["User:root".to_owned()], false, vec![], 0),
        (vec![], true, vec![], 0),
        (vec![], false, vec![Ok(rule)], 0),
    ] {
        let heard = Heard::default();
        let _hears = tracing::subscriber::set_default(heard.clone());
        let broker = crate::broker::Broker::in_memory();
        broker.acls().add(rules);
        let rights = super::rights::config();
        Bench::on(broker, ServerConfig { super_users, allow_everyone_if_no_acl_found: everyone, ..rights }).await;
        let lines = heard.1.lock().expect("sound").clone();
        assert_eq!(lines.iter().filter(|line| line.contains("nobody may do anything")).count(), told, "{lines:?}");
    }
}

#[tokio::test]
async fn what_clients_name_things_is_no_line_of_the_log() {
    const NAME: &str = "a\n2026-01-01 all is well";
    let heard = Heard::default();
    let _hears = tracing::subscriber::set_default(heard.clone());
    let mut bench = Bench::new().await;
    let name = || StrBytes::from_static_str(NAME);
    let protocol = JoinGroupRequestProtocol::default().with_name(name());
    let join = JoinGroupRequest::default().with_group_id(GroupId(name())).with_protocol_type(name());
    let join = join.with_protocols(vec![protocol]).with_session_timeout_ms(10_000).with_rebalance_timeout_ms(10_000);
    bench.ask(8, &join.with_reason(Some(name()))).await;
    let init = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(name())));
    assert_ne!(bench.ask(3, &init.with_transaction_timeout_ms(-1)).await.error_code, 0);
    // Without acks the only answer is the end, and a line that says why.
    bench.send(9, &super::records::produce(NAME, 0, super::records::batch(b"v")).with_acks(0)).await;
    assert!(bench.receive_raw().await.is_none(), "closed");
    let deadline = Instant::now() + DEADLINE;
    let lines = || heard.1.lock().expect("sound").clone();
    while !lines().iter().any(|line| line == "message=connection closed") {
        assert!(Instant::now() < deadline, "still waiting for the connection's end: {:?}", lines());
        tokio::task::yield_now().await;
    }
    assert!(lines().iter().filter(|line| line.contains("all is well")).count() >= 3, "{:?}", lines());
    let raw: Vec<_> = lines().into_iter().filter(|line| line.contains('\n')).collect();
    assert!(raw.is_empty(), "{raw:?}");
}

#[tokio::test]
async fn a_request_that_is_too_large_names_the_setting_and_tls_in_the_clear_is_told() {
    let heard = Heard::default();
    let _hears = tracing::subscriber::set_default(heard.clone());
    let listen = "SASL_PLAINTEXT://127.0.0.1:0".to_owned();
    let bench = Bench::with(ServerConfig { listen, ..ServerConfig::default() }).await;
    for (head, told) in [
        ([0, 8, 0, 1], "a request of 524289 bytes is over sasl.server.max.receive.size (524288)"),
        (
            [0x16, 3, 1, 2],
            "these are the first bytes of TLS, which this port does not speak: a client's security.protocol is wrong",
        ),
    ] {
        let mut stream = TcpStream::connect(bench.server.address()).await.expect("connected");
        stream.write_all(&head).await.expect("written");
        assert!(stream.read_u8().await.is_err(), "closed");
        let deadline = Instant::now() + DEADLINE;
        while !heard.1.lock().expect("sound").iter().any(|line| line.contains(told)) {
            let lines = heard.1.lock().expect("sound").clone();
            assert!(Instant::now() < deadline, "still waiting for '{told}': {lines:?}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn markers_that_are_not_written_are_one_line_a_request() {
    let heard = Heard::default();
    let _hears = tracing::subscriber::set_default(heard.clone());
    let mut bench = Bench::new().await;
    let topic = |name: &'static str, numbers| {
        let name = kafka_protocol::messages::TopicName(StrBytes::from_static_str(name));
        WritableTxnMarkerTopic::default().with_name(name).with_partition_indexes(numbers)
    };
    let topics = vec![topic("a\nERROR the disk is full", vec![0]), topic("t", (100..1100).collect())];
    let marker = WritableTxnMarker::default().with_producer_id(kafka_protocol::messages::ProducerId(7)).with_topics(topics);
    let told = bench.ask(1, &WriteTxnMarkersRequest::default().with_markers(vec![marker])).await;
    assert!(told.markers[0].topics[1].partitions.iter().all(|partition| partition.error_code == 3));
    let said = heard.1.lock().expect("sound").clone();
    assert!(said.iter().all(|said| !said.contains('\n')), "{said:?}");
    let lines = said.iter().filter(|said| said.contains("no marker is written")).count();
    assert_eq!((lines, heard.0.lock().expect("sound").clone()), (1, vec![1001]));
}

#[tokio::test]
async fn a_producer_that_is_to_come_again_is_no_warning() {
    let heard = Heard::default();
    let _hears = tracing::subscriber::set_default(heard.clone());
    let mut bench = Bench::new().await;
    let producer = bench.broker.init_transactional_producer("x", 60_000, None).await.expect("given");
    let within = [crate::id::TopicPartition::new("t", 0)];
    bench.broker.add_partitions_to_transaction("x", producer, &within).await.expect("begun");
    let init = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("x"))));
    for (timeout, code, level) in [(60_000, 51, Level::DEBUG), (-1, 50, Level::WARN)] {
        heard.2.lock().expect("sound").clear();
        assert_eq!(bench.ask(4, &init.clone().with_transaction_timeout_ms(timeout)).await.error_code, code);
        let lines = heard.2.lock().expect("sound").clone();
        assert!(lines.contains(&(level, "message=no producer id is given".to_owned())), "{code}: {lines:?}");
    }
}
