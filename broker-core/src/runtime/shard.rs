//! One partition of `__consumer_offsets` and the groups in it, behind one lock: decide, append, apply.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Driver;
use crate::config::BrokerConfig;
use crate::coordinator::group::{
    Effects, Expired, GroupLimits, GroupRecord, Groups, JoinGroup, JoinGroupReply, MemberIdentity, MemberRecord, OffsetCommit,
    Reply, ReplyToken, StoredGroup, SyncGroup, SyncGroupReply, decode, encode_commit, encode_group,
};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::partition::{PartitionConfig, PartitionHandle, Surroundings};
use crate::record::{BatchBuilder, batches};
use crate::topic_config::{CleanupPolicy, TopicConfig};

/// How large a batch of a rewrite grows.
const SNAPSHOT_BATCH_BYTES: usize = 256 * 1024;
/// How much is read at a time when a shard is read back.
const LOAD_BYTES: usize = 1 << 20;

/// What a shard is made from.
#[derive(Debug)]
pub(crate) struct ShardConfig {
    surroundings: Arc<Surroundings>,
    id: TopicPartition,
    rewrite_bytes: u64,
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
    config: ShardConfig,
    groups: Groups,
    log: Option<PartitionHandle>,
    waiters: BTreeMap<ReplyToken, Waiter>,
    builder: BatchBuilder,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Bytes since the last rewrite, and what that rewrite took.
    appended: u64,
    snapshot: u64,
}

impl Shard {
    pub fn new(config: ShardConfig) -> Self {
        let groups = Groups::new(config.limits.clone());
        Self {
            config,
            groups,
            log: None,
            waiters: BTreeMap::new(),
            builder: BatchBuilder::new(),
            key: Vec::new(),
            value: Vec::new(),
            appended: 0,
            snapshot: 0,
        }
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    fn now(&self) -> u64 {
        self.config.surroundings.clock.monotonic_ms()
    }

    /// Reads groups and offsets back from the log.
    pub fn load(&mut self) -> Result<(), Error> {
        let log = self.log()?.clone();
        let mut next = log.log_start();
        let mut unknown = 0u64;
        let mut generations = BTreeMap::new();
        while next < log.end_offset() {
            for run in log.fetch(next, LOAD_BYTES)?.batches {
                for batch in batches(&run) {
                    let corrupt = |error| Error::with_source(ErrorCode::CorruptMessage, format!("{}", self.config.id), error);
                    let batch = batch.map_err(corrupt)?;
                    self.appended += batch.size() as u64;
                    next = batch.last_offset() + 1;
                    for record in batch.records() {
                        let record = record.map_err(corrupt)?;
                        match record.key().and_then(|key| decode(key, record.value())) {
                            Some(read) => {
                                if let GroupRecord::Group { group, .. } = read {
                                    generations.insert(group.to_owned(), record.value().map(<[u8]>::to_vec));
                                }
                                self.groups.apply(read);
                            }
                            None => unknown += 1,
                        }
                    }
                }
            }
        }
        let now = self.now();
        for (group, stored) in generations {
            if stored.is_some_and(|stored| !self.groups.restore(now, &group, &stored)) {
                unknown += 1;
            }
        }
        if unknown > 0 {
            tracing::warn!(target: "broker_core::group", partition = %self.config.id, unknown, "records of unknown kind or version passed over");
        }
        Ok(())
    }

    fn log(&mut self) -> Result<&PartitionHandle, Error> {
        if self.log.is_none() {
            let config = &self.config;
            let opened =
                PartitionHandle::open(config.surroundings.clone(), config.id.clone(), config.partition.clone(), config.opening)?;
            self.log = Some(opened);
        }
        Ok(self.log.as_ref().expect("set above"))
    }

    /// Its log, if it has one yet.
    pub fn partition(&self) -> Option<&PartitionHandle> {
        self.log.as_ref()
    }

    /// Appends what the builder holds; nothing is applied if it fails.
    fn append(&mut self) -> Result<(), Error> {
        let batch = self.builder.build();
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch.len() as u64;
        self.log()?.produce_own(batch)?;
        self.appended += bytes;
        Ok(())
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

    /// Superseded commits are dropped by writing what is current into a new segment and removing the old ones.
    fn rewrite_if_due(&mut self) -> Result<(), Error> {
        if self.appended < self.config.rewrite_bytes.max(2 * self.snapshot) {
            return Ok(());
        }
        let log = self.log()?.clone();
        let wall = self.config.surroundings.clock.wall_ms();
        let Self { groups, builder, key, value, .. } = self;
        let mut written = 0;
        log.rewrite(|log| {
            let mut flush = |builder: &mut BatchBuilder, least: usize| -> Result<(), Error> {
                if builder.size() > least {
                    let batch = builder.build();
                    written += batch.len() as u64;
                    log.produce_own(batch)?;
                }
                Ok(())
            };
            for (group, (generation, members), offsets) in groups.snapshot() {
                encode_group(group, generation, &members, wall, key, value);
                builder.append(wall, Some(key), Some(value), &[]);
                for (partition, stored) in offsets {
                    let commit = OffsetCommit {
                        topic: &partition.topic,
                        partition: partition.partition,
                        offset: stored.offset,
                        leader_epoch: stored.leader_epoch,
                        metadata: &stored.metadata,
                    };
                    encode_commit(group, &commit, stored.commit_timestamp, key, value);
                    builder.append(wall, Some(key), Some(value), &[]);
                    flush(builder, SNAPSHOT_BATCH_BYTES)?;
                }
            }
            flush(builder, 0)
        })?;
        (self.appended, self.snapshot) = (written, written);
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
                tracing::error!(target: "broker_core::group", %group, %error, "the generation could not be stored; after a restart it starts over");
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
        let partitions = self.groups.offsets(group, None).into_iter().map(|(partition, _)| partition).collect();
        self.take_away(vec![(group.to_owned(), partitions, true)])
    }

    /// Offsets of a group that nobody needs; one that is in use is refused and does not keep the others.
    pub fn delete_offsets(&mut self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Result<(), ErrorCode>>, Error> {
        let topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        let checked = self.groups.check_delete_offsets(group, &topics)?;
        let free = partitions.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let gone = free.map(|(partition, _)| partition.clone()).collect();
        self.take_away(vec![(group.to_owned(), gone, false)])?;
        Ok(checked)
    }

    pub fn delete_offsets_of(&mut self, topic: &str) -> Result<(), Error> {
        let stored = self.groups.with_offsets_for(topic).into_iter();
        let one = |partitions: Vec<i32>| partitions.into_iter().map(|partition| TopicPartition::new(topic, partition)).collect();
        self.take_away(stored.map(|(group, partitions)| (group, one(partitions), false)).collect())
    }

    /// Offsets and groups that have had their time.
    pub fn expire_offsets(&mut self, retention_ms: i64) -> Result<(), Error> {
        let wall = self.config.surroundings.clock.wall_ms();
        let expired = self.groups.expired(wall, retention_ms);
        for (group, partitions, ended) in &expired {
            tracing::info!(target: "broker_core::group", %group, offsets = partitions.len(), ended, "offsets.retention.minutes have passed");
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
