use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{ClientError, ClientErrorKind};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A stored offset: the next one to read, and the text stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The next offset to read.
    pub offset: i64,
    /// The text stored beside it, mostly empty.
    pub metadata: String,
}

/// One offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffset {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The next offset to read.
    pub offset: i64,
}

/// Where reading an explicitly assigned partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOffset {
    /// At the group's committed offset, else by `auto.offset.reset`.
    Committed,
    /// At this position, on each start.
    At(SeekTo),
}

/// A position in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// The first record.
    Beginning,
    /// Behind the last record.
    End,
    /// This offset.
    Offset(i64),
    /// The first record whose timestamp, in milliseconds since 1970, is this or later; the end if there is none.
    Timestamp(i64),
    /// This many records from the end (a negative number is refused).
    FromEnd(i64),
    /// This many records from the current position, forwards or, negative, backwards.
    FromCurrent(i64),
}

/// The result of a commit that is under way or done. Dropping it does not undo the commit.
#[derive(Debug)]
pub struct CommitFuture(Inner);

#[derive(Debug)]
enum Inner {
    Ready(Option<Result<(), ClientError>>),
    Waiting(oneshot::Receiver<Result<(), ClientError>>),
}

impl CommitFuture {
    /// A commit whose result is known.
    pub fn ready(result: Result<(), ClientError>) -> Self {
        Self(Inner::Ready(Some(result)))
    }

    /// A commit whose result will come.
    pub fn waiting(receiver: oneshot::Receiver<Result<(), ClientError>>) -> Self {
        Self(Inner::Waiting(receiver))
    }

    /// The result if it is there already: the embedded broker always answers at once.
    pub fn try_take(&mut self) -> Option<Result<(), ClientError>> {
        match &mut self.0 {
            Inner::Ready(result) => result.take(),
            Inner::Waiting(receiver) => match receiver.try_recv() {
                Ok(result) => Some(result),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(gone())),
            },
        }
    }
}

fn gone() -> ClientError {
    ClientError::new(ClientErrorKind::Closed, "the consumer ended before the commit was answered")
}

impl Future for CommitFuture {
    type Output = Result<(), ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(result) => Poll::Ready(result.take().unwrap_or_else(|| Err(gone()))),
            Inner::Waiting(receiver) => Pin::new(receiver).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(gone()))),
        }
    }
}
