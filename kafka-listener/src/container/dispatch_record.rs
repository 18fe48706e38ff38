//! One record through the listener, and what its end means.

use std::future::poll_fn;
use std::pin::pin;

use tower::Service;

use super::event::{EventKind, PauseReason, StopReason};
use super::properties::FOREVER;
use super::worker::{Core, Driven, Worker};
use crate::ack::{Decision, Slot};
use crate::client::RawRecord;
use crate::error::BoxError;
use crate::handler::{Delivery, Outcome};
use crate::listener::link::AckPlace;
use crate::listener::{AckHandMode, Acknowledgment};
use tokio::time::Instant;

impl Core {
    pub(super) fn hand_mode(&self) -> Option<AckHandMode> {
        let mode = self.properties.ack_mode;
        mode.is_manual().then_some(AckHandMode {
            immediate: mode == crate::ack::AckMode::ManualImmediate,
            async_acks: self.properties.async_acks,
        })
    }
}

impl Worker {
    pub(super) async fn deliver_record(&mut self, slot: Slot, record: RawRecord) -> Result<(), StopReason> {
        let core = &mut self.core;
        let Some(part) = core.parts.get_mut(slot) else { return Ok(()) };
        let (partition, epoch, offset) = (part.topic_partition.clone(), part.epoch, record.offset());
        if core.properties.async_acks {
            part.delivered_at.push_back((offset, Instant::now()));
        }
        match &mut core.kept {
            Some(kept) => kept.clone_from(&record),
            None => core.kept = Some(record.clone()),
        }
        let attempt = core.attempts.failures(slot, offset) + 1;
        let acknowledgment = core.hand_mode().map(|mode| {
            let place = AckPlace { topic_partition: partition.clone(), epoch, offset };
            Acknowledgment::for_record(core.link.clone(), mode, place)
        });
        let mut delivery = Delivery::record(core.context.clone(), partition, record, attempt);
        if let Some(acknowledgment) = &acknowledgment {
            delivery = delivery.with_acknowledgment(acknowledgment.clone());
        }
        core.engine.delivered(slot, offset);
        core.consumer.mark_progress();
        let result = match self.call(delivery, (slot, offset)).await {
            Driven::Done(result) => result,
            Driven::Abandoned => return Ok(()),
        };
        // Lost meanwhile (`max.poll.interval.ms`): the late result counts for nothing.
        if self.core.parts.get(slot).is_none_or(|part| part.epoch != epoch) {
            return Ok(());
        }
        self.core.take_messages().await;
        match result {
            Ok(outcome) => self.core.record_ended(slot, offset, outcome, acknowledgment).await,
            Err(error) => {
                let acked = acknowledgment.as_ref().is_some_and(|acknowledgment| {
                    acknowledgment.listener_returned();
                    acknowledgment.acked_elements() > 0
                });
                if acked {
                    self.core.tell_listener_failed(slot, offset, attempt, &error);
                } else {
                    acknowledgment.inspect(Acknowledgment::settle);
                    let record = self.core.kept.take().expect("kept above: nothing else is delivered meanwhile");
                    self.core.record_failed(slot, record, error, false).await?;
                }
                self.core.after_record().await;
                Ok(())
            }
        }
    }

    /// Calls the service and drives the call.
    pub(super) async fn call(&mut self, delivery: Delivery, in_hand: (Slot, i64)) -> Driven<Result<Outcome, BoxError>> {
        let Self { service, core } = self;
        let call = pin!(async {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(delivery).await
        });
        core.drive(call, in_hand).await
    }
}

impl Core {
    async fn record_ended(
        &mut self,
        slot: Slot,
        offset: i64,
        outcome: Outcome,
        acknowledgment: Option<Acknowledgment>,
    ) -> Result<(), StopReason> {
        let nack = acknowledgment.as_ref().and_then(Acknowledgment::listener_returned);
        if let Some(nack) = nack {
            self.engine.put_back(slot, offset);
            let record = self.kept.take();
            self.put_back(slot, record);
            self.back_off(slot, nack.sleep);
            if self.engine.flush() == Decision::Commit {
                self.commit().await;
            }
            return Ok(());
        }
        self.attempts.succeeded(slot, offset);
        if outcome == Outcome::Filtered || acknowledgment.is_none() {
            acknowledgment.inspect(Acknowledgment::settle);
            self.engine.done(slot, offset);
        }
        self.after_record().await;
        Ok(())
    }

    /// The decision point behind each record.
    pub(super) async fn after_record(&mut self) {
        let now = self.now_if_timed();
        if self.engine.after_record(now) == Decision::Commit {
            self.commit().await;
        }
        self.follow_unacked();
    }

    /// Holds records again, in front of what is held.
    pub(super) fn put_back<I>(&mut self, slot: Slot, records: I)
    where
        I: IntoIterator<Item = RawRecord>,
        I::IntoIter: DoubleEndedIterator,
    {
        let Some(part) = self.parts.get_mut(slot) else { return };
        let mut any = false;
        for record in records.into_iter().rev() {
            if self.properties.async_acks {
                part.delivered_at.retain(|(offset, _)| *offset < record.offset());
            }
            part.held.push_front(record);
            any = true;
        }
        if any {
            self.parts.make_ready_first(slot);
        }
    }

    /// Delivers nothing of the partition for this long; the others flow, and the consumer keeps polling.
    pub(super) fn back_off(&mut self, slot: Slot, wait: std::time::Duration) {
        if wait.is_zero() {
            return;
        }
        if let Some(part) = self.parts.get_mut(slot) {
            part.wake_at = Some(Instant::now() + wait.min(FOREVER));
            self.set_pause(slot, PauseReason::BackOff, true);
        }
    }

    pub(super) fn tell_listener_failed(&self, slot: Slot, offset: i64, attempt: u32, error: &BoxError) {
        if let Some(part) = self.parts.get(slot) {
            let partition = part.topic_partition.clone();
            self.emit(EventKind::ListenerFailed { partition, offset, attempt, error: crate::error::chain_text(error.as_ref()) });
        }
    }
}
