use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::link::{LinkMessage, WorkerLink};
use crate::client::{ClientError, OffsetAndMetadata, SeekTo, TopicPartition};

/// A worker's consumer, for its listener: owned, cheap to clone, bound to what the worker is assigned.
///
/// Calls take effect at the worker's next turn, also while the listener runs, so awaiting one inside a listener never waits
/// for the listener. For a partition that was revoked, each answers with an error.
#[derive(Clone)]
pub struct ConsumerHandle(Arc<WorkerLink>);

impl ConsumerHandle {
    pub(crate) fn new(link: Arc<WorkerLink>) -> Self {
        Self(link)
    }

    /// A handle that belongs to no container, for tests of handlers: nothing is assigned.
    pub fn detached() -> Self {
        Self(WorkerLink::new())
    }

    /// What the worker owns now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.0.assignment().into_iter().map(|(partition, _)| partition).collect()
    }

    /// What is paused now, for whatever reason.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.0.assignment().into_iter().filter(|(_, live)| live.paused).map(|(partition, _)| partition).collect()
    }

    /// The offset behind the last record that was polled.
    pub fn position(&self, partition: &TopicPartition) -> Result<i64, HandleError> {
        self.0.read(|live| live.get(partition).map(|live| live.position)).ok_or_else(|| HandleError::not_assigned(partition))
    }

    /// Delivers no more records of these partitions after the current one. It survives a rebalance that keeps the partition.
    pub fn pause(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<(), HandleError> {
        self.set_paused(partitions, true)
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<(), HandleError> {
        self.set_paused(partitions, false)
    }

    fn set_paused(&self, partitions: impl IntoIterator<Item = TopicPartition>, paused: bool) -> Result<(), HandleError> {
        self.0.send(|live| {
            let partitions = partitions
                .into_iter()
                .map(|partition| match live.get(&partition) {
                    Some(live) => Ok((partition, live.epoch)),
                    None => Err(HandleError::not_assigned(&partition)),
                })
                .collect::<Result<Vec<_>, _>>()?;
            Ok(LinkMessage::Pause { partitions, paused })
        })
    }

    /// Goes on at another position when the listener has returned: what is undelivered of the partition is dropped, what is
    /// committable is committed first, and later commits may go back behind it.
    pub fn seek(&self, partition: &TopicPartition, to: SeekTo) -> Result<(), HandleError> {
        self.0.send(|live| match live.get(partition) {
            Some(live) => Ok(LinkMessage::Seek { topic_partition: partition.clone(), epoch: live.epoch, to }),
            None => Err(HandleError::not_assigned(partition)),
        })
    }

    /// Commits these offsets (each the next to read) now; the future is the commit's result and need not be awaited.
    pub fn commit_sync<I>(&self, offsets: I) -> impl Future<Output = Result<(), HandleError>> + Send + use<I>
    where
        I: IntoIterator<Item = (TopicPartition, i64)>,
    {
        let (sender, receiver) = oneshot::channel();
        let sent = self.send_commit(offsets.into_iter().collect(), Some(sender));
        async move {
            sent?;
            receiver.await.unwrap_or_else(|_| Err(HandleError::gone()))
        }
    }

    /// Commits these offsets at the worker's next turn; a failure is logged.
    pub fn commit_async(&self, offsets: impl IntoIterator<Item = (TopicPartition, i64)>) -> Result<(), HandleError> {
        self.send_commit(offsets.into_iter().collect(), None)
    }

    fn send_commit(
        &self,
        offsets: Vec<(TopicPartition, i64)>,
        reply: Option<oneshot::Sender<Result<(), HandleError>>>,
    ) -> Result<(), HandleError> {
        self.0.send(|live| {
            let offsets = offsets
                .into_iter()
                .map(|(partition, offset)| match live.get(&partition) {
                    Some(live) => Ok((partition, live.epoch, offset)),
                    None => Err(HandleError::not_assigned(&partition)),
                })
                .collect::<Result<Vec<_>, _>>()?;
            Ok(LinkMessage::Commit { offsets, reply })
        })
    }

    /// What the group has committed for a partition.
    pub fn committed(
        &self,
        partition: &TopicPartition,
    ) -> impl Future<Output = Result<Option<OffsetAndMetadata>, HandleError>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let sent = self.0.send(|live| match live.get(partition) {
            Some(_) => Ok(LinkMessage::Committed { topic_partition: partition.clone(), reply: sender }),
            None => Err(HandleError::not_assigned(partition)),
        });
        async move {
            sent?;
            receiver.await.unwrap_or_else(|_| Err(HandleError::gone()))
        }
    }
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConsumerHandle").field(&self.assignment()).finish()
    }
}

/// A consumer handle's call could not be carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct HandleError {
    message: String,
    #[source]
    source: Option<ClientError>,
}

impl HandleError {
    pub(crate) fn not_assigned(partition: &TopicPartition) -> Self {
        Self { message: format!("{partition} is not assigned to this worker (any more)"), source: None }
    }

    pub(crate) fn failed(what: impl fmt::Display, source: ClientError) -> Self {
        Self { message: format!("{what}: {source}"), source: Some(source) }
    }

    fn gone() -> Self {
        Self { message: "the worker stopped before it could answer".to_owned(), source: None }
    }
}
