use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

pub(super) const LIMITS: GroupLimits = GroupLimits {
    min_session_timeout_ms: 100,
    max_session_timeout_ms: 100_000,
    initial_rebalance_delay_ms: 0,
    max_size: 5,
    metadata_max_bytes: 10,
};

/// Members, their parked answers, and time.
pub(super) struct Bench {
    pub groups: Groups,
    pub now: u64,
    tokens: u64,
    answers: BTreeMap<u64, String>,
    replies: Vec<(ReplyToken, Reply)>,
}

impl Bench {
    pub fn new(limits: GroupLimits) -> Self {
        Self { groups: Groups::new(limits), now: 0, tokens: 0, answers: BTreeMap::new(), replies: Vec::new() }
    }

    fn keep(&mut self, effects: Effects) {
        for (token, reply) in effects.replies {
            let text = match &reply {
                Reply::Join(Ok(join)) => {
                    let skips = if join.skip_assignment { " skips" } else { "" };
                    format!("gen {} leader {} of {}{skips}", join.generation, join.leader, join.members.len())
                }
                Reply::Join(Err(code)) | Reply::Sync(Err(code)) => code.name().to_owned(),
                Reply::Sync(Ok(sync)) => format!("assigned {}", sync.assignment.len()),
            };
            assert!(self.answers.insert(token.0, text).is_none(), "answered once");
            self.replies.push((token, reply));
        }
    }

    pub fn join(&mut self, member: &str, name: &str) -> u64 {
        self.join_with(member, name, &["range"])
    }

    fn join_with(&mut self, member: &str, name: &str, protocols: &[&str]) -> u64 {
        let request = JoinGroup {
            group: "g".to_owned(),
            member_id: member.to_owned(),
            group_instance_id: None,
            client_id: name.to_owned(),
            client_host: "here".to_owned(),
            session_timeout_ms: 1000,
            rebalance_timeout_ms: 5000,
            protocol_type: "consumer".to_owned(),
            protocols: protocols.iter().map(|protocol| ((*protocol).to_owned(), Bytes::new())).collect(),
            skips_assignment: false,
        };
        self.ask(request, name)
    }

    /// Joins; `id` is the id if a new one is needed.
    pub fn ask(&mut self, request: JoinGroup, id: &str) -> u64 {
        self.tokens += 1;
        let effects = self.groups.join(self.now, ReplyToken(self.tokens), request, |_| id.to_owned());
        self.keep(effects);
        self.tokens
    }

    pub fn ask_sync(&mut self, request: SyncGroup) -> u64 {
        self.tokens += 1;
        let effects = self.groups.sync(self.now, ReplyToken(self.tokens), request);
        self.keep(effects);
        self.tokens
    }

    pub fn sync(&mut self, member: &str, generation: i32) -> u64 {
        let assignments = vec![(member.to_owned(), Bytes::from_static(b"x"))];
        let request =
            SyncGroup { group: "g".to_owned(), generation, member_id: member.to_owned(), assignments, ..SyncGroup::default() };
        self.ask_sync(request)
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        let effects = self.groups.expire(self.now);
        self.keep(effects);
    }

    pub fn answer(&self, token: u64) -> &str {
        self.answers.get(&token).map_or("parked", String::as_str)
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> &'static str {
        self.groups.heartbeat(self.now, "g", MemberIdentity::of(generation, member)).map_or_else(ErrorCode::name, |()| "fine")
    }

    pub fn state(&self) -> GroupState {
        self.groups.describe("g").expect("a group").state
    }
}

/// One member, stable in generation 1.
pub(super) fn stable() -> Bench {
    let mut bench = Bench::new(LIMITS);
    let join = bench.join("", "a");
    assert_eq!(bench.answer(join), "gen 1 leader a of 1");
    let sync = bench.sync("a", 1);
    assert_eq!(bench.answer(sync), "assigned 1");
    bench
}

