//! May a batch be appended, and what it is stamped with.

use bytes::BytesMut;

use super::PartitionConfig;
use super::append_records::{Checked, check_records};
use crate::error::{Error, ErrorCode, RecordError};
use crate::id::TopicPartition;
use crate::record::batch::{decompress, peek_size};
use crate::record::builder::{recompress, set_crc};
use crate::record::checksum::crc32c;
use crate::record::{
    BatchError, CODEC_BITS, CONTROL_BIT, Codec, CodecError, Compression, LOG_APPEND_TIME_BIT, TRANSACTIONAL_BIT, at, header,
    renumbered,
};
use crate::topic_config::TopicConfig;

/// Why a batch is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    code: ErrorCode,
    text: String,
    records: Vec<RecordError>,
}

impl Refusal {
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), records: Vec::new() }
    }

    pub fn of_records(code: ErrorCode, text: impl Into<String>, records: Vec<RecordError>) -> Self {
        Self { code, text: text.into(), records }
    }

    pub fn on(self, partition: &TopicPartition) -> Error {
        Error::new(self.code, format!("{partition}: {}", self.text)).with_records(self.records)
    }
}

pub(super) fn refuse<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, text))
}

/// Exactly one sound v2 batch within the topic's limits, made to what the topic wants. Any bad record refuses the whole batch.
pub(super) fn check(batch: &mut BytesMut, config: &PartitionConfig, now: i64) -> Result<Checked, Refusal> {
    check_frame(batch)?;
    check_size(batch.len(), &config.topic)?;
    let codec = header::i16(batch, at::ATTRIBUTES) & CODEC_BITS;
    // Before the checksum, whose answer goes first all the same: what looks at the records has the time to fetch the bytes from
    // memory, the checksum would wait for them.
    let looked_at = (codec == Codec::None.id()).then(|| check_records(batch, &config.topic, now));
    check_crc(batch)?;
    check_header(batch)?;
    let codec = Codec::of(codec).map_err(refuse_codec)?;
    let (mut plain, checked) = match looked_at {
        Some(checked) => (None, checked?),
        None => {
            let plain = decompress(batch, config.decompressed_bytes_max).map_err(refuse_codec)?;
            let checked = check_records(&plain, &config.topic, now)?;
            (Some(plain), checked)
        }
    };
    let wanted = config.compression.filter(|compression| compression.codec() != codec);
    if !checked.consecutive {
        plain = Some(renumbered(plain.as_deref().unwrap_or(batch)));
    }
    if !checked.consecutive || wanted.is_some() {
        let compression = wanted.map_or_else(|| Compression::new(codec), Ok).map_err(refuse_codec)?;
        *batch = recompress(plain.as_deref().unwrap_or(batch), compression);
        check_size(batch.len(), &config.topic)?;
    }
    Ok(checked)
}

fn check_crc(batch: &[u8]) -> Result<(), Refusal> {
    let (found, computed) = (header::i32(batch, at::CRC) as u32, crc32c(&batch[at::ATTRIBUTES..]));
    if found != computed {
        return refuse(ErrorCode::CorruptMessage, format!("the batch's checksum is {found:08x}, its bytes give {computed:08x}"));
    }
    Ok(())
}

/// One whole batch; a part of another one behind it is cut off.
fn check_frame(batch: &mut BytesMut) -> Result<(), Refusal> {
    let size = match peek_size(batch) {
        Ok(size) => size,
        Err(BatchError::Magic(old @ 0..=1)) => {
            let text = format!("the batch's format is v{old}: only v2 is taken");
            return refuse(ErrorCode::UnsupportedForMessageFormat, text);
        }
        Err(error) => return refuse(ErrorCode::CorruptMessage, format!("not a record batch: {error}")),
    };
    if batch.len() < size {
        return refuse(ErrorCode::CorruptMessage, format!("the batch has {} of its {size} bytes", batch.len()));
    }
    if peek_size(&batch[size..]).is_ok_and(|second| batch.len() - size >= second) {
        return refuse(ErrorCode::InvalidRecord, "more than one batch in one produce");
    }
    batch.truncate(size);
    Ok(())
}

