//! Sends commits: sync or async, with retries. What is safe to commit is the ack engine's business, when is its mode's.

use std::future::pending;
use std::time::Duration;

use super::event::EventKind;
use super::worker::Core;
use crate::ack::Slot;
use crate::client::{ClientError, ClientErrorKind, CommitFuture, CommitOffset};

/// An async commit whose answer has not come yet.
pub(super) struct InFlight {
    commit: CommitFuture,
    result: Option<Result<(), ClientError>>,
    offsets: Vec<(Slot, u64, CommitOffset)>,
}

/// Completes when the oldest async commit was answered; cancel-safe.
pub(super) async fn answered(in_flight: Option<&mut InFlight>) {
    match in_flight {
        Some(InFlight { result: Some(_), .. }) => {}
        Some(in_flight) => {
            let result = (&mut in_flight.commit).await;
            in_flight.result = Some(result);
        }
        None => pending().await,
    }
}

fn unanswered(limit: Duration) -> ClientError {
    ClientError::new(ClientErrorKind::Timeout, format!("the commit was not answered within {limit:?} (sync_commit_timeout)"))
}

async fn within(limit: Duration, sent: CommitFuture) -> Result<(), ClientError> {
    tokio::time::timeout(limit, sent).await.unwrap_or_else(|_| Err(unanswered(limit)))
}

impl Core {
    /// Commits everything committable in one request. The error is that of a commit that was given up.
    pub async fn commit(&mut self) -> Option<ClientError> {
        let mut commits = std::mem::take(&mut self.commits);
        commits.clear();
        self.engine.take_commits(&mut commits);
        commits.retain(|(slot, _)| self.parts.get(*slot).is_some());
        let mut offsets = std::mem::take(&mut self.offsets);
        offsets.truncate(commits.len());
        let parts = commits.iter().filter_map(|(slot, offset)| self.parts.get(*slot).map(|part| (part, *offset)));
        for (place, (part, offset)) in parts.enumerate() {
            // Mostly the same partitions as the last time: their names need not be counted anew.
            match offsets.get_mut(place) {
                Some(known) if known.topic_partition == part.topic_partition => known.offset = offset,
                Some(other) => *other = CommitOffset { topic_partition: part.topic_partition.clone(), offset },
                None => offsets.push(CommitOffset { topic_partition: part.topic_partition.clone(), offset }),
            }
        }
        let failed = if offsets.is_empty() { None } else { self.send(&commits, &offsets).await };
        self.commits = commits;
        self.offsets = offsets;
        failed
    }

    async fn send(&mut self, commits: &[(Slot, i64)], offsets: &[CommitOffset]) -> Option<ClientError> {
        let mut sent = self.consumer.commit(offsets);
        if let Some(result) = sent.try_take() {
            return self.finish(result, commits, offsets).await;
        }
        if self.properties.sync_commits {
            let result = self.wait(sent).await;
            return self.finish(result, commits, offsets).await;
        }
        let offsets = commits
            .iter()
            .zip(offsets)
            .filter_map(|((slot, _), offset)| self.parts.get(*slot).map(|part| (*slot, part.epoch, offset.clone())));
        let offsets = offsets.collect();
        self.in_flight.push_back(InFlight { commit: sent, result: None, offsets });
        None
    }

    fn wait(&self, sent: CommitFuture) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
        let limit = self.properties.sync_commit_timeout;
        async move { within(limit, sent).await }
    }

    /// Takes a commit's answer; a passing fault is tried again, `commit_retries` times.
    async fn finish(
        &mut self,
        first: Result<(), ClientError>,
        commits: &[(Slot, i64)],
        offsets: &[CommitOffset],
    ) -> Option<ClientError> {
        let mut result = first;
        for _ in 0..self.properties.commit_retries {
            match &result {
                Err(error) if matches!(error.kind(), ClientErrorKind::Retriable | ClientErrorKind::Timeout) => {
                    let sent = self.consumer.commit(offsets);
                    result = self.wait(sent).await;
                }
                _ => break,
            }
        }
        match result {
            Ok(()) => {
                self.fenced_told = false;
                commits.iter().for_each(|(slot, offset)| self.engine.commit_succeeded(*slot, *offset));
                None
            }
            Err(error) => {
                commits.iter().for_each(|(slot, offset)| self.engine.commit_failed(*slot, *offset));
                self.tell_failed(&error, offsets);
                Some(error)
            }
        }
    }

    /// Takes the answers of async commits that are there, in the order in which they were sent.
    pub fn settle_in_flight(&mut self) {
        while let Some(front) = self.in_flight.front_mut() {
            let Some(result) = front.result.take().or_else(|| front.commit.try_take()) else { return };
            let Some(InFlight { offsets, .. }) = self.in_flight.pop_front() else { return };
            for (slot, epoch, offset) in &offsets {
                // An answer for an earlier assignment says nothing about this one.
                if self.parts.get(*slot).is_some_and(|part| part.epoch == *epoch) {
                    match &result {
                        Ok(()) => self.engine.commit_succeeded(*slot, offset.offset),
                        Err(_) => self.engine.commit_failed(*slot, offset.offset),
                    }
                }
            }
            if let Err(error) = &result {
                let offsets: Vec<_> = offsets.into_iter().map(|(_, _, offset)| offset).collect();
                self.tell_failed(error, &offsets);
            }
        }
    }

    /// Waits for the answers of all async commits, each at most `sync_commit_timeout`.
    pub async fn await_in_flight(&mut self) {
        while self.in_flight.front().is_some() {
            let limit = self.properties.sync_commit_timeout;
            if tokio::time::timeout(limit, answered(self.in_flight.front_mut())).await.is_err()
                && let Some(front) = self.in_flight.front_mut()
            {
                front.result = Some(Err(unanswered(limit)));
            }
            self.settle_in_flight();
        }
    }

    fn tell_failed(&mut self, error: &ClientError, offsets: &[CommitOffset]) {
        match error.kind() {
            // Kept by the engine and sent again when the rebalance is over, for what is still owned.
            ClientErrorKind::RebalanceInProgress => {
                tracing::debug!(target: "kafka_listener::ack", %error, ?offsets, "commit met a rebalance; kept");
            }
            ClientErrorKind::Fenced if std::mem::replace(&mut self.fenced_told, true) => {}
            _ => {
                let offsets = offsets.iter().map(|offset| (offset.topic_partition.clone(), offset.offset)).collect();
                self.emit(EventKind::CommitFailed { offsets, error: error.to_string() });
            }
        }
    }
}
