use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tower::{Layer, Service};
use tracing::Instrument;

use crate::client::BoxFuture;
use crate::error::BoxError;
use crate::handler::{Delivery, Outcome, Payload};

/// A span around the call of a record that carries a W3C `traceparent` header, and around one in `n` of the others.
///
/// An enabled span costs more than a record does, so there is none for the rest: the worker has one span a poll.
#[derive(Debug, Clone, Default)]
pub struct TraceLayer {
    every: u64,
}

impl TraceLayer {
    /// Only records with a `traceparent` header.
    pub fn new() -> Self {
        Self { every: 0 }
    }

    /// Also one in `n` of the others; 0 is none of them.
    pub fn sample_every(mut self, n: u64) -> Self {
        self.every = n;
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, every: self.every, seen: Arc::new(AtomicU64::new(0)) }
    }
}

/// The service of [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
    every: u64,
    seen: Arc<AtomicU64>,
}

impl<S> Trace<S> {
    fn sampled(&self) -> bool {
        self.every != 0 && self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every)
    }

    fn span(&self, delivery: &Delivery) -> Option<tracing::Span> {
        match delivery.payload() {
            Payload::Record { topic_partition, record, attempt } => {
                let parent = record.header("traceparent").flatten().and_then(|value| std::str::from_utf8(value).ok());
                (parent.is_some() || self.sampled()).then(|| {
                    tracing::info_span!(
                        target: "kafka_listener::listener",
                        "record",
                        listener = %delivery.listener_id(),
                        topic = %topic_partition.topic,
                        partition = topic_partition.partition,
                        offset = record.offset(),
                        attempt = *attempt,
                        traceparent = parent,
                    )
                })
            }
            Payload::Batch(records) => self.sampled().then(|| {
                tracing::info_span!(
                    target: "kafka_listener::listener",
                    "batch",
                    listener = %delivery.listener_id(),
                    records = records.len(),
                )
            }),
        }
    }
}

impl<S> Service<Delivery> for Trace<S>
where
    S: Service<Delivery, Response = Outcome, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        match self.span(&delivery) {
            Some(span) => {
                let future = span.in_scope(|| self.inner.call(delivery));
                Box::pin(async move { future.await.map_err(Into::into) }.instrument(span))
            }
            None => {
                let future = self.inner.call(delivery);
                Box::pin(async move { future.await.map_err(Into::into) })
            }
        }
    }
}
