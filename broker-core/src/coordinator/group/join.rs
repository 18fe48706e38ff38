//! Join, sync, heartbeat, leave: how a generation comes about.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::records::TEXT_BYTES_MAX;
use super::{
    Delay, Effects, Group, GroupState, Groups, JoinGroup, JoinGroupReply, JoinedMember, MILLIS_MAX, Member, MemberIdentity,
    ReplyToken, SyncGroup, SyncGroupReply,
};
use crate::assignor::protocol::encode_assignment;
use crate::error::ErrorCode;

impl Groups {
    /// Gives a member that is to come its id; it must join with it within its session time-out, and the next generation waits
    /// for it. For clients that know `MEMBER_ID_REQUIRED` (JoinGroup version 4 and later).
    pub fn reserve(&mut self, now: u64, request: &JoinGroup, new_id: impl FnOnce(&str) -> String) -> Result<String, ErrorCode> {
        self.check_join(request)?;
        let id = new_id(&request.client_id);
        self.group(&request.group).pending.insert(id.clone(), now + request.session_timeout_ms.min(MILLIS_MAX));
        Ok(id)
    }

    /// A member wants to be in the next generation. `new_id` names it (by its instance or client id) if it has no id yet.
    pub fn join(&mut self, now: u64, token: ReplyToken, mut request: JoinGroup, new_id: impl FnOnce(&str) -> String) -> Effects {
        let mut effects = Effects::default();
        if let Err(code) = self.check_join(&request) {
            effects.join(token, Err(code));
            return effects;
        }
        request.session_timeout_ms = request.session_timeout_ms.min(MILLIS_MAX);
        request.rebalance_timeout_ms = request.rebalance_timeout_ms.min(MILLIS_MAX);
        let delay = self.limits.initial_rebalance_delay_ms;
        let id = request.group.clone();
        let group = self.group(&id);
        if group.members.contains_key(&request.member_id) {
            group.rejoin(now, token, request, &mut effects);
            return effects;
        }
        let known = group.pending.remove(&request.member_id).is_some();
        let static_name = request.group_instance_id.as_deref();
        let member_id = if known { request.member_id.clone() } else { new_id(static_name.unwrap_or(&request.client_id)) };
        if static_name.is_some_and(|name| group.statics.contains_key(name)) {
            if group.replace_static(now, token, request, member_id, &mut effects) {
                effects.store.push(id);
            }
            return effects;
        }
        group.add(now, token, request, member_id, delay, &mut effects);
        effects
    }

