//! What time does to a group.

use super::{Effects, GroupState, Groups};

impl Groups {
    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let of_group = |group: &super::Group| {
            let sessions = group.members.values().filter(|member| !member.is_parked()).map(|member| member.session_deadline);
            sessions.chain(group.deadline).chain(group.delayed_until).min()
        };
        self.groups.values().filter_map(of_group).min()
    }

    /// Members that were silent for too long are out; rebalances that took too long go on without who is missing.
    pub fn expire(&mut self, now: u64) -> Effects {
        let mut effects = Effects::default();
        for (id, group) in &mut self.groups {
            let silent = |member: &super::Member| !member.is_parked() && member.session_deadline <= now;
            let expired: Vec<String> =
                group.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| id.clone()).collect();
            for member in &expired {
                tracing::info!(target: "broker_core::group", group = %id, %member, "session timed out: the member is out");
                group.remove(now, member, &mut effects);
            }
            if !expired.is_empty() && group.members.is_empty() {
                effects.store.push(id.clone());
            }
            if group.delayed_until.is_some_and(|until| until <= now) {
                group.delayed_until = None;
                group.try_complete_join(now, &mut effects);
            }
            if group.deadline.is_some_and(|deadline| deadline <= now) {
                match group.state {
                    GroupState::PreparingRebalance => group.complete_join(now, &mut effects),
                    GroupState::CompletingRebalance => {
                        group.members.retain(|_, member| member.syncing.is_some());
                        group.prepare(now, &mut effects);
                        group.try_complete_join(now, &mut effects);
                    }
                    GroupState::Empty | GroupState::Stable => group.deadline = None,
                }
            }
        }
        effects
    }
}

impl super::Member {
    /// A member that waits for an answer is not silent.
    fn is_parked(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}
