//! Extractors: what a listener function's parameters may be.

use std::any::TypeId;

use crate::error::Rejection;
use crate::handler::Delivery;

/// What an extractor takes, known before any record comes: it decides a listener's shape, and start-up checks read it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Param {
    /// The payload of one record.
    Record,
    /// The payloads of one poll.
    Batch,
    /// The acknowledgment: needs a manual ack mode.
    Acknowledgment,
    /// The consumer handle.
    Consumer,
    /// Something about one record beside its payload: key, header, topic, offset, attempt, ...
    Metadata,
    /// A state of this type must have been given to the app.
    State {
        /// Its identity.
        id: fn() -> TypeId,
        /// Its name, for messages.
        name: fn() -> &'static str,
    },
    /// Nothing that the framework needs to know of.
    Other,
}

/// One parameter of a listener function, made from a delivery; it may borrow from it.
pub trait FromDelivery<'r>: Sized {
    /// What it takes.
    const PARAM: Param;

    /// Takes it. A [`Rejection`] goes to the error handler in place of the call.
    fn from_delivery(delivery: &'r Delivery) -> Result<Self, Rejection>;
}
