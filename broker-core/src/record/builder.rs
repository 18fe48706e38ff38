use bytes::{BufMut, BytesMut};

use super::{HEADER_BYTES, LENGTH_END, at, varint};

/// How much is allocated at once: consecutive small batches share it.
const CHUNK_BYTES: usize = 64 * 1024;

/// Encodes records straight into a v2 batch. Reusable: after [`build`](Self::build) it starts the next batch behind the last
/// one in the same allocation, so that small batches cost none of their own.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: BytesMut,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
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
            if self.bytes.capacity() < HEADER_BYTES + Self::size_of(key, value, headers) {
                self.bytes.reserve(CHUNK_BYTES);
            }
            self.bytes.put_bytes(0, HEADER_BYTES);
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
        let out = &mut self.bytes;
        out.reserve(body + 5);
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

    /// Finishes the batch: base offset 0, no producer, checksum set. The builder is empty again.
    pub fn build(&mut self) -> BytesMut {
        let mut batch = self.bytes.split();
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return batch;
        }
        let length = (batch.len() - LENGTH_END) as i32;
        batch[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        batch[at::LEADER_EPOCH..at::LEADER_EPOCH + 4].copy_from_slice(&(-1i32).to_be_bytes());
        batch[at::MAGIC] = 2;
        batch[at::LAST_OFFSET_DELTA..at::LAST_OFFSET_DELTA + 4].copy_from_slice(&(count - 1).to_be_bytes());
        batch[at::BASE_TIMESTAMP..at::BASE_TIMESTAMP + 8].copy_from_slice(&self.base_timestamp.to_be_bytes());
        batch[at::MAX_TIMESTAMP..at::MAX_TIMESTAMP + 8].copy_from_slice(&self.max_timestamp.to_be_bytes());
        batch[at::PRODUCER_ID..at::PRODUCER_ID + 8].copy_from_slice(&(-1i64).to_be_bytes());
        batch[at::PRODUCER_EPOCH..at::PRODUCER_EPOCH + 2].copy_from_slice(&(-1i16).to_be_bytes());
        batch[at::BASE_SEQUENCE..at::BASE_SEQUENCE + 4].copy_from_slice(&(-1i32).to_be_bytes());
        batch[at::COUNT..at::COUNT + 4].copy_from_slice(&count.to_be_bytes());
        set_crc(&mut batch);
        batch
    }
}

/// Computes the checksum anew, after something behind it was changed.
pub(crate) fn set_crc(batch: &mut BytesMut) {
    let crc = crc32c::crc32c(&batch[at::ATTRIBUTES..]);
    batch[at::CRC..at::CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

fn field_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| varint::size(field.len() as i64) + field.len())
}

fn put_field(out: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        Some(field) => {
            varint::put(out, field.len() as i64);
            out.put_slice(field);
        }
        None => varint::put(out, -1),
    }
}
