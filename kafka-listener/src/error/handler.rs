use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::classify::Classifier;
use super::{BackOff, BoxError, DeadLetters, FixedBackOff, chain_text};
use crate::client::{Admin, BoxFuture, Producer, RawRecord, TopicPartition};

/// A record that its listener failed on.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The listener's id.
    pub listener_id: &'a str,
    /// Its group.
    pub group_id: Option<&'a str>,
    /// Where the record comes from. Of a batch that failed as a whole: its first record.
    pub topic_partition: &'a TopicPartition,
    /// The record.
    pub record: &'a RawRecord,
    /// What the listener returned, or panicked with.
    pub error: &'a (dyn StdError + Send + Sync + 'static),
    /// How often it failed, this time included.
    pub failures: u32,
    /// Whether it was part of a batch.
    pub batch: bool,
}

/// What to do about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorDecision {
    /// Deliver it again after this long; its partition waits, the others flow.
    Retry {
        /// How long.
        after: Duration,
    },
    /// Call [`ErrorHandler::recover`]; then it is done in every ack mode.
    Recover,
    /// It is done in every ack mode.
    Skip,
    /// Stop the container; the record is not done.
    Stop {
        /// Why, for the event and the app's error.
        reason: String,
    },
}

/// What a recoverer may use.
#[derive(Clone)]
pub struct RecoverContext {
    /// The app's producer.
    pub producer: Option<Arc<dyn Producer>>,
    /// The app's administration.
    pub admin: Arc<dyn Admin>,
}

impl RecoverContext {
    pub(crate) fn new(producer: Option<Arc<dyn Producer>>, admin: Arc<dyn Admin>) -> Self {
        Self { producer, admin }
    }
}

/// Decides about failures. One instance serves all workers of its containers.
pub trait ErrorHandler: Send + Sync + 'static {
    /// Decides. Must not block; waiting is the worker's business.
    fn handle(&self, failure: &Failure<'_>) -> ErrorDecision;

    /// Takes care of a record that is given up; an error counts against [`recovery_attempts`](Self::recovery_attempts). May be
    /// dropped at an await when the app shuts down; the record is then delivered again.
    fn recover<'a>(&'a self, context: &'a RecoverContext, failure: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>>;

    /// How often recovering one record may fail before the container stops; 3.
    fn recovery_attempts(&self) -> u32 {
        3
    }

    /// How long to wait before recovering a record is tried again; 1 s.
    fn recovery_back_off(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Takes care of records that are given up.
pub trait Recoverer: Send + Sync + 'static {
    /// Takes care of one; it is done when this returns Ok.
    fn recover<'a>(&'a self, context: &'a RecoverContext, failure: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// Logs and skips: the default.
#[derive(Debug, Clone, Copy, Default)]
struct LogRecoverer;

impl Recoverer for LogRecoverer {
    fn recover<'a>(&'a self, _: &'a RecoverContext, failure: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        log_given_up(failure);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn log_given_up(failure: &Failure<'_>) {
    tracing::error!(target: "kafka_listener::error",
        listener = failure.listener_id, partition = %failure.topic_partition, offset = failure.record.offset(),
        deliveries = failure.failures, error = chain_text(failure.error), "record given up and skipped");
}

/// Retries with a back-off, then recovers. By default nine retries without delay, then log and skip: ten deliveries. What
/// cannot get better (bytes that do not decode, extractors without their data) is given up at once.
///
/// ```
/// use std::time::Duration;
/// use kafka_listener::prelude::*;
///
/// let handler = DefaultErrorHandler::new(ExponentialBackOff::new(Duration::from_millis(200)).max_retries(5))
///     .not_retryable::<std::num::ParseIntError>()
///     .dead_letters(DeadLetters::to_suffix("-dlt"));
/// # let _ = ContainerFactory::named("careful").error_handler(handler);
/// ```
#[derive(Clone)]
pub struct DefaultErrorHandler {
    back_off: Arc<dyn BackOff>,
    classifier: Classifier,
    recoverer: Arc<dyn Recoverer>,
    recovery_attempts: u32,
    recovery_back_off: Duration,
}

impl DefaultErrorHandler {
    /// Retries as `back_off` says, then logs and skips.
    pub fn new(back_off: impl BackOff) -> Self {
        Self {
            back_off: Arc::new(back_off),
            classifier: Classifier::default(),
            recoverer: Arc::new(LogRecoverer),
            recovery_attempts: 3,
            recovery_back_off: Duration::from_secs(1),
        }
    }

    /// Errors of this type, anywhere in the source chain, are given up at once.
    pub fn not_retryable<E: StdError + 'static>(mut self) -> Self {
        self.classifier.add::<E>(false);
        self
    }

    /// Errors of this type are retried, whatever was said before.
    pub fn retryable<E: StdError + 'static>(mut self) -> Self {
        self.classifier.add::<E>(true);
        self
    }

    /// Whether errors of types that nothing was said of are retried; true.
    pub fn default_retryable(mut self, retryable: bool) -> Self {
        self.classifier.otherwise(retryable);
        self
    }

    /// Sends what is given up to a dead letter topic, by the app's producer.
    pub fn dead_letters(self, dead_letters: DeadLetters) -> Self {
        self.recoverer(dead_letters)
    }

    /// Takes care of what is given up in another way.
    pub fn recoverer(mut self, recoverer: impl Recoverer) -> Self {
        self.recoverer = Arc::new(recoverer);
        self
    }

    /// How often recovering one record may fail before the container stops; 3.
    pub fn recovery_attempts(mut self, attempts: u32) -> Self {
        self.recovery_attempts = attempts.max(1);
        self
    }

    /// How long to wait before recovering is tried again; 1 s.
    pub fn recovery_back_off(mut self, wait: Duration) -> Self {
        self.recovery_back_off = wait;
        self
    }
}

impl Default for DefaultErrorHandler {
    fn default() -> Self {
        Self::new(FixedBackOff::new(Duration::ZERO, 9))
    }
}

impl ErrorHandler for DefaultErrorHandler {
    fn handle(&self, failure: &Failure<'_>) -> ErrorDecision {
        if !self.classifier.is_retryable(failure.error) {
            return ErrorDecision::Recover;
        }
        match self.back_off.after(failure.failures) {
            Some(after) => ErrorDecision::Retry { after },
            None => ErrorDecision::Recover,
        }
    }

    fn recover<'a>(&'a self, context: &'a RecoverContext, failure: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        self.recoverer.recover(context, failure)
    }

    fn recovery_attempts(&self) -> u32 {
        self.recovery_attempts
    }

    fn recovery_back_off(&self) -> Duration {
        self.recovery_back_off
    }
}

impl fmt::Debug for DefaultErrorHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultErrorHandler").field("recovery_attempts", &self.recovery_attempts).finish_non_exhaustive()
    }
}

/// Logs every failure and goes on with the next record.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommonLoggingErrorHandler;

impl ErrorHandler for CommonLoggingErrorHandler {
    fn handle(&self, failure: &Failure<'_>) -> ErrorDecision {
        log_given_up(failure);
        ErrorDecision::Skip
    }

    fn recover<'a>(&'a self, _: &'a RecoverContext, _: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Stops the container at the first failure; the failed record is not done.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommonContainerStoppingErrorHandler;

impl ErrorHandler for CommonContainerStoppingErrorHandler {
    fn handle(&self, failure: &Failure<'_>) -> ErrorDecision {
        ErrorDecision::Stop { reason: chain_text(failure.error) }
    }

    fn recover<'a>(&'a self, _: &'a RecoverContext, _: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