fn check_size(size: usize, topic: &TopicConfig) -> Result<(), Refusal> {
    for (limit, name, code) in [
        (topic.max_message_bytes, "max.message.bytes", ErrorCode::MessageTooLarge),
        (topic.segment_bytes, "segment.bytes", ErrorCode::RecordListTooLarge),
    ] {
        if size as i64 > limit {
            return refuse(code, format!("a batch of {size} bytes is over {name} ({limit})"));
        }
    }
    Ok(())
}

/// A client whose batch is too large sends it again in parts.
fn refuse_codec(error: CodecError) -> Refusal {
    let code = match error {
        CodecError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        CodecError::Damaged(_) => ErrorCode::InvalidRecord,
        _ => ErrorCode::UnsupportedCompressionType,
    };
    Refusal::new(code, error.to_string())
}

/// What a batch's header says, where it is known to be right: how many records, and the largest timestamp.
pub(super) fn told(batch: &[u8]) -> (i32, i64) {
    (header::i32(batch, at::COUNT), header::i64(batch, at::MAX_TIMESTAMP))
}

fn check_header(batch: &[u8]) -> Result<(), Refusal> {
    let base_offset = header::i64(batch, at::BASE_OFFSET);
    if base_offset != 0 {
        return refuse(ErrorCode::InvalidRecord, format!("the batch's base offset is {base_offset}: a producer sends 0"));
    }
    let (count, last_delta) = (header::i32(batch, at::COUNT), header::i32(batch, at::LAST_OFFSET_DELTA));
    if count <= 0 || i64::from(last_delta) + 1 != i64::from(count) {
        let text = format!("the batch holds {count} records, but its last offset delta is {last_delta}");
        return refuse(ErrorCode::InvalidRecord, text);
    }
    let attributes = header::i16(batch, at::ATTRIBUTES);
    if attributes & CONTROL_BIT != 0 {
        return refuse(ErrorCode::InvalidRecord, "clients may not write control batches");
    }
    if attributes & LOG_APPEND_TIME_BIT != 0 {
        return refuse(ErrorCode::InvalidTimestamp, "only the broker sets LogAppendTime");
    }
    let (id, epoch) = (header::i64(batch, at::PRODUCER_ID), header::i16(batch, at::PRODUCER_EPOCH));
    let sequence = header::i32(batch, at::BASE_SEQUENCE);
    if id < 0 && attributes & TRANSACTIONAL_BIT != 0 {
        return refuse(ErrorCode::InvalidRecord, "a transactional batch has no producer: only a producer has transactions");
    }
    if id >= 0 && (epoch < 0 || sequence < 0) {
        return refuse(
            ErrorCode::InvalidRecord,
            format!("producer {id} has epoch {epoch} and sequence {sequence}: none below 0"),
        );
    }
    Ok(())
}

/// Writes the broker's time where the topic wants it, and the largest timestamp if the producer's is wrong: both inside the
/// checksum.
pub(super) fn stamp_time(batch: &mut BytesMut, max_timestamp: i64, append_time: bool) {
    if !append_time && header::i64(batch, at::MAX_TIMESTAMP) == max_timestamp {
        return;
    }
    if append_time {
        let attributes = header::i16(batch, at::ATTRIBUTES) | LOG_APPEND_TIME_BIT;
        batch[at::ATTRIBUTES..at::ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    }
    batch[at::MAX_TIMESTAMP..at::MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    set_crc(batch);
}

/// Writes the offset and the leader's epoch: outside the checksum.
pub(super) fn stamp_offset(batch: &mut BytesMut, base_offset: i64) {
    batch[at::BASE_OFFSET..at::BASE_OFFSET + 8].copy_from_slice(&base_offset.to_be_bytes());
    batch[at::LEADER_EPOCH..at::LEADER_EPOCH + 4].copy_from_slice(&0i32.to_be_bytes());
}
