//! The listeners end to end: apps on an embedded broker, seen only through what users have.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

/// Which container does what, with how many workers, for how long.
mod containers;
/// What becomes of records that nobody can handle.
mod errors;
/// Waits without end, panics outside the listener, stops that are dropped.
mod extremes;
/// Commits around a revoke, a loss, a pause and a stop.
mod lifecycle;
/// Which listeners are found by linking, with each of the two mechanisms.
mod linked;
/// The seven ack modes, by the offsets that are committed and when.
mod modes;
/// Clients of other processes, over the port of an app.
mod port;
/// Groups of several members.
mod rebalance;
/// The eight listener types, each written in three ways.
mod shapes;
/// Signals to a process of its own, and what its directory holds afterwards.
mod shutdown;
/// What refuses to start, and which setting wins.
mod startup;
mod support;
