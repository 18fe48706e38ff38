use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Broker;
use super::transactions::{Counts, invalid_epoch};
use crate::coordinator::group::{
    CommittedOffset, GroupDescription, GroupListing, JoinGroup, JoinGroupReply, MemberIdentity, OffsetCommit, SyncGroup,
    SyncGroupReply,
};
use crate::coordinator::transaction::{Producer, Transaction};
use crate::error::{Error, ErrorCode, Named};
use crate::id::TopicPartition;
use crate::partition::PartitionHandle;
use crate::runtime::{GroupChanges, Participants, Shard, shard_of};

/// What became of each offset.
type Stored = Vec<Result<(), Error>>;

/// Offsets that were stored within a transaction, when all that they wait for counts.
async fn when_they_count(stored: Result<(Stored, Vec<Counts>), Error>) -> Result<Stored, Error> {
    let (stored, counts) = stored.map_err(|error| invalid_epoch("no offset is stored", error))?;
    for one in counts {
        one.await?;
    }
    Ok(stored)
}

fn refused(group: &str, member: &str, code: ErrorCode) -> Error {
    let who = if member.is_empty() { String::new() } else { format!(", member '{}'", Named(member)) };
    Error::new(code, format!("group '{}'{who}: refused", Named(group)))
}

/// A new member that has not heard its id yet. Left in the group it would hold partitions until its session ends.
struct Unheard {
    broker: Broker,
    group: String,
    member_id: Option<String>,
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(member_id) = self.member_id.take() {
            // It may be gone already.
            let _ = self.broker.leave_group(&self.group, MemberIdentity::of(-1, &member_id));
        }
    }
}

