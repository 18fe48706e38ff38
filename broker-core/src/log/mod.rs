//! A partition's log: segments of whole batches, laid out as Kafka's files.

mod headers;
mod read;
mod segment;
mod segmented;

#[cfg(test)]
mod tests;

pub(crate) use headers::headers;
pub(crate) use read::read;
pub(crate) use segmented::{Log, LogConfig};
