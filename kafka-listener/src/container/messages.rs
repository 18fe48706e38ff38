//! What acknowledgments and consumer handles asked of the worker.

use tokio::sync::oneshot;

use super::event::{EventKind, PauseReason};
use super::worker::Core;
use crate::ack::Decision;
use crate::client::{ClientError, CommitOffset, TopicPartition};
use crate::listener::link::{AckPlace, LinkMessage};
use crate::listener::{AckError, AckErrorKind, HandleError, stale_ack};

type AckReply = (oneshot::Sender<Result<(), AckError>>, Vec<AckPlace>);

impl Core {
    /// Takes all messages that wait. Acknowledgments of one turn share one commit.
    pub async fn take_messages(&mut self) {
        if !self.link.has_messages() {
            return;
        }
        let mut messages = std::mem::take(&mut self.messages);
        self.link.take_messages(&mut messages);
        let mut replies = Vec::new();
        let mut acked = false;
        for message in messages.drain(..) {
            match message {
                LinkMessage::Ack { place, reply } => {
                    acked = true;
                    let taken = self.acked(&place);
                    answer_later(&mut replies, taken, reply, vec![place]);
                }
                LinkMessage::AckMany { places, reply } => {
                    acked = true;
                    // All of them, whatever one of them meets.
                    let taken = places.iter().map(|place| self.acked(place)).fold(Ok(()), Result::and);
                    answer_later(&mut replies, taken, reply, places);
                }
                LinkMessage::Dropped { places } => self.dropped(places),
                LinkMessage::Pause { partitions, paused } => self.pause_for_listener(partitions, paused).await,
                LinkMessage::Seek { topic_partition, epoch, to } => self.seeks.push((topic_partition, epoch, to)),
                LinkMessage::Commit { offsets, reply } => self.commit_for_listener(offsets, reply).await,
                LinkMessage::Committed { topic_partition, reply } => {
                    let answer = self.consumer.committed(std::slice::from_ref(&topic_partition)).await;
                    let answer = answer.map(|mut offsets| offsets.pop().flatten());
                    let _ = reply.send(answer.map_err(|error| HandleError::failed(topic_partition, error)));
                }
            }
        }
        self.messages = messages;
        if acked {
            self.follow_unacked();
            let now = self.now_if_timed();
            let failed = match self.engine.acks_arrived(now) {
                Decision::Commit => self.commit().await,
                Decision::Hold => None,
            };
            for (reply, places) in replies {
                let _ = reply.send(commit_answer(failed.as_ref(), &places));
            }
        }
    }

    fn acked(&mut self, place: &AckPlace) -> Result<(), AckError> {
        let Some(slot) = self.parts.find_at(&place.topic_partition, place.epoch) else {
            return Err(stale_ack(&place.topic_partition, place.offset));
        };
        self.engine.acked(slot, place.offset).map_err(|refusal| {
            AckError::new(AckErrorKind::Misuse, format!("{}@{}: {refusal}", place.topic_partition, place.offset))
        })
    }

    fn dropped(&mut self, places: Vec<AckPlace>) {
        for place in places {
            if self.parts.find_at(&place.topic_partition, place.epoch).is_some() {
                let AckPlace { topic_partition: partition, offset, .. } = place;
                self.emit(EventKind::AckMissing { partition, offset, dropped: true });
            }
        }
    }

    /// Partitions that are full of unacknowledged records pause, and those that are not any more go on.
    pub(super) fn follow_unacked(&mut self) {
        if !self.properties.async_acks {
            return;
        }
        for slot in self.parts.slots() {
            let full = self.engine.at_max_unacked(slot);
            self.set_pause(slot, PauseReason::Unacked, full);
        }
    }

    async fn pause_for_listener(&mut self, partitions: Vec<(TopicPartition, u64)>, paused: bool) {
        for (partition, epoch) in partitions {
            if let Some(slot) = self.parts.find_at(&partition, epoch) {
                self.set_pause(slot, PauseReason::Listener, paused);
            }
        }
        if paused && self.engine.flush() == Decision::Commit {
            self.commit().await;
        }
    }

    async fn commit_for_listener(
        &mut self,
        offsets: Vec<(TopicPartition, u64, i64)>,
        reply: Option<oneshot::Sender<Result<(), HandleError>>>,
    ) {
        let stale = offsets.iter().find(|(partition, epoch, _)| self.parts.find_at(partition, *epoch).is_none());
        let answer = match stale {
            Some((partition, ..)) => Err(HandleError::not_assigned(partition)),
            None => {
                let offsets: Vec<_> =
                    offsets.into_iter().map(|(topic_partition, _, offset)| CommitOffset { topic_partition, offset }).collect();
                self.consumer.commit(&offsets).await.map_err(|error| HandleError::failed("commit", error))
            }
        };
        match (reply, answer) {
            (Some(reply), answer) => drop(reply.send(answer)),
            (None, Err(error)) => {
                tracing::warn!(target: "kafka_listener::ack", %error, "a commit asked for by the listener failed")
            }
            (None, Ok(())) => {}
        }
    }

    /// Moves positions as the listener asked, now that its call has returned.
    pub async fn apply_seeks(&mut self) {
        if self.seeks.is_empty() {
            return;
        }
        if self.engine.flush() == Decision::Commit {
            self.commit().await;
        }
        for (partition, epoch, to) in std::mem::take(&mut self.seeks) {
            let Some(slot) = self.parts.find_at(&partition, epoch) else {
                tracing::warn!(target: "kafka_listener::container", %partition, ?to, "seek ignored: the partition is not assigned any more");
                continue;
            };
            match self.consumer.seek(&partition, to) {
                Ok(position) => self.restart_at(slot, position),
                Err(error) => tracing::warn!(target: "kafka_listener::container", %partition, ?to, %error, "seek failed"),
            }
        }
    }

    /// The partition goes on at another position: a new tracker, and everything from before is stale.
    fn restart_at(&mut self, slot: crate::ack::Slot, position: i64) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.engine.assign(slot, position);
        self.attempts.forget(slot);
        self.forget_retries(slot);
        let Some(part) = self.parts.get_mut(slot) else { return };
        part.epoch = epoch;
        part.held.clear();
        part.wake_at = None;
        part.delivered_at.clear();
        part.recoveries = None;
        let partition = part.topic_partition.clone();
        self.link.update(&partition, |live| {
            live.epoch = epoch;
            live.position = position;
        });
        self.set_pause(slot, PauseReason::BackOff, false);
        self.set_pause(slot, PauseReason::Unacked, false);
    }
}

fn answer_later(
    replies: &mut Vec<AckReply>,
    taken: Result<(), AckError>,
    reply: Option<oneshot::Sender<Result<(), AckError>>>,
    places: Vec<AckPlace>,
) {
    match (taken, reply) {
        (Ok(()), Some(reply)) => replies.push((reply, places)),
        (Err(error), Some(reply)) => drop(reply.send(Err(error))),
        (Err(error), None) => tracing::warn!(target: "kafka_listener::ack", %error, "an acknowledgment was refused"),
        (Ok(()), None) => {}
    }
}

fn commit_answer(failed: Option<&ClientError>, places: &[AckPlace]) -> Result<(), AckError> {
    let Some(error) = failed else { return Ok(()) };
    let place = places.last().map_or_else(String::new, |place| format!("{}@{}: ", place.topic_partition, place.offset));
    Err(AckError::commit(format!("{place}acknowledged, but the commit failed: {error}"), error.clone()))
}
