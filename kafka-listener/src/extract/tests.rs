use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::*;
use crate::client::{RawRecord, TopicPartition};
use crate::codec::Json;
use crate::error::{BatchRejection, Rejection, find_in_chain};
use crate::handler::{BatchRecords, DeliveryContext};
use crate::listener::{Acknowledgment, ConsumerHandle};

#[derive(Debug, Deserialize, PartialEq)]
struct Order<'a> {
    id: u64,
    #[serde(borrow)]
    customer: &'a str,
}

struct Source;
impl HeaderName for Source {
    const NAME: &'static str = "source";
}

fn context() -> Arc<DeliveryContext> {
    DeliveryContext::builder().listener_id("bill").group_id("billing").state(41u64).consumer(ConsumerHandle::detached()).build()
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> Delivery {
    let record = RawRecord::from_parts(17, 1000, key, value, headers);
    Delivery::record(context(), TopicPartition::new("orders", 2), record, 3)
}

fn batch(values: &[&str]) -> Delivery {
    let mut records = BatchRecords::default();
    for (offset, value) in values.iter().enumerate() {
        let raw = RawRecord::from_parts(offset as i64, 0, Some(b"k"), Some(value.as_bytes()), &[]);
        records.push(&TopicPartition::new("orders", 0), raw, 1);
    }
    Delivery::batch(context(), Arc::new(records))
}

fn text<'r, T: FromDelivery<'r>>(delivery: &'r Delivery) -> String {
    match T::from_delivery(delivery) {
        Ok(_) => panic!("it was taken"),
        Err(rejection) => rejection.to_string(),
    }
}

#[test]
fn payloads() {
    let delivery = record(Some(b"ann"), Some(br#"{"id":7,"customer":"ann"}"#), &[]);
    let Json(order) = Json::<Order<'_>>::from_delivery(&delivery).unwrap();
    assert_eq!(order, Order { id: 7, customer: "ann" });
    assert!(String::from_delivery(&delivery).unwrap().starts_with("{\"id\":7"));
    assert!(<&str>::from_delivery(&delivery).unwrap().starts_with("{\"id\":7"));
    assert_eq!(Bytes::from_delivery(&delivery).unwrap().len(), 25);
    assert_eq!(<&[u8]>::from_delivery(&delivery).unwrap().len(), 25);
    assert_eq!(Vec::<u8>::from_delivery(&delivery).unwrap().len(), 25);
    assert!(Option::<Json<Order<'_>>>::from_delivery(&delivery).unwrap().is_some());
}

#[test]
fn a_tombstone_is_none_or_refused() {
    let delivery = record(Some(b"ann"), None, &[]);
    assert_eq!(Option::<&str>::from_delivery(&delivery).unwrap(), None);
    assert!(text::<Json<Order<'_>>>(&delivery).starts_with("orders-2@17: the value is null"), "{}", text::<&str>(&delivery));
}

#[test]
fn a_rejection_names_the_record_and_the_field() {
    let delivery = record(Some(b"\xff"), Some(br#"{"id":"x"}"#), &[("source", Some(b"\xff"))]);
    for (text, expected) in [
        (text::<Json<Order<'_>>>(&delivery), "orders-2@17: the value is no JSON of"),
        (text::<Key<String>>(&delivery), "orders-2@17: the key is not UTF-8 at byte 0"),
        (text::<ConsumerRecord<&str, Bytes>>(&delivery), "orders-2@17: the key is not UTF-8 at byte 0"),
        (text::<Header<Source>>(&delivery), "orders-2@17: the header 'source' is not UTF-8 at byte 0"),
        (text::<State<String>>(&delivery), "orders-2@17: no state of type alloc::string::String"),
        (text::<Acknowledgment>(&delivery), "orders-2@17: an acknowledgment was expected"),
        (text::<Batch<String>>(&delivery), "orders-2@17: a batch was expected"),
        (text::<Json<u8>>(&batch(&["1"])), "orders-0@0: one record was expected"),
    ] {
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn metadata() {
    let delivery = record(Some(b"ann"), Some(b"v"), &[("source", Some(b"import")), ("n", Some(b"12")), ("source", Some(b"web"))]);
    assert_eq!(Key::<&str>::from_delivery(&delivery).unwrap(), Key("ann"));
    assert_eq!(&*Topic::from_delivery(&delivery).unwrap(), "orders");
    assert_eq!(Partition::from_delivery(&delivery).unwrap(), Partition(2));
    assert_eq!(Offset::from_delivery(&delivery).unwrap(), Offset(17));
    assert_eq!(Timestamp::from_delivery(&delivery).unwrap(), Timestamp::from_millis(1000));
    assert_eq!(DeliveryAttempt::from_delivery(&delivery).unwrap(), DeliveryAttempt(3));
    assert_eq!(&*GroupId::from_delivery(&delivery).unwrap(), "billing");
    assert_eq!(&*ListenerId::from_delivery(&delivery).unwrap(), "bill");
    assert_eq!(*State::<u64>::from_delivery(&delivery).unwrap(), 41);
    ConsumerHandle::from_delivery(&delivery).unwrap();
    assert_eq!(<&Delivery>::from_delivery(&delivery).unwrap().len(), 1);
    let with_ack = delivery.clone().with_acknowledgment(Acknowledgment::detached());
    Acknowledgment::from_delivery(&with_ack).unwrap();

    let headers = Headers::from_delivery(&delivery).unwrap();
    assert_eq!((headers.text("source"), headers.get("none"), headers.get_all("source").count()), (Some("web"), None, 2));
}

#[test]
fn headers_by_name() {
    struct Count;
    impl HeaderName for Count {
        const NAME: &'static str = "n";
    }
    let delivery = record(None, None, &[("source", Some(b"web")), ("n", Some(b"12"))]);
    let Header(source, ..) = Header::<Source>::from_delivery(&delivery).unwrap();
    assert_eq!((source.as_str(), *Header::<Count, i64>::from_delivery(&delivery).unwrap()), ("web", 12));
    let bare = record(None, None, &[("n", Some(b"many"))]);
    assert_eq!(*Header::<Source, Option<&str>>::from_delivery(&bare).unwrap(), None);
    assert_eq!(
        text::<Header<Source, String>>(&bare),
        "orders-2@17: the header 'source' is missing; take an Option to allow that"
    );
    assert_eq!(text::<Header<Count, i64>>(&bare), "orders-2@17: the header 'n' holds 'many', and a number (i64) was expected");
}

#[test]
fn a_consumer_record_knows_everything() {
    let delivery = record(Some(b"ann"), Some(b"7"), &[("source", Some(b"web"))]);
    let record = ConsumerRecord::<String, Json<u64>>::from_delivery(&delivery).unwrap();
    assert_eq!((record.key().as_str(), record.value().0, &**record.topic(), record.partition()), ("ann", 7, "orders", 2));
    assert_eq!((record.offset(), record.timestamp(), record.attempt()), (17, Timestamp::from_millis(1000), 3));
    assert_eq!(record.header("source"), Some(Some(&b"web"[..])));
    assert_eq!(record.topic_partition(), TopicPartition::new("orders", 2));
}

#[test]
fn batches_of_anything() {
    let delivery = batch(&["1", "2", "3"]);
    let numbers = Batch::<Json<u64>>::from_delivery(&delivery).unwrap();
    assert_eq!(numbers.iter().map(|Json(number)| number).sum::<u64>(), 6);
    let rows = Batch::<(Key<&str>, &str, Offset)>::from_delivery(&delivery).unwrap();
    assert_eq!(rows[2], (Key("k"), "3", Offset(2)));
    assert_eq!(Batch::<ConsumerRecord<String, Bytes>>::from_delivery(&delivery).unwrap().len(), 3);
}

#[test]
fn undecodable_elements_are_named_one_by_one() {
    let delivery = batch(&["1", "x", "3", "y"]);
    let rejection = Batch::<Json<u64>>::from_delivery(&delivery).unwrap_err();
    let failed = find_in_chain::<BatchRejection>(&rejection).unwrap();
    assert_eq!(failed.indexes().collect::<Vec<_>>(), [1, 3]);
    assert!(failed.rejection(3).unwrap().to_string().starts_with("orders-0@3: the value is no JSON"));
    assert!(
        rejection.to_string().starts_with("2 elements of the batch do not decode, the first is element 1: orders-0@1:"),
        "{rejection}"
    );

    let results = Batch::<Result<Json<u64>, Rejection>>::from_delivery(&delivery).unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(results[1].as_ref().unwrap_err().to_string().starts_with("orders-0@1: "));
}
