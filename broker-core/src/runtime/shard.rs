//! One partition of `__consumer_offsets` and the groups in it, behind one lock: decide, append, apply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Driver;
use crate::config::BrokerConfig;
use crate::coordinator::group::{
    Effects, Expired, GroupLimits, GroupRecord, Groups, JoinGroup, JoinGroupReply, MemberIdentity, MemberRecord, OffsetCommit,
    Reply, ReplyToken, StoredGroup, SyncGroup, SyncGroupReply, encode_commit, encode_group,
};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::partition::{DataSignal, PartitionConfig, PartitionHandle, Surroundings, WatchGuard, Watchers};
use crate::record::BatchBuilder;
use crate::topic_config::{CleanupPolicy, TopicConfig};

/// What the record of an offset takes beside its names and metadata.
const COMMIT_BYTES: usize = 64;
/// How large the records of one commit are at most.
const COMMIT_BYTES_MAX: usize = 16 << 20;

/// What a shard is made from.
#[derive(Debug)]
pub(crate) struct ShardConfig {
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) id: TopicPartition,
    pub(super) rewrite_bytes: u64,
    partition: PartitionConfig,
    limits: GroupLimits,
    opening: Opening,
}

impl ShardConfig {
    pub fn new(surroundings: Arc<Surroundings>, config: &BrokerConfig, id: TopicPartition, opening: Opening) -> Self {
        Self {
            opening,
            surroundings,
            id,
            rewrite_bytes: config.offsets_topic_segment_bytes,
            partition: PartitionConfig::new(
                TopicConfig {
                    // It never rolls by itself: a rewrite does.
                    segment_bytes: i64::from(i32::MAX),
                    segment_ms: i64::MAX,
                    // The newest commit of a partition stays, however old it is.
                    cleanup_policy: CleanupPolicy { delete: false, compact: true },
                    // Whoever reads it back reads all of it: a day's markers would only be in the way.
                    delete_retention_ms: 0,
                    max_message_bytes: i64::from(i32::MAX),
                    message_timestamp_after_max_ms: i64::MAX,
                    index_interval_bytes: config.topic_defaults.index_interval_bytes,
                    ..TopicConfig::default()
                },
                config,
            ),
            limits: GroupLimits {
                min_session_timeout_ms: config.group_min_session_timeout_ms,
                max_session_timeout_ms: config.group_max_session_timeout_ms,
                initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
                max_size: config.group_max_size,
                metadata_max_bytes: config.offset_metadata_max_bytes.min(i16::MAX as usize),
            },
        }
    }
}

/// The answer to a join.
pub(crate) type JoinAnswer = Result<JoinGroupReply, ErrorCode>;

/// The answer to a sync.
pub(crate) type SyncAnswer = Result<SyncGroupReply, ErrorCode>;

enum Waiter {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<SyncAnswer>),
}

pub(crate) struct Shard {
    pub(super) config: ShardConfig,
    pub(super) groups: Groups,
    log: Option<PartitionHandle>,
    /// Who waits for its first record, and for those after it.
    watchers: Watchers,
    waiters: BTreeMap<ReplyToken, Waiter>,
    pub(super) builder: BatchBuilder,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Bytes since the last rewrite, and what that rewrite took.
    pub(super) appended: u64,
    pub(super) snapshot: u64,
    /// Bytes in the segment that is written to.
    pub(super) unsealed: u64,
}

/// Whether the offsets of one commit are not too many to be written at a time: each is written with the group's name and the topic's,
/// which a request may hold once.
pub(super) fn check_size<'a>(group: &str, offsets: impl Iterator<Item = &'a OffsetCommit<'a>>) -> Result<(), Error> {
    let of = |commit: &OffsetCommit<'_>| group.len() + commit.topic.len() + commit.metadata.len() + COMMIT_BYTES;
    let bytes: usize = offsets.map(of).sum();
    if bytes > COMMIT_BYTES_MAX {
        let text = format!(
            "group '{group}': a commit of {bytes} bytes, at most {COMMIT_BYTES_MAX} are written at a time: commit less at once"
        );
        return Err(Error::new(ErrorCode::InvalidCommitOffsetSize, text));
    }
    Ok(())
}

