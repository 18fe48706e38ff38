//! Join, sync, heartbeat, leave: how a generation comes about.

use bytes::Bytes;

use super::{Effects, Group, GroupState, Groups, JoinGroup, JoinGroupReply, Member, ReplyToken, SyncGroup};
use crate::assignor::protocol::encode_assignment;
use crate::error::ErrorCode;

impl Groups {
    /// A member wants to be in the next generation. `new_id` names it if it has no id yet.
    pub fn join(&mut self, now: u64, token: ReplyToken, request: JoinGroup, new_id: impl FnOnce(&str) -> String) -> Effects {
        let mut effects = Effects::default();
        if let Err(code) = self.check_join(&request) {
            effects.join(token, Err(code));
            return effects;
        }
        let delay = self.limits.initial_rebalance_delay_ms;
        let group = self.group(&request.group);
        group.protocol_type = Some(request.protocol_type.clone());
        if request.member_id.is_empty() {
            let id = new_id(&request.client_id);
            let joined = group.next_join;
            group.next_join += 1;
            let member = Member {
                client_id: request.client_id,
                client_host: request.client_host,
                session_timeout: request.session_timeout_ms,
                rebalance_timeout: request.rebalance_timeout_ms,
                protocols: request.protocols,
                assignment: Bytes::new(),
                session_deadline: now + request.session_timeout_ms,
                joining: Some(token),
                syncing: None,
                joined,
            };
            let was_empty = group.members.is_empty();
            group.members.insert(id, member);
            group.prepare(now, &mut effects);
            if was_empty && delay > 0 {
                group.delayed_until = Some(now + delay);
            }
            group.try_complete_join(now, &mut effects);
            return effects;
        }
        group.rejoin(now, token, request, &mut effects);
        effects
    }

