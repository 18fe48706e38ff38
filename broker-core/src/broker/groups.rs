use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;

use super::Broker;
use crate::coordinator::group::{CommittedOffset, GroupDescription, JoinGroup, JoinGroupReply, OffsetCommit, SyncGroup};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::runtime::{GroupChanges, Shard};

fn shard_of(group: &str, shards: usize) -> usize {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive as usize % shards
}

fn refused(group: &str, member: &str, code: ErrorCode) -> Error {
    let who = if member.is_empty() { String::new() } else { format!(", member '{member}'") };
    Error::new(code, format!("group '{group}'{who}: refused"))
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
            let _ = self.broker.leave_group(&self.group, &member_id);
        }
    }
}

impl Broker {
    fn shard(&self, group: &str) -> MutexGuard<'_, Shard> {
        let index = shard_of(group, self.0.shards.len());
        self.0.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a group; completes when the next generation is there. The request is made when this is called. Dropping the
    /// future takes a new member out again, since nobody will ever know its id; a known member stays until it times out.
    pub fn join_group(&self, request: JoinGroup) -> impl Future<Output = Result<JoinGroupReply, Error>> + Send + use<> {
        let (group, member) = (request.group.clone(), request.member_id.clone());
        let (receiver, made) = {
            let mut shard = self.shard(&request.group);
            shard.join(&self.0.driver, request)
        };
        self.0.driver.wake();
        let mut unheard = Unheard { broker: self.clone(), group, member_id: made };
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

    /// Brings (the leader) and gets the generation's assignment. The request is made when this is called.
    pub fn sync_group(&self, request: SyncGroup) -> impl Future<Output = Result<Bytes, Error>> + Send + use<> {
        let (group, member) = (request.group.clone(), request.member_id.clone());
        let receiver = {
            let mut shard = self.shard(&request.group);
            shard.sync_group(&self.0.driver, request)
        };
        self.0.driver.wake();
        async move {
            match receiver.await {
                Ok(Ok(assignment)) => Ok(assignment),
                Ok(Err(code)) => Err(refused(&group, &member, code)),
                Err(_) => Err(refused(&group, &member, ErrorCode::CoordinatorNotAvailable)),
            }
        }
    }

    /// Changes whenever some group may have begun a rebalance: a member in this process need not wait for its next heartbeat
    /// to ask.
    pub fn group_changes(&self) -> GroupChanges {
        self.0.driver.changes()
    }

    /// A member is alive; `REBALANCE_IN_PROGRESS` tells it to join again.
    pub fn heartbeat(&self, group: &str, generation: i32, member_id: &str) -> Result<(), Error> {
        let result = self.shard(group).heartbeat(group, generation, member_id);
        result.map_err(|code| refused(group, member_id, code))
    }

    /// A member leaves; the others rebalance.
    pub fn leave_group(&self, group: &str, member_id: &str) -> Result<(), Error> {
        let result = self.shard(group).leave(group, member_id);
        self.0.driver.wake();
        result.map_err(|code| refused(group, member_id, code))
    }

    /// Stores offsets: all of them, or none. `generation` -1 and no member is for groups without members.
    pub fn commit_offsets(
        &self,
        group: &str,
        generation: i32,
        member_id: &str,
        offsets: &[OffsetCommit<'_>],
    ) -> Result<(), Error> {
        if let Some(commit) = offsets.iter().find(|commit| !self.has_partition(commit.topic, commit.partition)) {
            let text = format!("group '{group}': {}-{} does not exist", commit.topic, commit.partition);
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, text));
        }
        self.shard(group).commit(group, generation, member_id, offsets)
    }

    /// Stored offsets: of the partitions asked for, in that order, or of all that have one.
    pub fn fetch_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Vec<(TopicPartition, Option<CommittedOffset>)> {
        self.shard(group).groups().offsets(group, partitions)
    }

    /// All groups, by id.
    pub fn list_groups(&self) -> Vec<String> {
        let one = |shard: &std::sync::Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).groups().ids();
        let mut all: Vec<String> = self.0.shards.iter().flat_map(one).collect();
        all.sort();
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

    pub(super) fn delete_offsets_of(&self, topic: &str) -> Result<(), Error> {
        self.0.shards.iter().try_for_each(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).delete_offsets_of(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::shard_of;

    #[test]
    fn groups_find_kafkas_partition() {
        for (group, shard) in [
            ("g1", 42),
            ("my-group", 12),
            ("console-consumer-1", 24),
            ("connect-cluster", 13),
            ("streams-app", 5),
            ("polygenelubricants", 0),
        ] {
            assert_eq!(shard_of(group, 50), shard, "{group}");
        }
    }
}
