//! One consumer's loop: it decides when to poll. It drives the listener's call and the consumer together, so timers, commits
//! and commands go on while a call runs; only records are not handed out.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::commit::InFlight;
use super::dispatch_batch::RetryUnit;
use super::event::{EventKind, Events, PauseReason, StopReason};
use super::parts::Parts;
use super::properties::ContainerProperties;
use super::state::{Intent, Stop};
use crate::ack::{AckEngine, AckProperties, Decision, Slot};
use crate::client::{ClientError, ClientErrorKind, CommitOffset, Consumer, Polled, RawRecord, SeekTo, TopicPartition};
use crate::error::{Attempts, ErrorHandler, RecoverContext};
use crate::handler::{BoxedHandler, DeliveryContext};
use crate::listener::link::{LinkMessage, WorkerLink};

/// What a worker is made from.
pub(super) struct WorkerParts {
    pub index: usize,
    pub properties: Arc<ContainerProperties>,
    pub consumer: Box<dyn Consumer>,
    pub service: BoxedHandler,
    pub context: Arc<DeliveryContext>,
    pub link: Arc<WorkerLink>,
    pub error_handler: Arc<dyn ErrorHandler>,
    pub recover: RecoverContext,
    pub events: Events,
    pub intent: watch::Receiver<Intent>,
}

/// The loop and the listener's service; apart, so that a call can be driven while the loop goes on.
pub(super) struct Worker {
    pub service: BoxedHandler,
    pub core: Core,
}

pub(super) struct Core {
    pub index: usize,
    pub properties: Arc<ContainerProperties>,
    pub consumer: Box<dyn Consumer>,
    pub context: Arc<DeliveryContext>,
    pub link: Arc<WorkerLink>,
    pub error_handler: Arc<dyn ErrorHandler>,
    pub recover: RecoverContext,
    pub events: Events,
    pub intent: watch::Receiver<Intent>,
    pub engine: AckEngine,
    pub parts: Parts,
    pub attempts: Attempts,
    pub retries: Vec<RetryUnit>,
    /// Raised with each assignment and each seek: what carries an older one is stale.
    pub epoch: u64,
    pub started: Instant,
    pub messages: Vec<LinkMessage>,
    pub seeks: Vec<(TopicPartition, u64, SeekTo)>,
    pub commits: Vec<(Slot, i64)>,
    pub offsets: Vec<CommitOffset>,
    /// The record in the listener's hands, if it has to come again.
    pub kept: Option<RawRecord>,
    pub in_flight: VecDeque<InFlight>,
    pub paused: bool,
    /// How far a stop goes, as last asked for.
    pub stop: Stop,
    pub fenced_told: bool,
    pub last_record: Instant,
    pub idle_told: Option<Instant>,
    pub had_data: bool,
    pub last_lag: Instant,
    pub poll_retry_at: Option<Instant>,
}

/// How driving a call ended.
pub(super) enum Driven<T> {
    Done(T),
    /// Stop was asked for at once: the call was dropped at an await.
    Abandoned,
}

/// Spring's factor: before the first record ever, the idle interval is this many times as long.
const IDLE_BEFORE_DATA: u32 = 5;

impl Worker {
    pub fn new(parts: WorkerParts) -> Self {
        let WorkerParts { index, properties, consumer, service, context, link, error_handler, recover, events, intent } = parts;
        let ack = AckProperties {
            mode: properties.ack_mode,
            ack_count: properties.ack_count,
            ack_time_ms: properties.ack_time.as_millis() as u64,
            async_acks: properties.async_acks,
            auto_commit: properties.auto_commit || properties.group_id.is_none(),
            max_unacked: properties.max_unacked,
        };
        let now = Instant::now();
        let core = Core {
            index,
            properties,
            consumer,
            context,
            link,
            error_handler,
            recover,
            events,
            intent,
            engine: AckEngine::new(ack, 0),
            parts: Parts::default(),
            attempts: Attempts::default(),
            retries: Vec::new(),
            epoch: 0,
            started: now,
            messages: Vec::new(),
            seeks: Vec::new(),
            commits: Vec::new(),
            offsets: Vec::new(),
            kept: None,
            in_flight: VecDeque::new(),
            paused: false,
            stop: Stop::No,
            fenced_told: false,
            last_record: now,
            idle_told: None,
            had_data: false,
            last_lag: now,
            poll_retry_at: None,
        };
        Self { service, core }
    }

