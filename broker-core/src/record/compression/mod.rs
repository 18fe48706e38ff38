//! Kafka's codecs for the records of a batch: one file each, behind the cargo feature of its name. Without the feature its twin
//! `disabled` answers. No length that the bytes claim is believed: memory grows with what was really unpacked, up to a limit.

mod codec;

#[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
mod disabled;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;
#[cfg(not(feature = "gzip"))]
use disabled as gzip;
#[cfg(not(feature = "lz4"))]
use disabled as lz4;
#[cfg(not(feature = "snappy"))]
use disabled as snappy;
#[cfg(not(feature = "zstd"))]
use disabled as zstd;

#[cfg(test)]
mod tests;

pub use codec::{Codec, CodecError, Compression};
