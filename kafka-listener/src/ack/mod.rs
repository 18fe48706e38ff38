#![doc = include_str!("../docs/ack_modes.md")]

// Cold code: it sees counts, offsets and `now`, never a record or a client. A worker tells the `AckEngine` what happened and
// asks it at each decision point whether to commit.

mod engine;
mod mode;
mod tracker;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(crate) use engine::{AckEngine, AckProperties, Decision, Slot};
pub use mode::{AckMode, UnknownAckMode};
