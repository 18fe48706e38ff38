use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A member's id, its topics, and what it owns.
type Member<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, i32)]);

fn members(list: &[Member<'_>]) -> Members {
    list.iter()
        .map(|(id, topics, owned)| {
            let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
            let owned = owned.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect();
            ((*id).to_owned(), MemberSubscription { topics, owned, generation: 1 })
        })
        .collect()
}

fn topics(list: &[(&str, i32)]) -> Topics {
    list.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

fn text(assignments: &Assignments) -> String {
    let one = |(member, list): (&String, &Vec<TopicPartition>)| {
        let list: Vec<_> = list.iter().map(|partition| format!("{}{}", partition.topic, partition.partition)).collect();
        format!("{member}[{}]", list.join(" "))
    };
    assignments.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn worked_examples() {
    let two = members(&[("c0", &["t", "u"], &[]), ("c1", &["t", "u"], &[])]);
    let three_each = topics(&[("t", 3), ("u", 3)]);
    assert_eq!(text(&range(&two, &three_each)), "c0[t0 t1 u0 u1] c1[t2 u2]");
    assert_eq!(text(&round_robin(&two, &three_each)), "c0[t0 t2 u1] c1[t1 u0 u2]");
    let fresh = members(&[("a", &["x"], &[]), ("b", &["x"], &[]), ("c", &["x"], &[])]);
    assert_eq!(text(&sticky(&fresh, &topics(&[("x", 7)]))), "a[x0 x3 x6] b[x1 x4] c[x2 x5]");
    let without_c = members(&[("a", &["x"], &[("x", 0), ("x", 3), ("x", 6)]), ("b", &["x"], &[("x", 1), ("x", 4)])]);
    let moved = sticky(&without_c, &topics(&[("x", 7)]));
    assert!(
        ["x0", "x3", "x6"].iter().all(|kept| text(&moved).split("] ").next().is_some_and(|a| a.contains(kept))),
        "{}",
        text(&moved)
    );
}

#[test]
fn a_partition_goes_to_its_next_owner_only_when_it_is_free() {
    let with_d = |a: &[(&str, i32)]| {
        members(&[
            ("a", &["x"], a),
            ("b", &["x"], &[("x", 1), ("x", 4)]),
            ("c", &["x"], &[("x", 2), ("x", 5)]),
            ("d", &["x"], &[]),
        ])
    };
    let seven = topics(&[("x", 7)]);
    let first = cooperative_sticky(&with_d(&[("x", 0), ("x", 3), ("x", 6)]), &seven);
    assert_eq!(text(&first), "a[x0 x3] b[x1 x4] c[x2 x5] d[]");
    let second = cooperative_sticky(&with_d(&[("x", 0), ("x", 3)]), &seven);
    assert_eq!(text(&second), "a[x0 x3] b[x1 x4] c[x2 x5] d[x6]");
}

proptest! {
    #[test]
    fn everything_is_assigned_once_to_somebody_who_wants_it(
        wants in proptest::collection::vec(proptest::collection::btree_set(0usize..3, 1..=3), 1..6),
        counts in proptest::collection::vec(0i32..7, 3),
        which in 0usize..3,
    ) {
        let names: Vec<Arc<str>> = ["t", "u", "v"].into_iter().map(Arc::from).collect();
        let members: Members = wants.iter().enumerate().map(|(index, set)| {
            let topics = set.iter().map(|topic| names[*topic].clone()).collect();
            (format!("m{index}"), MemberSubscription { topics, owned: Vec::new(), generation: -1 })
        }).collect();
        let topics: Topics = names.iter().cloned().zip(counts).collect();
        let assignor = [range, round_robin, sticky][which];
        let assignments = assignor(&members, &topics);
        let mut seen = BTreeSet::new();
        for (member, list) in &assignments {
            for partition in list {
                prop_assert!(members[member].topics.contains(&partition.topic));
                prop_assert!(seen.insert(partition.clone()), "{partition} twice");
            }
        }
        let wanted: usize = topics.iter().filter(|(topic, _)| members.values().any(|m| m.topics.contains(topic))).map(|(_, count)| *count as usize).sum();
        prop_assert_eq!(seen.len(), wanted);
    }

    #[test]
    fn cooperative_rounds_end_balanced_and_nobody_loses_needlessly(before in 1usize..5, after in 1usize..6, count in 0i32..20) {
        let topics: Topics = [(Arc::from("x"), count)].into();
        let mut members: Members = (0..before).map(|index| (format!("m{index}"), MemberSubscription { topics: vec!["x".into()], owned: Vec::new(), generation: 1 })).collect();
        for round in 0..4 {
            let assignments = cooperative_sticky(&members, &topics);
            for (member, list) in assignments {
                if let Some(wants) = members.get_mut(&member) { wants.owned = list; wants.generation = 2 + round; }
            }
            if round == 0 {
                members.retain(|member, _| member.as_str() < format!("m{after}").as_str());
                for index in before..after {
                    members.insert(format!("m{index}"), MemberSubscription { topics: vec!["x".into()], owned: Vec::new(), generation: -1 });
                }
            }
        }
        let loads: Vec<usize> = members.values().map(|wants| wants.owned.len()).collect();
        prop_assert_eq!(loads.iter().sum::<usize>(), count as usize);
        prop_assert!(loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0) <= 1, "{loads:?}");
    }

    #[test]
    fn protocol_bytes_come_back(topics in proptest::collection::vec("[a-z]{1,5}", 0..4), owned in proptest::collection::btree_set(("[a-z]{1,3}", 0i32..5), 0..6), generation: i32) {
        let owned: Vec<_> = owned.into_iter().map(|(topic, partition)| TopicPartition::new(topic, partition)).collect();
        let subscription = MemberSubscription { topics: topics.into_iter().map(Arc::from).collect(), owned: owned.clone(), generation };
        prop_assert_eq!(protocol::decode_subscription(&protocol::encode_subscription(&subscription)), Ok(subscription));
        prop_assert_eq!(protocol::decode_assignment(&protocol::encode_assignment(&owned)), Ok(owned));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let _ = protocol::decode_subscription(&bytes);
        let _ = protocol::decode_assignment(&bytes);
    }
}
