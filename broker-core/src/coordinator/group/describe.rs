//! Groups as administrators see them, and as they are stored.

use super::records::{MemberRecord, StoredMember};
use super::{CommittedOffset, GroupDescription, GroupListing, Groups, MemberDescription};
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;

impl Groups {
    /// All groups, by id.
    pub fn list(&self) -> Vec<GroupListing> {
        let one = |(id, group): (&String, &super::Group)| GroupListing {
            group: id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        };
        self.groups.iter().map(one).collect()
    }

    pub fn describe(&self, id: &str) -> Option<GroupDescription> {
        self.groups.get(id).map(|group| {
            let subscription = |member: &super::Member| group.protocol.as_deref().and_then(|name| member.metadata(name)).cloned();
            let member = |(id, member): (&String, &super::Member)| MemberDescription {
                member_id: id.clone(),
                group_instance_id: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: subscription(member).unwrap_or_default(),
                assignment: member.assignment.clone(),
            };
            GroupDescription {
                group: id.to_owned(),
                state: group.state,
                generation: group.generation,
                protocol_type: group.protocol_type.clone().unwrap_or_default(),
                protocol: group.protocol.clone(),
                members: group.members.iter().map(member).collect(),
            }
        })
    }

    /// Whether a group may be deleted.
    pub fn check_delete(&self, id: &str) -> Result<(), Error> {
        match self.groups.get(id) {
            None => Err(Error::new(ErrorCode::GroupIdNotFound, format!("there is no group '{id}'"))),
            Some(group) if !group.members.is_empty() => {
                Err(Error::new(ErrorCode::NonEmptyGroup, format!("group '{id}' has {} members", group.members.len())))
            }
            Some(_) => Ok(()),
        }
    }

    /// The generation's members as they are stored.
    pub fn stored(&self, id: &str) -> Option<(i32, MemberRecord<'_>)> {
        let group = self.groups.get(id)?;
        let protocol = group.protocol.as_deref();
        let members = group.members.iter().map(|(id, member)| StoredMember {
            id,
            instance: member.instance.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout: member.rebalance_timeout as i32,
            session_timeout: member.session_timeout as i32,
            subscription: protocol.and_then(|name| member.metadata(name)).cloned().unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        let record = MemberRecord {
            protocol_type: group.protocol_type.as_deref().unwrap_or_default(),
            protocol,
            leader: group.leader.as_deref(),
            empty_since: group.empty_since,
            members: members.collect(),
        };
        Some((group.generation, record))
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Everything that must outlive a rewrite of the shard's log: each group's generation, then its offsets.
    pub fn snapshot(&self) -> impl Iterator<Item = (&String, (i32, MemberRecord<'_>), Vec<(TopicPartition, &CommittedOffset)>)> {
        self.groups.iter().filter_map(|(id, group)| {
            let offsets = group.offsets.iter().flat_map(|(topic, partitions)| {
                partitions.iter().map(|(partition, offset)| (TopicPartition::new(topic.clone(), *partition), offset))
            });
            Some((id, self.stored(id)?, offsets.collect()))
        })
    }
}