impl Broker {
    fn shard(&self, group: &str) -> MutexGuard<'_, Shard> {
        let index = shard_of(group, self.0.shards.len());
        self.0.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a group; completes when the next generation is there. The request is made when this is called. Dropping the
    /// future takes a new member out again, since nobody will ever know its id; a known member stays until it times out, and so does
    /// a static one, which is known by its name.
    pub fn join_group(&self, request: JoinGroup) -> impl Future<Output = Result<JoinGroupReply, Error>> + Send + use<> {
        let (group, member, is_static) = (request.group.clone(), request.member_id.clone(), request.group_instance_id.is_some());
        let (receiver, made) = {
            let mut shard = self.shard(&request.group);
            shard.join(&self.0.driver, request)
        };
        self.0.driver.wake();
        let mut unheard = Unheard { broker: self.clone(), group, member_id: made.filter(|_| !is_static) };
        async move {
            let answer = receiver.await;
            unheard.member_id = None;
            match answer {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(code)) => Err(refused(&unheard.group, &member, code)),
                Err(_) => Err(refused(&unheard.group, &member, ErrorCode::CoordinatorNotAvailable)),
            }
        }
    }

    /// Gives a member that is to come its id, which it must then join with within its session time-out; the next generation
    /// waits for it. Kafka's answer `MEMBER_ID_REQUIRED` carries such an id.
    pub fn reserve_member_id(&self, request: &JoinGroup) -> Result<String, Error> {
        let reserved = self.shard(&request.group).reserve(&self.0.driver, request);
        self.0.driver.wake();
        reserved.map_err(|code| refused(&request.group, "", code))
    }

    /// Brings (the leader) and gets the generation's assignment. The request is made when this is called.
    pub fn sync_group(&self, request: SyncGroup) -> impl Future<Output = Result<SyncGroupReply, Error>> + Send + use<> {
        let (group, member) = (request.group.clone(), request.member_id.clone());
        let receiver = {
            let mut shard = self.shard(&request.group);
            shard.sync_group(&self.0.driver, request)
        };
        self.0.driver.wake();
        async move {
            match receiver.await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(code)) => Err(refused(&group, &member, code)),
                Err(_) => Err(refused(&group, &member, ErrorCode::CoordinatorNotAvailable)),
            }
        }
    }

    /// From now on somebody looks after sessions and offsets that end, even if nobody joins.
    #[cfg(feature = "server")]
    pub(crate) fn attend_groups(&self) {
        self.0.driver.wake();
    }

    /// Changes whenever some group may have begun a rebalance: a member in this process need not wait for its next heartbeat
    /// to ask.
    pub fn group_changes(&self) -> GroupChanges {
        self.0.driver.changes()
    }

    /// A member is alive; `REBALANCE_IN_PROGRESS` tells it to join again.
    pub fn heartbeat(&self, group: &str, who: MemberIdentity<'_>) -> Result<(), Error> {
        let result = self.shard(group).heartbeat(group, who);
        result.map_err(|code| refused(group, who.member_id, code))
    }

    /// A member leaves, or a static one is taken out by its name; the others rebalance. Its generation is not looked at.
    pub fn leave_group(&self, group: &str, who: MemberIdentity<'_>) -> Result<(), Error> {
        let result = self.shard(group).leave(group, who);
        self.0.driver.wake();
        result.map_err(|code| refused(group, who.member_id, code))
    }

    fn check_partition(&self, group: &str, commit: &OffsetCommit<'_>) -> Result<(), Error> {
        if self.has_partition(commit.topic, commit.partition) {
            return Ok(());
        }
        let text = format!("group '{}': {}-{} does not exist", Named(group), Named(commit.topic), commit.partition);
        Err(Error::new(ErrorCode::UnknownTopicOrPartition, text))
    }

    /// Stores offsets: all of them, or none.
    pub fn commit_offsets(&self, group: &str, who: MemberIdentity<'_>, offsets: &[OffsetCommit<'_>]) -> Result<(), Error> {
        let mut shard = self.shard(group);
        offsets.iter().try_for_each(|commit| self.check_partition(group, commit))?;
        shard.commit(group, who, offsets)
    }

    /// The same for partitions that the caller reads, whose handles these are: they need not be looked for. One that was deleted is
    /// refused.
    pub fn commit_read_offsets<'a>(
        &self,
        group: &str,
        who: MemberIdentity<'_>,
        offsets: &[OffsetCommit<'_>],
        partitions: impl IntoIterator<Item = &'a PartitionHandle>,
    ) -> Result<(), Error> {
        let mut shard = self.shard(group);
        if let Some(gone) = partitions.into_iter().find(|partition| partition.is_deleted()) {
            // Under the same name there may be a new topic, whose offsets mean something else.
            let text = format!("group '{group}': {} was deleted: its offset cannot be stored", gone.topic_partition());
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, text));
        }
        shard.commit(group, who, offsets)
    }

    /// Stores offsets, each for itself: the answers are in their order. An error means that nobody's are stored.
    pub fn commit_each_offset(
        &self,
        group: &str,
        who: MemberIdentity<'_>,
        offsets: &[OffsetCommit<'_>],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut shard = self.shard(group);
        self.commit_sound(group, offsets, |sound| shard.commit_each(group, who, sound))
    }

    /// Commits what is about partitions that are there. To be called under the shard's lock, which a deletion takes behind the topic's
    /// end: an offset that is stored later than that would be the next topic's of that name.
    fn commit_sound(
        &self,
        group: &str,
        offsets: &[OffsetCommit<'_>],
        commit: impl FnOnce(&[OffsetCommit<'_>]) -> Result<Vec<Result<(), Error>>, Error>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let there: Vec<_> = offsets.iter().map(|commit| self.check_partition(group, commit)).collect();
        let sound: Vec<_> = offsets.iter().zip(&there).filter(|(_, there)| there.is_ok()).map(|(commit, _)| *commit).collect();
        let mut stored = commit(&sound)?.into_iter();
        Ok(there.into_iter().map(|there| there.and_then(|()| stored.next().unwrap_or(Ok(())))).collect())
    }

    /// Stored offsets: of the partitions asked for, in that order, or of all that have one.
    pub fn fetch_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Vec<(TopicPartition, Option<CommittedOffset>)> {
        self.shard(group).groups().offsets(group, partitions)
    }

    /// The same, but of a partition for which a transaction is open only an error, `UNSTABLE_OFFSET_COMMIT`: who goes on after another
    /// must wait for what that one's transaction comes to.
    pub fn fetch_stable_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Vec<(TopicPartition, Result<Option<CommittedOffset>, Error>)> {
        let found = self.shard(group).groups().stable_offsets(group, partitions).into_iter();
        let one = |(partition, stored): (TopicPartition, Result<_, ErrorCode>)| {
            let stored = stored.map_err(|code| {
                let group = Named(group);
                Error::new(code, format!("group '{group}': a transaction is open that has an offset of {partition}"))
            });
            (partition, stored)
        };
        found.map(one).collect()
    }

    /// Stores offsets as part of a producer's transaction (the producer's id and its epoch), each for itself: they count when it is
    /// committed. Its [`offsets_partition`](Self::offsets_partition) must be in the transaction, by
    /// [`add_offsets_to_transaction`](Self::add_offsets_to_transaction). `TRANSACTION_ABORTABLE` says that there is no transaction, or
    /// that the group is not in it; `INVALID_PRODUCER_EPOCH`, that the producer is fenced. An error means that nothing is stored.
    ///
    /// The request is made when this is called. Where a topic of the transaction asks for durability, the future completes when the
    /// offsets are durable: a commit must not find them gone.
    pub fn txn_offset_commit(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        group: &str,
        who: MemberIdentity<'_>,
        offsets: &[OffsetCommit<'_>],
    ) -> impl Future<Output = Result<Vec<Result<(), Error>>, Error>> + Send + use<> {
        let partition = self.offsets_partition(group);
        let act = |within: &Transaction| self.store_within(within, producer, group, who, offsets);
        let stored = self.in_transaction(transactional_id, producer, &partition, act);
        when_they_count(stored.map(|(stored, counts)| (stored, counts.into_iter().collect())))
    }

    /// The same within a transaction of version 2 (KIP-890): the group becomes part of it by this alone, and may be what begins it. Such a
    /// transaction is ended with [`end_transaction_v2`](Self::end_transaction_v2). `CONCURRENT_TRANSACTIONS` tells to come again: the one
    /// before is being ended.
    pub fn txn_offset_commit_v2(
        &self,
        transactional_id: &str,
        producer: (i64, i16),
        group: &str,
        who: MemberIdentity<'_>,
        offsets: &[OffsetCommit<'_>],
    ) -> impl Future<Output = Result<Vec<Result<(), Error>>, Error>> + Send + use<> {
        let partition = self.offsets_partition(group);
        let act = |within: &Transaction| self.store_within(within, producer, group, who, offsets);
        let stored =
            self.join_transaction(transactional_id, producer, std::slice::from_ref(&partition)).and_then(|mut counts| {
                let (stored, own) = self.in_transaction(transactional_id, producer, &partition, act)?;
                counts.extend(own);
                Ok((stored, counts))
            });
        when_they_count(stored)
    }

    /// Behind what became of each, what to wait for until they count, if there is something.
    fn store_within(
        &self,
        within: &Transaction,
        producer: Producer,
        group: &str,
        who: MemberIdentity<'_>,
        offsets: &[OffsetCommit<'_>],
    ) -> Result<(Stored, Option<Counts>), Error> {
        let durable = self.0.records.ask_durable(&mut within.partitions());
        let mut shard = self.shard(group);
        let stored = self.commit_sound(group, offsets, |sound| shard.commit_within(group, who, producer, sound, durable))?;
        let counts =
            shard.partition().and_then(|log| log.unacknowledged().map(|end| -> Counts { Box::pin(log.acknowledged(end)) }));
        Ok((stored, counts))
    }

    /// All groups, by id.
    pub fn list_groups(&self) -> Vec<GroupListing> {
        let one = |shard: &std::sync::Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).groups().list();
        let mut all: Vec<GroupListing> = self.0.shards.iter().flat_map(one).collect();
        all.sort_by(|a, b| a.group.cmp(&b.group));
        all
    }

    /// One group, if it is there.
    pub fn describe_group(&self, group: &str) -> Option<GroupDescription> {
        self.shard(group).groups().describe(group)
    }

    /// Deletes a group without members, and its offsets.
    pub fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.shard(group).delete(group)
    }

    /// Deletes stored offsets of a group, each for itself: one that members read is refused. An error means that none are.
    pub fn delete_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Result<(), Error>>, Error> {
        let deleted = self.shard(group).delete_offsets(group, partitions)?;
        let one = |(partition, result): (&TopicPartition, Result<(), ErrorCode>)| {
            result.map_err(|code| Error::new(code, format!("group '{}' reads {partition}", Named(group))))
        };
        Ok(partitions.iter().zip(deleted).map(one).collect())
    }

    pub(super) fn delete_offsets_of(&self, topic: &str) -> Result<(), Error> {
        // All of them, whatever one says.
        let delete = |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).delete_offsets_of(topic);
        self.0.shards.iter().map(delete).fold(Ok(()), Result::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::NewTopic;
    use crate::config::BrokerConfig;
    use crate::storage::held::HeldDisk;

    #[test]
    fn who_commits_does_not_wait_for_the_disk_while_old_commits_go() {
        let (disk, holder) = HeldDisk::with_holder();
        let mut config = BrokerConfig { offsets_topic_num_partitions: 1, ..BrokerConfig::default() };
        config.offsets_topic_segment_bytes = 4000;
        let broker = Broker::builder().disk(disk.clone()).config(config).open().expect("opened");
        broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made");
        let commit = |offset| {
            let commit = OffsetCommit { topic: "t", partition: 0, offset, leader_epoch: -1, metadata: "" };
            broker.commit_offsets("g", MemberIdentity::administrator(), &[commit]).expect("committed");
        };
        let committed = || broker.fetch_offsets("g", None)[0].1.as_ref().map(|stored| stored.offset);
        // Who first makes the folder durable is who rewrites, or does it for them.
        holder.beside_making("__consumer_offsets-0", || (0..60).for_each(commit), || commit(1000));
        assert!(committed().is_some_and(|offset| offset == 59 || offset == 1000));
        drop(broker);
        let names = disk.files("__consumer_offsets-0").expect("listed");
        assert!(!names.iter().any(|name| name == "00000000000000000000.log"), "superseded: {names:?}");
    }

    #[test]
    fn nothing_is_stored_for_a_topic_that_is_gone() {
        let broker = Broker::in_memory();
        let commit = OffsetCommit { topic: "t", partition: 0, offset: 70, leader_epoch: -1, metadata: "" };
        let administrator = MemberIdentity::administrator();
        let mut left = 0;
        for _ in 0..1000 {
            broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made");
            let read = broker.partition("t", 0).expect("there");
            std::thread::scope(|scope| {
                // Until each is refused.
                scope.spawn(|| while broker.commit_offsets("g", administrator, &[commit]).is_ok() {});
                scope.spawn(|| while broker.commit_each_offset("g", administrator, &[commit]).expect("told")[0].is_ok() {});
                scope.spawn(|| while broker.commit_read_offsets("g", administrator, &[commit], [&read]).is_ok() {});
                broker.delete_topic("t").expect("deleted");
            });
            left += broker.fetch_offsets("g", None).len();
        }
        assert_eq!(left, 0, "of 1000 deletions");
    }
}