    fn check_join(&self, request: &JoinGroup) -> Result<(), ErrorCode> {
        if request.group.is_empty() || request.group.len() > TEXT_BYTES_MAX {
            return Err(ErrorCode::InvalidGroupId);
        }
        if !can_be_stored(request) {
            return Err(ErrorCode::InvalidRequest);
        }
        let allowed = self.limits.min_session_timeout_ms..=self.limits.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if request.protocols.is_empty() || request.protocol_type.is_empty() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let new = request.member_id.is_empty();
        let Some(group) = self.groups.get(&request.group) else {
            return if new { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let replaced = request.group_instance_id.as_deref().and_then(|instance| group.statics.get(instance));
        if !new {
            match (&request.group_instance_id, replaced) {
                (Some(_), Some(current)) if *current != request.member_id => return Err(ErrorCode::FencedInstanceId),
                (Some(_), None) => return Err(ErrorCode::UnknownMemberId),
                _ => {}
            }
            if !group.members.contains_key(&request.member_id) && !group.pending.contains_key(&request.member_id) {
                return Err(ErrorCode::UnknownMemberId);
            }
        }
        if new && replaced.is_none() && group.members.len() + group.pending.len() >= self.limits.max_size {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let itself = replaced.unwrap_or(&request.member_id);
        let others = || group.members.iter().filter(|(id, _)| *id != itself).map(|(_, member)| member);
        if others().next().is_some() && group.protocol_type.as_deref() != Some(&request.protocol_type) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let (known, count) = (known(others()), others().count());
        let common = request.protocols.iter().any(|(name, _)| count == 0 || known.get(name.as_str()) == Some(&count));
        if common { Ok(()) } else { Err(ErrorCode::InconsistentGroupProtocol) }
    }

    /// A member wants its assignment; the leader brings everybody's.
    pub fn sync(&mut self, now: u64, token: ReplyToken, request: SyncGroup) -> Effects {
        let mut effects = Effects::default();
        let Some(group) = self.groups.get_mut(&request.group) else {
            effects.sync(token, Err(ErrorCode::UnknownMemberId));
            return effects;
        };
        if let Err(code) = group.check_sync(&request) {
            effects.sync(token, Err(code));
            return effects;
        }
        let leads = group.leader.as_deref() == Some(&request.member_id);
        let state = group.state;
        let member = group.members.get_mut(&request.member_id).expect("checked by check_sync");
        member.session_deadline = now + member.session_timeout;
        member.synced = true;
        match state {
            GroupState::Empty => effects.sync(token, Err(ErrorCode::UnknownMemberId)),
            GroupState::PreparingRebalance => effects.sync(token, Err(ErrorCode::RebalanceInProgress)),
            GroupState::Stable => {
                let reply = group.sync_reply(&request.member_id);
                effects.sync(token, Ok(reply));
                group.end_wait_for_syncs();
            }
            GroupState::CompletingRebalance => {
                if let Some(earlier) = member.syncing.replace(token) {
                    effects.sync(earlier, Err(ErrorCode::RebalanceInProgress));
                }
                if leads {
                    group.assign(now, request.assignments, &mut effects);
                    effects.store.push(request.group);
                }
            }
        }
        effects
    }

    /// A member is alive. During a rebalance it is told so.
    pub fn heartbeat(&mut self, now: u64, group: &str, who: MemberIdentity<'_>) -> Result<(), ErrorCode> {
        let group = self.groups.get_mut(group).ok_or(ErrorCode::UnknownMemberId)?;
        let (generation, state) = (group.generation, group.state);
        let member = group.known(who.member_id, who.group_instance_id)?;
        if who.generation != generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        member.session_deadline = now + member.session_timeout;
        if state == GroupState::PreparingRebalance { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// A member leaves, or is taken out by its own name (a static one, with an empty id); the others rebalance.
    pub fn leave(&mut self, now: u64, group_id: &str, who: MemberIdentity<'_>) -> Result<Effects, ErrorCode> {
        let mut effects = Effects::default();
        let group = self.groups.get_mut(group_id).ok_or(ErrorCode::UnknownMemberId)?;
        let by_name = who.group_instance_id.filter(|_| who.member_id.is_empty());
        let member_id = match by_name {
            Some(name) => group.statics.get(name).ok_or(ErrorCode::UnknownMemberId)?.clone(),
            None => who.member_id.to_owned(),
        };
        if by_name.is_none() && group.pending.remove(&member_id).is_some() {
            group.try_complete_join(now, &mut effects);
            return Ok(effects);
        }
        group.known(&member_id, who.group_instance_id)?;
        group.remove(now, &member_id, &mut effects);
        if group.members.is_empty() {
            effects.store.push(group_id.to_owned());
        }
        Ok(effects)
    }
}

impl Group {
    fn check_sync(&mut self, request: &SyncGroup) -> Result<(), ErrorCode> {
        self.known(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// A new member: everybody joins again.
    fn add(&mut self, now: u64, token: ReplyToken, request: JoinGroup, id: String, delay: u64, effects: &mut Effects) {
        let was_empty = self.members.is_empty();
        if was_empty {
            self.protocol_type = Some(request.protocol_type);
            self.empty_since = None;
        }
        if let Some(instance) = &request.group_instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        let member = Member {
            instance: request.group_instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout_ms,
            rebalance_timeout: request.rebalance_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            session_deadline: now + request.session_timeout_ms,
            joining: Some(token),
            syncing: None,
            synced: false,
            joined: self.next_join,
        };
        self.next_join += 1;
        self.members.insert(id, member);
        self.prepare(now, effects);
        if was_empty && delay > 0 {
            let at_most = now + self.longest_rebalance().max(delay);
            self.delay = Some(Delay { until: now + delay, at_most, again: false });
            self.deadline = Some(at_most);
        } else if let Some(waiting) = &mut self.delay {
            waiting.again = true;
        }
        self.try_complete_join(now, effects);
    }

    fn rejoin(&mut self, now: u64, token: ReplyToken, request: JoinGroup, effects: &mut Effects) {
        let leads = self.leader.as_deref() == Some(&request.member_id);
        let state = self.state;
        let member = self.members.get_mut(&request.member_id).expect("checked by check_join");
        let changed = member.protocols != request.protocols;
        member.session_timeout = request.session_timeout_ms;
        member.rebalance_timeout = request.rebalance_timeout_ms;
        member.session_deadline = now + request.session_timeout_ms;
        let again = match state {
            GroupState::Stable => leads || changed,
            GroupState::CompletingRebalance => changed,
            GroupState::Empty | GroupState::PreparingRebalance => true,
        };
        member.protocols = request.protocols;
        if !again {
            let reply = self.join_reply(&request.member_id);
            effects.join(token, Ok(reply));
            return;
        }
        if let Some(earlier) = member.joining.replace(token) {
            effects.join(earlier, Err(ErrorCode::RebalanceInProgress));
        }
        self.prepare(now, effects);
        self.try_complete_join(now, effects);
    }

    /// Starts waiting for everybody to join again.
    pub(super) fn prepare(&mut self, now: u64, effects: &mut Effects) {
        if self.state == GroupState::PreparingRebalance {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(token) = member.syncing.take() {
                effects.sync(token, Err(ErrorCode::RebalanceInProgress));
            }
        }
        self.state = GroupState::PreparingRebalance;
        self.delay = None;
        self.deadline = Some(now + self.longest_rebalance());
    }

    fn longest_rebalance(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or(0)
    }

    pub(super) fn try_complete_join(&mut self, now: u64, effects: &mut Effects) {
        let delayed = self.delay.is_some_and(|delay| delay.until > now);
        if self.state == GroupState::PreparingRebalance
            && !delayed
            && self.pending.is_empty()
            && self.members.values().all(|member| member.joining.is_some())
        {
            self.complete_join(now, effects);
        }
    }

    /// The next generation: whoever has not joined is out, but for static members: those keep their place until their session
    /// ends. While only they are left there is nobody to lead, and it waits on.
    pub(super) fn complete_join(&mut self, now: u64, effects: &mut Effects) {
        self.members.retain(|_, member| member.joining.is_some() || member.instance.is_some());
        let joined = self.members.values().any(|member| member.joining.is_some());
        if !joined && !self.members.is_empty() {
            self.deadline = Some(now + self.longest_rebalance().max(1));
            return;
        }
        self.delay = None;
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        self.protocol = self.vote();
        let here = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(here) {
            let joined = self.members.iter().filter(|(_, member)| member.joining.is_some());
            self.leader = joined.min_by_key(|(_, member)| member.joined).map(|(id, _)| id.clone());
        }
        self.state = GroupState::CompletingRebalance;
        self.deadline = Some(now + self.longest_rebalance());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.join_reply(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.synced = false;
            if let Some(token) = member.joining.take() {
                member.session_deadline = now + member.session_timeout;
                effects.join(token, Ok(reply));
            }
        }
    }

    fn become_empty(&mut self) {
        self.state = GroupState::Empty;
        self.protocol = None;
        self.leader = None;
        self.deadline = None;
        self.delay = None;
    }

    /// Of the protocols that everybody knows, the one that most put first.
    pub(super) fn vote(&self) -> Option<String> {
        let known = known(self.members.values());
        let by_all = |name: &str| known.get(name) == Some(&self.members.len());
        let mut votes: Vec<(String, usize)> = Vec::new();
        for member in self.members.values() {
            let Some((choice, _)) = member.protocols.iter().find(|(name, _)| by_all(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice.clone(), 1)),
            }
        }
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    pub(super) fn join_reply(&self, member_id: &str) -> JoinGroupReply {
        let protocol = self.protocol.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member_id {
            let one = |(id, member): (&String, &Member)| JoinedMember {
                member_id: id.clone(),
                group_instance_id: member.instance.clone(),
                metadata: member.metadata(&protocol).cloned().unwrap_or_default(),
            };
            self.members.iter().map(one).collect()
        } else {
            Vec::new()
        };
        JoinGroupReply {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol,
            leader,
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }

    fn sync_reply(&self, member_id: &str) -> SyncGroupReply {
        SyncGroupReply {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// The leader's assignment: everybody who waits gets theirs; who was left out gets a valid, empty one. Whoever has not asked yet
    /// has until the deadline to do so.
    fn assign(&mut self, now: u64, assignments: Vec<(String, Bytes)>, effects: &mut Effects) {
        let empty = if self.protocol_type.as_deref() == Some("consumer") { encode_assignment(&[]) } else { Bytes::new() };
        let mut waiting = Vec::new();
        // Of an id that stands there twice, the first one counts.
        let mut given: BTreeMap<String, Bytes> = assignments.into_iter().rev().collect();
        for (id, member) in &mut self.members {
            member.assignment = given.remove(id).filter(|bytes| !bytes.is_empty()).unwrap_or_else(|| empty.clone());
            if let Some(token) = member.syncing.take() {
                member.session_deadline = now + member.session_timeout;
                waiting.push((token, id.clone()));
            }
        }
        for (token, id) in waiting {
            let reply = self.sync_reply(&id);
            effects.sync(token, Ok(reply));
        }
        self.state = GroupState::Stable;
        self.end_wait_for_syncs();
    }

    fn end_wait_for_syncs(&mut self) {
        if self.members.values().all(|member| member.synced) {
            self.deadline = None;
        }
    }

    /// Takes a member out; false if it is not there.
    pub(super) fn remove(&mut self, now: u64, member_id: &str, effects: &mut Effects) -> bool {
        let Some(member) = self.members.remove(member_id) else { return false };
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if let Some(token) = member.joining {
            effects.join(token, Err(ErrorCode::UnknownMemberId));
        }
        if let Some(token) = member.syncing {
            effects.sync(token, Err(ErrorCode::UnknownMemberId));
        }
        if self.members.is_empty() {
            self.generation = self.generation.wrapping_add(1).max(1);
            self.become_empty();
        } else {
            self.prepare(now, effects);
            self.try_complete_join(now, effects);
        }
        true
    }
}

/// What a member's id has behind its client's or instance's name.
const ID_SUFFIX_BYTES: usize = 33;

/// Whether a generation with such a member can be written down.
fn can_be_stored(request: &JoinGroup) -> bool {
    let names = [Some(&request.client_id), request.group_instance_id.as_ref()].into_iter().flatten();
    let texts = request.protocols.iter().map(|(name, _)| name).chain([&request.protocol_type, &request.client_host]);
    names.map(|name| name.len() + ID_SUFFIX_BYTES).chain(texts.map(String::len)).all(|length| length <= TEXT_BYTES_MAX)
}

/// How many of these members know each protocol.
fn known<'a>(members: impl Iterator<Item = &'a Member>) -> BTreeMap<&'a str, usize> {
    let mut known = BTreeMap::new();
    for member in members {
        let names: BTreeSet<&str> = member.protocols.iter().map(|(name, _)| name.as_str()).collect();
        names.into_iter().for_each(|name| *known.entry(name).or_insert(0) += 1);
    }
    known
}
