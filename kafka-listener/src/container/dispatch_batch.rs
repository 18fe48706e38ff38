//! A batch through the listener, and what its end means.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::event::{PauseReason, StopReason};
use super::failure::{Fate, decide};
use super::properties::FOREVER;
use super::worker::{Core, Driven, Worker};
use crate::ack::{Decision, Slot};
use crate::client::{RawRecord, TopicPartition};
use crate::error::{BatchRejection, BoxError, ElementRejected, ErrorDecision, Failure, failed_index, find_in_chain};
use crate::handler::{BatchRecords, Delivery, Outcome};
use crate::listener::Acknowledgment;

/// A batch that failed as a whole and waits to be delivered again, its partitions paused.
pub(super) struct RetryUnit {
    pub due: Instant,
    pub failures: u32,
    pub entries: Vec<Entry>,
}

/// One record of a batch, and the assignment it belongs to.
#[derive(Clone)]
pub(super) struct Entry {
    pub slot: Slot,
    pub epoch: u64,
    pub record: RawRecord,
}

impl Core {
    /// Drops what waits for a partition that is gone.
    pub(super) fn forget_retries(&mut self, slot: Slot) {
        for unit in &mut self.retries {
            unit.entries.retain(|entry| entry.slot != slot);
        }
        self.retries.retain(|unit| !unit.entries.is_empty());
    }

    fn partition(&self, entry: &Entry) -> Option<TopicPartition> {
        self.parts.get(entry.slot).filter(|part| part.epoch == entry.epoch).map(|part| part.topic_partition.clone())
    }

    /// Drops entries whose assignment is over.
    fn retain_live(&self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| self.parts.get(entry.slot).is_some_and(|part| part.epoch == entry.epoch));
    }

    /// A unit one of whose partitions was paused meanwhile waits for it.
    fn may_deliver(&self, unit: &RetryUnit) -> bool {
        unit.entries.iter().all(|entry| {
            self.parts.get(entry.slot).is_none_or(|part| {
                !part.is_paused_for(PauseReason::Container)
                    && !part.is_paused_for(PauseReason::Partition)
                    && !part.is_paused_for(PauseReason::Listener)
            })
        })
    }

    fn take_due_unit(&mut self) -> Option<RetryUnit> {
        if self.retries.is_empty() {
            return None;
        }
        let now = Instant::now();
        let index = self.retries.iter().position(|unit| unit.due <= now && self.may_deliver(unit))?;
        Some(self.retries.remove(index))
    }

    /// When the next batch is retried. One that is paused has no time: a timer of the past would keep the loop busy.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.iter().filter(|unit| self.may_deliver(unit)).map(|unit| unit.due).min()
    }

    fn next_batch(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (slot, records) in self.parts.next_batch() {
            let epoch = self.parts.get(slot).map_or(0, |part| part.epoch);
            entries.reserve(records.len());
            entries.extend(records.into_iter().map(|record| Entry { slot, epoch, record }));
        }
        entries
    }
}

impl Worker {
    /// Delivers the next batch, if there is one: a retried one that is due, else everything that may be delivered.
    pub(super) async fn deliver_next_batch(&mut self) -> Result<bool, StopReason> {
        let (entries, failures) = match self.core.take_due_unit() {
            Some(unit) => (unit.entries, unit.failures),
            None => (self.core.next_batch(), 0),
        };
        if entries.is_empty() {
            return Ok(false);
        }
        self.deliver_batch(entries, failures).await.map(|()| true)
    }

    async fn deliver_batch(&mut self, mut entries: Vec<Entry>, failures: u32) -> Result<(), StopReason> {
        loop {
            self.core.retain_live(&mut entries);
            let Some(first) = entries.first().cloned() else { return Ok(()) };
            let (delivery, acknowledgment) = self.core.prepare(&entries, failures);
            let result = match self.call(delivery, (first.slot, first.record.offset())).await {
                Driven::Done(result) => result,
                Driven::Abandoned => return Ok(()),
            };
            self.core.take_messages().await;
            let error = match result {
                Ok(outcome) => return self.core.batch_ended(entries, outcome, acknowledgment).await,
                Err(error) => error,
            };
            acknowledgment.as_ref().inspect(|acknowledgment| acknowledgment.settle());
            // Elements that do not decode go to the error handler as records of their own; the listener gets the rest.
            if let Some(rejected) = find_in_chain::<BatchRejection>(error.as_ref()) {
                let failed = rejected.indexes().collect::<Vec<_>>();
                if !failed.is_empty() {
                    self.core.release_backed_off(&entries);
                    self.core.elements_rejected(&mut entries, &failed, Arc::from(error)).await?;
                    continue;
                }
            }
            return self.core.batch_failed(entries, failures, error, acknowledgment).await;
        }
    }
}

