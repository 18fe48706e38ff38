//! What listeners fail with, and what is done about it.

mod listener_error;

pub use listener_error::{BatchError, BoxError, ListenerError, ListenerResult, Rejection};
