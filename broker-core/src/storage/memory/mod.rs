//! Files in memory, and what may go wrong with them: on purpose, and the same each time.

mod content;
mod crash;
mod disk;
mod fault;

pub use disk::MemoryDisk;
pub use fault::Fault;
