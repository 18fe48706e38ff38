//! A consumer of the broker in this process. Fetches are calls; only waiting for data, or for the group, waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_core::{Broker, DataSignal, ErrorCode, MemberIdentity, OffsetCommit, PartitionHandle};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::fetch::Source;
use super::membership::{Event, Membership};
use super::{client_error, to_broker};
use crate::client::config::{ConsumerConfig, OffsetReset};
use crate::client::{
    AssignedPartition, BoxFuture, ClientError, ClientErrorKind, CommitFuture, CommitOffset, Consumer, ConsumerRecords,
    OffsetAndMetadata, PartitionRecords, Polled, SeekTo, StartOffset, Subscription, TopicPartition, Wakeup,
};

pub(super) struct EmbeddedConsumer {
    broker: Broker,
    config: Arc<ConsumerConfig>,
    membership: Option<Membership>,
    sources: BTreeMap<TopicPartition, Source>,
    /// Whose turn it is to hand out records.
    turns: VecDeque<TopicPartition>,
    signal: Arc<DataSignal>,
    wake: Arc<Wake>,
    /// Handed out as revoked; let go by the next poll.
    revoking: Vec<TopicPartition>,
    /// Partitions assigned by hand that `poll` has not reported yet.
    report: Option<Vec<AssignedPartition>>,
    auto_commit_at: Instant,
}

#[derive(Default)]
struct Wake {
    woken: AtomicBool,
    notify: Notify,
}

impl Wakeup for Wake {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

impl EmbeddedConsumer {
    pub fn new(broker: Broker, config: ConsumerConfig) -> Self {
        let auto_commit_at = Instant::now() + config.auto_commit_interval;
        Self {
            broker,
            config: Arc::new(config),
            membership: None,
            sources: BTreeMap::new(),
            turns: VecDeque::new(),
            signal: DataSignal::new(),
            wake: Arc::default(),
            revoking: Vec::new(),
            report: None,
            auto_commit_at,
        }
    }

    fn source(&self, partition: &TopicPartition) -> Result<&Source, ClientError> {
        self.sources.get(partition).ok_or_else(|| not_assigned(partition))
    }

    fn handle(&self, partition: &TopicPartition) -> Result<PartitionHandle, ClientError> {
        self.broker.partition(&partition.topic, partition.partition).map_err(client_error)
    }

    fn add(&mut self, partition: TopicPartition, handle: PartitionHandle, position: i64) {
        let watch = handle.watch(&self.signal);
        let source = Source::new(partition.clone(), handle, watch, position, self.config.read_committed);
        if self.sources.insert(partition.clone(), source).is_none() {
            self.turns.push_back(partition);
        }
    }

    fn clear(&mut self) {
        self.sources.clear();
        self.turns.clear();
    }

    fn assign_all(&mut self, partitions: Vec<(TopicPartition, StartOffset)>) -> Result<Vec<AssignedPartition>, ClientError> {
        let mut report = Vec::new();
        for (partition, start) in partitions {
            if self.config.allow_auto_create_topics {
                self.broker.topic_or_create(&partition.topic).map_err(client_error)?;
            }
            let handle = self.handle(&partition)?;
            let assigned = match start {
                StartOffset::Committed => {
                    let start = self.start_of(&partition, &handle)?;
                    self.add(partition, handle, start.position);
                    start
                }
                StartOffset::At(to) => {
                    let from =
                        if matches!(to, SeekTo::FromCurrent(_)) { self.start_of(&partition, &handle)?.position } else { 0 };
                    self.add(partition.clone(), handle, from);
                    let position = self.seek(&partition, to)?;
                    // An explicit start is no commit of the group's, and none of `latest` either: it is not stored.
                    AssignedPartition { topic_partition: partition, position, committed: true }
                }
            };
            report.push(assigned);
        }
        Ok(report)
    }

    fn remove(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|partition| drop(self.sources.remove(partition)));
        let sources = &self.sources;
        self.turns.retain(|partition| sources.contains_key(partition));
    }

