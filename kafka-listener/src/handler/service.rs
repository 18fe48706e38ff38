use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tower::Service;
use tower::util::BoxCloneSyncService;

use super::erased::Target;
use super::{Delivery, ErasedHandler, Outcome};
use crate::client::BoxFuture;
use crate::error::{BoxError, ListenerResult};

/// A handler with its layers, erased: built once a container, cloned for each worker. `ready` comes before `call`.
pub type BoxedHandler = BoxCloneSyncService<Delivery, Outcome, BoxError>;

/// A handler as a tower service: the innermost one of every stack. Always ready.
#[derive(Clone)]
pub struct HandlerService {
    target: Target,
}

impl HandlerService {
    /// Wraps a handler.
    pub fn new(handler: ErasedHandler) -> Self {
        Self { target: handler.into_target() }
    }
}

impl Service<Delivery> for HandlerService {
    type Response = Outcome;
    type Error = BoxError;
    type Future = HandlerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> HandlerFuture {
        HandlerFuture(self.target.call(delivery))
    }
}

/// A call under way.
pub struct HandlerFuture(BoxFuture<'static, ListenerResult>);

impl Future for HandlerFuture {
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.0.as_mut().poll(cx)) {
            Ok(()) => Ok(Outcome::Handled),
            Err(error) => Err(error.into_inner()),
        })
    }
}
