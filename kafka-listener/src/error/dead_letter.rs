use std::fmt;
use std::sync::Arc;

use super::classify::Classifier;
use super::listener_error::{bounded, chain, debug_name, own};
use super::{BoxError, Failure, RecoverContext, Recoverer, chain_text};
use crate::client::{BoxFuture, RawProducerRecord, TimestampType, TopicPartition};

/// The longest header made of an error's text, in bytes: it must not make the dead letter too large to send.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// How many origins a record carries that is dead-lettered again and again: its first and the newest ones.
const ORIGINS_MAX: usize = 16;

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
/// names of errors behind a trait object: the `fqcn` headers hold the name that the error's `Debug` text starts with, and
/// `error` where it starts with none. The stack trace is the chain of sources, one a line. Texts are cut at 16 KiB. Exception
/// headers of an earlier dead letter are replaced.
///
/// A destination that is the record's own topic is refused, for the record would come back for ever; one that never decodes is
/// dropped there with a log line, as Spring does.
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

    /// Whether a record that is dead-lettered again gets further `original` headers (true, Spring's default; the first and the
    /// 15 newest are kept) or only those that it does not have yet.
    pub fn append_original_headers(mut self, append: bool) -> Self {
        self.append_original = append;
        self
    }

    fn headers(&self, failure: &Failure<'_>) -> Vec<(String, Option<Vec<u8>>)> {
        let record = failure.record;
        let mut headers = self.kept(failure);
        let origin = failure.topic_partition;
        let timestamp_type = match record.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        let originals = [
            (names::TOPIC, Some(origin.topic.as_bytes().to_vec())),
            (names::PARTITION, Some(origin.partition.to_be_bytes().to_vec())),
            (names::OFFSET, Some(record.offset().to_be_bytes().to_vec())),
            (names::TIMESTAMP, Some(record.timestamp().to_be_bytes().to_vec())),
            (names::TIMESTAMP_TYPE, Some(timestamp_type.as_bytes().to_vec())),
            (names::GROUP, failure.group_id.map(|group| group.as_bytes().to_vec())),
        ];
        for (name, value) in originals {
            let wanted = self.append_original || record.header(name).is_none();
            if let Some(value) = value.filter(|_| wanted) {
                headers.push((name.to_owned(), Some(value)));
            }
        }
        let error = own(failure.error);
        let mut put = |name: &str, text: &str| headers.push((name.to_owned(), Some(bounded(text, TEXT_BYTES_MAX).into())));
        put(names::EXCEPTION, &name_of(error));
        if let Some(cause) = error.source() {
            put(names::CAUSE, &name_of(cause));
        }
        put(names::MESSAGE, &error.to_string());
        put(names::STACKTRACE, &stack_trace(error));
        headers
    }

    /// The record's own headers, less what is replaced and what would grow without bound.
    fn kept(&self, failure: &Failure<'_>) -> Vec<(String, Option<Vec<u8>>)> {
        let record = failure.record;
        let mut excess = names::ORIGINALS.map(|name| {
            let count = record.headers().filter(|(other, _)| *other == name).count();
            (name, 0, (count + 1).saturating_sub(ORIGINS_MAX))
        });
        let mut wanted = |name: &str| {
            if names::EXCEPTIONS.contains(&name) {
                return false;
            }
            let Some((_, seen, excess)) = excess.iter_mut().find(|(other, ..)| *other == name) else { return true };
            *seen += 1;
            // The first stays, the second and those behind it go.
            !self.append_original || *seen == 1 || *seen > 1 + *excess
        };
        let own = record.headers().filter(|(name, _)| wanted(name));
        own.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect()
    }
}

fn name_of(error: &dyn std::error::Error) -> String {
    let name = debug_name(error);
    if name.is_empty() { "error".to_owned() } else { name }
}

/// The chain of errors, one a line.
fn stack_trace(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in chain(error).skip(1) {
        if text.len() > TEXT_BYTES_MAX {
            break;
        }
        text.push_str("\ncaused by: ");
        text.push_str(&cause.to_string());
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
            if topic == *partition.topic && !Classifier::default().is_retryable(failure.error) {
                tracing::error!(target: "kafka_listener::error", %partition, offset, error = chain_text(failure.error), "record dropped: its dead letter topic is its own, where it would never decode");
                return Ok(());
            }
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