    /// Runs until it is told to stop or fails. Closes the consumer in either case.
    pub async fn run(mut self) -> StopReason {
        self.core.emit(EventKind::Started);
        let reason = loop {
            match self.turn().await {
                Ok(true) => {}
                Ok(false) => break StopReason::Normal,
                Err(reason) => break reason,
            }
        };
        self.core.wind_down(&reason).await;
        let Core { consumer, link, events, context, index, .. } = self.core;
        link.close();
        if let Err(error) = consumer.close().await {
            tracing::warn!(target: "kafka_listener::container", worker = index, %error, "closing the consumer failed");
        }
        events.emit(context.listener_id(), Some(index), EventKind::Stopped { reason: reason.clone() });
        reason
    }

    /// One turn: messages, timers, a rebalance, then the next record or batch, else commit and poll. False ends the loop.
    async fn turn(&mut self) -> Result<bool, StopReason> {
        let stop = self.core.follow_intent().await;
        if stop >= Stop::Immediate {
            return Ok(false);
        }
        self.core.take_messages().await;
        self.core.apply_seeks().await;
        self.core.fire_timers().await;
        if self.core.consumer.rebalance_pending() {
            // A stopping worker leaves the group instead: what it has not delivered goes to the next owner.
            return if stop == Stop::No { self.core.poll(Duration::ZERO).await.map(|()| true) } else { Ok(false) };
        }
        if self.deliver_next().await? {
            return Ok(true);
        }
        let now = self.core.now();
        if self.core.engine.settled(now) == Decision::Commit {
            self.core.commit().await;
        }
        if stop == Stop::Drain {
            return Ok(false);
        }
        // A listener that never waits would otherwise keep this thread from every other task.
        tokio::task::yield_now().await;
        self.core.poll(self.core.properties.poll_timeout).await.map(|()| true)
    }

    async fn deliver_next(&mut self) -> Result<bool, StopReason> {
        if self.core.properties.batch {
            return self.deliver_next_batch().await;
        }
        match self.core.parts.next_record() {
            Some((slot, record)) => self.deliver_record(slot, record).await.map(|()| true),
            None => Ok(false),
        }
    }
}

impl Core {
    /// Milliseconds since the worker started: the ack engine's time.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The same where the mode looks at it; other modes need no clock.
    pub fn now_if_timed(&self) -> u64 {
        use crate::ack::AckMode::{CountTime, Time};
        if matches!(self.properties.ack_mode, Time | CountTime) { self.now() } else { 0 }
    }

    pub fn emit(&self, kind: EventKind) {
        self.events.emit(self.context.listener_id(), Some(self.index), kind);
    }

    /// Does what the container was asked for; returns how far a stop goes.
    pub async fn follow_intent(&mut self) -> Stop {
        match self.intent.has_changed() {
            Ok(true) => {}
            Ok(false) => return self.stop,
            // The container is gone, and with it everybody who could ask for more.
            Err(_) => return Stop::Immediate,
        }
        let intent = self.intent.borrow_and_update().clone();
        let newly_paused = intent.paused && !self.paused;
        self.paused = intent.paused;
        let mut any_paused = newly_paused;
        for slot in self.parts.slots() {
            let Some(part) = self.parts.get(slot) else { continue };
            let partition_paused = intent.paused_partitions.contains(&part.topic_partition);
            any_paused |= partition_paused && !part.is_paused_for(PauseReason::Partition);
            self.set_pause(slot, PauseReason::Container, intent.paused);
            self.set_pause(slot, PauseReason::Partition, partition_paused);
        }
        if any_paused && self.engine.flush() == Decision::Commit {
            self.commit().await;
        }
        self.stop = intent.stop;
        intent.stop
    }

    /// Adds or removes a reason to pause a partition, and tells the consumer when that changes anything.
    pub fn set_pause(&mut self, slot: Slot, reason: PauseReason, paused: bool) {
        let Some(part) = self.parts.get_mut(slot) else { return };
        if !part.set_pause(reason, paused) {
            return;
        }
        let partitions = vec![part.topic_partition.clone()];
        let (now_paused, was_paused, has_held) = (part.is_paused(), part.consumer_paused, !part.held.is_empty());
        part.consumer_paused = now_paused;
        if now_paused != was_paused {
            let told = if now_paused { self.consumer.pause(&partitions) } else { self.consumer.resume(&partitions) };
            if let Err(error) = told {
                tracing::warn!(target: "kafka_listener::container", %error, "pausing or resuming failed");
            }
            self.link.update(&partitions[0], |live| live.paused = now_paused);
        }
        if !now_paused && has_held {
            self.parts.make_ready(slot);
        }
        self.emit(if paused { EventKind::Paused { partitions, reason } } else { EventKind::Resumed { partitions, reason } });
    }

