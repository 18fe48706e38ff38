//! Offsets of transactions: what is written in which order, and what is to be seen then.

use super::tests::LIMITS;
use super::*;

/// What is appended to a shard's log, of partition `t-0` of group `g` unless it says otherwise.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// An offset outside of transactions.
    Plain(i64),
    /// A producer's.
    Within(i64, i64),
    /// Of another partition.
    Beside(i64, i64),
    Commit(i64),
    Abort(i64),
    Delete,
    DeleteGroup,
}
use Step::*;

fn commit(partition: i32, offset: i64) -> OffsetCommit<'static> {
    OffsetCommit { topic: "t", partition, offset, leader_epoch: -1, metadata: "" }
}

fn apply(groups: &mut Groups, step: Step) {
    let group = "g";
    let within = |producer, commit| GroupRecord::Within { producer, group, commit, stored_at: 7 };
    groups.apply(match step {
        Plain(offset) => GroupRecord::Offset { group, topic: "t", partition: 0, offset: Some((commit(0, offset), 7)) },
        Within(producer, offset) => within(producer, commit(0, offset)),
        Beside(producer, offset) => within(producer, commit(1, offset)),
        Commit(producer) => GroupRecord::End { producer, committed: true },
        Abort(producer) => GroupRecord::End { producer, committed: false },
        Delete => GroupRecord::Offset { group, topic: "t", partition: 0, offset: None },
        DeleteGroup => GroupRecord::Group { group, stored: None },
    });
}

/// What is stored of `t-0`, and of `t-1`, and whether each is decided.
fn told(groups: &Groups) -> [(i64, bool); 2] {
    let asked = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
    let stored = groups.offsets("g", Some(&asked));
    let stable = groups.stable_offsets("g", Some(&asked));
    [0, 1].map(|index| {
        let found = &stored[index].1;
        if let Ok(decided) = &stable[index].1 {
            assert_eq!(decided, found, "what is decided is what is stored");
        }
        (found.as_ref().map_or(-1, |found| found.offset), stable[index].1.is_ok())
    })
}

#[track_caller]
fn check(steps: &[Step], first: (i64, bool)) -> Groups {
    let mut groups = Groups::new(LIMITS);
    steps.iter().for_each(|step| apply(&mut groups, *step));
    assert_eq!(told(&groups)[0], first, "{steps:?}");
    groups
}

#[test]
fn an_offset_of_a_transaction_is_seen_when_it_is_committed() {
    check(&[Within(1, 5)], (-1, false));
    check(&[Plain(3), Within(1, 5)], (3, false));
    check(&[Plain(3), Within(1, 5), Within(1, 6)], (3, false));
    check(&[Plain(3), Within(1, 5), Within(1, 6), Commit(1)], (6, true));
    check(&[Plain(3), Within(1, 5), Within(1, 6), Abort(1)], (3, true));
    check(&[Within(1, 5), Abort(1)], (-1, true));
    // A marker is written again by a coordinator that does not know.
    check(&[Plain(3), Within(1, 5), Commit(1), Commit(1)], (5, true));
    check(&[Plain(3), Within(1, 5), Abort(1), Commit(1)], (3, true));
    check(&[Plain(3), Commit(1)], (3, true));
    check(&[Plain(3), Within(1, 5), Commit(2), Abort(3)], (3, false));
    // The next transaction of the same producer.
    check(&[Within(1, 5), Commit(1), Within(1, 9)], (5, false));
    check(&[Within(1, 5), Commit(1), Within(1, 9), Abort(1)], (5, true));
}

#[test]
fn the_offset_that_was_written_last_wins() {
    check(&[Within(1, 5), Plain(3)], (3, false));
    check(&[Within(1, 5), Plain(3), Commit(1)], (3, true));
    check(&[Within(1, 5), Plain(3), Abort(1)], (3, true));
    check(&[Within(1, 5), Plain(3), Within(1, 6), Commit(1)], (6, true));
    check(&[Plain(9), Within(1, 5), Commit(1), Plain(3)], (3, true));
    // Of two transactions as well, in whichever order they end.
    check(&[Within(1, 5), Within(2, 6), Commit(1)], (5, false));
    check(&[Within(1, 5), Within(2, 6), Commit(1), Commit(2)], (6, true));
    check(&[Within(1, 5), Within(2, 6), Commit(2)], (6, false));
    check(&[Within(1, 5), Within(2, 6), Commit(2), Commit(1)], (6, true));
    check(&[Within(1, 5), Within(2, 6), Abort(2), Commit(1)], (5, true));
    check(&[Within(1, 5), Within(2, 6), Plain(3), Commit(2), Commit(1)], (3, true));
}

#[test]
fn what_is_deleted_does_not_come_back_by_a_marker() {
    check(&[Plain(3), Within(1, 5), Delete], (-1, true));
    check(&[Plain(3), Within(1, 5), Delete, Commit(1)], (-1, true));
    check(&[Plain(3), Within(1, 5), Delete, Within(1, 6), Commit(1)], (6, true));
    check(&[Plain(3), Within(1, 5), DeleteGroup], (-1, true));
    let groups = check(&[Plain(3), Within(1, 5), DeleteGroup, Commit(1)], (-1, true));
    assert!(groups.list().is_empty(), "nor does the group");
    check(&[Plain(3), Within(1, 5), DeleteGroup, Plain(2), Commit(1)], (2, true));
    // Others stay.
    let groups = check(&[Within(1, 5), Beside(1, 8), Delete], (-1, true));
    assert_eq!(told(&groups)[1], (-1, false));
    let groups = check(&[Within(1, 5), Beside(1, 8), Delete, Commit(1)], (-1, true));
    assert_eq!(told(&groups)[1], (8, true));
}