impl Core {
    fn prepare(&mut self, entries: &[Entry], failures: u32) -> (Delivery, Option<Acknowledgment>) {
        let mut records = BatchRecords::with_capacity(entries.len());
        let mut epochs: Vec<(TopicPartition, u64)> = Vec::new();
        let mut run: Option<(Slot, TopicPartition)> = None;
        let async_acks = self.properties.async_acks;
        for entry in entries {
            if run.as_ref().is_none_or(|(slot, _)| *slot != entry.slot) {
                let Some(part) = self.parts.get(entry.slot) else { continue };
                run = Some((entry.slot, part.topic_partition.clone()));
                if !epochs.iter().any(|(partition, _)| *partition == part.topic_partition) {
                    epochs.push((part.topic_partition.clone(), entry.epoch));
                }
            }
            let Some((_, partition)) = &run else { continue };
            let attempt = failures.max(self.attempts.failures(entry.slot, entry.record.offset())) + 1;
            records.push(partition, entry.record.clone(), attempt);
            self.engine.delivered(entry.slot, entry.record.offset());
            if async_acks && let Some(part) = self.parts.get_mut(entry.slot) {
                part.delivered_at.push_back((entry.record.offset(), Instant::now()));
            }
        }
        let records = Arc::new(records);
        let mut delivery = Delivery::batch(self.context.clone(), records.clone());
        let acknowledgment = self.hand_mode().map(|mode| Acknowledgment::for_batch(self.link.clone(), mode, records, epochs));
        if let Some(acknowledgment) = &acknowledgment {
            delivery = delivery.with_acknowledgment(acknowledgment.clone());
        }
        self.consumer.mark_progress();
        (delivery, acknowledgment)
    }

    async fn batch_ended(
        &mut self,
        mut entries: Vec<Entry>,
        outcome: Outcome,
        acknowledgment: Option<Acknowledgment>,
    ) -> Result<(), StopReason> {
        let nack = acknowledgment.as_ref().and_then(Acknowledgment::listener_returned);
        self.release_backed_off(&entries);
        if let Some(nack) = nack {
            let rest = entries.split_off(nack.index.min(entries.len()));
            self.done(&entries);
            let slots = self.hold_again(rest);
            slots.into_iter().for_each(|slot| self.back_off(slot, nack.sleep));
            if self.engine.flush() == Decision::Commit {
                self.commit().await;
            }
            return Ok(());
        }
        if outcome == Outcome::Filtered || acknowledgment.is_none() {
            acknowledgment.inspect(Acknowledgment::settle);
            self.done(&entries);
        } else {
            self.succeeded(&entries);
        }
        self.after_batch().await;
        Ok(())
    }

    /// The decision point behind each batch.
    async fn after_batch(&mut self) {
        let now = self.now_if_timed();
        if self.engine.after_batch(now) == Decision::Commit {
            self.commit().await;
        }
        self.follow_unacked();
    }

    /// The partitions of a batch that was retried flow again.
    fn release_backed_off(&mut self, entries: &[Entry]) {
        let mut last = None;
        for entry in entries {
            if last.replace(entry.slot) != Some(entry.slot)
                && self.parts.get(entry.slot).is_some_and(|part| part.epoch == entry.epoch && part.wake_at.is_none())
            {
                self.set_pause(entry.slot, PauseReason::BackOff, false);
            }
        }
    }

    fn done(&mut self, entries: &[Entry]) {
        for entry in entries {
            if self.parts.get(entry.slot).is_some_and(|part| part.epoch == entry.epoch) {
                self.engine.done(entry.slot, entry.record.offset());
            }
        }
        self.succeeded(entries);
    }

    fn succeeded(&mut self, entries: &[Entry]) {
        let mut last = None;
        for entry in entries {
            if last.replace(entry.slot) != Some(entry.slot) {
                self.attempts.forget(entry.slot);
            }
        }
    }

    /// Puts records back in front of what their partitions hold; returns the partitions.
    fn hold_again(&mut self, entries: Vec<Entry>) -> Vec<Slot> {
        let mut by_slot: Vec<(Slot, VecDeque<RawRecord>)> = Vec::new();
        for entry in entries {
            if self.parts.get(entry.slot).is_none_or(|part| part.epoch != entry.epoch) {
                continue;
            }
            match by_slot.iter_mut().find(|(slot, _)| *slot == entry.slot) {
                Some((_, records)) => records.push_back(entry.record),
                None => by_slot.push((entry.slot, VecDeque::from([entry.record]))),
            }
        }
        let slots = by_slot.iter().map(|(slot, _)| *slot).collect();
        // From the last to the first, so that the first stands in front.
        for (slot, records) in by_slot.into_iter().rev() {
            if let Some(first) = records.front() {
                self.engine.put_back(slot, first.offset());
            }
            self.put_back(slot, records);
            self.set_pause(slot, PauseReason::BackOff, false);
        }
        slots
    }

