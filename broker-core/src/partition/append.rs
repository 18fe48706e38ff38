//! May a batch be appended, and what it is stamped with.

use bytes::BytesMut;

use super::PartitionConfig;
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::record::batch::{decompress, peek_size};
use crate::record::builder::set_crc;
use crate::record::{CODEC_BITS, CONTROL_BIT, CodecError, LOG_APPEND_TIME_BIT, Records, TRANSACTIONAL_BIT, at, header};

/// What the check found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub count: i32,
    /// Of its records, whatever the header says.
    pub max_timestamp: i64,
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
pub(super) fn check(batch: &[u8], config: &PartitionConfig, now: i64) -> Result<Checked, Refusal> {
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
    if size > config.max_message_bytes {
        let limit = config.max_message_bytes;
        return refuse(ErrorCode::MessageTooLarge, format!("a batch of {size} bytes is over max.message.bytes ({limit})"));
    }
    if size as u64 > config.log.segment_bytes {
        let limit = config.log.segment_bytes;
        return refuse(ErrorCode::RecordListTooLarge, format!("a batch of {size} bytes is over segment.bytes ({limit})"));
    }
    let (found, computed) = (header::i32(batch, at::CRC) as u32, crc32c::crc32c(&batch[at::ATTRIBUTES..]));
    if found != computed {
        return refuse(ErrorCode::CorruptMessage, format!("the batch's checksum is {found:08x}, its bytes give {computed:08x}"));
    }
    check_attributes(batch)?;
    let Checked { count, max_timestamp } = match header::i16(batch, at::ATTRIBUTES) & CODEC_BITS {
        0 => check_records(batch)?,
        _ => check_records(&decompress(batch, config.decompressed_bytes_max).map_err(refuse_codec)?)?,
    };
    if !config.log_append_time && max_timestamp.saturating_sub(now) > config.timestamp_after_max_ms {
        let limit = config.timestamp_after_max_ms;
        let text = format!("timestamp {max_timestamp} is more than message.timestamp.after.max.ms ({limit}) after now ({now})");
        return refuse(ErrorCode::InvalidTimestamp, text);
    }
    Ok(Checked { count, max_timestamp })
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
    let mut max_timestamp = i64::MIN;
    for record in &mut records {
        match record {
            Ok(record) if !record.headers_are_sound() => {
                return refuse(ErrorCode::InvalidRecord, format!("record {index} of the batch has damaged headers"));
            }
            Ok(record) if record.offset == base.wrapping_add(index) => {
                max_timestamp = max_timestamp.max(record.timestamp);
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
    Ok(Checked { count, max_timestamp })
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
