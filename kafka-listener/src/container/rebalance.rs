//! What happens when partitions come and go.

use super::event::{EventKind, PauseReason};
use super::parts::Part;
use super::properties::Source;
use super::state::Stop;
use super::worker::{Core, sleep_until};
use crate::ack::{Decision, Slot};
use crate::client::{AssignedPartition, ClientErrorKind, CommitOffset, TopicPartition};
use crate::listener::link::LivePartition;
use tokio::time::Instant;

use super::event::StopReason;

impl Core {
    /// New partitions: a fresh tracker and epoch each, and the pauses that were declared for them.
    pub async fn assigned(&mut self, partitions: Vec<AssignedPartition>) {
        let now = Instant::now();
        let mut starts = Vec::new();
        for assigned in &partitions {
            self.epoch += 1;
            let partition = &assigned.topic_partition;
            if let Some(stale) = self.parts.find(partition) {
                self.forget(stale);
            }
            let slot = self.parts.insert(Part::new(partition.clone(), self.epoch, now));
            self.engine.assign(slot, assigned.position);
            self.link
                .assigned(partition.clone(), LivePartition { epoch: self.epoch, position: assigned.position, paused: false });
            if !assigned.committed {
                starts.push(CommitOffset { topic_partition: partition.clone(), offset: assigned.position });
            }
            let (paused, partition_paused) = {
                let intent = self.intent.borrow();
                (intent.paused, intent.paused_partitions.contains(partition))
            };
            self.set_pause(slot, PauseReason::Container, paused);
            self.set_pause(slot, PauseReason::Partition, partition_paused);
        }
        if !partitions.is_empty() {
            let partitions = partitions.into_iter().map(|assigned| assigned.topic_partition).collect();
            self.emit(EventKind::Assigned { partitions });
        }
        self.commit_starts(starts).await;
    }

    /// A group that starts at the end stores where that is: else a kill before the first commit would lose records.
    async fn commit_starts(&mut self, starts: Vec<CommitOffset>) {
        let wanted = self.properties.reset_latest && !self.properties.auto_commit && self.properties.group_id.is_some();
        if starts.is_empty() || !wanted {
            return;
        }
        let mut result = self.consumer.commit(&starts).await;
        for _ in 0..self.properties.commit_retries {
            match &result {
                Err(error) if error.kind() == ClientErrorKind::Retriable => result = self.consumer.commit(&starts).await,
                _ => break,
            }
        }
        if let Err(error) = result {
            let offsets = starts.into_iter().map(|start| (start.topic_partition, start.offset)).collect();
            self.emit(EventKind::CommitFailed { offsets, error: format!("starting position: {error}") });
        }
    }

    /// Commits what is done, then lets the partitions go. The next poll tells the group.
    pub async fn revoked(&mut self, partitions: Vec<TopicPartition>) {
        // Acknowledgments that were made before now still count.
        self.take_messages().await;
        if self.engine.flush() == Decision::Commit {
            self.commit().await;
        }
        self.await_in_flight().await;
        for partition in &partitions {
            if let Some(slot) = self.parts.find(partition) {
                self.forget(slot);
            }
        }
        self.emit(EventKind::Revoked { partitions });
    }

    /// Forgets partitions that somebody else owns: nothing is committed for them.
    pub fn lost(&mut self, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            if let Some(slot) = self.parts.find(partition) {
                self.forget(slot);
            }
        }
        self.emit(EventKind::Lost { partitions });
    }

    fn forget(&mut self, slot: Slot) {
        self.engine.lose(slot);
        self.attempts.forget(slot);
        self.forget_retries(slot);
        if let Some(part) = self.parts.remove(slot) {
            self.link.unassigned(&part.topic_partition);
        }
    }

    /// The call in hand takes longer than `max.poll.interval.ms`: the member leaves, and all it owned is lost. Explicit partitions stay:
    /// there is no member, and nobody who would read them instead.
    pub async fn leave_late(&mut self, (slot, offset): (Slot, i64)) {
        if let Some(part) = self.parts.get(slot) {
            self.emit(EventKind::NonResponsive { partition: part.topic_partition.clone(), offset });
        }
        if matches!(self.properties.source, Source::Partitions(_)) {
            return;
        }
        for slot in self.parts.slots() {
            self.forget(slot);
        }
        if let Err(error) = self.consumer.leave().await {
            tracing::warn!(target: "kafka_listener::container", %error, "leaving the group failed");
        }
    }

    /// The end of the loop: missing async acknowledgments get their time, what is done is committed.
    pub async fn wind_down(&mut self, reason: &StopReason) {
        if *reason == StopReason::Normal && self.properties.async_acks {
            self.await_acks().await;
        }
        self.take_messages().await;
        if self.engine.flush() == Decision::Commit {
            self.commit().await;
        }
        self.await_in_flight().await;
        for slot in self.parts.slots() {
            let (Some(part), Some(offset)) = (self.parts.get(slot), self.engine.oldest_unacked(slot)) else { continue };
            let (partition, unacked) = (part.topic_partition.clone(), self.engine.outstanding(slot));
            tracing::info!(target: "kafka_listener::container", %partition, offset, unacked, "stopped before these records were acknowledged; they are delivered again");
        }
    }

    async fn await_acks(&mut self) {
        let deadline = Instant::now() + self.properties.shutdown_timeout;
        while self.parts.slots().into_iter().any(|slot| self.engine.outstanding(slot) > 0) {
            if self.intent.borrow().stop >= Stop::Immediate || Instant::now() >= deadline || self.consumer.rebalance_pending() {
                return;
            }
            tokio::select! {
                biased;
                () = self.link.message() => self.take_messages().await,
                () = self.consumer.rebalance_signal() => return,
                changed = self.intent.changed() => if changed.is_err() { return },
                () = sleep_until(Some(deadline)) => return,
            }
        }
    }
}
