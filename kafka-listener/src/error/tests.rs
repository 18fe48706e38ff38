//! What the error handlers decide, and what a dead letter looks like, with a producer that only writes down.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::client::{
    Admin, BoxFuture, ClientError, ClientErrorKind, NewTopic, OffsetAndMetadata, Producer, RawProducerRecord, RawRecord,
    SendCell, SendHandle, TopicInfo, TopicPartition,
};

type OwnHeaders = Vec<(String, Option<Vec<u8>>)>;

#[derive(Debug, Clone, PartialEq)]
struct Sent {
    topic: String,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnHeaders,
}

impl Sent {
    fn header(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(other, _)| other == name).filter_map(|(_, value)| value.as_deref()).collect()
    }
}

/// Knows topics by their number of partitions; an answer comes when the test gives it.
#[derive(Default)]
struct Fake {
    topics: BTreeMap<&'static str, i32>,
    sent: Mutex<Vec<Sent>>,
    open: Mutex<Vec<Arc<SendCell>>>,
    fails: bool,
}

fn down() -> ClientError {
    ClientError::new(ClientErrorKind::Timeout, "no answer")
}

impl Producer for Fake {
    fn send(&self, record: RawProducerRecord<'_>) -> SendHandle {
        if self.fails {
            return SendHandle::failed(down());
        }
        self.sent.lock().expect("no panic").push(Sent {
            topic: record.topic.to_owned(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
        });
        let cell = SendCell::new(TopicPartition::new(record.topic, record.partition.unwrap_or(0)), None);
        self.open.lock().expect("no panic").push(cell.clone());
        SendHandle::in_batch(cell, 0, 0)
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async { Ok(()) })
    }

    fn partitions_for(&self, topic: &str) -> BoxFuture<'_, Result<i32, ClientError>> {
        let count = self.topics.get(topic).copied().ok_or_else(down);
        Box::pin(async move { count })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Knows nothing.
pub(crate) struct NoAdmin;

impl Admin for NoAdmin {
    fn create_topic(&self, _: &NewTopic) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn create_partitions(&self, _: &str, _: i32) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn delete_topic(&self, _: &str) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn topic(&self, _: &str) -> BoxFuture<'_, Result<Option<TopicInfo>, ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn topic_configs(&self, _: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn offsets(&self, _: &TopicPartition) -> BoxFuture<'_, Result<(i64, i64), ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn group_offsets(&self, _: &str) -> BoxFuture<'_, Result<Vec<(TopicPartition, OffsetAndMetadata)>, ClientError>> {
        Box::pin(async { Err(down()) })
    }
    fn metadata_changed(&self, seen: u64) -> BoxFuture<'_, u64> {
        Box::pin(async move { seen })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("declined by the bank")]
struct Declined;

#[derive(Debug, thiserror::Error)]
#[error("billing failed")]
struct Billing {
    #[source]
    cause: Declined,
}

fn record(headers: &[(&str, Option<&[u8]>)]) -> RawRecord {
    RawRecord::from_parts(42, 1_700_000_000_123, Some(b"\x00k"), Some(b"\xff\xfe not text"), headers)
}

type Dyn = dyn StdError + Send + Sync;