    async fn elements_rejected(
        &mut self,
        entries: &mut Vec<Entry>,
        failed: &[usize],
        all: Arc<dyn std::error::Error + Send + Sync>,
    ) -> Result<(), StopReason> {
        let mut left: VecDeque<(usize, Entry)> = std::mem::take(entries).into_iter().enumerate().collect();
        while let Some((index, entry)) = left.pop_front() {
            if !failed.contains(&index) {
                entries.push(entry);
                continue;
            }
            if self.parts.get(entry.slot).is_none_or(|part| part.epoch != entry.epoch) {
                continue;
            }
            let slot = entry.slot;
            let rejection = Box::new(ElementRejected { all: all.clone(), index });
            if self.record_failed(slot, entry.record, rejection, true).await? == Fate::Again {
                // It is held again; what follows it in its partition waits behind it, rejected or not: one that was delivered, or
                // settled, before it would have its offset committed.
                let (behind, others) = left.into_iter().partition::<VecDeque<_>, _>(|(_, entry)| entry.slot == slot);
                left = others;
                self.hold_behind(slot, behind.into_iter().map(|(_, entry)| entry).collect());
            }
        }
        Ok(())
    }

    /// Holds records of a partition again, behind the first one that is held.
    fn hold_behind(&mut self, slot: Slot, behind: Vec<Entry>) {
        let Some(part) = self.parts.get_mut(slot) else { return };
        let Some(first) = part.held.pop_front() else { return };
        for entry in behind.into_iter().rev() {
            part.held.push_front(entry.record);
        }
        part.held.push_front(first);
    }

    async fn batch_failed(
        &mut self,
        mut entries: Vec<Entry>,
        failures: u32,
        error: BoxError,
        acknowledgment: Option<Acknowledgment>,
    ) -> Result<(), StopReason> {
        // What was acknowledged by hand stays done; only the rest failed.
        let acked = acknowledgment.as_ref().map_or(0, Acknowledgment::acked_elements).min(entries.len());
        let index = failed_index(error.as_ref(), entries.len());
        match index {
            Some(index) => {
                self.release_backed_off(&entries);
                let mut rest = entries.split_off(index);
                self.done(&entries);
                // What lies behind the failed element and was acknowledged does not come again.
                let unacked = rest.split_off(acked.saturating_sub(index).max(1));
                self.hold_again(unacked);
                let failed = rest.swap_remove(0);
                if acked <= index && self.parts.get(failed.slot).is_some_and(|part| part.epoch == failed.epoch) {
                    self.record_failed(failed.slot, failed.record, error, true).await?;
                }
            }
            None => {
                let rest = entries.split_off(acked);
                self.release_backed_off(&entries);
                if !rest.is_empty() {
                    self.whole_batch_failed(rest, failures + 1, error).await?;
                }
            }
        }
        self.after_batch().await;
        Ok(())
    }

    /// No index: the batch is retried in memory as it is, then each of its records is recovered.
    async fn whole_batch_failed(&mut self, mut entries: Vec<Entry>, failures: u32, error: BoxError) -> Result<(), StopReason> {
        self.retain_live(&mut entries);
        let Some(first) = entries.first().cloned() else { return Ok(()) };
        let Some(partition) = self.partition(&first) else { return Ok(()) };
        self.tell_listener_failed(first.slot, first.record.offset(), failures, &error);
        let (listener_id, group_id) = (self.context.listener_id().clone(), self.context.group_id().cloned());
        let failure = Failure {
            listener_id: &listener_id,
            group_id: group_id.as_deref(),
            topic_partition: &partition,
            record: &first.record,
            error: error.as_ref(),
            failures,
            batch: true,
        };
        match decide(self.error_handler.as_ref(), &failure) {
            ErrorDecision::Retry { after } => {
                for entry in entries.iter().rev() {
                    self.engine.put_back(entry.slot, entry.record.offset());
                }
                for entry in &entries {
                    if let Some(part) = self.parts.get_mut(entry.slot) {
                        // They wait for no acknowledgment until they are delivered again.
                        let kept = part.delivered_at.partition_point(|(offset, _)| *offset < entry.record.offset());
                        part.delivered_at.truncate(kept);
                    }
                    self.set_pause(entry.slot, PauseReason::BackOff, true);
                }
                self.retries.push(RetryUnit { due: Instant::now() + after.min(FOREVER), failures, entries });
                Ok(())
            }
            ErrorDecision::Stop { reason } => {
                Err(StopReason::ErrorHandler(format!("{partition}@{}: {reason}", first.record.offset())))
            }
            ErrorDecision::Skip | ErrorDecision::Recover => {
                self.release_backed_off(&entries);
                let shared: Arc<dyn std::error::Error + Send + Sync> = Arc::from(error);
                let mut left = VecDeque::from(entries);
                while let Some(entry) = left.pop_front() {
                    if self.parts.get(entry.slot).is_none_or(|part| part.epoch != entry.epoch) {
                        continue;
                    }
                    self.attempts.set(entry.slot, entry.record.offset(), failures.saturating_sub(1), shared.as_ref());
                    let slot = entry.slot;
                    let error = Box::new(crate::error::SharedError(shared.clone()));
                    if self.record_failed(slot, entry.record, error, true).await? == Fate::Again {
                        // Its recovery failed: what follows in its partition waits behind it.
                        let (behind, others) = left.into_iter().partition::<VecDeque<_>, _>(|entry| entry.slot == slot);
                        left = others;
                        self.hold_behind(slot, behind.into());
                    }
                }
                Ok(())
            }
        }
    }
}
