use bytes::Bytes;

use super::{FromRecord, Param};
use crate::codec::{Deserializer, Field, Json};
use crate::error::Rejection;
use crate::handler::DeliveredRecord;

/// The record's value by a codec: all that a codec of one's own needs to become a payload.
///
/// ```
/// # use kafka_listener::codec::{CodecError, Deserializer, Field};
/// use kafka_listener::error::Rejection;
/// use kafka_listener::extract::{FromRecord, Param, payload};
/// use kafka_listener::handler::DeliveredRecord;
///
/// struct Number(i64);
/// # impl<'r> Deserializer<'r> for Number {
/// #     fn deserialize(field: Field<'r>) -> Result<Self, CodecError> {
/// #         let text = <&str>::deserialize(field)?;
/// #         text.parse().map(Number).map_err(|error| CodecError::with_source("no number", error))
/// #     }
/// # }
///
/// impl<'r> FromRecord<'r> for Number {
///     const PARAM: Param = Param::Record;
///
///     fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
///         payload(record)
///     }
/// }
/// ```
pub fn payload<'r, T: Deserializer<'r>>(record: DeliveredRecord<'r>) -> Result<T, Rejection> {
    T::deserialize(Field::value(record.record)).map_err(decode)
}

/// A codec's error as a rejection: the codec's own text, with the codec's error in the chain.
pub(super) fn decode(error: crate::codec::CodecError) -> Rejection {
    Rejection::with_source(error.to_string(), error)
}

macro_rules! payloads {
    ($([$($generics:tt)*] $type:ty;)*) => {
        $(impl<'r, $($generics)*> FromRecord<'r> for $type
        where
            $type: Deserializer<'r>,
        {
            const PARAM: Param = Param::Record;

            fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
                payload(record)
            }
        })*
    };
}

payloads! {
    [T] Json<T>;
    [] String;
    [] &'r str;
    [] Bytes;
    [] &'r [u8];
    [] Vec<u8>;
    [T] Option<T>;
}
