use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Timestamp;
use crate::client::{ClientError, ClientErrorKind, SendHandle};

/// The result of a send: awaiting it tells where the record ended up. Dropping it un-sends nothing.
///
/// A batch that somebody awaits does not wait out `linger.ms` on the embedded broker: it is sent at once, so that
/// `send(..).await` in a loop is quick. That is the one deviation from Kafka's producer.
#[derive(Debug)]
pub struct SendFuture(SendHandle);

/// Where a record ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResult {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset; -1 with `acks=0`.
    pub offset: i64,
    /// The record's timestamp.
    pub timestamp: Timestamp,
}

/// A send failed: the text names the topic and the limit.
#[derive(Debug, Clone, thiserror::Error)]
#[error("send failed: {0}")]
pub struct SendError(#[source] ClientError);

impl SendError {
    /// What went wrong.
    pub fn kind(&self) -> ClientErrorKind {
        self.0.kind()
    }
}

impl SendFuture {
    pub(super) fn new(handle: SendHandle) -> Self {
        Self(handle)
    }
}

impl Future for SendFuture {
    type Output = Result<SendResult, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| {
            let placed = result.map_err(SendError)?;
            let (partition, offset) = (placed.partition, placed.offset);
            Ok(SendResult { topic: placed.topic, partition, offset, timestamp: Timestamp::from_millis(placed.timestamp) })
        })
    }
}
