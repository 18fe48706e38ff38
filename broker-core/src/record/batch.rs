use bytes::Bytes;

use super::checksum::crc32c;
use super::compression::{Codec, CodecError};
use super::iter::Records;
use super::{
    CODEC_BITS, CONTROL_BIT, DELETE_HORIZON_BIT, HEADER_BYTES, LENGTH_END, LOG_APPEND_TIME_BIT, TRANSACTIONAL_BIT, at, header,
};

/// What a batch's length can count.
const DECOMPRESSED_BYTES_MAX: usize = i32::MAX as usize - HEADER_BYTES;

/// One v2 batch: a view of its bytes. Reading it copies and allocates nothing.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Bytes,
}

/// Why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header or the length says.
    #[error("incomplete: {have} bytes of {need}")]
    Incomplete {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The length is below the smallest batch's.
    #[error("its length {0} is below that of an empty batch (49)")]
    Length(i32),
    /// Another format than v2.
    #[error("its format (magic) is {0}, not 2")]
    Magic(u8),
    /// The checksum does not fit the bytes.
    #[error("its checksum is {found:08x}, its bytes give {computed:08x}")]
    Crc {
        /// In the header.
        found: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A record's bytes are damaged, or their number is not the header's.
    #[error("record {0} of the batch is damaged")]
    Record(i32),
    /// The records are one compressed block: [`Batch::decompressed`] reads it.
    #[error("its records are compressed (codec {0}) and must be decompressed first")]
    Compressed(i16),
    /// The compressed block cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A log's batches follow one another without a gap, and this one does not.
    #[error("its first offset is {found}, the log goes on at {expected}")]
    Offset {
        /// In the header, which the checksum does not cover here.
        found: i64,
        /// Behind the batch before it.
        expected: i64,
    },
    /// Another number of records than its offsets leave room for.
    #[error("its header tells of {count} records, its last offset is {last_delta} behind its first")]
    Count {
        /// How many records it says it holds.
        count: i32,
        /// The last offset's distance from the first.
        last_delta: i32,
    },
}

impl Batch {
    /// The batch at the front of `bytes`, its header checked; its records are not looked at.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let size = peek_size(bytes)?;
        if bytes.len() < size {
            return Err(BatchError::Incomplete { have: bytes.len(), need: size });
        }
        Ok(Self { bytes: bytes.slice(..size) })
    }

    fn i64(&self, from: usize) -> i64 {
        header::i64(&self.bytes, from)
    }

    fn i32(&self, from: usize) -> i32 {
        header::i32(&self.bytes, from)
    }

    fn i16(&self, from: usize) -> i16 {
        header::i16(&self.bytes, from)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its size in bytes, header included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The first record's offset.
    pub fn base_offset(&self) -> i64 {
        self.i64(at::BASE_OFFSET)
    }

    /// The last offset, kept even when its record is gone.
    pub fn last_offset(&self) -> i64 {
        self.base_offset().saturating_add(i64::from(self.last_offset_delta()))
    }

    /// The last offset's distance from the first.
    pub fn last_offset_delta(&self) -> i32 {
        self.i32(at::LAST_OFFSET_DELTA)
    }

    /// The epoch of the leader that appended it.
    pub fn leader_epoch(&self) -> i32 {
        self.i32(at::LEADER_EPOCH)
    }

    /// The attribute bits.
    pub fn attributes(&self) -> i16 {
        self.i16(at::ATTRIBUTES)
    }

    /// How its records are compressed.
    pub fn codec(&self) -> Result<Codec, CodecError> {
        Codec::of(self.attributes() & CODEC_BITS)
    }

    /// Whether the broker's clock stamped it.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME_BIT != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    /// Whether it holds control records, which no consumer is shown.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    /// Until when its tombstones stay, in milliseconds since 1970, if compaction has said so.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes() & DELETE_HORIZON_BIT != 0).then(|| self.base_timestamp())
    }

    /// What its records' timestamps are told from, in milliseconds since 1970: the first record's, or the delete horizon.
    pub fn base_timestamp(&self) -> i64 {
        self.i64(at::BASE_TIMESTAMP)
    }

    /// The largest timestamp of its records.
    pub fn max_timestamp(&self) -> i64 {
        self.i64(at::MAX_TIMESTAMP)
    }

    /// The idempotent producer's id; -1 for none.
    pub fn producer_id(&self) -> i64 {
        self.i64(at::PRODUCER_ID)
    }

    /// The producer's epoch; -1 for none.
    pub fn producer_epoch(&self) -> i16 {
        self.i16(at::PRODUCER_EPOCH)
    }

    /// The first record's sequence number; -1 for none.
    pub fn base_sequence(&self) -> i32 {
        self.i32(at::BASE_SEQUENCE)
    }

    /// How many records it says it holds.
    pub fn count(&self) -> i32 {
        self.i32(at::COUNT)
    }

    /// The checksum in the header.
    pub fn crc(&self) -> u32 {
        self.i32(at::CRC) as u32
    }

    /// Whether the checksum fits the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (found, computed) = (self.crc(), crc32c(&self.bytes[at::ATTRIBUTES..]));
        if found == computed { Ok(()) } else { Err(BatchError::Crc { found, computed }) }
    }

    /// Its records, read as they are asked for. A compressed batch gives one [`BatchError::Compressed`].
    pub fn records(&self) -> Records<'_> {
        Records::new(self)
    }

    /// The same batch with its records uncompressed: itself, copying nothing, if it is. An error if they take more than `limit`
    /// bytes. Its checksum is the compressed one's, so verify that first.
    pub fn decompressed(&self, limit: usize) -> Result<Self, BatchError> {
        if self.attributes() & CODEC_BITS == 0 {
            return Ok(self.clone());
        }
        Ok(Self { bytes: Bytes::from(decompress(&self.bytes, limit)?) })
    }
}

/// One whole compressed batch's bytes, uncompressed; the checksum stays the compressed one's.
pub(crate) fn decompress(batch: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let attributes = header::i16(batch, at::ATTRIBUTES);
    let codec = Codec::of(attributes & CODEC_BITS)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + 2 * batch.len());
    out.extend_from_slice(&batch[..HEADER_BYTES]);
    codec.decompress(&batch[at::RECORDS..], limit.min(DECOMPRESSED_BYTES_MAX), &mut out)?;
    out[at::ATTRIBUTES..at::ATTRIBUTES + 2].copy_from_slice(&(attributes & !CODEC_BITS).to_be_bytes());
    let length = (out.len() - LENGTH_END) as i32;
    out[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    Ok(out)
}

/// The size of the batch at the front, from its first bytes.
pub(crate) fn peek_size(bytes: &[u8]) -> Result<usize, BatchError> {
    if bytes.len() < HEADER_BYTES {
        return Err(BatchError::Incomplete { have: bytes.len(), need: HEADER_BYTES });
    }
    let length = i32::from_be_bytes(bytes[at::LENGTH..LENGTH_END].try_into().expect("four bytes"));
    if length < (HEADER_BYTES - LENGTH_END) as i32 {
        return Err(BatchError::Length(length));
    }
    match bytes[at::MAGIC] {
        2 => Ok(LENGTH_END + length as usize),
        other => Err(BatchError::Magic(other)),
    }
}

/// The batches of a run of bytes, one behind the other. Ends behind the first error.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

/// Walks a run of whole batches.
pub fn batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone() }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(&self.rest);
        self.rest = match &batch {
            Ok(batch) => self.rest.slice(batch.size()..),
            Err(_) => Bytes::new(),
        };
        Some(batch)
    }
}
