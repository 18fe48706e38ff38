//! An embedded Kafka broker: v2 record batches in segmented logs, in files or in memory, the classic group coordinator, and the
//! coordinator of transactions.
//!
//! [`Broker::open`] keeps its data in a folder laid out as Kafka's; [`Broker::in_memory`] leaves nothing behind; the same code
//! runs both. What `produce` has acknowledged is there after the process was killed; against a power cut it is as safe as the
//! page cache, or as the disk where a topic's `flush.messages` or `flush.ms` asks for it. With the feature `server` Kafka clients
//! reach it over TCP. What it does not do yet: replication.

pub mod assignor;
mod broker;
mod config;
mod coordinator;
mod error;
mod id;
mod log;
mod partition;
#[cfg(feature = "server")]
mod quota;
pub mod record;
mod runtime;
#[cfg(feature = "server")]
mod security;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
mod time;
mod topic_config;

pub use broker::{Broker, BrokerBuilder, NewTopic, TopicDescription};
pub use config::BrokerConfig;
pub use coordinator::group::{
    CommittedOffset, GroupDescription, GroupListing, GroupState, JoinGroup, JoinGroupReply, JoinedMember, MemberDescription,
    MemberIdentity, OffsetCommit, SyncGroup, SyncGroupReply,
};
pub use coordinator::transaction::{TransactionDescription, TransactionListing, TransactionState};
pub use error::{Error, ErrorCode, RecordError};
pub use id::{TopicId, TopicPartition};
pub use partition::{
    AbortedTransaction, CommittedOnly, DataSignal, Fetched, PartitionHandle, Produced, ProducerDescription, TransactionEnd,
    WatchGuard,
};
pub use runtime::GroupChanges;
/// Rules about what the port's clients may do, by Kafka's names: see [`Broker::create_acls`].
#[cfg(feature = "server")]
pub use security::{
    Operation as AclOperation, Pattern as PatternType, PatternFilter as PatternTypeFilter, Permission as AclPermissionType,
    ResourceKind as ResourceType, Rule as AclBinding, RuleFilter as AclBindingFilter,
};
#[cfg(feature = "server")]
pub use security::{ScramClient, ScramCredential, ScramMechanism, ScramServerProof};
pub use time::{Clock, SystemClock, TokioClock};
pub use topic_config::{
    AlterConfig, CleanupPolicy, ConfigChange, ConfigEntry, ConfigKind, ConfigSource, TopicCompression, TopicConfig,
};
