//! May a batch's records be appended: each by itself, and each that may not is named.

use super::append::{Refusal, refuse};
use crate::error::{ErrorCode, RecordError};
use crate::record::{Passed, Records, at, header};
use crate::topic_config::TopicConfig;

/// How many records of a batch are named at most.
const NAMED_MAX: usize = 100;

/// What the check found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub count: i32,
    /// Of the records, whatever the header says.
    pub max_timestamp: i64,
    /// Whether their offsets follow one another.
    pub consecutive: bool,
}

/// The records of an uncompressed batch: as many as the header says, in all its bytes, and each one as the topic wants it.
pub(super) fn check_records(batch: &[u8], topic: &TopicConfig, now: i64) -> Result<Checked, Refusal> {
    let count = header::i32(batch, at::COUNT);
    let mut records = Records::over(batch);
    let mut checked = Checked { count, max_timestamp: i64::MIN, consecutive: true };
    let mut bad = Bad::default();
    let mut index = 0;
    loop {
        let record = match records.pass_plain() {
            Some(passed) => passed,
            None => match records.next() {
                None => break,
                Some(Ok(record)) if record.headers_are_sound() => Passed::over(&record),
                Some(Ok(_)) => {
                    return refuse(ErrorCode::InvalidRecord, format!("record {index} of the batch has damaged headers"));
                }
                Some(Err(error)) => return refuse(ErrorCode::InvalidRecord, error.to_string()),
            },
        };
        checked.max_timestamp = checked.max_timestamp.max(record.timestamp);
        checked.consecutive &= record.offset == i64::from(index);
        if let Some((code, message)) = check_record(record, topic, now) {
            bad.add(code, RecordError { batch_index: index, message });
        }
        index += 1;
    }
    if !records.is_exhausted() {
        return refuse(ErrorCode::InvalidRecord, format!("bytes are left over behind the batch's {count} records"));
    }
    bad.refuse(count)?;
    Ok(checked)
}

#[inline]
fn check_record(record: Passed, topic: &TopicConfig, now: i64) -> Option<(ErrorCode, String)> {
    if topic.cleanup_policy.compact && !record.has_key {
        return Some((ErrorCode::InvalidRecord, "a record of a compacted topic needs a key".to_owned()));
    }
    let timestamp = record.timestamp;
    if topic.log_append_time || timestamp == -1 {
        return None;
    }
    let (before, after) = (topic.message_timestamp_before_max_ms, topic.message_timestamp_after_max_ms);
    let (setting, limit, side) = if timestamp.saturating_sub(now) > after {
        ("after", after, "after")
    } else if now.saturating_sub(timestamp) > before {
        ("before", before, "before")
    } else {
        return None;
    };
    let text = format!("timestamp {timestamp} is more than message.timestamp.{setting}.max.ms ({limit}) {side} now ({now})");
    Some((ErrorCode::InvalidTimestamp, text))
}

/// The records that may not be appended.
#[derive(Debug, Default)]
struct Bad {
    named: Vec<RecordError>,
    count: i32,
    /// Whether a timestamp is among the reasons: its code wins, as in Kafka.
    timestamp: bool,
}

impl Bad {
    fn add(&mut self, code: ErrorCode, error: RecordError) {
        self.count += 1;
        self.timestamp |= code == ErrorCode::InvalidTimestamp;
        if self.named.len() < NAMED_MAX {
            self.named.push(error);
        }
    }

    fn refuse(self, count: i32) -> Result<(), Refusal> {
        let Some(first) = self.named.first() else { return Ok(()) };
        let code = if self.timestamp { ErrorCode::InvalidTimestamp } else { ErrorCode::InvalidRecord };
        let text = format!(
            "{} of the batch's {count} records may not be appended; record {}: {}",
            self.count, first.batch_index, first.message
        );
        Err(Refusal::of_records(code, text, self.named))
    }
}
