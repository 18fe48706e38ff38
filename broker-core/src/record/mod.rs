//! v2 record batches: what is in the log, in memory and on the wire.

pub(crate) mod batch;
pub(crate) mod builder;
pub(crate) mod checksum;
mod compression;
mod iter;
mod marker;
mod murmur2;
mod plain;
mod renumber;
pub(crate) mod varint;

pub use batch::{Batch, BatchError, Batches, batches};
pub use builder::BatchBuilder;
pub use compression::{Codec, CodecError, Compression};
pub use iter::{HeaderView, RecordView, Records};
pub(crate) use marker::{MARKER_BYTES, MARKER_BYTES_MAX, Marker};
pub use murmur2::murmur2;
pub(crate) use plain::PlainRun;
pub(crate) use renumber::{put_record, renumbered};

/// Where each field of a batch's header starts.
pub(crate) mod at {
    pub const BASE_OFFSET: usize = 0;
    pub const LENGTH: usize = 8;
    pub const LEADER_EPOCH: usize = 12;
    pub const MAGIC: usize = 16;
    pub const CRC: usize = 17;
    pub const ATTRIBUTES: usize = 21;
    pub const LAST_OFFSET_DELTA: usize = 23;
    pub const BASE_TIMESTAMP: usize = 27;
    pub const MAX_TIMESTAMP: usize = 35;
    pub const PRODUCER_ID: usize = 43;
    pub const PRODUCER_EPOCH: usize = 51;
    pub const BASE_SEQUENCE: usize = 53;
    pub const COUNT: usize = 57;
    pub const RECORDS: usize = 61;
}

/// Bytes before the part that a batch's length counts.
pub(crate) const LENGTH_END: usize = 12;
/// The smallest batch: a header without records.
pub(crate) const HEADER_BYTES: usize = at::RECORDS;

pub(crate) const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub(crate) const CODEC_BITS: i16 = 0b111;
pub(crate) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(crate) const CONTROL_BIT: i16 = 1 << 5;
/// The base timestamp says until when the batch's tombstones stay.
pub(crate) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// Fields of a batch's header, whose whole length was checked before.
pub(crate) mod header {
    pub fn i64(bytes: &[u8], from: usize) -> i64 {
        i64::from_be_bytes(bytes[from..from + 8].try_into().expect("eight bytes"))
    }

    pub fn i32(bytes: &[u8], from: usize) -> i32 {
        i32::from_be_bytes(bytes[from..from + 4].try_into().expect("four bytes"))
    }

    pub fn i16(bytes: &[u8], from: usize) -> i16 {
        i16::from_be_bytes(bytes[from..from + 2].try_into().expect("two bytes"))
    }
}
