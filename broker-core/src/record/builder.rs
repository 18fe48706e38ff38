use bytes::{BufMut, Bytes, BytesMut};

use super::checksum::crc32c;
use super::compression::{Codec, Compression};
use super::{CODEC_BITS, HEADER_BYTES, LENGTH_END, TRANSACTIONAL_BIT, at, header, varint};

/// The least and the most that is allocated at once: consecutive small batches share it. It doubles from the least on, so
/// that a builder that is seldom used holds little.
const CHUNK_BYTES_MIN: usize = 4 * 1024;
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Encodes records straight into a v2 batch. Reusable: after [`build`](Self::build) it starts the next batch behind the last
/// one in the same allocation, so that small batches cost none of their own.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: BytesMut,
    /// The size of the next chunk.
    chunk: usize,
    /// The last batch's size: the next one's is likely the same.
    last_size: usize,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    compression: Compression,
    producer: Option<(i64, i16, i32)>,
    transactional: bool,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            chunk: CHUNK_BYTES_MIN,
            last_size: 0,
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            compression: Compression::NONE,
            producer: None,
            transactional: false,
        }
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Batches are compressed when they are built; a batch that would not shrink stays as it is.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The next batch that is built is this producer's: its id, its epoch, and the sequence of the first record.
    pub fn producer(&mut self, id: i64, epoch: i16, sequence: i32) {
        self.producer = Some((id, epoch, sequence));
    }

    /// The next batch that is built is part of its producer's transaction.
    pub fn transactional(&mut self) {
        self.transactional = true;
    }

    /// Finds room for a batch whose header and first record take `first` bytes: in the chunk that the last one left, if a
    /// batch like the last one fits, else in a new one. A large batch gets one to itself, so that none is wasted at its end.
    fn start(&mut self, first: usize) {
        let room = first.max(self.last_size);
        if self.bytes.capacity() < room {
            let size = if room > self.chunk / 4 { first.max(self.last_size + self.last_size / 8) } else { self.chunk };
            self.bytes = BytesMut::with_capacity(size.max(self.chunk.min(CHUNK_BYTES_MAX / 4)));
            self.chunk = (2 * self.chunk).min(CHUNK_BYTES_MAX);
        }
        self.bytes.put_bytes(0, HEADER_BYTES);
    }

    /// Makes room for `more` bytes. `BytesMut` by itself would give a shared chunk's batch just what it needs, again and again.
    fn grow(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            let mut larger = BytesMut::with_capacity((2 * (self.bytes.len() + more)).max(self.chunk));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    /// How many records were appended.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch's size so far, header included; 0 while it is empty.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes a record may add at most.
    pub fn size_of(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> usize {
        let headers: usize = headers.iter().map(|(name, value)| 10 + name.len() + value.map_or(0, <[u8]>::len)).sum();
        32 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers
    }

    /// Appends a record and returns its place in the batch. `timestamp` is in milliseconds since 1970.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> u32 {
        if self.count == 0 {
            self.start(HEADER_BYTES + Self::size_of(key, value, headers));
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        let index = self.count;
        // Readers add it wrapping: no timestamp is too far from another.
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let body = 1
            + varint::size(timestamp_delta)
            + varint::size(i64::from(index))
            + field_size(key)
            + field_size(value)
            + varint::size(headers.len() as i64)
            + headers.iter().map(|(name, value)| field_size(Some(name.as_bytes())) + field_size(*value)).sum::<usize>();
        self.grow(body + 5);
        let out = &mut self.bytes;
        varint::put(out, body as i64);
        out.put_u8(0);
        varint::put(out, timestamp_delta);
        varint::put(out, i64::from(index));
        put_field(out, key);
        put_field(out, value);
        varint::put(out, headers.len() as i64);
        for (name, value) in headers {
            put_field(out, Some(name.as_bytes()));
            put_field(out, *value);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        index as u32
    }

    /// Finishes the batch: base offset 0, checksum set. The builder is empty again, and the next batch has no producer
    /// and belongs to no transaction.
    pub fn build(&mut self) -> BytesMut {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return self.bytes.split();
        }
        self.last_size = self.bytes.len();
        let mut batch = match compress(&self.bytes, self.compression) {
            Some(compressed) => {
                self.bytes.clear();
                compressed
            }
            None => self.bytes.split(),
        };
        let length = (batch.len() - LENGTH_END) as i32;
        batch[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        batch[at::LEADER_EPOCH..at::LEADER_EPOCH + 4].copy_from_slice(&(-1i32).to_be_bytes());
        batch[at::MAGIC] = 2;
        batch[at::LAST_OFFSET_DELTA..at::LAST_OFFSET_DELTA + 4].copy_from_slice(&(count - 1).to_be_bytes());
        batch[at::BASE_TIMESTAMP..at::BASE_TIMESTAMP + 8].copy_from_slice(&self.base_timestamp.to_be_bytes());
        batch[at::MAX_TIMESTAMP..at::MAX_TIMESTAMP + 8].copy_from_slice(&self.max_timestamp.to_be_bytes());
        let (id, epoch, sequence) = self.producer.take().unwrap_or((-1, -1, -1));
        batch[at::PRODUCER_ID..at::PRODUCER_ID + 8].copy_from_slice(&id.to_be_bytes());
        batch[at::PRODUCER_EPOCH..at::PRODUCER_EPOCH + 2].copy_from_slice(&epoch.to_be_bytes());
        batch[at::BASE_SEQUENCE..at::BASE_SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
        batch[at::COUNT..at::COUNT + 4].copy_from_slice(&count.to_be_bytes());
        if std::mem::take(&mut self.transactional) {
            batch[at::ATTRIBUTES + 1] |= TRANSACTIONAL_BIT as u8;
        }
        set_crc(&mut batch);
        batch
    }
}

/// A batch's header and compressed records, unless that is no smaller.
fn compress(batch: &[u8], compression: Compression) -> Option<BytesMut> {
    if compression.codec() == Codec::None {
        return None;
    }
    let mut out = Vec::with_capacity(HEADER_BYTES + batch.len() / 2);
    out.extend_from_slice(&batch[..HEADER_BYTES]);
    if !compression.compress(&batch[at::RECORDS..], &mut out) || out.len() >= batch.len() {
        return None;
    }
    out[at::ATTRIBUTES..at::ATTRIBUTES + 2].copy_from_slice(&compression.codec().id().to_be_bytes());
    Some(BytesMut::from(Bytes::from(out)))
}

/// An uncompressed batch's bytes compressed with another codec, or with none. Whatever it gives: the topic asks for it.
pub(crate) fn recompress(plain: &[u8], compression: Compression) -> BytesMut {
    let mut out = Vec::with_capacity(plain.len());
    out.extend_from_slice(&plain[..HEADER_BYTES]);
    let done = compression.compress(&plain[at::RECORDS..], &mut out);
    let mut batch = BytesMut::from(Bytes::from(if done { out } else { plain.to_vec() }));
    let codec = if done { compression.codec() } else { Codec::None };
    let attributes = header::i16(&batch, at::ATTRIBUTES) & !CODEC_BITS | codec.id();
    batch[at::ATTRIBUTES..at::ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    let length = (batch.len() - LENGTH_END) as i32;
    batch[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    set_crc(&mut batch);
    batch
}

/// Computes the checksum anew, after something behind it was changed.
pub(crate) fn set_crc(batch: &mut BytesMut) {
    let crc = crc32c(&batch[at::ATTRIBUTES..]);
    batch[at::CRC..at::CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

pub(super) fn field_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| varint::size(field.len() as i64) + field.len())
}

pub(super) fn put_field(out: &mut impl BufMut, field: Option<&[u8]>) {
    match field {
        Some(field) => {
            varint::put(out, field.len() as i64);
            out.put_slice(field);
        }
        None => varint::put(out, -1),
    }
}
