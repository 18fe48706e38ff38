#![doc = include_str!("../docs/listeners.md")]

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
