use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{FromRecord, Param};
use crate::error::Rejection;
use crate::handler::DeliveredRecord;
pub use crate::template::Timestamp;

macro_rules! metadata {
    ($($type:ty => |$record:ident| $make:expr;)*) => {
        $(impl<'r> FromRecord<'r> for $type {
            const PARAM: Param = Param::Metadata;

            fn from_record($record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
                Ok($make)
            }
        })*
    };
}

metadata! {
    Topic => |record| Topic(record.topic_partition.topic.clone());
    Partition => |record| Partition(record.topic_partition.partition);
    Offset => |record| Offset(record.record.offset());
    Timestamp => |record| Timestamp::from_millis(record.record.timestamp());
    DeliveryAttempt => |record| DeliveryAttempt(record.attempt);
}

/// The topic that the record comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(pub Arc<str>);

impl Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The partition that the record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

/// The record's offset in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// Which delivery of the record this is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryAttempt(pub u32);