impl Shard {
    pub fn new(config: ShardConfig) -> Self {
        let groups = Groups::new(config.limits.clone());
        Self {
            config,
            groups,
            log: None,
            watchers: Watchers::default(),
            waiters: BTreeMap::new(),
            builder: BatchBuilder::new(),
            key: Vec::new(),
            value: Vec::new(),
            appended: 0,
            snapshot: 0,
            unsealed: 0,
        }
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(super) fn now(&self) -> u64 {
        self.config.surroundings.clock.monotonic_ms()
    }

    pub(super) fn log(&mut self) -> Result<&PartitionHandle, Error> {
        if self.log.is_none() {
            let config = &self.config;
            let (surroundings, id, watchers) = (config.surroundings.clone(), config.id.clone(), self.watchers.clone());
            self.log = Some(PartitionHandle::open_watched(surroundings, id, config.partition.clone(), config.opening, watchers)?);
        }
        Ok(self.log.as_ref().expect("set above"))
    }

    /// Its log, if it has one yet.
    pub fn partition(&self) -> Option<&PartitionHandle> {
        self.log.as_ref()
    }

    /// Calls `signal` on every append, the first one too, until the guard is dropped.
    pub fn watch(&self, signal: &Arc<DataSignal>) -> WatchGuard {
        self.log.as_ref().map_or_else(|| self.watchers.add(signal), |log| log.watch(signal))
    }

    /// Appends what the builder holds; nothing is applied if it fails.
    fn append(&mut self) -> Result<(), Error> {
        let batch = self.builder.build();
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch.len() as u64;
        self.log()?.produce_own(batch)?;
        self.grown(bytes);
        Ok(())
    }

    /// So many bytes were appended.
    pub(super) fn grown(&mut self, bytes: u64) {
        self.appended += bytes;
        self.unsealed += bytes;
    }

    /// Stores offsets: check, append, apply. All of them, or none.
    pub fn commit(&mut self, group: &str, who: MemberIdentity<'_>, offsets: &[OffsetCommit<'_>]) -> Result<(), Error> {
        self.groups.check_commit(self.now(), group, who)?;
        offsets.iter().try_for_each(|commit| self.groups.check_metadata(group, commit))?;
        self.store_offsets(group, offsets)
    }

