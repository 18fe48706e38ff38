use bytes::BufMut;

use super::builder::{field_size, put_field};
use super::{HEADER_BYTES, LENGTH_END, RecordView, Records, at, header, varint};

/// An uncompressed batch's bytes with its records, which are known to be sound, at one offset behind the other from the first on.
/// Its checksum is not computed.
pub(crate) fn renumbered(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len());
    out.extend_from_slice(&plain[..HEADER_BYTES]);
    let base_timestamp = header::i64(plain, at::BASE_TIMESTAMP);
    for (index, record) in (0i64..).zip(Records::over(plain).flatten()) {
        put_record(&mut out, &record, record.timestamp.wrapping_sub(base_timestamp), index);
    }
    let length = (out.len() - LENGTH_END) as i32;
    out[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Writes a record as it is, but for its place in its batch.
pub(crate) fn put_record(out: &mut impl BufMut, record: &RecordView<'_>, timestamp_delta: i64, offset_delta: i64) {
    let headers = record.header_bytes();
    let body = 1
        + varint::size(timestamp_delta)
        + varint::size(offset_delta)
        + field_size(record.key())
        + field_size(record.value())
        + headers.len();
    varint::put(out, body as i64);
    out.put_u8(0);
    varint::put(out, timestamp_delta);
    varint::put(out, offset_delta);
    put_field(out, record.key());
    put_field(out, record.value());
    out.put_slice(headers);
}
