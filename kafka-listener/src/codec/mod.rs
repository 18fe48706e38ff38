//! How keys and values become bytes and back: [`Serializer`] for sending, [`Deserializer`] for listening.
//!
//! A codec is a type: `Json<Order>`, `String`, `&str`, `Bytes`, `Vec<u8>`, `Option<Json<Order>>` for tombstones.

mod json;
mod text;

#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;

use crate::client::RawRecord;

pub use json::Json;

/// The key or the value of one record: what a [`Deserializer`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Field<'r> {
    record: &'r RawRecord,
    part: Part,
}

/// Which of a record's two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value, also called the payload.
    Value,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Key => "key",
            Part::Value => "value",
        })
    }
}

impl<'r> Field<'r> {
    /// The key of a record.
    pub fn key(record: &'r RawRecord) -> Self {
        Self { record, part: Part::Key }
    }

    /// The value of a record.
    pub fn value(record: &'r RawRecord) -> Self {
        Self { record, part: Part::Value }
    }

    /// Which field it is.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The bytes, borrowed from the log; `None` is Kafka's null.
    pub fn get(&self) -> Option<&'r [u8]> {
        match self.part {
            Part::Key => self.record.key(),
            Part::Value => self.record.value(),
        }
    }

    /// The bytes as a slice that shares the log's memory.
    pub fn to_bytes(&self) -> Option<Bytes> {
        match self.part {
            Part::Key => self.record.key_bytes(),
            Part::Value => self.record.value_bytes(),
        }
    }
}

/// Makes a value from a record's bytes; it may borrow from them.
pub trait Deserializer<'r>: Sized {
    /// Reads the field. A null is an error for a type that cannot hold one; `Option<T>` can.
    fn deserialize(field: Field<'r>) -> Result<Self, CodecError>;
}

/// Makes bytes from a value.
pub trait Serializer {
    /// Appends the bytes to `out` and returns true, or returns false for Kafka's null.
    fn serialize(&self, out: &mut Vec<u8>) -> Result<bool, CodecError>;

    /// The bytes without a copy, if the value holds them already; `Some(None)` is Kafka's null.
    fn as_bytes(&self) -> Option<Option<&[u8]>> {
        None
    }
}

/// Bytes that do not decode, or a value that does not encode.
#[derive(Debug)]
pub struct CodecError {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl CodecError {
    /// An error that says what was expected.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The same, with the codec library's own error as its source.
    pub fn with_source(message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for CodecError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}
