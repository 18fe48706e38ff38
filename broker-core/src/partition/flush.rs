//! When a write counts: at once where the page cache is good enough, or when it is durable. Who waits for that waits together with
//! everybody else who wrote meanwhile: one sync serves them all, and it is made without the partition's lock.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError, TryLockError};

use super::{PartitionHandle, State, storage};
use crate::error::{Error, ErrorCode};
use crate::log::{Log, SyncJob};

/// Who makes partitions durable when they ask for it.
pub(crate) trait Flusher: Send + Sync {
    /// Calls [`PartitionHandle::flush`] soon: later, or before it returns.
    fn flush(&self, partition: &PartitionHandle);
    /// A partition is to be flushed at some time from now on: ask them all again.
    fn look_again(&self);
}

/// What the partition's lock guards of this.
#[derive(Default)]
pub(super) struct Flushing {
    /// Nothing may be read, nor is acknowledged, before everything up to here is durable.
    pub(super) must: i64,
    /// Whether a flush was asked for that has not begun.
    asked: bool,
    /// What stands before this is superseded: it goes when everything behind is durable.
    superseded: Option<i64>,
    /// When everything is to be durable, by the clock that measures time-outs.
    at_ms: Option<u64>,
    waiting: Vec<Waiting>,
}

/// Somebody who waits until everything before an offset counts.
struct Waiting {
    end: i64,
    /// Or is durable, whether that counted before or not.
    durable: bool,
    done: Done,
}

type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

impl fmt::Debug for Flushing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushing").field("must", &self.must).field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// What is to be asked of the flusher, once the lock is released.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(super) struct Ask {
    now: bool,
    in_time: bool,
}

impl Flushing {
    /// Sees to it that what is not durable is made so in time; true if there is a new time to look at. What is there when the log is
    /// opened, or when the setting changes, counts as written then.
    pub fn arm(&mut self, log: &Log, flush_ms: i64, now_ms: u64) -> bool {
        let due = flush_ms < i64::MAX && self.at_ms.is_none() && log.recovery_point() < log.end();
        if due {
            self.at_ms = Some(now_ms.saturating_add(flush_ms as u64));
        }
        due
    }
}

impl PartitionHandle {
    /// A batch was appended: it may be read, or must be durable first.
    pub(super) fn appended(&self, state: &mut State, flush_ms: i64) -> Ask {
        let State { log, flushing, producers, .. } = state;
        let mut ask = Ask::default();
        if log.is_flush_due() {
            flushing.must = log.end();
        }
        if flushing.must <= log.recovery_point() {
            if producers.transactions.is_ending() {
                self.settle_transactions(producers, log.end());
            }
            self.0.end.store(log.end(), Ordering::Release);
        }
        if flushing.must > log.recovery_point() || log.has_closed_segments_to_sync() {
            ask.now = !std::mem::replace(&mut flushing.asked, true);
        }
        if flush_ms < i64::MAX {
            ask.in_time = flushing.arm(log, flush_ms, self.0.surroundings.clock.monotonic_ms());
        }
        ask
    }

    /// To be called when the lock is released.
    pub(super) fn ask(&self, ask: Ask) {
        if ask.now {
            self.0.surroundings.flusher.flush(self);
        }
        if ask.in_time {
            self.0.surroundings.flusher.look_again();
        }
    }

    /// Makes durable what somebody waits for; otherwise what the segments hold that are not appended to any more.
    pub(crate) fn flush(&self) {
        self.state().flushing.asked = false;
        self.remove_superseded();
        // Who waits is told how it went, and who comes next.
        let _ = self.make_durable(|state| {
            let all = state.flushing.must > state.log.recovery_point();
            state.log.begin_sync(all)
        });
    }

    /// Everything before an offset was written again behind it.
    pub(super) fn supersede(&self, base: i64) {
        let mut state = self.state();
        state.flushing.superseded = Some(base);
        let ask = Ask { now: !std::mem::replace(&mut state.flushing.asked, true), in_time: false };
        drop(state);
        self.ask(ask);
    }

    /// Removes what is superseded, once everything is durable: what takes its place, and itself, since a power cut may bring it back,
    /// and what is behind would go if it was torn then. Not while house is kept, which may take as long as a compaction, and may be
    /// who asks: later, then.
    fn remove_superseded(&self) {
        let Some(base) = self.state().flushing.superseded.take() else { return };
        if self.make_durable(|state| state.log.begin_sync(true)).is_err() {
            return;
        }
        let alone = self.0.housework.try_lock();
        let mut state = self.state();
        if matches!(alone, Err(TryLockError::WouldBlock)) {
            state.flushing.superseded = state.flushing.superseded.max(Some(base));
        } else if !self.is_deleted() {
            if let Err(error) = state.log.remove_before(base) {
                tracing::error!(target: "broker_core::storage", partition = %self.0.id, %error, "old segments cannot be removed: no more writes are taken");
            }
            self.0.start.store(state.log.start(), Ordering::Release);
        }
    }

