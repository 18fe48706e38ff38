//! Handlers: how a delivery becomes a call, and what its return means.

mod delivery;

pub use delivery::{BatchRecord, BatchRecords, Delivery, DeliveryContext, DeliveryContextBuilder, Payload};

/// How a call ended well. A failure is an error of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The listener returned Ok. In the container's own ack modes the delivery is done.
    Handled,
    /// A layer dropped the delivery before the listener saw it: done in every mode.
    Filtered,
}
