//! Members after the broker's process was another one: who ran elsewhere goes on as if nothing had been.

use std::net::IpAddr;

use bytes::{Buf, Bytes};

use super::records::{VALUE, get_option, get_string};
use super::{Effects, Group, GroupState, Groups, Member};

/// A generation's members, read back.
struct Generation {
    protocol: Option<String>,
    leader: Option<String>,
    members: Vec<(String, Member)>,
}

impl Groups {
    /// Puts a group's members back from its last stored generation: those that run in other processes, which the address that
    /// they came from says. If they are all, the group is stable; if not, they rebalance. False if the bytes are no generation.
    pub fn restore(&mut self, now: u64, group: &str, stored: &[u8]) -> bool {
        let (Some(read), Some(group)) = (decode(stored, now), self.groups.get_mut(group)) else { return false };
        let count = read.members.len();
        let there = read.members.into_iter().filter(|(_, member)| outlives_the_broker(&member.client_host));
        for (id, member) in there {
            if let Some(instance) = &member.instance {
                group.statics.insert(instance.clone(), id.clone());
            }
            group.members.insert(id, member);
        }
        group.next_join = count as u64;
        if !group.members.is_empty() {
            group.resume(now, read.protocol, read.leader, count);
        }
        true
    }
}

impl Group {
    fn resume(&mut self, now: u64, protocol: Option<String>, leader: Option<String>, count: usize) {
        self.protocol = protocol;
        self.leader = leader.filter(|leader| self.members.contains_key(leader));
        self.state = GroupState::Stable;
        if self.members.len() < count || self.leader.is_none() {
            // Nobody waits for an answer yet.
            self.prepare(now, &mut Effects::default());
        }
    }
}

/// A member of this process ends with it, and is gone when its group is read back.
fn outlives_the_broker(client_host: &str) -> bool {
    client_host.strip_prefix('/').is_some_and(|address| address.parse::<IpAddr>().is_ok())
}

fn decode(mut value: &[u8], now: u64) -> Option<Generation> {
    let version = value.try_get_i16().ok().filter(|version| (0..=VALUE).contains(version))?;
    get_string(&mut value)?;
    value.try_get_i32().ok()?;
    let (protocol, leader) = (get_option(&mut value)?, get_option(&mut value)?);
    if version >= 2 {
        value.try_get_i64().ok()?;
    }
    let mut members = Vec::new();
    for joined in 0..value.try_get_i32().ok()? {
        members.push(decode_member(&mut value, version, protocol, (now, joined as u64))?);
    }
    Some(Generation { protocol: protocol.map(str::to_owned), leader: leader.map(str::to_owned), members })
}

fn decode_member(value: &mut &[u8], version: i16, protocol: Option<&str>, (now, joined): (u64, u64)) -> Option<(String, Member)> {
    let id = get_string(value)?.to_owned();
    let instance = if version >= 3 { get_option(value)?.map(str::to_owned) } else { None };
    let (client_id, client_host) = (get_string(value)?.to_owned(), get_string(value)?.to_owned());
    let rebalance_timeout = if version >= 1 { Some(get_millis(value)?) } else { None };
    let session_timeout = get_millis(value)?;
    let (subscription, assignment) = (get_bytes(value)?, get_bytes(value)?);
    let member = Member {
        instance,
        client_id,
        client_host,
        session_timeout,
        rebalance_timeout: rebalance_timeout.unwrap_or(session_timeout),
        protocols: vec![(protocol.unwrap_or_default().to_owned(), subscription)],
        assignment,
        session_deadline: now + session_timeout,
        joining: None,
        syncing: None,
        synced: true,
        joined,
    };
    Some((id, member))
}

fn get_millis(input: &mut &[u8]) -> Option<u64> {
    u64::try_from(input.try_get_i32().ok()?).ok()
}

fn get_bytes(input: &mut &[u8]) -> Option<Bytes> {
    let length = usize::try_from(input.try_get_i32().ok()?).ok()?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(Bytes::copy_from_slice(bytes))
}
