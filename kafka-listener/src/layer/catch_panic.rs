use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::error::{BoxError, HandlerPanicked};
use crate::handler::{Delivery, Outcome};

/// Makes a panic of the inner service an error: while it gets ready, in its call, and in each poll of its future.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatchPanicLayer;

impl CatchPanicLayer {
    /// The layer.
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

/// The service of [`CatchPanicLayer`].
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S> Service<Delivery> for CatchPanic<S>
where
    S: Service<Delivery, Response = Outcome, Error: Into<BoxError>>,
    S::Future: Unpin,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = CatchPanicFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match catch_unwind(AssertUnwindSafe(|| self.inner.poll_ready(cx))) {
            Ok(ready) => ready.map_err(Into::into),
            Err(payload) => Poll::Ready(Err(HandlerPanicked::new(&*payload).into())),
        }
    }

    fn call(&mut self, delivery: Delivery) -> CatchPanicFuture<S::Future> {
        // Nothing of the service is looked at again but through its own methods, which a panic leaves as they are.
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(delivery))) {
            Ok(future) => CatchPanicFuture(State::Running(future)),
            Err(payload) => CatchPanicFuture(State::Panicked(Some(HandlerPanicked::new(&*payload)))),
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub struct CatchPanicFuture<F>(State<F>);

#[derive(Debug)]
enum State<F> {
    Running(F),
    Panicked(Option<HandlerPanicked>),
}

impl<F, E> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<Outcome, E>> + Unpin,
    E: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Running(future) => match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))) {
                Ok(poll) => poll.map_err(Into::into),
                // The future is not polled again: the answer is final.
                Err(payload) => Poll::Ready(Err(HandlerPanicked::new(&*payload).into())),
            },
            State::Panicked(panicked) => {
                let panicked = panicked.take().expect("a future is not polled after it is ready");
                Poll::Ready(Err(panicked.into()))
            }
        }
    }
}
