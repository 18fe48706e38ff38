//! Static members: a name of their own (`group.instance.id`) keeps their place while they are away.

use super::{Effects, Group, GroupState, JoinGroup, Member, ReplyToken};
use crate::error::ErrorCode;

impl Group {
    /// The member that somebody says to be. A static member's id must be the one that its name has now.
    pub(super) fn known(&mut self, member_id: &str, instance: Option<&str>) -> Result<&mut Member, ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get_mut(member_id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// A static member is back under its name: it gets a new id, the old one is fenced. In a stable group nothing else changes
    /// if the same assignor would be chosen. True if the swap is to be stored.
    pub(super) fn replace_static(
        &mut self,
        now: u64,
        token: ReplyToken,
        request: JoinGroup,
        new_id: String,
        effects: &mut Effects,
    ) -> bool {
        let instance = request.group_instance_id.clone().unwrap_or_default();
        let old_id = self.statics.insert(instance, new_id.clone()).unwrap_or_default();
        let led = self.leader.as_deref() == Some(&*old_id);
        let Some(mut member) = self.members.remove(&old_id) else { return false };
        if let Some(earlier) = member.joining.take() {
            effects.join(earlier, Err(ErrorCode::FencedInstanceId));
        }
        if let Some(earlier) = member.syncing.take() {
            effects.sync(earlier, Err(ErrorCode::FencedInstanceId));
        }
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        member.session_timeout = request.session_timeout_ms;
        member.rebalance_timeout = request.rebalance_timeout_ms;
        member.session_deadline = now + request.session_timeout_ms;
        member.protocols = request.protocols;
        self.members.insert(new_id.clone(), member);
        if led {
            self.leader = Some(new_id.clone());
        }
        if self.state == GroupState::Stable && self.vote() == self.protocol {
            let mut reply = self.join_reply(&new_id);
            if led && request.skips_assignment {
                reply.skip_assignment = true;
            } else if led {
                // A client that cannot skip must not assign: to it the one that went is still the leader.
                reply.leader = old_id;
                reply.members.clear();
            }
            effects.join(token, Ok(reply));
            return true;
        }
        if let Some(member) = self.members.get_mut(&new_id) {
            member.joining = Some(token);
        }
        self.prepare(now, effects);
        self.try_complete_join(now, effects);
        false
    }
}