#[test]
fn a_transaction_is_open_until_its_marker_even_if_all_of_it_was_deleted() {
    for (steps, open) in [
        (&[Plain(3)][..], false),
        (&[Within(1, 5)], true),
        (&[Within(1, 5), Commit(1)], false),
        (&[Within(1, 5), Within(2, 5), Abort(1)], true),
        (&[Within(1, 5), Delete], true),
        (&[Within(1, 5), DeleteGroup], true),
        (&[Within(1, 5), DeleteGroup, Abort(1)], false),
    ] {
        let mut groups = Groups::new(LIMITS);
        steps.iter().for_each(|step| apply(&mut groups, *step));
        assert_eq!(groups.has_transactions(), open, "{steps:?}");
    }
}

#[test]
fn who_is_asked_for_all_offsets_tells_those_that_are_stored() {
    let groups = check(&[Plain(3), Within(1, 5), Beside(1, 8)], (3, false));
    let told = groups.stable_offsets("g", None);
    assert_eq!(told, [(TopicPartition::new("t", 0), Err(ErrorCode::UnstableOffsetCommit))]);
    assert_eq!(groups.offsets("g", None).len(), 1);
    let all: Vec<String> = groups.partitions_of("g").iter().map(ToString::to_string).collect();
    assert_eq!(all, ["t-0", "t-1"], "both go with the group");
    assert_eq!(groups.with_offsets_for("t"), [("g".to_owned(), groups.partitions_of("g"))], "and with the topic");
    assert!(groups.with_offsets_for("s").is_empty() && groups.with_offsets_for("u").is_empty());
}

#[test]
fn what_a_transaction_is_about_does_not_expire() {
    let expired = |steps: &[Step]| {
        let mut groups = Groups::new(LIMITS);
        steps.iter().for_each(|step| apply(&mut groups, *step));
        let found = groups.expired(i64::MAX, 1).into_iter();
        found.map(|(_, gone, ends)| (gone.len(), ends)).next()
    };
    assert_eq!(expired(&[Plain(3)]), Some((1, true)));
    assert_eq!(expired(&[Plain(3), Within(1, 5)]), None, "it may be aborted");
    assert_eq!(expired(&[Plain(3), Beside(1, 5)]), Some((1, false)), "the group is to have an offset");
    assert_eq!(expired(&[Within(1, 5)]), None);
    assert_eq!(expired(&[Within(1, 5), Commit(1)]), Some((1, true)));
    assert_eq!(expired(&[Within(1, 5), Abort(1)]), Some((0, true)), "an empty group, as if it had never been");
}

#[test]
fn members_and_who_says_nothing_of_members_commit_within_transactions() {
    let mut bench = super::tests::stable();
    let check = |bench: &mut super::tests::Bench, generation, member: &str| {
        let who = MemberIdentity::of(generation, member);
        bench.groups.check_commit_within("g", who).map_err(|error| error.code().name())
    };
    assert_eq!(check(&mut bench, 1, "a"), Ok(()));
    assert_eq!(check(&mut bench, -1, ""), Ok(()), "an old client, whatever members there are");
    assert_eq!(check(&mut bench, 0, "a"), Err("ILLEGAL_GENERATION"));
    assert_eq!(check(&mut bench, 2, "a"), Err("ILLEGAL_GENERATION"));
    assert_eq!(check(&mut bench, 1, "z"), Err("UNKNOWN_MEMBER_ID"));
    assert_eq!(check(&mut bench, -1, "z"), Err("UNKNOWN_MEMBER_ID"));
    assert_eq!(check(&mut bench, 1, ""), Err("UNKNOWN_MEMBER_ID"));
    bench.join("", "b");
    bench.join("a", "a");
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
    assert_eq!(check(&mut bench, 2, "a"), Ok(()), "the rebalance is no matter");
    let unknown = |generation| {
        let who = MemberIdentity::of(generation, "");
        Groups::new(LIMITS).check_commit_within("g", who).map_err(|error| error.code().name())
    };
    assert_eq!((unknown(-1), unknown(0)), (Ok(()), Err("ILLEGAL_GENERATION")));
    let nobody = bench.groups.check_commit_within("", MemberIdentity::administrator());
    assert_eq!(nobody.map_err(|error| error.code()), Err(ErrorCode::InvalidGroupId));
    bench.groups.leave(0, "g", MemberIdentity::of(-1, "a")).expect("left");
    bench.groups.leave(0, "g", MemberIdentity::of(-1, "b")).expect("left");
    assert_eq!(check(&mut bench, -1, "z"), Ok(()), "nobody is fenced where nobody is");
}

#[test]
fn a_static_member_that_was_replaced_is_fenced_within_transactions_too() {
    let mut bench = super::wire_tests::two_statics();
    let mut check = |member: &str, instance| {
        let who = MemberIdentity { generation: 1, member_id: member, group_instance_id: Some(instance) };
        bench.groups.check_commit_within("g", who).map_err(|error| error.code().name())
    };
    assert_eq!(check("y1", "x"), Err("FENCED_INSTANCE_ID"));
    assert_eq!(check("x1", "x"), Ok(()));
    assert_eq!(check("x1", "nobody"), Err("UNKNOWN_MEMBER_ID"));
}