    /// What is due: back-offs end, `ack_time` passes, idle and missing acknowledgments are told.
    pub async fn fire_timers(&mut self) {
        let Some(due) = self.next_timer() else { return };
        let now = Instant::now();
        if due > now {
            return;
        }
        for slot in self.parts.slots() {
            if let Some(part) = self.parts.get_mut(slot)
                && part.wake_at.is_some_and(|at| at <= now)
            {
                part.wake_at = None;
                self.set_pause(slot, PauseReason::BackOff, false);
            }
        }
        if self.engine.timer(self.now()) == Decision::Commit {
            self.commit().await;
        }
        self.tell_missing_acks(now);
        self.tell_idle(now);
    }

    /// When `fire_timers` next has something to do.
    pub fn next_timer(&self) -> Option<Instant> {
        let ack = self.engine.next_deadline().map(|at| self.started + Duration::from_millis(at));
        [ack, self.parts.next_wake(), self.next_retry(), self.next_ack_timeout(), self.next_idle()].into_iter().flatten().min()
    }

    fn next_ack_timeout(&self) -> Option<Instant> {
        if !self.properties.async_acks {
            return None;
        }
        let oldest = self.parts.iter().filter(|(_, part)| !part.ack_missing_told);
        oldest.filter_map(|(_, part)| part.delivered_at.front().map(|(_, at)| *at + self.properties.ack_timeout)).min()
    }

    fn tell_missing_acks(&mut self, now: Instant) {
        if !self.properties.async_acks {
            return;
        }
        for slot in self.parts.slots() {
            let oldest = self.engine.oldest_unacked(slot);
            let Some(part) = self.parts.get_mut(slot) else { continue };
            while part.delivered_at.front().is_some_and(|(offset, _)| oldest.is_none_or(|oldest| *offset < oldest)) {
                part.delivered_at.pop_front();
                part.ack_missing_told = false;
            }
            let Some((offset, at)) = part.delivered_at.front().copied() else { continue };
            if !part.ack_missing_told && at + self.properties.ack_timeout <= now {
                part.ack_missing_told = true;
                let partition = part.topic_partition.clone();
                self.emit(EventKind::AckMissing { partition, offset, dropped: false });
            }
        }
    }

    fn next_idle(&self) -> Option<Instant> {
        let whole = self.properties.idle_event_interval.map(|interval| {
            let interval = if self.had_data { interval } else { interval * IDLE_BEFORE_DATA };
            self.idle_told.unwrap_or(self.last_record) + interval
        });
        let part = self
            .properties
            .idle_partition_event_interval
            .and_then(|interval| self.parts.iter().map(|(_, part)| part.idle_told.unwrap_or(part.last_record) + interval).min());
        let lag = self.properties.lag_event_interval.map(|interval| self.last_lag + interval);
        [whole, part, lag].into_iter().flatten().min()
    }

    fn tell_idle(&mut self, now: Instant) {
        if let Some(interval) = self.properties.idle_event_interval {
            let interval = if self.had_data { interval } else { interval * IDLE_BEFORE_DATA };
            if self.idle_told.unwrap_or(self.last_record) + interval <= now {
                self.idle_told = Some(now);
                self.emit(EventKind::Idle { idle_for: now - self.last_record });
            }
        }
        if let Some(interval) = self.properties.idle_partition_event_interval {
            for slot in self.parts.slots() {
                let Some(part) = self.parts.get_mut(slot) else { continue };
                if part.idle_told.unwrap_or(part.last_record) + interval <= now {
                    part.idle_told = Some(now);
                    let (partition, idle_for) = (part.topic_partition.clone(), now - part.last_record);
                    self.emit(EventKind::PartitionIdle { partition, idle_for });
                }
            }
        }
        if let Some(interval) = self.properties.lag_event_interval
            && self.last_lag + interval <= now
        {
            self.last_lag = now;
            let lag = |part: &super::parts::Part, slot| {
                let end = self.consumer.end_offset(&part.topic_partition)?;
                Some((part.topic_partition.clone(), (end - self.engine.committed(slot)).max(0)))
            };
            let partitions = self.parts.iter().filter_map(|(slot, part)| lag(part, slot)).collect();
            self.emit(EventKind::Lag { partitions });
        }
    }