#[test]
fn a_second_member_makes_the_next_generation() {
    let mut bench = stable();
    let b = bench.join("", "b");
    assert_eq!((bench.answer(b), bench.state()), ("parked", GroupState::PreparingRebalance));
    assert_eq!(bench.heartbeat("a", 1), "REBALANCE_IN_PROGRESS");
    let a = bench.join("a", "a");
    assert_eq!((bench.answer(a), bench.answer(b)), ("gen 2 leader a of 2", "gen 2 leader a of 0"));
    let b = bench.sync("b", 2);
    assert_eq!(bench.answer(b), "parked");
    let a = bench.sync("a", 2);
    // Who was left out gets a valid, empty assignment.
    assert_eq!((bench.answer(a), bench.answer(b)), ("assigned 1", "assigned 10"));
    assert_eq!(
        (bench.heartbeat("a", 2), bench.heartbeat("a", 1), bench.heartbeat("z", 2)),
        ("fine", "ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID")
    );
}

#[test]
fn a_silent_member_is_out_and_the_others_go_on() {
    let mut bench = stable();
    let b = bench.join("", "b");
    bench.join("a", "a");
    bench.sync("a", 2);
    bench.sync("b", 2);
    assert_eq!(bench.answer(b), "gen 2 leader a of 0");
    bench.pass(900);
    assert_eq!(bench.heartbeat("b", 2), "fine");
    bench.pass(200);
    assert_eq!((bench.heartbeat("a", 2), bench.heartbeat("b", 2)), ("UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS"));
    let b = bench.join("b", "b");
    assert_eq!(bench.answer(b), "gen 3 leader b of 1");
}

#[test]
fn a_rebalance_does_not_wait_for_ever() {
    let mut bench = stable();
    let b = bench.join("", "b");
    for _ in 0..9 {
        bench.pass(500);
        assert_eq!((bench.heartbeat("a", 1), bench.answer(b)), ("REBALANCE_IN_PROGRESS", "parked"));
    }
    bench.pass(500);
    assert_eq!(bench.answer(b), "gen 2 leader b of 1");
    // The new leader never brings an assignment: it is out too.
    bench.pass(5000);
    assert_eq!(bench.heartbeat("b", 2), "UNKNOWN_MEMBER_ID");
}

/// Two members in generation 2, which waits for its assignment; `a` leads.
fn two() -> Bench {
    let mut bench = stable();
    let b = bench.join("", "b");
    bench.join("a", "a");
    assert_eq!((bench.answer(b), bench.state()), ("gen 2 leader a of 0", GroupState::CompletingRebalance));
    bench
}

#[test]
fn who_beats_and_never_asks_for_its_share_does_not_keep_it_for_ever() {
    let mut bench = two();
    bench.sync("a", 2);
    for _ in 0..9 {
        bench.pass(500);
        assert_eq!((bench.heartbeat("a", 2), bench.heartbeat("b", 2)), ("fine", "fine"));
    }
    bench.pass(500);
    assert_eq!((bench.heartbeat("a", 2), bench.heartbeat("b", 2)), ("REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID"));
    let a = bench.join("a", "a");
    assert_eq!(bench.answer(a), "gen 3 leader a of 1");
}

#[test]
fn who_asks_for_its_share_late_keeps_it() {
    let mut bench = two();
    bench.sync("a", 2);
    for _ in 0..8 {
        bench.pass(600);
        assert_eq!((bench.heartbeat("a", 2), bench.heartbeat("b", 2)), ("fine", "fine"));
    }
    let b = bench.sync("b", 2);
    assert_eq!(bench.answer(b), "assigned 10");
    for _ in 0..9 {
        bench.pass(600);
        assert_eq!((bench.heartbeat("a", 2), bench.heartbeat("b", 2)), ("fine", "fine"));
    }
}

#[test]
fn refusals() {
    let mut bench = stable();
    let token = bench.join("nobody", "x");
    assert_eq!(bench.answer(token), "UNKNOWN_MEMBER_ID");
    let token = bench.join_with("", "x", &["other"]);
    assert_eq!(bench.answer(token), "INCONSISTENT_GROUP_PROTOCOL");
    let token = bench.join_with("", "x", &[]);
    assert_eq!(bench.answer(token), "INCONSISTENT_GROUP_PROTOCOL");
    let token = bench.sync("a", 7);
    assert_eq!(bench.answer(token), "ILLEGAL_GENERATION");
    for name in ["b", "c", "d", "e"] {
        bench.join("", name);
    }
    let token = bench.join("", "f");
    assert_eq!(bench.answer(token), "GROUP_MAX_SIZE_REACHED");
}