    /// Flushes if it is time; when it will be, otherwise.
    pub(crate) fn flush_in_time(&self) -> Option<u64> {
        self.remove_superseded();
        let now = self.0.surroundings.clock.monotonic_ms();
        let at = self.state().flushing.at_ms?;
        if at > now {
            return Some(at);
        }
        let _ = self.make_durable(|state| {
            state.flushing.at_ms = None;
            state.log.begin_sync(true)
        });
        None
    }

    /// Makes everything durable that is there.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.make_durable(|state| state.log.begin_sync(true)).map_err(|error| storage(&self.0.id, "cannot be synced", error))
    }

    /// To be held by who makes files durable, from the look at which ones to the end: of two at once, the later one would leave out
    /// what the earlier one has begun and not done, and a file that failed the earlier one may not fail the later. Taken before the
    /// partition's lock.
    pub(super) fn syncing(&self) -> MutexGuard<'_, ()> {
        self.0.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable what `begin` says, without the partition's lock; shows what counts then. Nothing of a deleted partition, whose
    /// folder may be another one's.
    pub(super) fn make_durable(&self, begin: impl FnOnce(&mut State) -> io::Result<Option<SyncJob>>) -> io::Result<()> {
        let syncing = self.syncing();
        let mut state = self.state();
        let begun = if self.is_deleted() { Ok(None) } else { begin(&mut state) };
        let done = match begun {
            Ok(Some(job)) => {
                drop(state);
                let result = job.run();
                state = self.state();
                state.log.finish_sync(&job, result).inspect_err(|error| {
                    tracing::error!(target: "broker_core::storage", partition = %self.0.id, %error, "a sync failed: no more writes are taken");
                })
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        drop(syncing);
        self.settle_all(state);
        done
    }

    /// Shows what counts by now, and tells who waited for it.
    pub(super) fn settle(&self) {
        self.settle_all(self.state());
    }

    /// The same, in one go with what made it count.
    pub(super) fn settle_all(&self, mut state: MutexGuard<'_, State>) {
        let mut told: Vec<(Waiting, Result<(), Error>)> = Vec::new();
        {
            let State { log, flushing, producers, .. } = &mut *state;
            if let Err(error) = log.check_sound() {
                let text = error.to_string();
                let failed = |waiting| (waiting, Err(storage(&self.0.id, "takes no writes", io::Error::other(text.clone()))));
                told.extend(flushing.waiting.drain(..).map(failed));
            } else if self.is_deleted() {
                let text = || Error::new(ErrorCode::UnknownTopicOrPartition, format!("{} was deleted", self.0.id));
                told.extend(flushing.waiting.drain(..).map(|waiting| (waiting, Err(text()))));
            } else {
                let counts = if flushing.must <= log.recovery_point() { log.end() } else { log.recovery_point() };
                let end = self.end_offset().max(counts);
                if producers.transactions.is_ending() {
                    self.settle_transactions(producers, end);
                }
                self.0.end.store(end, Ordering::Release);
                let durable = log.recovery_point();
                let over = |waiting: &mut Waiting| waiting.end <= if waiting.durable { durable } else { end };
                told.extend(flushing.waiting.extract_if(.., over).map(|waiting| (waiting, Ok(()))));
            }
        }
        drop(state);
        self.0.watchers.notify();
        told.into_iter().for_each(|(waiting, result)| (waiting.done)(result));
    }

    /// Behind the last write, if that does not count yet: something waits for the disk.
    pub fn unacknowledged(&self) -> Option<i64> {
        let end = self.state().log.end();
        (end > self.end_offset()).then_some(end)
    }

    /// Whether what it acknowledges is durable: its topic's `flush.messages` asks for it.
    pub(crate) fn is_flushed_by_count(&self) -> bool {
        self.config().topic.flush_messages < i64::MAX
    }

    /// Has everything made durable that is there, and calls `done` when it is.
    pub(super) fn when_durable(&self, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let mut state = self.state();
        let State { log, flushing, .. } = &mut *state;
        let end = log.end();
        flushing.must = flushing.must.max(end);
        flushing.waiting.push(Waiting { end, durable: true, done: Box::new(done) });
        let now = !std::mem::replace(&mut flushing.asked, true);
        drop(state);
        self.ask(Ask { now, in_time: false });
        // It may have been durable all along, or have failed.
        self.settle();
    }

    /// Calls `done` when everything before `end` counts: it can be read, and is as durable as the topic's `flush.messages` asks.
    /// At once where the page cache is good enough.
    pub fn when_acknowledged(&self, end: i64, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        if self.end_offset() < end {
            self.state().flushing.waiting.push(Waiting { end, durable: false, done: Box::new(done) });
            // It may have come to count, or to fail, in between.
            self.settle();
        } else {
            done(Ok(()));
        }
    }
}
