//! May a batch be appended, and what it is stamped with.

use bytes::BytesMut;

use super::PartitionConfig;
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::record::batch::{decompress, peek_size};
use crate::record::builder::{recompress, set_crc};
use crate::record::{CODEC_BITS, CONTROL_BIT, Codec, CodecError, LOG_APPEND_TIME_BIT, Records, TRANSACTIONAL_BIT, at, header};
use crate::topic_config::TopicConfig;

/// What the check found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub count: i32,
    /// Of its records, whatever the header says.
    pub max_timestamp: i64,
    /// The same; a record without one (-1) does not count.
    min_timestamp: i64,
}

/// Why a batch is refused.
#[derive(Debug)]
pub(super) struct Refusal(ErrorCode, String);

impl Refusal {
    pub fn new(code: ErrorCode, text: String) -> Self {
        Self(code, text)
    }

    pub fn on(self, partition: &TopicPartition) -> Error {
        Error::new(self.0, format!("{partition}: {}", self.1))
    }
}

fn refuse<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(code, text.into()))
}

/// Exactly one sound v2 batch within the topic's limits. Any bad record refuses the whole batch.
pub(super) fn check(batch: &mut BytesMut, config: &PartitionConfig, now: i64) -> Result<Checked, Refusal> {
    let size = match peek_size(batch) {
        Ok(size) => size,
        Err(error) => return refuse(ErrorCode::CorruptMessage, format!("not a record batch: {error}")),
    };
    if batch.len() < size {
        return refuse(ErrorCode::CorruptMessage, format!("the batch has {} of its {size} bytes", batch.len()));
    }
    if batch.len() > size {
        return refuse(ErrorCode::InvalidRecord, "more than one batch in one produce");
    }
    check_size(size, &config.topic)?;
    let (found, computed) = (header::i32(batch, at::CRC) as u32, crc32c::crc32c(&batch[at::ATTRIBUTES..]));
    if found != computed {
        return refuse(ErrorCode::CorruptMessage, format!("the batch's checksum is {found:08x}, its bytes give {computed:08x}"));
    }
    check_attributes(batch)?;
    let codec = Codec::of(header::i16(batch, at::ATTRIBUTES) & CODEC_BITS).map_err(refuse_codec)?;
    let plain = match codec {
        Codec::None => None,
        _ => Some(decompress(batch, config.decompressed_bytes_max).map_err(refuse_codec)?),
    };
    let records = plain.as_deref().unwrap_or(batch);
    let checked = check_records(records)?;
    check_time(checked, &config.topic, now)?;
    if let Some(compression) = config.compression.filter(|compression| compression.codec() != codec) {
        *batch = recompress(records, compression);
        check_size(batch.len(), &config.topic)?;
    }
    Ok(checked)
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

fn check_time(checked: Checked, topic: &TopicConfig, now: i64) -> Result<(), Refusal> {
    if topic.log_append_time {
        return Ok(());
    }
    let (first, last) = (checked.min_timestamp, checked.max_timestamp);
    let (before, after) = (topic.message_timestamp_before_max_ms, topic.message_timestamp_after_max_ms);
    if last.saturating_sub(now) > after {
        let text = format!("timestamp {last} is more than message.timestamp.after.max.ms ({after}) after now ({now})");
        return refuse(ErrorCode::InvalidTimestamp, text);
    }
    if now.saturating_sub(first) > before {
        let text = format!("timestamp {first} is more than message.timestamp.before.max.ms ({before}) before now ({now})");
        return refuse(ErrorCode::InvalidTimestamp, text);
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
    Refusal(code, error.to_string())
}

/// What a batch's header says, where it is known to be right: how many records, and the largest timestamp.
pub(super) fn told(batch: &[u8]) -> (i32, i64) {
    (header::i32(batch, at::COUNT), header::i64(batch, at::MAX_TIMESTAMP))
}

fn check_attributes(batch: &[u8]) -> Result<(), Refusal> {
    let attributes = header::i16(batch, at::ATTRIBUTES);
    if attributes & CONTROL_BIT != 0 {
        return refuse(ErrorCode::InvalidRecord, "clients may not write control batches");
    }
    if attributes & LOG_APPEND_TIME_BIT != 0 {
        return refuse(ErrorCode::InvalidTimestamp, "only the broker sets LogAppendTime");
    }
    if attributes & TRANSACTIONAL_BIT != 0 {
        return refuse(ErrorCode::InvalidRecord, "transactions are not built; send without a transactional id");
    }
    let (id, epoch) = (header::i64(batch, at::PRODUCER_ID), header::i16(batch, at::PRODUCER_EPOCH));
    let sequence = header::i32(batch, at::BASE_SEQUENCE);
    if id >= 0 && (epoch < 0 || sequence < 0) {
        return refuse(
            ErrorCode::InvalidRecord,
            format!("producer {id} has epoch {epoch} and sequence {sequence}: none below 0"),
        );
    }
    Ok(())
}

fn check_records(batch: &[u8]) -> Result<Checked, Refusal> {
    let (count, last_delta) = (header::i32(batch, at::COUNT), header::i32(batch, at::LAST_OFFSET_DELTA));
    if count <= 0 || i64::from(last_delta) + 1 != i64::from(count) {
        let text = format!("the batch holds {count} records, but its last offset delta is {last_delta}");
        return refuse(ErrorCode::InvalidRecord, text);
    }
    let base = header::i64(batch, at::BASE_OFFSET);
    let mut records = Records::over(batch);
    let mut index = 0;
    let (mut min_timestamp, mut max_timestamp) = (i64::MAX, i64::MIN);
    for record in &mut records {
        match record {
            Ok(record) if !record.headers_are_sound() => {
                return refuse(ErrorCode::InvalidRecord, format!("record {index} of the batch has damaged headers"));
            }
            Ok(record) if record.offset == base.wrapping_add(index) => {
                max_timestamp = max_timestamp.max(record.timestamp);
                if record.timestamp != -1 {
                    min_timestamp = min_timestamp.min(record.timestamp);
                }
                index += 1;
            }
            Ok(record) => {
                let delta = record.offset.wrapping_sub(base);
                return refuse(ErrorCode::InvalidRecord, format!("record {index} of the batch has offset delta {delta}"));
            }
            Err(error) => return refuse(ErrorCode::InvalidRecord, error.to_string()),
        }
    }
    if !records.is_exhausted() {
        return refuse(ErrorCode::InvalidRecord, format!("bytes are left over behind the batch's {count} records"));
    }
    Ok(Checked { count, max_timestamp, min_timestamp })
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
