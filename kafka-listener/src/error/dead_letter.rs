use std::fmt;
use std::sync::Arc;

use super::{BoxError, Failure, RecoverContext, Recoverer, chain_text};
use crate::client::{BoxFuture, RawProducerRecord, TimestampType, TopicPartition};

/// The longest stack trace header, in bytes: a chain of errors must not grow a record without bound.
const STACKTRACE_BYTES: usize = 16 * 1024;

/// Spring's header names.
mod names {
    pub const EXCEPTION: &str = "kafka_dlt-exception-fqcn";
    pub const CAUSE: &str = "kafka_dlt-exception-cause-fqcn";
    pub const MESSAGE: &str = "kafka_dlt-exception-message";
    pub const STACKTRACE: &str = "kafka_dlt-exception-stacktrace";
    pub const TOPIC: &str = "kafka_dlt-original-topic";
    pub const PARTITION: &str = "kafka_dlt-original-partition";
    pub const OFFSET: &str = "kafka_dlt-original-offset";
    pub const TIMESTAMP: &str = "kafka_dlt-original-timestamp";
    pub const TIMESTAMP_TYPE: &str = "kafka_dlt-original-timestamp-type";
    pub const GROUP: &str = "kafka_dlt-original-consumer-group";
    pub const EXCEPTIONS: [&str; 4] = [EXCEPTION, CAUSE, MESSAGE, STACKTRACE];
    pub const ORIGINALS: [&str; 6] = [TOPIC, PARTITION, OFFSET, TIMESTAMP, TIMESTAMP_TYPE, GROUP];
}

type Destination = Arc<dyn Fn(&Failure<'_>) -> Option<(String, Option<i32>)> + Send + Sync>;

/// Publishes a record that is given up to a dead letter topic: key, value and headers as they were, and Spring's headers that
/// say where it came from and why. The record is done when the broker has acknowledged the dead letter.
///
/// Encodings are Spring's: partition 4 bytes, offset and timestamp 8 bytes, big-endian; the rest is text. Rust knows no class
/// names of errors behind a trait object: the `fqcn` headers hold the name that the error's `Debug` text starts with.
#[derive(Clone)]
pub struct DeadLetters {
    destination: Destination,
    append_original: bool,
}

impl DeadLetters {
    /// To `<topic><suffix>`, same partition; if that topic has fewer partitions, its partitioner decides.
    pub fn to_suffix(suffix: impl Into<String>) -> Self {
        let suffix = suffix.into();
        Self::to(move |failure| {
            let partition = failure.topic_partition;
            Some((format!("{}{suffix}", partition.topic), Some(partition.partition)))
        })
    }

    /// To one topic, whatever the record's own; its partitioner decides.
    pub fn to_topic(topic: impl Into<String>) -> Self {
        let topic = topic.into();
        Self::to(move |_| Some((topic.clone(), None)))
    }

    /// To where the function says; `None` drops the record with a log line.
    pub fn to(destination: impl Fn(&Failure<'_>) -> Option<(String, Option<i32>)> + Send + Sync + 'static) -> Self {
        Self { destination: Arc::new(destination), append_original: true }
    }

    /// Whether a record that is dead-lettered again gets further `original` headers (true, Spring's default) or keeps its first.
    pub fn append_original_headers(mut self, append: bool) -> Self {
        self.append_original = append;
        self
    }

    fn headers(&self, failure: &Failure<'_>) -> Vec<(String, Option<Vec<u8>>)> {
        let record = failure.record;
        let own = record.headers().filter(|(name, _)| !names::EXCEPTIONS.contains(name));
        let mut headers: Vec<(String, Option<Vec<u8>>)> =
            own.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
        let first_kept = !self.append_original && headers.iter().any(|(name, _)| names::ORIGINALS.contains(&name.as_str()));
        let mut put = |name: &str, value: Vec<u8>| headers.push((name.to_owned(), Some(value)));
        if !first_kept {
            put(names::TOPIC, failure.topic_partition.topic.as_bytes().to_vec());
            put(names::PARTITION, failure.topic_partition.partition.to_be_bytes().to_vec());
            put(names::OFFSET, record.offset().to_be_bytes().to_vec());
            put(names::TIMESTAMP, record.timestamp().to_be_bytes().to_vec());
            let kind = match record.timestamp_type() {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            };
            put(names::TIMESTAMP_TYPE, kind.as_bytes().to_vec());
            if let Some(group) = failure.group_id {
                put(names::GROUP, group.as_bytes().to_vec());
            }
        }
        put(names::EXCEPTION, name_of(failure.error).into_bytes());
        if let Some(cause) = failure.error.source() {
            put(names::CAUSE, name_of(cause).into_bytes());
        }
        put(names::MESSAGE, failure.error.to_string().into_bytes());
        put(names::STACKTRACE, stack_trace(failure).into_bytes());
        headers
    }
}

fn name_of(error: &dyn std::error::Error) -> String {
    let name = super::listener_error::debug_name(error);
    if name.is_empty() { "error".to_owned() } else { name }
}

/// The chain of errors, one a line.
fn stack_trace(failure: &Failure<'_>) -> String {
    let mut text = failure.error.to_string();
    let mut next = failure.error.source();
    while let Some(error) = next {
        text.push_str("\ncaused by: ");
        text.push_str(&error.to_string());
        if text.len() > STACKTRACE_BYTES {
            let end = (0..=STACKTRACE_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            break;
        }
        next = error.source();
    }
    text
}

impl Recoverer for DeadLetters {
    fn recover<'a>(&'a self, context: &'a RecoverContext, failure: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let (partition, offset) = (failure.topic_partition, failure.record.offset());
            let Some((topic, wanted)) = (self.destination)(failure) else {
                tracing::error!(target: "kafka_listener::error", %partition, offset, error = chain_text(failure.error), "record dropped: it has no dead letter topic");
                return Ok(());
            };
            if topic == *partition.topic {
                return Err(format!(
                    "the dead letter topic of {partition}@{offset} is its own topic: it would come back for ever"
                )
                .into());
            }
            let Some(producer) = &context.producer else {
                return Err("the app has no producer to send dead letters with".into());
            };
            let count = producer.partitions_for(&topic).await?;
            let headers = self.headers(failure);
            let headers: Vec<(&str, Option<&[u8]>)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let sent = producer.send(RawProducerRecord {
                topic: &topic,
                partition: wanted.filter(|wanted| (0..count).contains(wanted)),
                timestamp: None,
                key: failure.record.key(),
                value: failure.record.value(),
                headers: &headers,
            });
            let placed = sent.await?;
            let to = TopicPartition::new(placed.topic, placed.partition);
            tracing::warn!(target: "kafka_listener::error",
                listener = failure.listener_id, %partition, offset, dead_letter = %to, at = placed.offset,
                deliveries = failure.failures, error = chain_text(failure.error), "record dead-lettered");
            Ok(())
        })
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("append_original", &self.append_original).finish_non_exhaustive()
    }
}
