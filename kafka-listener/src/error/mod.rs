#![doc = include_str!("../docs/error_handling.md")]

mod attempts;
mod back_off;
mod classify;
mod dead_letter;
mod handler;
mod listener_error;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use attempts::Attempts;
pub use back_off::{BackOff, ExponentialBackOff, FixedBackOff};
pub use dead_letter::DeadLetters;
pub use handler::{
    CommonContainerStoppingErrorHandler, CommonLoggingErrorHandler, DefaultErrorHandler, ErrorDecision, ErrorHandler, Failure,
    RecoverContext, Recoverer,
};
pub use listener_error::{
    BatchError, BatchRejection, BoxError, HandlerPanicked, ListenerError, ListenerResult, Rejection, find_in_chain,
};
pub(crate) use listener_error::{ElementRejected, SharedError, chain_text, failed_index, panic_text};
