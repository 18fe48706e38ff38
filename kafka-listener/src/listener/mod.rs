//! The eight listener types, and what they are handed: [`Acknowledgment`] and [`ConsumerHandle`].

mod acknowledgment;
mod consumer_handle;
pub(crate) mod link;

pub use acknowledgment::{AckError, AckErrorKind, AckReceipt, Acknowledgment};

pub use consumer_handle::{ConsumerHandle, HandleError};
