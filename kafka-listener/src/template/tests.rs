//! The template over a broker in memory: what it sends, and that whatever goes wrong comes through the future.

use std::sync::Arc;
use std::time::Duration;

use broker_core::Broker;
use bytes::Bytes;
use serde::Serialize;

use super::*;
use crate::client::embedded::EmbeddedBackend;
use crate::client::{Backend, Consumer, Polled, Properties, RawRecord, SeekTo, StartOffset, TopicPartition};
use crate::codec::Json;

#[derive(Serialize)]
struct Order<'a> {
    id: u64,
    customer: &'a str,
}

struct Fails;
impl Serialize for Fails {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no such order"))
    }
}

fn backend() -> EmbeddedBackend {
    let broker = Broker::in_memory();
    broker.create_topic(&broker_core::NewTopic::new("t").partitions(3)).expect("created");
    EmbeddedBackend::new(broker, true)
}

fn template(backend: &EmbeddedBackend) -> KafkaTemplate {
    KafkaTemplate::new(backend.producer(&Properties::new()).expect("made"), None)
}

/// All records of a partition.
async fn read(backend: &EmbeddedBackend, partition: i32) -> Vec<RawRecord> {
    let mut consumer: Box<dyn Consumer> = backend.consumer(&Properties::new()).expect("made");
    let at = StartOffset::At(SeekTo::Beginning);
    consumer.assign(vec![(TopicPartition::new("t", partition), at)]).expect("assigned");
    loop {
        match consumer.poll(Duration::from_millis(10)).await.expect("polled") {
            Polled::Records(records) => return records.partitions.into_iter().flat_map(|part| part.records).collect(),
            _ => continue,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_record_arrives_as_it_was_sent() {
    let backend = backend();
    let template = template(&backend);
    let order = Order { id: 7, customer: "ann" };
    let record = ProducerRecord::new("t", Json(&order))
        .key("ann")
        .partition(2)
        .timestamp(Timestamp::from_millis(1234))
        .header("source", "import")
        .null_header("empty")
        .header("source", Bytes::from_static(b"again"));
    let sent = template.send_record(record).await.expect("sent");
    let expected = SendResult { topic: Arc::from("t"), partition: 2, offset: 0, timestamp: Timestamp::from_millis(1234) };
    assert_eq!(sent, expected);
    let records = read(&backend, 2).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key(), Some(&b"ann"[..]));
    assert_eq!(records[0].value(), Some(&br#"{"id":7,"customer":"ann"}"#[..]));
    assert_eq!(records[0].timestamp(), 1234);
    let headers: Vec<_> = records[0].headers().collect();
    assert_eq!(headers, [("source", Some(&b"import"[..])), ("empty", None), ("source", Some(&b"again"[..]))]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_value_has_its_bytes() {
    let backend = backend();
    let template = template(&backend);
    let sends = [
        template.send_to("t", 0, (), "text"),
        template.send_to("t", 0, "k".to_owned(), Bytes::from_static(b"bytes")),
        template.send_to("t", 0, &b"k"[..], vec![1u8, 2]),
        template.send_to("t", 0, [9u8; 2], None::<Json<u32>>),
        template.send_to("t", 0, Some("k"), Some(Json(5))),
        template.send_to("t", 0, Json("k"), ()),
    ];
    for (offset, send) in sends.into_iter().enumerate() {
        assert_eq!(send.await.expect("sent").offset, offset as i64);
    }
    let seen: Vec<_> = read(&backend, 0).await.iter().map(|r| (r.key_bytes(), r.value_bytes())).collect();
    let bytes = |text: &'static [u8]| Some(Bytes::from_static(text));
    let expected = [
        (None, bytes(b"text")),
        (bytes(b"k"), bytes(b"bytes")),
        (bytes(b"k"), bytes(&[1, 2])),
        (bytes(&[9, 9]), None),
        (bytes(b"k"), bytes(b"5")),
        (bytes(b"\"k\""), None),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_comes_through_the_future() {
    let backend = backend();
    let template = template(&backend);
    let nowhere = backend.producer(&Properties::new()).expect("made");
    nowhere.close().await.expect("closed");
    for (send, kind, part) in [
        (template.send_default("v"), ClientErrorKind::IllegalState, "default topic"),
        (template.send("t", Json(Fails)), ClientErrorKind::Serialization, "the value cannot be encoded"),
        (template.send_keyed("t", Json(Fails), "v"), ClientErrorKind::Serialization, "the key cannot be encoded"),
        (template.send_to("t", 9, (), "v"), ClientErrorKind::UnknownTopicOrPartition, "has 3 partitions"),
        (KafkaTemplate::disconnected().send("t", "v"), ClientErrorKind::Closed, "'t'"),
        (KafkaTemplate::new(nowhere, None).send("t", "v"), ClientErrorKind::Closed, "closed"),
    ] {
        let error = send.await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!((0..3).all(|partition| backend.admin_end(partition) == 0), "nothing of it was sent");
    let sent = template.with_default_topic("t").send_default_keyed("k", "v").await.expect("sent");
    assert_eq!((&*sent.topic, sent.offset), ("t", 0));
    assert_eq!(template.partitions_for("t").await.expect("there"), 3);
}

trait AdminEnd {
    fn admin_end(&self, partition: i32) -> i64;
}

impl AdminEnd for EmbeddedBackend {
    fn admin_end(&self, partition: i32) -> i64 {
        let offsets = self.admin();
        let found = offsets.offsets(&TopicPartition::new("t", partition));
        let mut found = std::pin::pin!(found);
        match found.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(found) => found.expect("there").1,
            std::task::Poll::Pending => panic!("the embedded admin answers at once"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_take_their_place_when_they_are_made() {
    let backend = backend();
    let template = template(&backend);
    let sends: Vec<SendFuture> = (0..100).map(|number: u32| template.send_to("t", 1, (), Json(number))).collect();
    drop(template.send_to("t", 1, (), "dropped"));
    template.flush().await.expect("flushed");
    for (offset, send) in sends.into_iter().enumerate().rev() {
        assert_eq!(send.await.expect("sent").offset, offset as i64);
    }
    let records = read(&backend, 1).await;
    assert_eq!(records.len(), 101, "dropping a future un-sends nothing");
    assert!(records[..100].iter().enumerate().all(|(number, record)| record.value() == Some(number.to_string().as_bytes())));
}
