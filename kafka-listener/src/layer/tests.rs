use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tower::timeout::error::Elapsed;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::client::{RawRecord, TopicPartition};
use crate::error::{BoxError, HandlerPanicked, ListenerError, find_in_chain};
use crate::handler::{BatchRecords, BoxedHandler, Delivery, DeliveryContext, HandlerService, Outcome};
use crate::listener::IntoListener;
use crate::registry::{Listener, OwnedListener};

fn record(offset: i64, headers: &[(&str, Option<&[u8]>)]) -> Delivery {
    let context = DeliveryContext::builder().listener_id("x").build();
    let record = RawRecord::from_parts(offset, 0, None, Some(b"7"), headers);
    Delivery::record(context, TopicPartition::new("orders", 0), record, 1)
}

fn handler<Marker>(listener: impl IntoListener<Marker>) -> HandlerService {
    HandlerService::new(OwnedListener::from(Listener::new("x", listener)).handler)
}

async fn call<S>(service: S, delivery: Delivery) -> Result<Outcome, BoxError>
where
    S: Service<Delivery, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    service.oneshot(delivery).await.map_err(Into::into)
}

fn panics(now: bool) {
    if now {
        std::panic::panic_any(String::from("by hand"));
    }
}

#[tokio::test]
async fn a_panic_is_an_error_at_once_and_later() {
    let at_first_poll = CatchPanicLayer::new().layer(handler(|| async { panics(true) }));
    let later = CatchPanicLayer::new().layer(handler(|| async {
        tokio::task::yield_now().await;
        panics(true);
    }));
    let in_the_call = CatchPanicLayer::new().layer(service_fn(|_: Delivery| {
        panics(true);
        std::future::ready(Ok::<_, Infallible>(Outcome::Handled))
    }));
    for result in
        [call(at_first_poll, record(0, &[])).await, call(later, record(0, &[])).await, call(in_the_call, record(0, &[])).await]
    {
        let error = result.unwrap_err();
        assert!(find_in_chain::<HandlerPanicked>(&*error).is_some());
        assert_eq!(error.to_string(), "the listener panicked: by hand");
    }
}

#[tokio::test]
async fn the_service_lives_on_after_a_panic() {
    let mut service =
        OwnedListener::from(Listener::new("x", |offset: crate::extract::Offset| async move { panics(offset.0 == 0) }))
            .handler
            .into_service();
    assert!(service.ready().await.unwrap().call(record(0, &[])).await.is_err());
    assert_eq!(service.ready().await.unwrap().call(record(1, &[])).await.unwrap(), Outcome::Handled);
}

#[tokio::test]
async fn a_users_error_is_found_by_its_type() {
    let failing = handler(|| async { Err::<(), _>("x".parse::<u8>().unwrap_err()) });
    let error = call(CatchPanicLayer::new().layer(failing), record(0, &[])).await.unwrap_err();
    assert!(find_in_chain::<std::num::ParseIntError>(&*error).is_some());
}

#[tokio::test]
async fn a_filter_drops_records_before_the_listener() {
    let unreached = handler(|| async { Err::<(), _>(ListenerError::msg("reached")) });
    let layer = RecordFilterLayer::keep(|record| record.record.offset() % 2 == 0);
    let service = layer.layer(unreached);
    assert_eq!(call(service.clone(), record(1, &[])).await.unwrap(), Outcome::Filtered);
    assert_eq!(call(service.clone(), record(2, &[])).await.unwrap_err().to_string(), "reached");

    let mut records = BatchRecords::default();
    records.push(&TopicPartition::new("orders", 0), RawRecord::from_parts(5, 0, None, None, &[]), 1);
    let batch = Delivery::batch(DeliveryContext::builder().build(), Arc::new(records));
    let refused = call(service, batch).await.unwrap_err().to_string();
    assert_eq!(refused, "orders-0@5: a record filter layer cannot serve a batch listener: filter inside the listener");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_towers_own() {
    let slow = handler(|| async { tokio::time::sleep(Duration::from_secs(10)).await });
    let service = BoxedHandler::new(TimeoutLayer::new(Duration::from_secs(5)).layer(slow));
    let error = call(service, record(0, &[])).await.unwrap_err();
    assert!(find_in_chain::<Elapsed>(&*error).is_some());
}

#[tokio::test]
async fn tracing_samples() {
    let quick = || handler(|| async {});
    assert_eq!(call(TraceLayer::new().layer(quick()), record(0, &[])).await.unwrap(), Outcome::Handled);
    let parent = [("traceparent", Some(&b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..]))];
    assert_eq!(call(TraceLayer::new().layer(quick()), record(0, &parent)).await.unwrap(), Outcome::Handled);
    let mut service = TraceLayer::new().sample_every(3).layer(quick());
    for offset in 0..7 {
        service.ready().await.unwrap().call(record(offset, &[])).await.unwrap();
    }
}
