//! The listeners end to end: apps on an embedded broker, seen only through what users have.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

/// Commits around a revoke, a loss, a pause and a stop.
mod lifecycle;
/// The seven ack modes, by the offsets that are committed and when.
mod modes;
/// The eight listener types, each written in three ways.
mod shapes;
mod support;