    fn check_join(&self, request: &JoinGroup) -> Result<(), ErrorCode> {
        if request.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let allowed = self.limits.min_session_timeout_ms..=self.limits.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if request.protocols.is_empty() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let Some(group) = self.groups.get(&request.group) else {
            return if request.member_id.is_empty() { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        if !request.member_id.is_empty() && !group.members.contains_key(&request.member_id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        if request.member_id.is_empty() && group.members.len() >= self.limits.max_size {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let others = || group.members.iter().filter(|(id, _)| **id != request.member_id).map(|(_, member)| member);
        if others().next().is_some() && group.protocol_type.as_deref() != Some(&request.protocol_type) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let common = request.protocols.iter().any(|(name, _)| others().all(|member| member.metadata(name).is_some()));
        if common { Ok(()) } else { Err(ErrorCode::InconsistentGroupProtocol) }
    }

    /// A member wants its assignment; the leader brings everybody's.
    pub fn sync(&mut self, now: u64, token: ReplyToken, request: SyncGroup) -> Effects {
        let mut effects = Effects::default();
        let Some(group) = self.groups.get_mut(&request.group).filter(|group| group.members.contains_key(&request.member_id))
        else {
            effects.sync(token, Err(ErrorCode::UnknownMemberId));
            return effects;
        };
        if request.generation != group.generation {
            effects.sync(token, Err(ErrorCode::IllegalGeneration));
            return effects;
        }
        let leads = group.leader.as_deref() == Some(&request.member_id);
        let state = group.state;
        let member = group.members.get_mut(&request.member_id).expect("checked above");
        member.session_deadline = now + member.session_timeout;
        match state {
            GroupState::Empty => effects.sync(token, Err(ErrorCode::UnknownMemberId)),
            GroupState::PreparingRebalance => effects.sync(token, Err(ErrorCode::RebalanceInProgress)),
            GroupState::Stable => effects.sync(token, Ok(member.assignment.clone())),
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
    pub fn heartbeat(&mut self, now: u64, group: &str, generation: i32, member_id: &str) -> Result<(), ErrorCode> {
        let group = self.groups.get_mut(group).ok_or(ErrorCode::UnknownMemberId)?;
        let member = group.members.get_mut(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        member.session_deadline = now + member.session_timeout;
        if group.state == GroupState::PreparingRebalance { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// A member leaves; the others rebalance.
    pub fn leave(&mut self, now: u64, group_id: &str, member_id: &str) -> Result<Effects, ErrorCode> {
        let mut effects = Effects::default();
        let group = self.groups.get_mut(group_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !group.remove(now, member_id, &mut effects) {
            return Err(ErrorCode::UnknownMemberId);
        }
        if group.members.is_empty() {
            effects.store.push(group_id.to_owned());
        }
        Ok(effects)
    }
}

impl Group {
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
        self.delayed_until = None;
        self.deadline = Some(now + self.longest_rebalance());
    }

    fn longest_rebalance(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or(0)
    }

    pub(super) fn try_complete_join(&mut self, now: u64, effects: &mut Effects) {
        let delayed = self.delayed_until.is_some_and(|until| until > now);
        if self.state == GroupState::PreparingRebalance
            && !delayed
            && self.members.values().all(|member| member.joining.is_some())
        {
            self.complete_join(now, effects);
        }
    }

    /// The next generation: whoever has not joined is out.
    pub(super) fn complete_join(&mut self, now: u64, effects: &mut Effects) {
        self.members.retain(|_, member| member.joining.is_some());
        self.delayed_until = None;
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        self.protocol = self.vote();
        let stays = self.leader.as_ref().is_some_and(|leader| self.members.contains_key(leader));
        if !stays {
            self.leader = self.members.iter().min_by_key(|(_, member)| member.joined).map(|(id, _)| id.clone());
        }
        self.state = GroupState::CompletingRebalance;
        self.deadline = Some(now + self.longest_rebalance());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.join_reply(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.session_deadline = now + member.session_timeout;
                if let Some(token) = member.joining.take() {
                    effects.join(token, Ok(reply));
                }
            }
        }
    }

    fn become_empty(&mut self) {
        self.state = GroupState::Empty;
        self.protocol = None;
        self.leader = None;
        self.deadline = None;
        self.delayed_until = None;
    }

    /// Of the protocols that everybody knows, the one that most put first.
    fn vote(&self) -> Option<String> {
        let known = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        let mut votes: Vec<(String, usize)> = Vec::new();
        for member in self.members.values() {
            let Some((choice, _)) = member.protocols.iter().find(|(name, _)| known(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice.clone(), 1)),
            }
        }
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    fn join_reply(&self, member_id: &str) -> JoinGroupReply {
        let protocol = self.protocol.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member_id {
            let one = |(id, member): (&String, &Member)| (id.clone(), member.metadata(&protocol).cloned().unwrap_or_default());
            self.members.iter().map(one).collect()
        } else {
            Vec::new()
        };
        JoinGroupReply { generation: self.generation, protocol, leader, member_id: member_id.to_owned(), members }
    }

    /// The leader's assignment: everybody who waits gets theirs; who was left out gets a valid, empty one.
    fn assign(&mut self, now: u64, assignments: Vec<(String, Bytes)>, effects: &mut Effects) {
        for (id, member) in &mut self.members {
            let given = assignments.iter().find(|(other, _)| other == id).map(|(_, bytes)| bytes.clone());
            member.assignment = given.filter(|bytes| !bytes.is_empty()).unwrap_or_else(|| encode_assignment(&[]));
            member.session_deadline = now + member.session_timeout;
            if let Some(token) = member.syncing.take() {
                effects.sync(token, Ok(member.assignment.clone()));
            }
        }
        self.state = GroupState::Stable;
        self.deadline = None;
    }

    /// Takes a member out; false if it is not there.
    pub(super) fn remove(&mut self, now: u64, member_id: &str, effects: &mut Effects) -> bool {
        let Some(member) = self.members.remove(member_id) else { return false };
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
