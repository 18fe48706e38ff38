//! The eight listener types, and what they are handed: [`Acknowledgment`] and [`ConsumerHandle`].

mod acknowledgment;
mod consumer_handle;

pub use acknowledgment::{AckError, AckReceipt, Acknowledgment};
pub use consumer_handle::{ConsumerHandle, HandleError};
