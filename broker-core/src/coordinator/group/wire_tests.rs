//! What clients on the wire need of a group beyond those in this process: reserved ids, static members, deletions, expiry.

use bytes::Bytes;

use super::tests::{Bench, LIMITS};
use super::*;

fn request(member: &str, instance: Option<&str>) -> JoinGroup {
    JoinGroup {
        group: "g".to_owned(),
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        client_id: "c".to_owned(),
        client_host: "here".to_owned(),
        session_timeout_ms: 1000,
        rebalance_timeout_ms: 5000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        skips_assignment: false,
    }
}

fn who<'a>(generation: i32, member_id: &'a str, instance: &'a str) -> MemberIdentity<'a> {
    MemberIdentity { generation, member_id, group_instance_id: Some(instance) }
}

/// Two static members, `x` and `y`, stable in generation 1; `x` leads. Their ids are `x1` and `y1`.
pub(super) fn two_statics() -> Bench {
    let mut bench = Bench::new(GroupLimits { initial_rebalance_delay_ms: 10, ..LIMITS });
    let x = bench.ask(request("", Some("x")), "x1");
    let y = bench.ask(request("", Some("y")), "y1");
    bench.pass(20);
    assert_eq!((bench.answer(x), bench.answer(y)), ("gen 1 leader x1 of 2", "gen 1 leader x1 of 0"));
    bench.sync("y1", 1);
    bench.sync("x1", 1);
    assert_eq!(bench.state(), GroupState::Stable);
    bench
}

#[test]
fn a_reserved_id_is_waited_for_and_joins() {
    let mut bench = Bench::new(LIMITS);
    let id = bench.groups.reserve(0, &request("", None), |client| format!("{client}-1")).expect("reserved");
    assert_eq!(id, "c-1");
    let other = bench.join("", "a");
    assert_eq!(bench.answer(other), "parked", "the next generation waits for the reserved member");
    let token = bench.ask(request("c-1", None), "never used");
    assert_eq!((bench.answer(other), bench.answer(token)), ("gen 1 leader a of 2", "gen 1 leader a of 0"));
}

#[test]
fn a_reserved_id_that_nobody_uses_holds_up_nobody_for_long() {
    let mut bench = Bench::new(LIMITS);
    bench.groups.reserve(0, &request("", None), |_| "late".to_owned()).expect("reserved");
    let other = bench.join("", "a");
    bench.pass(999);
    assert_eq!(bench.answer(other), "parked");
    bench.pass(1);
    assert_eq!(bench.answer(other), "gen 1 leader a of 1");
    let token = bench.ask(request("late", None), "never used");
    assert_eq!(bench.answer(token), "UNKNOWN_MEMBER_ID");
}

#[test]
fn reserved_ids_count_for_the_groups_size_and_may_leave() {
    let mut bench = Bench::new(GroupLimits { max_size: 1, ..LIMITS });
    bench.groups.reserve(0, &request("", None), |_| "one".to_owned()).expect("reserved");
    let second = bench.groups.reserve(0, &request("", None), |_| "two".to_owned());
    assert_eq!(second, Err(ErrorCode::GroupMaxSizeReached));
    bench.groups.leave(0, "g", MemberIdentity::of(-1, "one")).expect("left");
    assert_eq!(bench.groups.reserve(0, &request("", None), |_| "two".to_owned()), Ok("two".to_owned()));
}

#[test]
fn a_static_member_that_comes_back_takes_its_place_and_fences_the_old_one() {
    let mut bench = two_statics();
    let back = bench.ask(request("", Some("y")), "y2");
    assert_eq!((bench.answer(back), bench.state()), ("gen 1 leader x1 of 0", GroupState::Stable), "no rebalance");
    assert_eq!(bench.groups.heartbeat(0, "g", who(1, "y1", "y")), Err(ErrorCode::FencedInstanceId));
    assert_eq!(bench.groups.heartbeat(0, "g", who(1, "y2", "y")), Ok(()));
    assert_eq!(bench.groups.heartbeat(0, "g", who(1, "z1", "z")), Err(ErrorCode::UnknownMemberId));
    let commit = bench.groups.check_commit(0, "g", who(1, "y1", "y")).map_err(|error| error.code());
    assert_eq!(commit, Err(ErrorCode::FencedInstanceId));
    let old = bench.ask(request("y1", Some("y")), "never used");
    assert_eq!(bench.answer(old), "FENCED_INSTANCE_ID");
    let synced = bench.sync("y2", 1);
    assert_eq!(bench.answer(synced), "assigned 10", "the assignment that was there");
}

