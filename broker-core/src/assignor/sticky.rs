use std::collections::{BTreeMap, BTreeSet};

use super::{Assignments, Members, Topics, empty};
use crate::id::TopicPartition;

/// As even as can be, and everybody keeps what they had as far as that allows.
///
/// With equal subscriptions loads differ by at most one. With mixed ones, partitions with the fewest possible owners go first,
/// each to its least loaded member, and then move while that evens loads out.
pub fn sticky(members: &Members, topics: &Topics) -> Assignments {
    let mut assignments = empty(members);
    let owners = previous_owners(members, topics);
    let mut all: Vec<TopicPartition> = Vec::new();
    for (topic, count) in topics {
        if members.values().any(|wants| wants.topics.contains(topic)) {
            all.extend((0..*count).map(|partition| TopicPartition::new(topic.clone(), partition)));
        }
    }
    let subscriptions: BTreeSet<BTreeSet<_>> = members.values().map(|wants| wants.topics.iter().collect()).collect();
    if subscriptions.len() <= 1 {
        constrained(&mut assignments, &owners, &all);
    } else {
        general(&mut assignments, members, &owners, &all);
    }
    assignments.values_mut().for_each(|list| list.sort());
    assignments
}

/// Who owned what: of two claims the newest generation wins, of equal ones nobody.
fn previous_owners(members: &Members, topics: &Topics) -> BTreeMap<TopicPartition, String> {
    let mut claims: BTreeMap<TopicPartition, (i32, Option<String>)> = BTreeMap::new();
    for (member, wants) in members {
        for partition in &wants.owned {
            let exists = topics.get(&partition.topic).is_some_and(|count| partition.partition < *count);
            if !exists || !wants.topics.contains(&partition.topic) {
                continue;
            }
            let claim = claims.entry(partition.clone()).or_insert((wants.generation, Some(member.clone())));
            if claim.1.as_ref() == Some(member) || wants.generation < claim.0 {
                continue;
            }
            *claim = if wants.generation == claim.0 { (claim.0, None) } else { (wants.generation, Some(member.clone())) };
        }
    }
    claims.into_iter().filter_map(|(partition, (_, owner))| owner.map(|owner| (partition, owner))).collect()
}

fn constrained(assignments: &mut Assignments, owners: &BTreeMap<TopicPartition, String>, all: &[TopicPartition]) {
    let count = assignments.len();
    if count == 0 {
        return;
    }
    let (least, mut at_most_slots) = (all.len() / count, all.len() % count);
    let most = all.len().div_ceil(count);
    let mut owned: BTreeMap<&String, Vec<&TopicPartition>> = BTreeMap::new();
    owners.iter().for_each(|(partition, owner)| owned.entry(owner).or_default().push(partition));
    for (member, list) in assignments.iter_mut() {
        let Some(had) = owned.get_mut(member) else { continue };
        had.sort_by(|a, b| (a.partition, &a.topic).cmp(&(b.partition, &b.topic)));
        let keep = if had.len() > least && at_most_slots > 0 && most > least {
            at_most_slots -= 1;
            most
        } else {
            least
        };
        list.extend(had.iter().take(keep).map(|partition| (*partition).clone()));
    }
    let kept: BTreeSet<TopicPartition> = assignments.values().flatten().cloned().collect();
    for partition in all.iter().filter(|partition| !kept.contains(partition)) {
        // First those under the least load, in order of load; then those that may hold one more.
        let next =
            assignments.iter().min_by_key(|(member, list)| (list.len(), (*member).clone())).map(|(member, _)| member.clone());
        if let Some(list) = next.and_then(|member| assignments.get_mut(&member)) {
            list.push(partition.clone());
        }
    }
}

fn general(assignments: &mut Assignments, members: &Members, owners: &BTreeMap<TopicPartition, String>, all: &[TopicPartition]) {
    for (partition, owner) in owners {
        assignments.entry(owner.clone()).or_default().push(partition.clone());
    }
    let mut open: Vec<&TopicPartition> = all.iter().filter(|partition| !owners.contains_key(*partition)).collect();
    open.sort_by_key(|partition| (eligible(members, partition).count(), (*partition).clone()));
    for partition in open {
        let next = eligible(members, partition).min_by_key(|member| (assignments[*member].len(), (*member).clone())).cloned();
        if let Some(list) = next.and_then(|member| assignments.get_mut(&member)) {
            list.push(partition.clone());
        }
    }
    // Each move shrinks the difference between two members' loads, so this ends.
    loop {
        let mut moved = false;
        for partition in all {
            let Some(from) = assignments.iter().find(|(_, list)| list.contains(partition)).map(|(member, _)| member.clone())
            else {
                continue;
            };
            let to = eligible(members, partition).min_by_key(|member| (assignments[*member].len(), (*member).clone())).cloned();
            let Some(to) = to.filter(|to| assignments[to].len() + 1 < assignments[&from].len()) else { continue };
            assignments.entry(from).or_default().retain(|other| other != partition);
            assignments.entry(to).or_default().push(partition.clone());
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

fn eligible<'m>(members: &'m Members, partition: &'m TopicPartition) -> impl Iterator<Item = &'m String> {
    members.iter().filter(|(_, wants)| wants.topics.contains(&partition.topic)).map(|(id, _)| id)
}
