//! What time does to a group.

use super::{Effects, GroupState, Groups};

impl Groups {
    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let of_group = |group: &super::Group| {
            let sessions = group.members.values().filter(|member| !member.is_parked()).map(|member| member.session_deadline);
            let waits = group.delay.map(|delay| delay.until).into_iter().chain(group.pending.values().copied());
            sessions.chain(group.deadline).chain(waits).min()
        };
        self.groups.values().filter_map(of_group).min()
    }

    /// Members that were silent for too long are out; rebalances that took too long go on without who is missing.
    pub fn expire(&mut self, now: u64) -> Effects {
        let mut effects = Effects::default();
        for (id, group) in &mut self.groups {
            let had_members = !group.members.is_empty();
            let silent = |member: &super::Member| !member.is_parked() && member.session_deadline <= now;
            let expired: Vec<String> =
                group.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| id.clone()).collect();
            for member in &expired {
                tracing::info!(target: "broker_core::group", group = id.as_str(), member = member.as_str(), "session timed out: the member is out");
                group.remove(now, member, &mut effects);
            }
            let pending = group.pending.len();
            group.pending.retain(|_, until| *until > now);
            if group.end_delay(now, self.limits.initial_rebalance_delay_ms) && group.state == GroupState::PreparingRebalance {
                // Whoever only has an id by now comes later.
                group.complete_join(now, &mut effects);
            }
            if pending > group.pending.len() || group.state == GroupState::PreparingRebalance {
                group.try_complete_join(now, &mut effects);
            }
            if group.deadline.is_some_and(|deadline| deadline <= now) {
                match group.state {
                    GroupState::PreparingRebalance => group.complete_join(now, &mut effects),
                    GroupState::CompletingRebalance | GroupState::Stable => {
                        group.drop_unsynced(id);
                        group.prepare(now, &mut effects);
                        group.try_complete_join(now, &mut effects);
                    }
                    GroupState::Empty => group.deadline = None,
                }
            }
            if had_members && group.members.is_empty() {
                effects.store.push(id.clone());
            }
        }
        effects
    }
}

impl super::Group {
    /// The first generation's wait is over, unless somebody came meanwhile: then it goes on, up to its bound. True when it is over.
    fn end_delay(&mut self, now: u64, step: u64) -> bool {
        let Some(delay) = self.delay.filter(|delay| delay.until <= now) else { return false };
        let more = delay.at_most.saturating_sub(delay.until).min(step);
        self.delay = (delay.again && more > 0).then(|| super::Delay { until: delay.until + more, again: false, ..delay });
        self.delay.is_none()
    }

    /// Who is in the generation and never asked for its assignment is out: nobody reads what is assigned to it.
    fn drop_unsynced(&mut self, id: &str) {
        self.members.retain(|member_id, member| {
            if !member.synced {
                tracing::info!(target: "broker_core::group", group = id, member = member_id.as_str(), "never asked for its assignment: the member is out");
            }
            member.synced
        });
        let members = &self.members;
        self.statics.retain(|_, id| members.contains_key(id));
    }
}

impl super::Member {
    /// A member that waits for an answer is not silent.
    fn is_parked(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}
