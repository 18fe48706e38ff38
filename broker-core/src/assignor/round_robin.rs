use super::{Assignments, Members, Topics, empty};
use crate::id::TopicPartition;

/// All partitions in order, dealt out in a circle of members, past those that do not subscribe.
pub fn round_robin(members: &Members, topics: &Topics) -> Assignments {
    let mut assignments = empty(members);
    let ids: Vec<&String> = members.keys().collect();
    let mut next = 0;
    for (topic, count) in topics {
        if !members.values().any(|wants| wants.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*count {
            while !members[ids[next % ids.len()]].topics.contains(topic) {
                next += 1;
            }
            let member = ids[next % ids.len()];
            assignments.entry(member.clone()).or_default().push(TopicPartition::new(topic.clone(), partition));
            next += 1;
        }
    }
    assignments
}
