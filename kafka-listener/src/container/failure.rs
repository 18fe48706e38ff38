//! What is done about a failed record: the error handler decides, this carries it out.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::event::{EventKind, StopReason};
use super::worker::{Core, Driven};
use crate::ack::Slot;
use crate::client::RawRecord;
use crate::error::{BoxError, ErrorDecision, ErrorHandler, Failure, RecoverContext, chain_text, panic_text};

/// What the error handler says. One that panics has decided nothing: the container stops, and the record is not done.
pub(super) fn decide(handler: &dyn ErrorHandler, failure: &Failure<'_>) -> ErrorDecision {
    let decided = catch_unwind(AssertUnwindSafe(|| handler.handle(failure)));
    decided.unwrap_or_else(|payload| ErrorDecision::Stop {
        reason: format!("the error handler panicked: {}", panic_text(&*payload)),
    })
}

/// Lets the error handler recover. A panic is a failure like any other.
async fn recover(handler: &dyn ErrorHandler, context: &RecoverContext, failure: &Failure<'_>) -> Result<(), BoxError> {
    let panicked = |payload: Box<dyn Any + Send>| BoxError::from(format!("it panicked: {}", panic_text(&*payload)));
    let mut call = catch_unwind(AssertUnwindSafe(|| handler.recover(context, failure))).map_err(panicked)?;
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
        Ok(polled) => polled,
        Err(payload) => Poll::Ready(Err(panicked(payload))),
    })
    .await
}

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
        match decide(handler.as_ref(), &failure) {
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
                let driven = {
                    let recovery = pin!(recover(handler.as_ref(), &context, &failure));
                    self.drive(recovery, (slot, offset)).await
                };
                let Driven::Done(recovered) = driven else { return Ok(Fate::Gone) };
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
