//! May a batch's records be appended: each by itself, and each that may not is named.

use super::append::{Refusal, refuse};
use crate::error::{ErrorCode, RecordError};
use crate::record::{PlainRun, RecordView, Records, at, header};
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
    let mut run = records.pass_plain();
    if !are_fine(run, topic, now) {
        // Once more, to name those that are not.
        records = Records::over(batch);
        run = PlainRun::default();
    }
    let mut checked = Checked { count, max_timestamp: run.latest, consecutive: run.consecutive };
    let (mut bad, mut index) = (Bad::default(), run.count);
    for record in records.by_ref() {
        let record = match record {
            Ok(record) if record.headers_are_sound() => record,
            Ok(_) => return refuse(ErrorCode::InvalidRecord, format!("record {index} of the batch has damaged headers")),
            Err(error) => return refuse(ErrorCode::InvalidRecord, error.to_string()),
        };
        checked.max_timestamp = checked.max_timestamp.max(record.timestamp);
        checked.consecutive &= record.offset == i64::from(index);
        if let Some((code, message)) = check_record(&record, topic, now) {
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

/// Whether none of these records need be named.
fn are_fine(run: PlainRun, topic: &TopicConfig, now: i64) -> bool {
    let in_time = || run.earliest != -1 && [run.earliest, run.latest].into_iter().all(|at| outside(at, topic, now).is_none());
    (run.keyed || !topic.cleanup_policy.compact) && (topic.log_append_time || run.count == 0 || in_time())
}

fn check_record(record: &RecordView<'_>, topic: &TopicConfig, now: i64) -> Option<(ErrorCode, String)> {
    if topic.cleanup_policy.compact && record.key_range().is_none() {
        return Some((ErrorCode::InvalidRecord, "a record of a compacted topic needs a key".to_owned()));
    }
    let timestamp = record.timestamp;
    if topic.log_append_time || timestamp == -1 {
        return None;
    }
    let (side, limit) = outside(timestamp, topic, now)?;
    let text = format!("timestamp {timestamp} is more than message.timestamp.{side}.max.ms ({limit}) {side} now ({now})");
    Some((ErrorCode::InvalidTimestamp, text))
}

/// On which side of now a timestamp is too far away, and how far it may be.
fn outside(timestamp: i64, topic: &TopicConfig, now: i64) -> Option<(&'static str, i64)> {
    let (before, after) = (topic.message_timestamp_before_max_ms, topic.message_timestamp_after_max_ms);
    if timestamp.saturating_sub(now) > after {
        Some(("after", after))
    } else if now.saturating_sub(timestamp) > before {
        Some(("before", before))
    } else {
        None
    }
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
