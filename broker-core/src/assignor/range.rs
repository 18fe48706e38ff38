use super::{Assignments, Members, Topics, empty};
use crate::id::TopicPartition;

/// Per topic, contiguous runs: the first members get one more. Topics with equal counts line up.
pub fn range(members: &Members, topics: &Topics) -> Assignments {
    let mut assignments = empty(members);
    for (topic, count) in topics {
        let subscribed: Vec<&String> =
            members.iter().filter(|(_, wants)| wants.topics.contains(topic)).map(|(id, _)| id).collect();
        if subscribed.is_empty() {
            continue;
        }
        let (each, more) = (*count as usize / subscribed.len(), *count as usize % subscribed.len());
        let mut next = 0;
        for (index, member) in subscribed.into_iter().enumerate() {
            let share = each + usize::from(index < more);
            let run = (next..next + share).map(|partition| TopicPartition::new(topic.clone(), partition as i32));
            assignments.entry(member.clone()).or_default().extend(run);
            next += share;
        }
    }
    assignments
}
