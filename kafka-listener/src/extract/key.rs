use std::ops::Deref;

use super::payload::decode;
use super::{FromRecord, Param};
use crate::codec::{Deserializer, Field};
use crate::error::Rejection;
use crate::handler::DeliveredRecord;

/// The record's key by a codec: `Key<String>`, `Key<&str>`, `Key<Json<Id>>`; `Key<Option<String>>` where it may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key<T>(pub T);

impl<'r, T: Deserializer<'r>> FromRecord<'r> for Key<T> {
    const PARAM: Param = Param::Metadata;

    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
        T::deserialize(Field::key(record.record)).map(Key).map_err(decode)
    }
}

impl<T> Deref for Key<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