    /// Drives a call of the listener (or of a recoverer) to its end while messages, timers and commands go on.
    /// `in_hand` is the record, or the first of the batch: after `max.poll.interval.ms` the member leaves its group, an event
    /// names it, and the late result counts for nothing.
    pub async fn drive<T>(&mut self, mut call: Pin<&mut (dyn Future<Output = T> + Send)>, in_hand: (Slot, i64)) -> Driven<T> {
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            return Driven::Done(done);
        }
        let mut overdue = Some(Instant::now() + self.properties.max_poll_interval);
        // A receiver of its own: what it sees stays new to the loop.
        let mut intent = self.intent.clone();
        loop {
            self.take_messages().await;
            let timer = [self.next_call_timer(), overdue].into_iter().flatten().min();
            tokio::select! {
                biased;
                // The call first: its end is the most progress.
                done = &mut call => return Driven::Done(done),
                () = self.link.message() => continue,
                () = abandoned(&mut intent) => return Driven::Abandoned,
                () = sleep_until(timer) => {}
            }
            if overdue.is_some_and(|at| at <= Instant::now()) {
                overdue = None;
                self.leave_late(in_hand).await;
            }
            if self.engine.timer(self.now()) == Decision::Commit {
                self.commit().await;
            }
            self.tell_missing_acks(Instant::now());
        }
    }

    /// The timers that matter while a call runs.
    fn next_call_timer(&self) -> Option<Instant> {
        let ack = self.engine.next_deadline().map(|at| self.started + Duration::from_millis(at));
        [ack, self.next_ack_timeout()].into_iter().flatten().min()
    }

    /// Polls once, however long that takes up to `timeout`, and answers what it brings.
    pub async fn poll(&mut self, timeout: Duration) -> Result<(), StopReason> {
        // While nothing comes, what it arrived in is not held.
        self.kept = None;
        let timer = self.next_timer();
        if let Some(retry_at) = self.poll_retry_at {
            tokio::select! {
                biased;
                _ = self.intent.changed() => self.intent.mark_changed(),
                () = self.link.message() => {}
                () = sleep_until(Some(retry_at)) => self.poll_retry_at = None,
            }
            return Ok(());
        }
        let in_flight = self.in_flight.front_mut();
        let polled = tokio::select! {
            biased;
            // Commands, then answers and acknowledgments, then records: what ends work comes before what makes some.
            _ = self.intent.changed() => {
                self.intent.mark_changed();
                return Ok(());
            }
            () = self.link.message() => return Ok(()),
            () = super::commit::answered(in_flight) => {
                self.settle_in_flight();
                return Ok(());
            }
            polled = self.consumer.poll(timeout) => polled,
            () = sleep_until(timer) => return Ok(()),
        };
        match polled {
            Ok(Polled::Records(records)) if records.is_empty() => {
                let now = self.now();
                if self.engine.empty_poll(now) == Decision::Commit {
                    self.commit().await;
                }
                Ok(())
            }
            Ok(Polled::Records(records)) => {
                self.hold(records);
                Ok(())
            }
            Ok(Polled::Revoked(partitions)) => {
                self.revoked(partitions).await;
                Ok(())
            }
            Ok(Polled::Lost(partitions)) => {
                self.lost(partitions);
                Ok(())
            }
            Ok(Polled::Assigned(partitions)) => {
                self.assigned(partitions).await;
                Ok(())
            }
            Ok(Polled::Woken) => Ok(()),
            Err(error) => self.poll_failed(error),
        }
    }

    fn poll_failed(&mut self, error: ClientError) -> Result<(), StopReason> {
        match error.kind() {
            ClientErrorKind::NoOffsetForPartition | ClientErrorKind::OffsetOutOfRange => {
                Err(StopReason::NoOffset(error.to_string()))
            }
            ClientErrorKind::Closed | ClientErrorKind::IllegalState | ClientErrorKind::Config => {
                Err(StopReason::Consumer(error.to_string()))
            }
            _ => {
                self.poll_retry_at = Some(Instant::now() + self.properties.poll_error_back_off);
                self.emit(EventKind::PollFailed { error: error.to_string() });
                Ok(())
            }
        }
    }

    fn hold(&mut self, records: crate::client::ConsumerRecords) {
        let now = Instant::now();
        self.last_record = now;
        self.had_data = true;
        if self.idle_told.take().is_some() {
            self.emit(EventKind::NoLongerIdle);
        }
        for polled in records.partitions {
            let Some(slot) = self.parts.find(&polled.topic_partition) else {
                tracing::error!(target: "kafka_listener::container", partition = %polled.topic_partition, "records of a partition that is not assigned were dropped");
                continue;
            };
            let next = polled.records.last().map_or(-1, |record| record.offset() + 1);
            self.link.update(&polled.topic_partition, |live| live.position = next);
            let Some(part) = self.parts.get_mut(slot) else { continue };
            part.last_record = now;
            part.idle_told = None;
            if part.held.is_empty() {
                part.held = VecDeque::from(polled.records);
            } else {
                part.held.extend(polled.records);
            }
            self.parts.make_ready(slot);
        }
    }
}

/// Completes when the container is told to drop calls; cancel-safe.
async fn abandoned(intent: &mut watch::Receiver<Intent>) {
    if intent.wait_for(|intent| intent.stop == Stop::Abandon).await.is_err() {
        // The container is gone: nobody will ask for anything any more.
        std::future::pending().await
    }
}

/// Completes at the instant; never without one.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