#[test]
fn commits_are_accepted_from_the_current_generation_only() {
    let mut bench = stable();
    let commit = |metadata| OffsetCommit { topic: "t", partition: 0, offset: 5, leader_epoch: -1, metadata };
    let check = |bench: &mut Bench, generation, member: &str, metadata| {
        let who = MemberIdentity::of(generation, member);
        let checked = bench.groups.check_commit(bench.now, "g", who);
        checked.and_then(|()| bench.groups.check_metadata("g", &commit(metadata))).map_err(|error| error.code().name())
    };
    assert_eq!(check(&mut bench, 1, "a", ""), Ok(()));
    assert_eq!(check(&mut bench, 0, "a", ""), Err("ILLEGAL_GENERATION"));
    assert_eq!(check(&mut bench, 1, "z", ""), Err("UNKNOWN_MEMBER_ID"));
    assert_eq!(check(&mut bench, -1, "", ""), Err("UNKNOWN_MEMBER_ID"));
    assert_eq!(check(&mut bench, 1, "a", "far too long"), Err("OFFSET_METADATA_TOO_LARGE"));
    bench.join("", "b");
    assert_eq!(check(&mut bench, 1, "a", ""), Ok(()), "while others are awaited, what is owned may still be committed");
    bench.join("a", "a");
    assert_eq!(check(&mut bench, 2, "a", ""), Err("REBALANCE_IN_PROGRESS"));
    bench.groups.leave(0, "g", MemberIdentity::of(-1, "a")).expect("left");
    bench.groups.leave(0, "g", MemberIdentity::of(-1, "b")).expect("left");
    assert_eq!(check(&mut bench, -1, "", ""), Ok(()));
}

#[test]
fn an_empty_group_waits_for_more_members_if_told_to() {
    let mut bench = Bench::new(GroupLimits { initial_rebalance_delay_ms: 300, ..LIMITS });
    let a = bench.join("", "a");
    assert_eq!((bench.answer(a), bench.groups.next_deadline()), ("parked", Some(300)));
    bench.pass(300);
    assert_eq!(bench.answer(a), "gen 1 leader a of 1");
}

proptest! {
    #[test]
    fn records_come_back(group in "[a-z]{1,9}", topic in "[a-z]{1,9}", partition in 0i32..9, offset in 0i64..1000, metadata in "[a-z]{0,9}") {
        let commit = OffsetCommit { topic: &topic, partition, offset, leader_epoch: 3, metadata: &metadata };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        encode_commit(&group, &commit, 7, &mut key, &mut value);
        let Some(GroupRecord::Offset { group: g, topic: t, partition: p, offset: Some((read, 7)) }) = decode(&key, Some(&value)) else {
            return Err(TestCaseError::fail("not an offset"));
        };
        prop_assert_eq!((g, t, p, read.offset, read.leader_epoch, read.metadata), (group.as_str(), topic.as_str(), partition, offset, 3, metadata.as_str()));
    }

    #[test]
    fn foreign_records_never_panic(key: Vec<u8>, value: Option<Vec<u8>>) {
        let _ = decode(&key, value.as_deref());
    }

    /// Whatever members do, generations rise, and every parked answer comes once time passes.
    #[test]
    fn every_rebalance_ends(steps in proptest::collection::vec((0u8..5, 0usize..4), 1..60)) {
        let mut bench = Bench::new(LIMITS);
        let names = ["a", "b", "c", "d"];
        let mut parked = Vec::new();
        let mut last_generation = 0;
        for (step, who) in steps {
            let name = names[who];
            let there = bench.groups.describe("g").is_some_and(|group| group.members.iter().any(|member| member.member_id == name));
            let generation = bench.groups.describe("g").map_or(0, |group| group.generation);
            prop_assert!(generation >= last_generation, "{generation} after {last_generation}");
            last_generation = generation;
            match step {
                0 | 1 => parked.push(bench.join(if there { name } else { "" }, name)),
                2 => parked.push(bench.sync(name, generation)),
                3 => if let Ok(effects) = bench.groups.leave(bench.now, "g", MemberIdentity::of(-1, name)) { bench.keep(effects); },
                _ => bench.pass(700),
            }
        }
        for _ in 0..20 {
            bench.pass(1000);
        }
        for token in parked {
            prop_assert!(bench.answer(token) != "parked", "token {token} was never answered");
        }
        prop_assert_eq!(bench.groups.next_deadline(), None);
    }
}