    /// Where reading a partition starts: the group's offset, else as `auto.offset.reset` says.
    fn start_of(&self, partition: &TopicPartition, handle: &PartitionHandle) -> Result<AssignedPartition, ClientError> {
        let stored = self.config.group_id.as_deref().and_then(|group| {
            let found = self.broker.fetch_offsets(group, Some(&[to_broker(partition)]));
            found.into_iter().next().and_then(|(_, stored)| stored)
        });
        let (position, committed) = match stored {
            Some(stored) if (handle.log_start()..=handle.end_offset()).contains(&stored.offset) => (stored.offset, true),
            Some(stored) => {
                let (start, end, committed) = (handle.log_start(), handle.end_offset(), stored.offset);
                tracing::warn!(target: "kafka_listener::client", %partition, group = ?self.config.group_id, committed, start, end, "the committed offset is outside the log: records were deleted or lost; auto.offset.reset decides where to go on");
                let why = format!("the committed offset {} is outside the log", stored.offset);
                (self.reset(partition, handle, &why, ClientErrorKind::OffsetOutOfRange)?, false)
            }
            None => {
                let why = "the group has no committed offset";
                (self.reset(partition, handle, why, ClientErrorKind::NoOffsetForPartition)?, false)
            }
        };
        Ok(AssignedPartition { topic_partition: partition.clone(), position, committed })
    }

