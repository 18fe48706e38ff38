use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::client::{RawRecord, TopicPartition};
use crate::codec::Json;
use crate::error::{ListenerError, ListenerResult};
use crate::extract::{Batch, ConsumerRecord, FromDelivery, Key, Offset, Param, State};
use crate::handler::{BatchRecords, Delivery, DeliveryContext, ErasedHandler, raw, raw_boxed};
use crate::registry::{Listener, OwnedListener};

type Log = Arc<Mutex<Vec<String>>>;

/// Notes what it was called with.
#[derive(Clone, Default)]
struct Seen(Log);

impl Seen {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }
}

macro_rules! listener {
    ($name:ident: $listener:ident<$($generic:ty),+>($first:ident: $payload:ty $(, $more:ident: $kind:ty)*) => $text:expr) => {
        struct $name(Seen);

        impl $listener<$($generic),+> for $name {
            async fn on_message(&self, $first: $payload $(, $more: $kind)*) -> ListenerResult {
                $(let _ = &$more;)*
                tokio::task::yield_now().await;
                self.0.note($text);
                Ok(())
            }
        }
    };
}

type Rec = ConsumerRecord<String, Json<u64>>;
type Rows = Batch<Json<u64>>;

listener!(Plain: MessageListener<String, Json<u64>>(record: Rec) => format!("plain {}", record.value().0));
listener!(Acking: AcknowledgingMessageListener<String, Json<u64>>(record: Rec, ack: Acknowledgment) => format!("acking {}", record.key()));
listener!(Aware: ConsumerAwareMessageListener<String, Json<u64>>(record: Rec, consumer: ConsumerHandle) => format!("aware {}", record.offset()));
listener!(Both: AcknowledgingConsumerAwareMessageListener<String, Json<u64>>(record: Rec, ack: Acknowledgment, consumer: ConsumerHandle) => format!("both {}", record.topic()));
listener!(Many: BatchMessageListener<Json<u64>>(rows: Rows) => format!("many {}", rows.len()));
listener!(ManyAcking: BatchAcknowledgingMessageListener<Json<u64>>(rows: Rows, ack: Acknowledgment) => format!("many acking {}", rows.len()));
listener!(ManyAware: BatchConsumerAwareMessageListener<Json<u64>>(rows: Rows, consumer: ConsumerHandle) => format!("many aware {}", rows.len()));
listener!(ManyBoth: BatchAcknowledgingConsumerAwareMessageListener<Json<u64>>(rows: Rows, ack: Acknowledgment, consumer: ConsumerHandle) => format!("many both {}", rows.len()));

fn context(seen: &Seen) -> Arc<DeliveryContext> {
    DeliveryContext::builder().listener_id("x").state(seen.clone()).consumer(ConsumerHandle::detached()).build()
}

fn raw_record(value: &str) -> RawRecord {
    RawRecord::from_parts(17, 0, Some(b"key"), Some(value.as_bytes()), &[])
}

fn delivery(seen: &Seen, batch: bool) -> Delivery {
    let place = TopicPartition::new("orders", 0);
    let delivery = if batch {
        let mut records = BatchRecords::default();
        records.push(&place, raw_record("1"), 1);
        records.push(&place, raw_record("2"), 1);
        Delivery::batch(context(seen), Arc::new(records))
    } else {
        Delivery::record(context(seen), place, raw_record("7"), 1)
    };
    delivery.with_acknowledgment(Acknowledgment::detached())
}

/// Calls a listener with what it takes; gives back what it noted.
async fn noted(seen: &Seen, handler: ErasedHandler) -> String {
    let batch = handler.takes_batch().unwrap_or(false);
    handler.call(delivery(seen, batch)).await.unwrap();
    seen.0.lock().unwrap().drain(..).collect()
}

fn handler<Marker>(listener: impl IntoListener<Marker>) -> ErasedHandler {
    OwnedListener::from(Listener::new("x", listener)).handler
}

#[tokio::test]
async fn the_eight_traits() {
    let seen = Seen::default();
    let cases: [(ErasedHandler, bool, bool, &str); 8] = [
        (handler(Plain(seen.clone())), false, false, "plain 7"),
        (handler(Acking(seen.clone())), false, true, "acking key"),
        (handler(Aware(seen.clone())), false, false, "aware 17"),
        (handler(Both(seen.clone())), false, true, "both orders"),
        (handler(Many(seen.clone())), true, false, "many 2"),
        (handler(ManyAcking(seen.clone())), true, true, "many acking 2"),
        (handler(ManyAware(seen.clone())), true, false, "many aware 2"),
        (handler(ManyBoth(seen.clone())), true, true, "many both 2"),
    ];
    for (handler, batch, acknowledges, expected) in cases {
        assert_eq!((handler.takes_batch(), handler.takes_acknowledgment()), (Some(batch), acknowledges), "{expected}");
        assert_eq!(noted(&seen, handler).await, expected);
    }
}

#[tokio::test]
async fn closures_of_the_traits_shapes() {
    let seen = Seen::default();
    let (a, b) = (seen.clone(), seen.clone());
    let record = from_fn(move |record: Rec, _: Acknowledgment| {
        let seen = a.clone();
        async move { seen.note(format!("closure {}", record.value().0)) }
    });
    assert_eq!(noted(&seen, handler(record)).await, "closure 7");
    let batch = from_fn(move |rows: Rows| {
        let seen = b.clone();
        async move { seen.note(format!("closure {}", rows.len())) }
    });
    assert_eq!(noted(&seen, handler(batch)).await, "closure 2");
}