#[test]
fn a_static_leader_that_comes_back_must_not_assign_anew() {
    let mut bench = two_statics();
    let back = bench.ask(request("", Some("x")), "x2");
    // A client that cannot skip takes the one that went for the leader.
    assert_eq!(bench.answer(back), "gen 1 leader x1 of 0");
    let skips = JoinGroup { skips_assignment: true, ..request("", Some("x")) };
    let back = bench.ask(skips, "x3");
    assert_eq!(bench.answer(back), "gen 1 leader x3 of 2 skips");
}

#[test]
fn a_static_member_that_comes_back_with_another_assignor_makes_a_generation() {
    let mut bench = two_statics();
    let changed = JoinGroup { protocols: vec![("range".to_owned(), Bytes::from_static(b"new"))], ..request("y1", Some("y")) };
    bench.ask(changed, "never used");
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_until_its_session_ends() {
    let mut bench = two_statics();
    let third = bench.join("", "d");
    bench.ask(request("x1", Some("x")), "never used");
    // `y` does not join; the rebalance ends without it, but it keeps its place while it beats.
    for _ in 0..5 {
        bench.pass(900);
        assert_eq!(bench.groups.heartbeat(bench.now, "g", who(1, "y1", "y")), Err(ErrorCode::RebalanceInProgress));
    }
    bench.pass(600);
    assert_eq!(bench.answer(third), "gen 2 leader x1 of 0");
    let members = bench.groups.describe("g").expect("a group").members;
    assert_eq!(members.iter().map(|member| member.member_id.as_str()).collect::<Vec<_>>(), ["d", "x1", "y1"]);
    bench.pass(1000);
    let members = bench.groups.describe("g").expect("a group").members;
    assert!(members.iter().all(|member| member.member_id != "y1"), "{members:?}");
}

/// As in Kafka: nobody reads what was assigned to it.
#[test]
fn a_static_member_that_stays_away_from_a_whole_generation_is_out_however_long_its_session() {
    let mut bench = Bench::new(LIMITS);
    for name in ["x", "y"] {
        bench.ask(JoinGroup { session_timeout_ms: 60_000, ..request("", Some(name)) }, &format!("{name}1"));
    }
    let members = |bench: &Bench| bench.groups.describe("g").expect("a group").members.len();
    bench.pass(5000);
    assert_eq!((bench.state(), members(&bench)), (GroupState::CompletingRebalance, 2), "x never joined again");
    bench.sync("y1", 2);
    assert_eq!(bench.state(), GroupState::Stable);
    bench.pass(4999);
    assert_eq!((bench.state(), members(&bench)), (GroupState::Stable, 2));
    bench.pass(1);
    assert_eq!((bench.state(), members(&bench)), (GroupState::PreparingRebalance, 1));
}

#[test]
fn an_administrator_takes_a_static_member_out_by_its_name() {
    let mut bench = two_statics();
    let by_name = who(-1, "", "nobody");
    assert!(matches!(bench.groups.leave(0, "g", by_name), Err(ErrorCode::UnknownMemberId)));
    assert!(matches!(bench.groups.leave(0, "g", who(-1, "old", "y")), Err(ErrorCode::FencedInstanceId)));
    bench.groups.leave(0, "g", who(-1, "", "y")).expect("left");
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let again = bench.ask(request("", Some("y")), "y9");
    assert_eq!(bench.answer(again), "parked", "a new member, not one that comes back");
}

#[test]
fn the_first_generation_waits_on_while_members_come_but_not_for_ever() {
    let mut bench = Bench::new(GroupLimits { initial_rebalance_delay_ms: 300, ..LIMITS });
    let a = bench.join("", "a");
    bench.pass(200);
    bench.join("", "b");
    bench.pass(100);
    assert_eq!(bench.answer(a), "parked", "somebody came meanwhile: once more");
    bench.pass(300);
    assert_eq!(bench.answer(a), "gen 1 leader a of 2");
    let mut bench = Bench::new(GroupLimits { initial_rebalance_delay_ms: 3000, max_size: 100, ..LIMITS });
    let a = bench.join("", "a");
    for second in 1..=5 {
        assert_eq!(bench.answer(a), "parked", "after {second} s");
        bench.pass(1000);
        bench.join("", &format!("m{second}"));
    }
    assert_ne!(bench.answer(a), "parked", "at most the rebalance time-out");
}

#[test]
fn the_first_generation_waits_for_more_members_longer_than_for_one_of_them() {
    let mut bench = Bench::new(GroupLimits { initial_rebalance_delay_ms: 300, ..LIMITS });
    let short = |name| JoinGroup { rebalance_timeout_ms: 100, client_id: name, ..request("", None) };
    let a = bench.ask(short("a".to_owned()), "a");
    bench.pass(100);
    assert_eq!(bench.answer(a), "parked");
    let b = bench.ask(short("b".to_owned()), "b");
    bench.pass(200);
    assert_eq!((bench.answer(a), bench.answer(b)), ("gen 1 leader a of 2", "gen 1 leader a of 0"), "and no longer than that");
}

#[test]
fn the_first_generation_does_not_wait_for_who_only_asked_for_an_id() {
    let mut bench = Bench::new(GroupLimits { initial_rebalance_delay_ms: 300, ..LIMITS });
    let a = bench.join("", "a");
    bench.groups.reserve(0, &request("", None), |_| "late".to_owned()).expect("reserved");
    bench.pass(300);
    assert_eq!(bench.answer(a), "gen 1 leader a of 1");
    let late = bench.ask(request("late", None), "never used");
    assert_eq!((bench.answer(late), bench.state()), ("parked", GroupState::PreparingRebalance), "it may come all the same");
}

/// As `Duration::MAX` comes to.
#[test]
fn time_outs_that_never_end_are_as_long_as_can_be_written_down() {
    let limits = GroupLimits { max_session_timeout_ms: u64::MAX, ..LIMITS };
    let mut bench = Bench::new(limits.clone());
    bench.now = 5;
    let host = "/::1".to_owned();
    let forever =
        JoinGroup { session_timeout_ms: u64::MAX, rebalance_timeout_ms: u64::MAX, client_host: host, ..request("", None) };
    bench.groups.reserve(5, &forever, |_| "r".to_owned()).expect("reserved");
    let r = bench.ask(JoinGroup { member_id: "r".to_owned(), ..forever }, "never used");
    assert_eq!(bench.answer(r), "gen 1 leader r of 1");
    let r = bench.sync("r", 1);
    assert_eq!(bench.answer(r), "assigned 1");
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let (generation, members) = bench.groups.stored("g").expect("a group");
    encode_group("g", generation, &members, 77, &mut key, &mut value);
    let mut groups = Groups::new(limits);
    groups.apply(decode(&key, Some(&value)).expect("a group's record"));
    assert!(groups.restore(5, "g", &value), "read back");
    assert_eq!(groups.describe("g").expect("a group").members.len(), 1);
}

#[test]
fn a_sync_that_takes_the_group_for_another_is_refused() {
    for (protocol_type, protocol, expected) in [
        (Some("consumer"), Some("range"), "assigned 1"),
        (None, None, "assigned 1"),
        (Some("connect"), None, "INCONSISTENT_GROUP_PROTOCOL"),
        (None, Some("sticky"), "INCONSISTENT_GROUP_PROTOCOL"),
    ] {
        let mut bench = Bench::new(LIMITS);
        bench.join("", "a");
        bench.sync("a", 1);
        let token = bench.ask_sync(SyncGroup {
            group: "g".to_owned(),
            generation: 1,
            member_id: "a".to_owned(),
            protocol_type: protocol_type.map(str::to_owned),
            protocol: protocol.map(str::to_owned),
            ..SyncGroup::default()
        });
        assert_eq!(bench.answer(token), expected, "{protocol_type:?} {protocol:?}");
    }
}

const HOUR: i64 = 3_600_000;

fn store(groups: &mut Groups, topic: &str, wall: i64) {
    let commit = OffsetCommit { topic, partition: 0, offset: 5, leader_epoch: -1, metadata: "" };
    groups.apply(GroupRecord::Offset { group: "g", topic, partition: 0, offset: Some((commit, wall)) });
}

fn expired(groups: &mut Groups, wall: i64) -> (Vec<String>, bool) {
    let found = groups.expired(wall, HOUR);
    assert!(found.len() <= 1);
    found
        .into_iter()
        .next()
        .map_or((Vec::new(), false), |(_, gone, ends)| (gone.iter().map(|partition| partition.topic.to_string()).collect(), ends))
}

#[test]
fn offsets_of_a_group_that_never_had_members_end_by_their_own_age() {
    let mut groups = Groups::new(LIMITS);
    store(&mut groups, "old", 0);
    store(&mut groups, "new", HOUR / 2);
    assert_eq!(expired(&mut groups, HOUR - 1), (vec![], false));
    assert_eq!(expired(&mut groups, HOUR), (vec!["old".to_owned()], false));
    assert_eq!(expired(&mut groups, 2 * HOUR), (vec!["new".to_owned(), "old".to_owned()], true));
}

#[test]
fn offsets_of_an_empty_group_end_after_it_became_empty() {
    let mut groups = Groups::new(LIMITS);
    store(&mut groups, "t", 0);
    let stored = StoredGroup { generation: 3, protocol_type: "consumer", timestamp: 5 * HOUR, has_members: false };
    groups.apply(GroupRecord::Group { group: "g", stored: Some(stored) });
    assert_eq!(expired(&mut groups, 6 * HOUR - 1), (vec![], false));
    assert_eq!(expired(&mut groups, 6 * HOUR), (vec!["t".to_owned()], true));
    // Read back with members that never came again: the first look counts.
    groups.apply(GroupRecord::Group { group: "g", stored: Some(StoredGroup { has_members: true, ..stored }) });
    assert_eq!(expired(&mut groups, 100 * HOUR), (vec![], false));
    assert_eq!(expired(&mut groups, 101 * HOUR), (vec!["t".to_owned()], true));
}

#[test]
fn a_live_group_keeps_what_it_reads() {
    let subscription = crate::assignor::MemberSubscription { topics: vec!["read".into()], ..Default::default() };
    let metadata = crate::assignor::protocol::encode_subscription(&subscription);
    let mut bench = Bench::new(LIMITS);
    bench.ask(JoinGroup { protocols: vec![("range".to_owned(), metadata)], ..request("", None) }, "a");
    bench.sync("a", 1);
    store(&mut bench.groups, "read", 0);
    store(&mut bench.groups, "unread", 0);
    assert_eq!(expired(&mut bench.groups, HOUR), (vec!["unread".to_owned()], false));
    let checked = bench.groups.check_delete_offsets("g", &["read", "unread"]).expect("a group");
    assert_eq!(checked, [Err(ErrorCode::GroupSubscribedToTopic), Ok(())]);
    let absent = bench.groups.check_delete_offsets("h", &["read"]).expect_err("no group");
    assert_eq!(absent.code(), ErrorCode::GroupIdNotFound);
}

#[test]
fn what_members_of_another_kind_read_is_not_known() {
    let mut bench = Bench::new(LIMITS);
    bench.ask(JoinGroup { protocol_type: "connect".to_owned(), ..request("", None) }, "a");
    let token = bench.sync("a", 1);
    assert_eq!(bench.answer(token), "assigned 1");
    store(&mut bench.groups, "t", 0);
    assert_eq!(expired(&mut bench.groups, 100 * HOUR), (vec![], false));
    let refused = bench.groups.check_delete_offsets("g", &["t"]).expect_err("it has members");
    assert_eq!(refused.code(), ErrorCode::NonEmptyGroup);
    let listed = bench.groups.list();
    assert_eq!((listed[0].protocol_type.as_str(), listed[0].state.name()), ("connect", "Stable"));
}

#[test]
fn a_generation_is_read_back_as_it_was_stored() {
    let mut bench = two_statics();
    let (generation, members) = bench.groups.stored("g").expect("a group");
    let (mut key, mut value) = (Vec::new(), Vec::new());
    encode_group("g", generation, &members, 77, &mut key, &mut value);
    let Some(GroupRecord::Group { group: "g", stored: Some(read) }) = decode(&key, Some(&value)) else {
        panic!("not a group's record");
    };
    assert_eq!((read.generation, read.protocol_type, read.timestamp, read.has_members), (1, "consumer", 77, true));
    bench.groups.leave(0, "g", who(1, "x1", "x")).expect("left");
}

/// The log has two bytes for a text's length. One of 65,537 bytes would be read back as one of 1, and what stands behind it as whatever
/// it was made to look like: another group's offset.
#[test]
fn texts_that_the_log_has_no_room_for_are_refused() {
    let limit = i16::MAX as usize;
    let named = |length: usize| "g".repeat(length);
    for (length, taken) in [(1, true), (limit, true), (limit + 1, false), (1 << 16 | 1, false)] {
        let mut groups = Groups::new(LIMITS);
        let code = if taken { Ok(()) } else { Err(ErrorCode::InvalidGroupId) };
        let nobody = MemberIdentity::administrator();
        let commit = groups.check_commit(0, &named(length), nobody);
        assert_eq!(commit.map_err(|error| error.code()), code, "a commit for a group of {length} bytes");
        let within = groups.check_commit_within(&named(length), nobody);
        assert_eq!(within.map_err(|error| error.code()), code, "within a transaction, a group of {length} bytes");
        let wish = JoinGroup { group: named(length), ..request("", None) };
        let reserved = groups.reserve(0, &wish, |_| "id".to_owned());
        assert_eq!(reserved.map(drop), code, "a join of a group of {length} bytes");
    }
    let most = "n".repeat(limit - 33);
    let longer = format!("{most}n");
    let text = "n".repeat(limit + 1);
    let fine = request("", None);
    for (what, wish, taken) in [
        ("a client's name", JoinGroup { client_id: most.clone(), ..fine.clone() }, true),
        ("a client's name", JoinGroup { client_id: longer.clone(), ..fine.clone() }, false),
        ("an instance's name", JoinGroup { group_instance_id: Some(most), ..fine.clone() }, true),
        ("an instance's name", JoinGroup { group_instance_id: Some(longer), ..fine.clone() }, false),
        ("a protocol's type", JoinGroup { protocol_type: text.clone(), ..fine.clone() }, false),
        ("a protocol", JoinGroup { protocols: vec![(text.clone(), Bytes::new())], ..fine.clone() }, false),
        ("a host", JoinGroup { client_host: text, ..fine }, false),
    ] {
        let reserved = Groups::new(LIMITS).reserve(0, &wish, |_| "id".to_owned()).map(drop);
        assert_eq!(reserved, if taken { Ok(()) } else { Err(ErrorCode::InvalidRequest) }, "{what}");
    }
}

#[test]
fn a_text_that_is_too_long_is_never_read_back_as_another() {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    // Behind the first byte: the topic "t", partition 0.
    let group = format!("g\0\u{1}t\0\0\0\0{}", "x".repeat((1 << 16) - 7));
    assert_eq!(group.len(), 1 << 16 | 1);
    let commit = OffsetCommit { topic: "t", partition: 0, offset: 5, leader_epoch: -1, metadata: "" };
    encode_commit(&group, &commit, 0, &mut key, &mut value);
    if let Some(GroupRecord::Offset { group: read, .. }) = decode(&key, Some(&value)) {
        assert_ne!(read, "g");
    }
}
