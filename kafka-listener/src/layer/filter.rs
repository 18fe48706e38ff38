use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::client::BoxFuture;
use crate::error::{BoxError, Rejection};
use crate::handler::{DeliveredRecord, Delivery, Outcome, Payload};

type Predicate = Arc<dyn for<'r> Fn(DeliveredRecord<'r>) -> bool + Send + Sync>;

/// Lets through only some records; the others are [`Outcome::Filtered`], which is done in every ack mode.
///
/// It is for record listeners. A batch listener is refused at start (where other layers hide it, each call is an error): leaving elements out here would
/// shift the indexes that the acknowledgment and a failed index speak of; a batch listener filters its own list.
#[derive(Clone)]
pub struct RecordFilterLayer {
    keep: Predicate,
}

impl RecordFilterLayer {
    /// Lets through the records for which `predicate` is true.
    ///
    /// ```
    /// use kafka_listener::layer::RecordFilterLayer;
    ///
    /// let no_tombstones = RecordFilterLayer::keep(|record| record.record.value().is_some());
    /// # let _ = no_tombstones;
    /// ```
    pub fn keep(predicate: impl for<'r> Fn(DeliveredRecord<'r>) -> bool + Send + Sync + 'static) -> Self {
        Self { keep: Arc::new(predicate) }
    }
}

impl fmt::Debug for RecordFilterLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordFilterLayer")
    }
}

impl<S> Layer<S> for RecordFilterLayer {
    type Service = RecordFilter<S>;

    fn layer(&self, inner: S) -> RecordFilter<S> {
        RecordFilter { inner, keep: self.keep.clone() }
    }
}

/// The service of [`RecordFilterLayer`].
#[derive(Clone)]
pub struct RecordFilter<S> {
    inner: S,
    keep: Predicate,
}

impl<S> Service<Delivery> for RecordFilter<S>
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
        let kept = match delivery.payload() {
            Payload::Record { topic_partition, record, attempt } => {
                (self.keep)(DeliveredRecord { topic_partition, record, attempt: *attempt })
            }
            Payload::Batch(_) => {
                let refused: Rejection =
                    delivery.reject("a record filter layer cannot serve a batch listener: filter inside the listener");
                return Box::pin(std::future::ready(Err(refused.into())));
            }
        };
        if !kept {
            return Box::pin(std::future::ready(Ok(Outcome::Filtered)));
        }
        let future = self.inner.call(delivery);
        Box::pin(async move { future.await.map_err(Into::into) })
    }
}