/// A failure of `record` in `orders-3`.
fn with_failure<T>(record: &RawRecord, error: &Dyn, failures: u32, look: impl FnOnce(&Failure<'_>) -> T) -> T {
    let topic_partition = TopicPartition::new("orders", 3);
    let failure = Failure {
        listener_id: "bill",
        group_id: Some("billing"),
        topic_partition: &topic_partition,
        record,
        error,
        failures,
        batch: false,
    };
    look(&failure)
}

/// Runs a recoverer until it waits; then the broker answers.
fn recover(recoverer: &impl Recoverer, fake: &Arc<Fake>, record: &RawRecord, error: &'static Dyn) -> Result<(), String> {
    let context = RecoverContext::new(Some(fake.clone()), Arc::new(NoAdmin));
    with_failure(record, error, 1, |failure| {
        let mut recovery = recoverer.recover(&context, failure);
        let mut cx = Context::from_waker(Waker::noop());
        let first = recovery.as_mut().poll(&mut cx);
        let open = std::mem::take(&mut *fake.open.lock().expect("no panic"));
        if let Poll::Ready(result) = first {
            assert!(open.is_empty(), "a dead letter counts when the broker has it, not before");
            return result.map_err(|error| error.to_string());
        }
        assert_eq!(open.len(), 1, "it waits for the broker and for nothing else");
        open[0].complete(Ok((7, None)));
        match recovery.as_mut().poll(&mut cx) {
            Poll::Ready(result) => result.map_err(|error| error.to_string()),
            Poll::Pending => panic!("the broker has answered"),
        }
    })
}

fn fake(topics: &[(&'static str, i32)]) -> Arc<Fake> {
    Arc::new(Fake { topics: topics.iter().copied().collect(), ..Fake::default() })
}

fn dead_letter(dead_letters: &DeadLetters, record: &RawRecord, error: &'static Dyn) -> Sent {
    let fake = fake(&[("orders-dlt", 8), ("dead", 1)]);
    recover(dead_letters, &fake, record, error).expect("sent");
    let sent = fake.sent.lock().expect("no panic");
    assert_eq!(sent.len(), 1);
    sent[0].clone()
}

fn leak(error: impl StdError + Send + Sync + 'static) -> &'static Dyn {
    Box::leak(Box::new(error))
}

#[test]
fn a_dead_letter_is_the_record_and_springs_headers() {
    let record = record(&[("trace", Some(b"1")), ("empty", None), ("trace", Some(b"2"))]);
    let sent = dead_letter(&DeadLetters::to_suffix("-dlt"), &record, leak(Billing { cause: Declined }));
    assert_eq!((sent.topic.as_str(), sent.partition, sent.timestamp), ("orders-dlt", Some(3), None));
    assert_eq!((sent.key.as_deref(), sent.value.as_deref()), (record.key(), record.value()));
    let expected: Vec<(&str, Option<&[u8]>)> = vec![
        ("trace", Some(b"1")),
        ("empty", None),
        ("trace", Some(b"2")),
        ("kafka_dlt-original-topic", Some(b"orders")),
        ("kafka_dlt-original-partition", Some(&[0, 0, 0, 3])),
        ("kafka_dlt-original-offset", Some(&[0, 0, 0, 0, 0, 0, 0, 42])),
        ("kafka_dlt-original-timestamp", Some(&[0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b])),
        ("kafka_dlt-original-timestamp-type", Some(b"CreateTime")),
        ("kafka_dlt-original-consumer-group", Some(b"billing")),
        ("kafka_dlt-exception-fqcn", Some(b"Billing")),
        ("kafka_dlt-exception-cause-fqcn", Some(b"Declined")),
        ("kafka_dlt-exception-message", Some(b"billing failed")),
        ("kafka_dlt-exception-stacktrace", Some(b"billing failed\ncaused by: declined by the bank")),
    ];
    let headers: Vec<_> = sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(headers, expected);
}

#[test]
fn a_tombstone_without_a_key_stays_one() {
    let record = RawRecord::from_parts(0, -1, None, None, &[]);
    let sent = dead_letter(&DeadLetters::to_suffix("-dlt"), &record, leak(Declined));
    assert_eq!((sent.key.clone(), sent.value.clone()), (None, None));
    assert_eq!(sent.header("kafka_dlt-original-timestamp"), [[0xff; 8]]);
    assert!(sent.header("kafka_dlt-exception-cause-fqcn").is_empty());
}

#[test]
fn destinations() {
    let record = record(&[]);
    let to = |partition: i32| DeadLetters::to(move |_| Some(("orders-dlt".to_owned(), Some(partition))));
    for (dead_letters, expected) in [
        (DeadLetters::to_suffix("-dlt"), ("orders-dlt", Some(3))),
        (DeadLetters::to_topic("dead"), ("dead", None)),
        (DeadLetters::to(|_| Some(("dead".to_owned(), Some(3)))), ("dead", None)),
        (DeadLetters::to(|_| Some(("dead".to_owned(), Some(0)))), ("dead", Some(0))),
        (to(7), ("orders-dlt", Some(7))),
        (to(8), ("orders-dlt", None)),
        (to(-1), ("orders-dlt", None)),
    ] {
        let sent = dead_letter(&dead_letters, &record, leak(Declined));
        assert_eq!((sent.topic.as_str(), sent.partition), expected);
    }
}

#[test]
fn a_dead_letter_that_was_one_before() {
    let originals: Vec<(String, Option<Vec<u8>>)> =
        dead_letter(&DeadLetters::to_suffix("-dlt"), &record(&[]), leak(Declined)).headers;
    let borrowed: Vec<(&str, Option<&[u8]>)> = originals.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    let again = RawRecord::from_parts(43, 5, None, Some(b"v"), &borrowed);
    let error = || leak(Billing { cause: Declined });
    let appended = dead_letter(&DeadLetters::to_topic("dead"), &again, error());
    assert_eq!(appended.header("kafka_dlt-original-offset"), [42i64.to_be_bytes(), 43i64.to_be_bytes()]);
    let first = dead_letter(&DeadLetters::to_topic("dead").append_original_headers(false), &again, error());
    assert_eq!(first.header("kafka_dlt-original-offset"), [42i64.to_be_bytes()]);
    for sent in [appended, first] {
        assert_eq!(sent.header("kafka_dlt-exception-message"), [b"billing failed"], "replaced, not appended");
    }
}

#[test]
fn headers_have_a_bound() {
    let mut headers: OwnHeaders = Vec::new();
    for round in 0..40i64 {
        let borrowed: Vec<(&str, Option<&[u8]>)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = RawRecord::from_parts(round, 0, None, None, &borrowed);
        headers = dead_letter(&DeadLetters::to_topic("dead"), &record, leak(Declined)).headers;
    }
    let offsets: Vec<i64> = headers
        .iter()
        .filter(|(name, _)| name == "kafka_dlt-original-offset")
        .map(|(_, value)| i64::from_be_bytes(value.clone().expect("a value").try_into().expect("8 bytes")))
        .collect();
    assert_eq!(offsets, [0].into_iter().chain(25..40).collect::<Vec<_>>());
    assert_eq!(headers.len(), 6 * 16 + 3);

    let long = ListenerError::msg("\u{e9}".repeat(100_000)).into_inner();
    let sent = dead_letter(&DeadLetters::to_topic("dead"), &record(&[]), Box::leak(long));
    for name in ["kafka_dlt-exception-message", "kafka_dlt-exception-stacktrace"] {
        let text = sent.header(name)[0];
        assert!(text.len() <= 16 * 1024 && std::str::from_utf8(text).is_ok(), "{name}: {} bytes", text.len());
    }
    assert_eq!(sent.header("kafka_dlt-exception-fqcn"), [b"error"]);
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let record = record(&[]);
    let check = |dead_letters: DeadLetters, fake: Arc<Fake>, error: &'static Dyn| {
        let result = recover(&dead_letters, &fake, &record, error);
        assert!(fake.sent.lock().expect("no panic").is_empty());
        result
    };
    let failing = Arc::new(Fake { topics: [("orders-dlt", 1)].into(), fails: true, ..Fake::default() });
    assert!(check(DeadLetters::to_suffix("-dlt"), failing, leak(Declined)).is_err_and(|text| text.contains("no answer")));
    assert!(check(DeadLetters::to_suffix("-dlt"), fake(&[]), leak(Declined)).is_err(), "no such topic");
    let own = check(DeadLetters::to_topic("orders"), fake(&[("orders", 4)]), leak(Declined));
    assert!(own.is_err_and(|text| text.contains("orders-3@42")));
    // Where it would never decode, and where nothing is wanted: dropped.
    assert_eq!(check(DeadLetters::to_topic("orders"), fake(&[("orders", 4)]), leak(Rejection::new("bytes"))), Ok(()));
    assert_eq!(check(DeadLetters::to(|_| None), fake(&[]), leak(Declined)), Ok(()));
    let context = RecoverContext::new(None, Arc::new(NoAdmin));
    with_failure(&record, &Declined, 1, |failure| {
        let dead_letters = DeadLetters::to_suffix("-dlt");
        let mut recovery = dead_letters.recover(&context, failure);
        let done = recovery.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(done, Poll::Ready(Err(error)) if error.to_string().contains("no producer")));
    });
}

#[test]
fn decisions() {
    let retry = |ms| ErrorDecision::Retry { after: Duration::from_millis(ms) };
    let billing: &Dyn = &Billing { cause: Declined };
    let wrapped = BatchError::at(1, Billing { cause: Declined });
    let rejection = Rejection::new("bytes");
    let decode = Rejection::with_source("element", crate::error::BatchRejection::new(Vec::new()));
    let default = DefaultErrorHandler::default;
    let rows: Vec<(&str, DefaultErrorHandler, &Dyn, u32, ErrorDecision)> = vec![
        ("first of ten", default(), billing, 1, retry(0)),
        ("ninth of ten", default(), billing, 9, retry(0)),
        ("tenth of ten", default(), billing, 10, ErrorDecision::Recover),
        ("bytes", default(), &rejection, 1, ErrorDecision::Recover),
        ("elements", default(), &decode, 1, ErrorDecision::Recover),
        ("told to retry bytes", default().retryable::<Rejection>(), &rejection, 1, retry(0)),
        ("the cause counts", default().not_retryable::<Declined>(), billing, 1, ErrorDecision::Recover),
        ("through a batch error", default().not_retryable::<Declined>(), &wrapped, 1, ErrorDecision::Recover),
        ("the last word wins", default().not_retryable::<Declined>().retryable::<Billing>(), billing, 1, retry(0)),
        ("only what is listed", default().default_retryable(false).retryable::<Declined>(), billing, 1, retry(0)),
        ("not listed", default().default_retryable(false), billing, 1, ErrorDecision::Recover),
        ("no retries", DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 0)), billing, 1, ErrorDecision::Recover),
        (
            "growing waits",
            DefaultErrorHandler::new(ExponentialBackOff::new(Duration::from_millis(100)).multiplier(2.0)),
            billing,
            3,
            retry(400),
        ),
    ];
    let record = record(&[]);
    for (name, handler, error, failures, expected) in rows {
        assert_eq!(with_failure(&record, error, failures, |failure| handler.handle(failure)), expected, "{name}");
    }
    with_failure(&record, billing, 1, |failure| {
        assert_eq!(CommonLoggingErrorHandler.handle(failure), ErrorDecision::Skip);
        let ErrorDecision::Stop { reason } = CommonContainerStoppingErrorHandler.handle(failure) else { panic!("stops") };
        assert_eq!(reason, "billing failed: declined by the bank");
    });
}
