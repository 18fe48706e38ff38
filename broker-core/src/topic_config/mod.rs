//! A topic's settings by Kafka's names: plain data, how each is read and checked, and how they are changed at run time. No setting
//! is taken and then ignored: what is not built may only have the value by which the broker acts.

mod alter;
mod config;
mod definition;
mod describe;
mod overrides;

#[cfg(test)]
mod tests;

pub use alter::{AlterConfig, ConfigChange};
pub use config::{CleanupPolicy, TopicCompression, TopicConfig};
pub use describe::{ConfigEntry, ConfigKind, ConfigSource};
pub(crate) use overrides::Overrides;
