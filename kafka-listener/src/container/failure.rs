//! What is done about a failed record: the error handler decides, this carries it out.

use super::event::{EventKind, StopReason};
use super::worker::{Core, Driven};
use crate::ack::Slot;
use crate::client::RawRecord;
use crate::error::{BoxError, ErrorDecision, Failure, chain_text};

/// What became of the failed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Recovered or skipped: done in every mode.
    Settled,
    /// It is held again and comes once more.
    Again,
    /// It was not decided: the partition is gone, or the call was abandoned.
    Gone,
}

impl Core {
    /// Asks the error handler about a record that was taken out of line, and does what it says.
    pub async fn record_failed(
        &mut self,
        slot: Slot,
        record: RawRecord,
        error: BoxError,
        batch: bool,
    ) -> Result<Fate, StopReason> {
        let Some(part) = self.parts.get(slot) else { return Ok(Fate::Gone) };
        let (partition, epoch, offset) = (part.topic_partition.clone(), part.epoch, record.offset());
        let failures = self.attempts.failed(slot, offset, error.as_ref());
        self.tell_listener_failed(slot, offset, failures, &error);
        let handler = self.error_handler.clone();
        let (listener_id, group_id) = (self.context.listener_id().clone(), self.context.group_id().cloned());
        let failure = Failure {
            listener_id: &listener_id,
            group_id: group_id.as_deref(),
            topic_partition: &partition,
            record: &record,
            error: error.as_ref(),
            failures,
            batch,
        };
        match handler.handle(&failure) {
            ErrorDecision::Retry { after } => {
                self.engine.put_back(slot, offset);
                self.put_back(slot, [record]);
                self.back_off(slot, after);
                Ok(Fate::Again)
            }
            ErrorDecision::Skip => {
                self.settled_by_handler(slot, offset);
                Ok(Fate::Settled)
            }
            ErrorDecision::Stop { reason } => Err(StopReason::ErrorHandler(format!("{partition}@{offset}: {reason}"))),
            ErrorDecision::Recover => {
                let context = self.recover.clone();
                let mut recovery = handler.recover(&context, &failure);
                let recovered = match self.drive(recovery.as_mut(), (slot, offset)).await {
                    Driven::Done(recovered) => recovered,
                    Driven::Abandoned => return Ok(Fate::Gone),
                };
                drop(recovery);
                if self.parts.get(slot).is_none_or(|part| part.epoch != epoch) {
                    return Ok(Fate::Gone);
                }
                match recovered {
                    Ok(()) => {
                        self.settled_by_handler(slot, offset);
                        Ok(Fate::Settled)
                    }
                    Err(error) => self.recovery_failed(slot, record, &error),
                }
            }
        }
    }

    fn settled_by_handler(&mut self, slot: Slot, offset: i64) {
        self.attempts.succeeded(slot, offset);
        self.engine.done(slot, offset);
        if let Some(part) = self.parts.get_mut(slot) {
            part.recoveries = None;
            let partition = part.topic_partition.clone();
            self.emit(EventKind::Recovered { partition, offset });
        }
    }

    /// A failing recoverer has a budget: then the container stops with the reason.
    fn recovery_failed(&mut self, slot: Slot, record: RawRecord, error: &BoxError) -> Result<Fate, StopReason> {
        let (offset, budget) = (record.offset(), self.error_handler.recovery_attempts());
        let Some(part) = self.parts.get_mut(slot) else { return Ok(Fate::Gone) };
        let failed = part.recoveries.filter(|(at, _)| *at == offset).map_or(0, |(_, failed)| failed) + 1;
        part.recoveries = Some((offset, failed));
        let partition = part.topic_partition.clone();
        let text = chain_text(error.as_ref());
        self.emit(EventKind::RecoveryFailed { partition: partition.clone(), offset, error: text.clone() });
        if failed >= budget {
            return Err(StopReason::ErrorHandler(format!(
                "{partition}@{offset}: recovering failed {failed} times, the last time: {text}"
            )));
        }
        self.engine.put_back(slot, offset);
        self.put_back(slot, [record]);
        self.back_off(slot, self.error_handler.recovery_back_off());
        Ok(Fate::Again)
    }
}
