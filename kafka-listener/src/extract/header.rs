use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;

use super::{FromRecord, Param};
use crate::client::RawRecord;
use crate::error::Rejection;
use crate::handler::DeliveredRecord;

/// All headers of the record, in order, duplicates included. Owned: it shares the record's bytes.
#[derive(Clone)]
pub struct Headers(RawRecord);

impl Headers {
    /// The headers, in order.
    pub fn iter(&self) -> crate::client::Headers<'_> {
        self.0.headers()
    }

    /// The last header of this name; `Some(None)` is one without a value.
    pub fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        self.0.header(name)
    }

    /// The last header of this name, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.0.header(name)??).ok()
    }

    /// All headers of this name, in order.
    pub fn get_all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = Option<&'h [u8]>> {
        self.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl<'h> IntoIterator for &'h Headers {
    type Item = (&'h str, Option<&'h [u8]>);
    type IntoIter = crate::client::Headers<'h>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'r> FromRecord<'r> for Headers {
    const PARAM: Param = Param::Metadata;

    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
        Ok(Headers(record.record.clone()))
    }
}

/// Names a header, for [`Header`].
pub trait HeaderName {
    /// The header's name; upper and lower case differ.
    const NAME: &'static str;
}

/// One header of the record, by name: the last one if there are several.
///
/// ```
/// use kafka_listener::extract::{Header, HeaderName};
///
/// struct Source;
/// impl HeaderName for Source {
///     const NAME: &'static str = "source";
/// }
///
/// // `Header<Source>` is text, `Header<Source, Option<String>>` may be absent, `Header<Source, i64>` is a number in digits.
/// async fn on_order(Header(source, ..): Header<Source>) {
///     println!("from {source}");
/// }
/// ```
pub struct Header<N, T = String>(
    /// The value.
    pub T,
    /// The name.
    pub PhantomData<fn() -> N>,
);

impl<N, T> Header<N, T> {
    /// Wraps a value, for calling a listener function by hand.
    pub fn new(value: T) -> Self {
        Self(value, PhantomData)
    }
}

impl<N, T> Deref for Header<N, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<N, T: Clone> Clone for Header<N, T> {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl<N: HeaderName, T: fmt::Debug> fmt::Debug for Header<N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({:?}: {:?})", N::NAME, self.0)
    }
}

impl<'r, N: HeaderName, T: FromHeader<'r>> FromRecord<'r> for Header<N, T> {
    const PARAM: Param = Param::Metadata;

    fn from_record(record: DeliveredRecord<'r>) -> Result<Self, Rejection> {
        T::from_header(record.record.header(N::NAME))
            .map(Header::new)
            .map_err(|what| Rejection::new(format!("the header '{}' {what}", N::NAME)))
    }
}

/// What a header's value becomes.
pub trait FromHeader<'r>: Sized {
    /// Reads the value: outer `None` is no such header, inner `None` one without a value. The error ends the sentence
    /// "the header 'x' ...".
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String>;
}

fn present(value: Option<Option<&[u8]>>) -> Result<&[u8], String> {
    value.ok_or("is missing; take an Option to allow that")?.ok_or_else(|| "has no value".to_owned())
}

impl<'r> FromHeader<'r> for &'r [u8] {
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
        present(value)
    }
}

impl<'r> FromHeader<'r> for &'r str {
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
        std::str::from_utf8(present(value)?).map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to()))
    }
}

impl<'r> FromHeader<'r> for String {
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
        <&str>::from_header(value).map(str::to_owned)
    }
}

impl<'r> FromHeader<'r> for Vec<u8> {
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
        present(value).map(<[u8]>::to_vec)
    }
}

impl<'r> FromHeader<'r> for Bytes {
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
        present(value).map(Bytes::copy_from_slice)
    }
}

/// `None` if there is no such header, or it has no value.
impl<'r, T: FromHeader<'r>> FromHeader<'r> for Option<T> {
    fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
        match value.flatten() {
            Some(bytes) => T::from_header(Some(Some(bytes))).map(Some),
            None => Ok(None),
        }
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {
        /// A number in digits.
        $(impl<'r> FromHeader<'r> for $type {
            fn from_header(value: Option<Option<&'r [u8]>>) -> Result<Self, String> {
                let text = <&str>::from_header(value)?;
                text.trim().parse().map_err(|_| format!("holds '{text}', and a number ({}) was expected", stringify!($type)))
            }
        })*
    };
}

numbers!(i32, i64, u32, u64, usize, f64);
