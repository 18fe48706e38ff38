//! An embedded Kafka broker: v2 record batches in segmented logs, in files or in memory, and the classic group coordinator.

pub mod assignor;
mod config;
mod error;
mod id;
mod log;
mod partition;
pub mod record;
pub mod storage;
mod time;

pub use config::BrokerConfig;
pub use error::{Error, ErrorCode};
pub use id::TopicPartition;
pub use partition::{DataSignal, Fetched, PartitionHandle, Produced, WatchGuard};
pub use time::{Clock, SystemClock, TokioClock};