    /// The same, but one that is refused does not keep the others from being stored.
    pub fn commit_each(
        &mut self,
        group: &str,
        who: MemberIdentity<'_>,
        offsets: &[OffsetCommit<'_>],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.groups.check_commit(self.now(), group, who)?;
        let checked: Vec<_> = offsets.iter().map(|commit| self.groups.check_metadata(group, commit)).collect();
        let sound = offsets.iter().zip(&checked).filter(|(_, checked)| checked.is_ok()).map(|(commit, _)| *commit);
        let sound: Vec<OffsetCommit<'_>> = sound.collect();
        self.store_offsets(group, &sound)?;
        Ok(checked)
    }

    fn store_offsets(&mut self, group: &str, offsets: &[OffsetCommit<'_>]) -> Result<(), Error> {
        check_size(group, offsets.iter())?;
        self.rewrite_if_due()?;
        let wall = self.config.surroundings.clock.wall_ms_coarse();
        for commit in offsets {
            encode_commit(group, commit, wall, &mut self.key, &mut self.value);
            self.builder.append(wall, Some(&self.key), Some(&self.value), &[]);
        }
        self.append()?;
        for commit in offsets {
            let (topic, partition) = (commit.topic, commit.partition);
            self.groups.apply(GroupRecord::Offset { group, topic, partition, offset: Some((*commit, wall)) });
        }
        Ok(())
    }

    /// Asks to join. With the answer to come, the id that a new member got: who stops waiting can still take it out.
    pub fn join(&mut self, driver: &Driver, request: JoinGroup) -> (oneshot::Receiver<JoinAnswer>, Option<String>) {
        let (sender, receiver) = oneshot::channel();
        let token = driver.token();
        self.waiters.insert(token, Waiter::Join(sender));
        let mut made = None;
        let effects = self.groups.join(self.now(), token, request, |client| made.insert(driver.member_id(client)).clone());
        self.carry_out(effects);
        (receiver, made)
    }

    /// Gives a member that is to come its id.
    pub fn reserve(&mut self, driver: &Driver, request: &JoinGroup) -> Result<String, ErrorCode> {
        let now = self.now();
        self.groups.reserve(now, request, |client| driver.member_id(client))
    }

    pub fn sync_group(&mut self, driver: &Driver, request: SyncGroup) -> oneshot::Receiver<SyncAnswer> {
        let (sender, receiver) = oneshot::channel();
        let token = driver.token();
        self.waiters.insert(token, Waiter::Sync(sender));
        let effects = self.groups.sync(self.now(), token, request);
        self.carry_out(effects);
        receiver
    }

    pub fn heartbeat(&mut self, group: &str, who: MemberIdentity<'_>) -> Result<(), ErrorCode> {
        self.groups.heartbeat(self.now(), group, who)
    }

    pub fn leave(&mut self, group: &str, who: MemberIdentity<'_>) -> Result<(), ErrorCode> {
        let effects = self.groups.leave(self.now(), group, who)?;
        self.carry_out(effects);
        Ok(())
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.groups.next_deadline()
    }

    pub fn expire(&mut self) {
        let effects = self.groups.expire(self.now());
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        for group in &effects.store {
            if let Err(error) = self.store_group(group) {
                tracing::error!(target: "broker_core::group", group = group.as_str(), error = error.to_string(), "the generation could not be stored; after a restart it starts over");
            }
        }
        for (token, reply) in effects.replies {
            // Who no longer waits has dropped its future: its member times out.
            match (self.waiters.remove(&token), reply) {
                (Some(Waiter::Join(waiter)), Reply::Join(reply)) => drop(waiter.send(reply)),
                (Some(Waiter::Sync(waiter)), Reply::Sync(reply)) => drop(waiter.send(reply)),
                _ => {}
            }
        }
    }

    fn store_group(&mut self, id: &str) -> Result<(), Error> {
        let wall = self.config.surroundings.clock.wall_ms();
        let Some((generation, members)) = self.groups.stored(id) else { return Ok(()) };
        encode_group(id, generation, &members, wall, &mut self.key, &mut self.value);
        let protocol_type = members.protocol_type.to_owned();
        let has_members = !members.members.is_empty();
        self.builder.append(wall, Some(&self.key), Some(&self.value), &[]);
        self.append()?;
        let stored = StoredGroup { generation, protocol_type: &protocol_type, timestamp: wall, has_members };
        self.groups.apply(GroupRecord::Group { group: id, stored: Some(stored) });
        Ok(())
    }

    pub fn delete(&mut self, group: &str) -> Result<(), Error> {
        self.groups.check_delete(group)?;
        self.take_away(vec![(group.to_owned(), self.groups.partitions_of(group), true)])
    }

    /// Offsets of a group that nobody needs; one that is in use is refused and does not keep the others.
    pub fn delete_offsets(&mut self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Result<(), ErrorCode>>, Error> {
        let topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        let checked = self.groups.check_delete_offsets(group, &topics)?;
        let free = partitions.iter().zip(&checked).filter(|(_, checked)| checked.is_ok()).map(|(partition, _)| partition);
        // Of what is stored only: a request may name very many, each of which would be written with the topic's name and the group's.
        let mut free: BTreeSet<&TopicPartition> = free.collect();
        let mut gone = self.groups.partitions_of(group);
        gone.retain(|partition| free.remove(partition));
        self.take_away(vec![(group.to_owned(), gone, false)])?;
        Ok(checked)
    }

    pub fn delete_offsets_of(&mut self, topic: &str) -> Result<(), Error> {
        let stored = self.groups.with_offsets_for(topic).into_iter();
        self.take_away(stored.map(|(group, partitions)| (group, partitions, false)).collect())
    }

    /// Offsets and groups that have had their time.
    pub fn expire_offsets(&mut self, retention_ms: i64) -> Result<(), Error> {
        let wall = self.config.surroundings.clock.wall_ms();
        let expired = self.groups.expired(wall, retention_ms);
        for (group, partitions, ended) in &expired {
            tracing::info!(target: "broker_core::group", group = group.as_str(), offsets = partitions.len(), ended, "offsets.retention.minutes have passed");
        }
        self.take_away(expired)
    }

    /// Writes tombstones, then applies them.
    fn take_away(&mut self, gone: Expired) -> Result<(), Error> {
        let wall = self.config.surroundings.clock.wall_ms();
        for (group, partitions, ends) in &gone {
            for partition in partitions {
                let (topic, partition) = (&*partition.topic, partition.partition);
                let commit = OffsetCommit { topic, partition, offset: 0, leader_epoch: -1, metadata: "" };
                encode_commit(group, &commit, wall, &mut self.key, &mut self.value);
                self.builder.append(wall, Some(&self.key), None, &[]);
            }
            if *ends {
                let nobody =
                    MemberRecord { protocol_type: "", protocol: None, leader: None, empty_since: None, members: Vec::new() };
                encode_group(group, 0, &nobody, wall, &mut self.key, &mut self.value);
                self.builder.append(wall, Some(&self.key), None, &[]);
            }
        }
        self.append()?;
        for (group, partitions, ends) in &gone {
            for partition in partitions {
                let (topic, partition) = (&*partition.topic, partition.partition);
                self.groups.apply(GroupRecord::Offset { group, topic, partition, offset: None });
            }
            if *ends {
                self.groups.apply(GroupRecord::Group { group, stored: None });
            }
        }
        Ok(())
    }
}
