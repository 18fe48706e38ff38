//! When a group's offsets are committed: the seven ack modes.

mod mode;

pub use mode::AckMode;
