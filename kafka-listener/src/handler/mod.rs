//! Handlers: how a delivery becomes a call, and what its return means.
//!
//! [`ErasedHandler`] is a listener whose types are forgotten: what the container calls. [`HandlerService`] makes it the
//! innermost service of a tower stack, whose request is the [`Delivery`] and whose response is the [`Outcome`].

mod delivery;
mod erased;
mod function;
mod outcome;
mod service;

pub use delivery::{BatchRecord, BatchRecords, DeliveredRecord, Delivery, DeliveryContext, DeliveryContextBuilder, Payload};
pub use erased::{Call, ErasedHandler};
pub use function::{Handler, RawFn, raw, raw_boxed};
pub use outcome::{ListenerReturn, Outcome};
pub use service::{BoxedHandler, HandlerService};