async fn plain(
    Json(number): Json<u64>,
    Key(key): Key<String>,
    Offset(offset): Offset,
    seen: State<Seen>,
) -> Result<(), std::fmt::Error> {
    seen.note(format!("{number} {key} {offset}"));
    if number == 0 { Err(std::fmt::Error) } else { Ok(()) }
}

async fn borrowing(delivery: &Delivery) -> Result<(), ListenerError> {
    let text = <&str>::from_delivery(delivery)?;
    tokio::task::yield_now().await;
    delivery.state_ref::<Seen>().unwrap().note(text);
    Ok(())
}

#[tokio::test]
async fn functions_and_closures_of_extractors() {
    let seen = Seen::default();
    assert_eq!(noted(&seen, handler(plain)).await, "7 key 17");
    assert_eq!(noted(&seen, handler(|seen: State<Seen>| async move { seen.note("one") })).await, "one");
    let bytes = |payload: Bytes, seen: State<Seen>| async move { seen.note(format!("{}", payload.len())) };
    assert_eq!(noted(&seen, handler(bytes)).await, "1");
    assert_eq!(noted(&seen, handler(|| async {})).await, "");
    assert_eq!(noted(&seen, handler(raw(borrowing))).await, "7");
    let owned = |delivery: Delivery| async move { delivery.state_ref::<Seen>().unwrap().note("whole") };
    assert_eq!(noted(&seen, handler(owned)).await, "whole");
    let boxed = raw_boxed(|delivery| Box::pin(borrowing(delivery)));
    assert_eq!(noted(&seen, handler(boxed)).await, "7");
}

#[test]
fn parameters_are_known_before_any_record() {
    assert!(matches!(handler(plain).params[..], [Param::Record, Param::Metadata, Param::Metadata, Param::State { .. }]));
    assert_eq!(handler(raw(borrowing)).takes_batch(), None);
    assert_eq!(handler(|| async {}).takes_batch(), None);
}

#[test]
fn a_listener_made_at_run_time_has_the_attributes_words() {
    let listener = Listener::new("id", || async {})
        .topic("a")
        .topics(["b", "c"])
        .topic_pattern("d.*")
        .partitions("e", "0-2")
        .partitions_from("f", "1", "beginning")
        .group_id("g")
        .client_id_prefix("h")
        .container_factory("i")
        .concurrency("auto")
        .batch(false)
        .ack_mode(crate::ack::AckMode::CountTime)
        .ack_count(5)
        .ack_time(std::time::Duration::from_millis(1500))
        .auto_startup(false)
        .property("max.poll.records", 50);
    let OwnedListener { spec, .. } = listener.into();
    let partition = |topic: &str, partitions: &str, offset: Option<&str>| crate::registry::OwnedPartitionSpec {
        topic: topic.to_owned(),
        partitions: partitions.to_owned(),
        offset: offset.map(str::to_owned),
    };
    let own = |text: &str| Some(text.to_owned());
    assert_eq!(
        spec,
        crate::registry::OwnedListenerSpec {
            id: own("id"),
            topics: vec!["a".into(), "b".into(), "c".into()],
            topic_pattern: own("d.*"),
            partitions: vec![partition("e", "0-2", None), partition("f", "1", Some("beginning"))],
            group_id: own("g"),
            client_id_prefix: own("h"),
            container_factory: own("i"),
            concurrency: own("auto"),
            batch: own("false"),
            ack_mode: own("CountTime"),
            ack_count: own("5"),
            ack_time: own("1s 500ms"),
            auto_startup: own("false"),
            properties: vec!["max.poll.records=50".into()],
            ..Default::default()
        }
    );
}

#[tokio::test]
async fn a_batch_of_which_one_partition_was_revoked_acknowledges_the_others() {
    use super::acknowledgment::Mode;
    use super::link::{AckPlace, LinkMessage, LivePartition, WorkerLink};

    for immediate in [false, true] {
        let link = WorkerLink::new();
        let (first, second) = (TopicPartition::new("orders", 0), TopicPartition::new("orders", 1));
        let mut records = BatchRecords::default();
        for (partition, offset) in [(&first, 4), (&first, 5), (&second, 9)] {
            link.assigned(partition.clone(), LivePartition { epoch: 1, position: 0, paused: false });
            records.push(partition, RawRecord::from_parts(offset, 0, None, None, &[]), 1);
        }
        let epochs = vec![(first.clone(), 1), (second.clone(), 1)];
        let mode = Mode { immediate, async_acks: true };
        let acknowledgment = Acknowledgment::for_batch(link.clone(), mode, Arc::new(records), epochs);
        link.unassigned(&first);
        let error = acknowledgment.acknowledge().await.expect_err("one of them is stale");
        assert!(error.kind() == AckErrorKind::Stale && error.to_string().contains("orders-0@4"), "{error}");
        let mut messages = Vec::new();
        link.take_messages(&mut messages);
        let [LinkMessage::AckMany { places, .. }] = &messages[..] else { panic!("one message: {messages:?}") };
        let [AckPlace { topic_partition, offset: 9, .. }] = &places[..] else { panic!("one place: {places:?}") };
        assert_eq!(*topic_partition, second);
        link.unassigned(&second);
        assert!(acknowledgment.acknowledge().await.is_err() || !immediate);
    }
}
