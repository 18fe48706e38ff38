//! Tower layers around listeners.
//!
//! The request is a [`Delivery`](crate::handler::Delivery), the response an [`Outcome`](crate::handler::Outcome), the error any
//! that becomes a [`BoxError`](crate::error::BoxError). A stack, from the outside in:
//!
//! 1. the factory's layers, the first one added outermost: a concurrency limit, a [`TimeoutLayer`], [`TraceLayer`],
//!    [`RecordFilterLayer`], one's own;
//! 2. [`CatchPanicLayer`], always: a panic becomes a [`HandlerPanicked`](crate::error::HandlerPanicked) error, so that the layers outside see it too;
//! 3. the [`HandlerService`](crate::handler::HandlerService), which extracts and calls.
//!
//! Around all of them stands another [`CatchPanicLayer`], if there are any: a panic of a layer is an error like the listener's.
//!
//! A time-out therefore covers extraction and call, not the wait for the error handler, and a dropped call is a record that is
//! not done. There is no retry layer, on purpose: retries are the error handler's, who knows of rebalances and the poll deadline.

mod catch_panic;
mod filter;
#[cfg(test)]
mod tests;
mod trace;

pub use catch_panic::{CatchPanic, CatchPanicFuture, CatchPanicLayer};
pub use filter::{RecordFilter, RecordFilterLayer};
pub use tower::timeout::TimeoutLayer;
pub use trace::{Trace, TraceLayer};