    fn reset(
        &self,
        partition: &TopicPartition,
        handle: &PartitionHandle,
        why: &str,
        kind: ClientErrorKind,
    ) -> Result<i64, ClientError> {
        let end = if self.config.read_committed { handle.stable_offset() } else { handle.end_offset() };
        let start = handle.log_start();
        match self.config.auto_offset_reset {
            OffsetReset::Earliest => Ok(start),
            OffsetReset::Latest => {
                if end > start {
                    tracing::info!(target: "kafka_listener::client", %partition, group = ?self.config.group_id, passed_over = end - start, "{why}: starting at the end (auto.offset.reset = latest)");
                }
                Ok(end)
            }
            OffsetReset::None => {
                let text =
                    format!("{why}, and auto.offset.reset is none; commit an offset first, or set it to earliest or latest");
                Err(ClientError::on_partition(kind, partition.clone(), text))
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<Polled, ClientError> {
        match event {
            Event::Revoked(partitions) => {
                self.auto_commit(Some(&partitions));
                self.revoking.clone_from(&partitions);
                Ok(Polled::Revoked(partitions))
            }
            Event::Lost(partitions) => {
                self.revoking.clear();
                self.remove(&partitions);
                Ok(Polled::Lost(partitions))
            }
            Event::Assigned(partitions) => {
                let mut assigned = Vec::new();
                // Each is looked up once: one that goes in between keeps no other from being read.
                let mut handles = Vec::new();
                for partition in &partitions {
                    let found = self.handle(partition);
                    match found.and_then(|handle| Ok((self.start_of(partition, &handle)?, handle))) {
                        Ok((start, handle)) => {
                            assigned.push(start);
                            handles.push(handle);
                        }
                        // Deleted since the leader looked: the next rebalance takes it out.
                        Err(error) if error.kind() == ClientErrorKind::UnknownTopicOrPartition => {}
                        Err(error) => {
                            // Told again until there is an offset: a partition that is owned and not read would be forgotten.
                            if let Some(membership) = &self.membership {
                                membership.put_back(Event::Assigned(partitions));
                            }
                            return Err(error);
                        }
                    }
                }
                for (start, handle) in assigned.iter().zip(handles) {
                    self.add(start.topic_partition.clone(), handle, start.position);
                }
                Ok(Polled::Assigned(assigned))
            }
            Event::Failed(error) => Err(error),
        }
    }

    /// Fills what is empty, then hands out up to `max.poll.records`: one partition's buffer to its end, then the next one's.
    /// An error comes up only when no partition has records, so that a bad one does not hold up the others.
    fn collect(&mut self, wait_for_more: bool) -> Result<ConsumerRecords, ClientError> {
        let mut failed = self.fill().err();
        let buffered: usize = self.sources.values().filter(|source| !source.paused).map(Source::buffered).sum();
        if wait_for_more && failed.is_none() && buffered < self.config.fetch_min_bytes {
            return Ok(ConsumerRecords::default());
        }
        let mut partitions = Vec::new();
        let mut left = self.config.max_poll_records;
        for _ in 0..self.turns.len() {
            let Some(source) = self.turns.front().and_then(|partition| self.sources.get_mut(partition)) else { break };
            if !source.paused && source.buffered() > 0 {
                let mut records = Vec::with_capacity(left.min(1024));
                let taken = source.take(left, self.config.check_crcs, &mut records);
                left -= records.len();
                if !records.is_empty() {
                    partitions.push(PartitionRecords { topic_partition: source.partition.clone(), records });
                }
                failed = failed.or(taken.err());
                if left == 0 && source.buffered() > 0 {
                    // Its turn again. It moves on once this fetch is used up, however far behind it is.
                    break;
                }
            }
            self.turns.rotate_left(1);
            if left == 0 {
                break;
            }
        }
        match failed {
            // It comes again with the next poll.
            Some(error) if partitions.is_empty() => Err(error),
            _ => Ok(ConsumerRecords { partitions }),
        }
    }

    /// Fetches what has nothing buffered, in the order of the turns: within `fetch.max.bytes`, which is no bound for who has the
    /// turn, each comes to be fetched. The first error is told when all were tried.
    fn fill(&mut self) -> Result<(), ClientError> {
        let (mut budget, mut failed, mut outside) = (Some(self.config.fetch_max_bytes), Ok(()), Vec::new());
        for partition in &self.turns {
            let Some(source) = self.sources.get_mut(partition).filter(|source| !source.paused) else { continue };
            let Some(left) = budget else { break };
            if source.wants_fetch() {
                match source.fetch(self.config.max_partition_fetch_bytes.min(left)) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ClientErrorKind::OffsetOutOfRange => {
                        outside.push((source.partition.clone(), error));
                    }
                    // Deleted: the next rebalance takes it out.
                    Err(error) if error.kind() == ClientErrorKind::UnknownTopicOrPartition && self.membership.is_some() => {}
                    Err(error) => failed = failed.and(Err(error)),
                }
            }
            if source.buffered() > 0 {
                budget = left.checked_sub(source.buffered()).filter(|left| *left > 0);
            }
        }
        for (partition, error) in outside {
            let Some(handle) = self.sources.get(&partition).map(|source| source.handle.clone()) else { continue };
            match self.reset(&partition, &handle, &error.to_string(), ClientErrorKind::OffsetOutOfRange) {
                Ok(position) => self.sources.get_mut(&partition).into_iter().for_each(|source| source.seek(position)),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    /// Stores positions that earlier polls reached: of these partitions, or of all.
    fn auto_commit(&mut self, only: Option<&[TopicPartition]>) {
        if !self.config.enable_auto_commit {
            return;
        }
        let moved = |source: &&Source| {
            source.position != source.auto_committed
                && !source.handle.is_deleted()
                && only.is_none_or(|only| only.contains(&source.partition))
        };
        let offsets: Vec<CommitOffset> = self
            .sources
            .values()
            .filter(moved)
            .map(|source| CommitOffset { topic_partition: source.partition.clone(), offset: source.position })
            .collect();
        match self.commit_now(&offsets) {
            Ok(()) => {
                for offset in offsets {
                    if let Some(source) = self.sources.get_mut(&offset.topic_partition) {
                        source.auto_committed = offset.offset;
                    }
                }
            }
            Err(error) if error.kind() == ClientErrorKind::RebalanceInProgress => {}
            Err(error) => tracing::warn!(target: "kafka_listener::client", %error, "auto-commit failed; the next one covers it"),
        }
    }

    fn commit_now(&mut self, offsets: &[CommitOffset]) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let Some(group) = self.config.group_id.as_deref() else {
            return Err(ClientError::new(ClientErrorKind::IllegalState, "commit needs a group.id"));
        };
        if let Some(membership) = &mut self.membership {
            membership.refresh_identity();
        }
        let read = offsets.iter().filter_map(|offset| Some(&self.sources.get(&offset.topic_partition)?.handle));
        let read: Vec<_> = read.collect();
        let store = |who: MemberIdentity<'_>, commits: &[OffsetCommit<'_>]| {
            if read.len() == commits.len() {
                self.broker.commit_read_offsets(group, who, commits, read.iter().copied())
            } else {
                self.broker.commit_read_offsets(group, who, &[], read.iter().copied())?;
                self.broker.commit_offsets(group, who, commits)
            }
        };
        let member = self.membership.as_ref().map(|membership| (membership, membership.identity()));
        let send = |commits: &[OffsetCommit<'_>]| match &member {
            // A member without a generation speaks for nobody; the broker would take it for an administrator.
            Some((_, identity)) if identity.generation < 0 => {
                let text = format!("group '{group}': the member is out of its group; what it did not commit is delivered again");
                Err(ClientError::new(ClientErrorKind::Fenced, text))
            }
            Some((membership, identity)) => {
                let stored = store(identity.to_broker(), commits);
                stored.map_err(|error| match error.code() {
                    ErrorCode::IllegalGeneration if membership.has_moved_on(identity) => {
                        let text = format!("group '{group}': the next generation is there and not yet heard of");
                        ClientError::with_source(ClientErrorKind::RebalanceInProgress, text, error)
                    }
                    _ => client_error(error),
                })
            }
            None => store(MemberIdentity::administrator(), commits).map_err(client_error),
        };
        match offsets {
            [only] => send(&[to_commit(only)]),
            many => send(&many.iter().map(to_commit).collect::<Vec<_>>()),
        }
    }

    async fn poll_inner(&mut self, timeout: Duration) -> Result<Polled, ClientError> {
        if self.membership.is_none() && self.sources.is_empty() && self.report.is_none() {
            return Err(ClientError::new(ClientErrorKind::IllegalState, "poll before subscribe or assign"));
        }
        let let_go = std::mem::take(&mut self.revoking);
        self.remove(&let_go);
        if let Some(membership) = &self.membership {
            membership.poll_called();
        }
        if self.config.enable_auto_commit && self.auto_commit_at <= Instant::now() {
            self.auto_commit(None);
            self.auto_commit_at = Instant::now() + self.config.auto_commit_interval;
        }
        let start = Instant::now();
        let (deadline, more_until) = (start + timeout, start + self.config.fetch_max_wait);
        loop {
            if self.wake.woken.swap(false, Ordering::AcqRel) {
                return Ok(Polled::Woken);
            }
            if let Some(assigned) = self.report.take() {
                return Ok(Polled::Assigned(assigned));
            }
            if let Some(event) = self.membership.as_ref().and_then(Membership::next_event) {
                return self.event(event);
            }
            if !let_go.is_empty() && timeout.is_zero() {
                return Ok(Polled::Woken);
            }
            let now = Instant::now();
            let records = self.collect(now < more_until && now < deadline)?;
            if !records.is_empty() || now >= deadline {
                return Ok(Polled::Records(records));
            }
            let until = if now < more_until { deadline.min(more_until) } else { deadline };
            let event = self.membership.as_ref().map(Membership::event_signal);
            tokio::select! {
                biased;
                () = self.wake.notify.notified() => {}
                () = maybe(event) => {}
                () = self.signal.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

fn to_commit(offset: &CommitOffset) -> OffsetCommit<'_> {
    let CommitOffset { topic_partition: TopicPartition { topic, partition }, offset } = offset;
    OffsetCommit { topic, partition: *partition, offset: *offset, leader_epoch: -1, metadata: "" }
}

async fn maybe(wait: Option<impl Future<Output = ()>>) {
    match wait {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}

/// Says that a poll is over, however it ends.
struct InPoll<'a>(&'a mut EmbeddedConsumer);

impl Drop for InPoll<'_> {
    fn drop(&mut self) {
        if let Some(membership) = &self.0.membership {
            membership.poll_left();
        }
    }
}

fn not_assigned(partition: &TopicPartition) -> ClientError {
    ClientError::on_partition(ClientErrorKind::IllegalState, partition.clone(), "not assigned to this consumer")
}

impl Consumer for EmbeddedConsumer {
    fn subscribe(&mut self, subscription: Subscription) -> Result<(), ClientError> {
        if self.membership.is_some() || !self.sources.is_empty() {
            return Err(ClientError::new(
                ClientErrorKind::IllegalState,
                "the consumer has subscribed or was assigned partitions already",
            ));
        }
        let Some(group) = self.config.group_id.clone() else {
            return Err(ClientError::new(ClientErrorKind::Config, "subscribe needs a group.id"));
        };
        self.membership = Some(Membership::start(self.broker.clone(), self.config.clone(), group, subscription)?);
        Ok(())
    }

    fn assign(&mut self, partitions: Vec<(TopicPartition, StartOffset)>) -> Result<(), ClientError> {
        if self.membership.is_some() {
            return Err(ClientError::new(ClientErrorKind::IllegalState, "the consumer has subscribed already"));
        }
        self.clear();
        let report = self.assign_all(partitions).inspect_err(|_| self.clear())?;
        self.report = Some(report);
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> BoxFuture<'_, Result<Polled, ClientError>> {
        Box::pin(async move {
            let consumer = InPoll(self);
            consumer.0.poll_inner(timeout).await
        })
    }

    fn rebalance_pending(&self) -> bool {
        !self.revoking.is_empty() || self.membership.as_ref().is_some_and(Membership::has_event)
    }

    fn rebalance_signal(&self) -> BoxFuture<'static, ()> {
        Box::pin(maybe(self.membership.as_ref().map(Membership::event_signal)))
    }

    fn mark_progress(&self) {
        if let Some(membership) = &self.membership {
            membership.mark_progress();
        }
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> CommitFuture {
        CommitFuture::ready(self.commit_now(offsets))
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> BoxFuture<'_, Result<Vec<Option<OffsetAndMetadata>>, ClientError>> {
        let result = match self.config.group_id.as_deref() {
            None => Err(ClientError::new(ClientErrorKind::IllegalState, "committed needs a group.id")),
            Some(group) => {
                let partitions: Vec<_> = partitions.iter().map(to_broker).collect();
                let stored = self.broker.fetch_offsets(group, Some(&partitions)).into_iter();
                Ok(stored
                    .map(|(_, one)| one.map(|one| OffsetAndMetadata { offset: one.offset, metadata: one.metadata }))
                    .collect())
            }
        };
        Box::pin(std::future::ready(result))
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, ClientError> {
        self.source(partition).map(|source| source.position)
    }

    fn seek(&mut self, partition: &TopicPartition, to: SeekTo) -> Result<i64, ClientError> {
        let source = self.source(partition)?;
        let (start, end) = (source.handle.log_start(), source.end());
        let position = match to {
            SeekTo::Beginning => start,
            SeekTo::End => end,
            SeekTo::Offset(offset) if offset < 0 => {
                let text = format!("seek to offset {offset}: it must not be negative");
                return Err(ClientError::on_partition(ClientErrorKind::IllegalState, partition.clone(), text));
            }
            SeekTo::Offset(offset) => offset,
            SeekTo::Timestamp(timestamp) => {
                source.handle.offset_for_timestamp(timestamp).map_err(client_error)?.map_or(end, |(offset, _)| offset.min(end))
            }
            SeekTo::FromEnd(back) if back < 0 => {
                let text = format!("seek {back} from the end: it must not be negative");
                return Err(ClientError::on_partition(ClientErrorKind::IllegalState, partition.clone(), text));
            }
            SeekTo::FromEnd(back) => end.saturating_sub(back).max(start),
            SeekTo::FromCurrent(by) => source.position.saturating_add(by).clamp(start, end),
        };
        if let Some(source) = self.sources.get_mut(partition) {
            source.seek(position);
        }
        Ok(position)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        partitions.iter().try_for_each(|partition| {
            self.sources.get_mut(partition).map(|source| source.paused = true).ok_or_else(|| not_assigned(partition))
        })
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        partitions.iter().try_for_each(|partition| {
            self.sources.get_mut(partition).map(|source| source.paused = false).ok_or_else(|| not_assigned(partition))
        })
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.sources.keys().cloned().collect()
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.sources.get(partition).map(Source::end)
    }

    fn wakeup(&self) -> Arc<dyn Wakeup> {
        self.wake.clone()
    }

    fn leave(&mut self) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async {
            if let Some(membership) = &self.membership {
                membership.leave().await;
            }
            Ok(())
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), ClientError>> {
        Box::pin(async move {
            self.auto_commit(None);
            if let Some(membership) = self.membership.take() {
                membership.close().await;
            }
            Ok(())
        })
    }
}
