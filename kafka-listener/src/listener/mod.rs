//! The eight listener types, and what they are handed: [`Acknowledgment`] and [`ConsumerHandle`].
//!
//! | trait | takes | acknowledges |
//! | --- | --- | --- |
//! | [`MessageListener`] | one record | the container, by its [ack mode](crate::ack::AckMode) |
//! | [`AcknowledgingMessageListener`] | one record, acknowledgment | by hand |
//! | [`ConsumerAwareMessageListener`] | one record, consumer | the container |
//! | [`AcknowledgingConsumerAwareMessageListener`] | one record, acknowledgment, consumer | by hand |
//! | [`BatchMessageListener`] | the records of one poll | the container |
//! | [`BatchAcknowledgingMessageListener`] | the records of one poll, acknowledgment | by hand |
//! | [`BatchConsumerAwareMessageListener`] | the records of one poll, consumer | the container |
//! | [`BatchAcknowledgingConsumerAwareMessageListener`] | the records of one poll, acknowledgment, consumer | by hand |
//!
//! A struct implements one of them, with `async fn on_message`, and goes to the app by
//! [`Listener::new`](crate::registry::Listener::new). So does a closure or a function of owned extractors, as it is; where a
//! value of the trait itself is wanted, [`from_fn`] makes one of a closure. Keys, values and elements own what they hold here.

mod acknowledgment;
mod adapter;
mod consumer_handle;
pub(crate) mod link;
#[cfg(test)]
mod tests;
mod traits;

pub use acknowledgment::{AckError, AckErrorKind, AckReceipt, Acknowledgment};
pub(crate) use acknowledgment::{Mode as AckHandMode, stale as stale_ack};
pub use adapter::IntoListener;
pub use consumer_handle::{ConsumerHandle, HandleError};
pub use traits::{
    AcknowledgingConsumerAwareMessageListener, AcknowledgingMessageListener, BatchAcknowledgingConsumerAwareMessageListener,
    BatchAcknowledgingMessageListener, BatchConsumerAwareMessageListener, BatchMessageListener, ConsumerAwareMessageListener,
    FnListener, MessageListener, from_fn,
};
