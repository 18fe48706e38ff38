//! What is left of one batch.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

use super::aborts::{Aborts, Begun};
use super::keys::Keys;
use crate::record::builder::set_crc;
use crate::record::{
    Batch, BatchError, CODEC_BITS, CodecError, Compression, DELETE_HORIZON_BIT, HEADER_BYTES, LENGTH_END, Marker, RecordView, at,
    put_record,
};

/// What decides about a record.
pub(super) struct Rule<'a> {
    pub keys: &'a Keys,
    pub aborts: &'a Aborts,
    /// Where the keys end: what is behind is left as it is, since an older record of its key may be too.
    pub to: i64,
    /// Milliseconds since 1970.
    pub now: i64,
    /// How long a tombstone stays once it has been compacted, and a marker when nothing is left of its transaction.
    pub delete_retention_ms: i64,
    /// The most that a batch is unpacked to.
    pub unpacked_bytes_max: usize,
    /// Whether one before was left as it is, since it unpacks to more: the tombstones behind it stay. What one of them deletes may
    /// be in there, and would be there again without it.
    pub left_one: Cell<bool>,
}

/// A batch with its records uncompressed; `None` if they take more than `most` bytes. It was taken under another bound, or by
/// another broker, and stays as it is: its keys do not count against older records.
pub(super) fn unpacked(batch: &Batch, most: usize) -> Result<Option<Batch>, BatchError> {
    match batch.decompressed(most) {
        Ok(plain) => Ok(Some(plain)),
        Err(BatchError::Codec(CodecError::TooLarge { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is left.
#[derive(Debug)]
pub(super) enum Left {
    /// The batch as it is.
    Same,
    /// Some records, or new bytes for all of them.
    Some(Bytes),
    Nothing,
}

impl Rule<'_> {
    /// Judges a batch. Offsets, sequences and the batch's last offset never change.
    pub fn apply(&self, batch: &Batch, begun: &mut Begun) -> Result<Left, BatchError> {
        if batch.is_control() {
            let has_batches = begun.end(batch);
            return if has_batches { Ok(Left::Same) } else { self.apply_to_marker(batch) };
        }
        begun.note(batch);
        if batch.last_offset() < self.to && self.aborts.hold(batch) {
            return Ok(if batch.count() == 0 { Left::Same } else { Left::Nothing });
        }
        let Some(plain) = unpacked(batch, self.unpacked_bytes_max)? else {
            self.left_one.set(true);
            return Ok(Left::Same);
        };
        let horizon = batch.delete_horizon();
        let (mut kept, mut tombstones) = (0, false);
        for record in plain.records() {
            let record = record?;
            if self.keeps(&record, horizon) {
                tombstones |= record.value().is_none() && record.offset < self.to;
                kept += 1;
            }
        }
        let stamp = (tombstones && horizon.is_none()).then(|| self.now.saturating_add(self.delete_retention_ms));
        if kept == 0 {
            return Ok(if batch.count() == 0 { Left::Same } else { Left::Nothing });
        }
        if kept == batch.count() && stamp.is_none() {
            return Ok(Left::Same);
        }
        // Gone through again: views of all records of a batch would take many times its memory.
        let kept = plain.records().filter(|record| record.as_ref().is_ok_and(|record| self.keeps(record, horizon)));
        rebuild(batch, kept, stamp.or(horizon)).map(Left::Some)
    }

    /// One of whose transaction nothing is left.
    fn apply_to_marker(&self, batch: &Batch) -> Result<Left, BatchError> {
        if batch.last_offset() >= self.to || Marker::of(batch.bytes()).is_none() {
            return Ok(Left::Same);
        }
        match batch.delete_horizon() {
            Some(horizon) if self.now >= horizon => Ok(Left::Nothing),
            Some(_) => Ok(Left::Same),
            None => {
                let horizon = self.now.saturating_add(self.delete_retention_ms);
                rebuild(batch, batch.records(), Some(horizon)).map(Left::Some)
            }
        }
    }

    fn keeps(&self, record: &RecordView<'_>, horizon: Option<i64>) -> bool {
        if record.offset >= self.to {
            return true;
        }
        let Some(key) = record.key() else { return false };
        let outlived = !self.left_one.get() && record.value().is_none() && horizon.is_some_and(|horizon| self.now >= horizon);
        self.keys.is_last(key, record.offset) && !outlived
    }
}

/// The batch with these of its records only. With a horizon, it takes the base timestamp's place, and the records' timestamps
/// are told from it.
fn rebuild<'b>(
    batch: &Batch,
    kept: impl Iterator<Item = Result<RecordView<'b>, BatchError>>,
    horizon: Option<i64>,
) -> Result<Bytes, BatchError> {
    let base_timestamp = horizon.unwrap_or_else(|| batch.base_timestamp());
    let mut records = BytesMut::with_capacity(batch.size());
    let (mut count, mut newest) = (0, None);
    for record in kept {
        let record = record?;
        put_record(&mut records, &record, record.timestamp.wrapping_sub(base_timestamp), record.offset - batch.base_offset());
        (count, newest) = (count + 1, newest.max(Some(record.timestamp)));
    }
    let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
    out.extend_from_slice(&batch.bytes()[..HEADER_BYTES]);
    let compression = batch.codec().and_then(Compression::new).unwrap_or_default();
    let mut attributes = batch.attributes();
    if !compression.compress(&records, &mut out) {
        out.truncate(HEADER_BYTES);
        out.extend_from_slice(&records);
        attributes &= !CODEC_BITS;
    }
    if horizon.is_some() {
        attributes |= DELETE_HORIZON_BIT;
    }
    Ok(finish(BytesMut::from(Bytes::from(out)), attributes, base_timestamp, newest.unwrap_or(-1), count))
}

/// The batch's header alone: it says that its offsets and sequences were there.
pub(super) fn emptied(batch: &Batch) -> Bytes {
    let header = BytesMut::from(&batch.bytes()[..HEADER_BYTES]);
    let attributes = batch.attributes() & !CODEC_BITS & !DELETE_HORIZON_BIT;
    finish(header, attributes, -1, batch.max_timestamp(), 0)
}

fn finish(mut batch: BytesMut, attributes: i16, base_timestamp: i64, max_timestamp: i64, count: i32) -> Bytes {
    let length = (batch.len() - LENGTH_END) as i32;
    batch[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    batch[at::ATTRIBUTES..at::ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[at::BASE_TIMESTAMP..at::BASE_TIMESTAMP + 8].copy_from_slice(&base_timestamp.to_be_bytes());
    batch[at::MAX_TIMESTAMP..at::MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    batch[at::COUNT..at::COUNT + 4].copy_from_slice(&count.to_be_bytes());
    set_crc(&mut batch);
    batch.freeze()
}
