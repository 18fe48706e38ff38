use std::collections::BTreeMap;

use super::{Assignments, Members, Topics, sticky};
use crate::id::TopicPartition;

/// The sticky assignment, but a partition that somebody still owns is given to nobody else yet: its owner gives it up first,
/// joins again, and the next round hands it out.
pub fn cooperative_sticky(members: &Members, topics: &Topics) -> Assignments {
    let mut assignments = sticky(members, topics);
    let mut owners: BTreeMap<TopicPartition, &String> = BTreeMap::new();
    for (member, wants) in members {
        for partition in &wants.owned {
            let claimed = owners.get(partition).is_some_and(|other| members[*other].generation >= wants.generation);
            if !claimed {
                owners.insert(partition.clone(), member);
            }
        }
    }
    for (member, list) in &mut assignments {
        list.retain(|partition| owners.get(partition).is_none_or(|owner| *owner == member));
    }
    assignments
}
