//! Classic groups: members, generations, commits.

use std::time::Duration;

use broker_core::assignor::protocol::{decode_assignment, encode_assignment};
use broker_core::assignor::{MemberSubscription, cooperative_sticky};
use broker_core::{GroupState, JoinGroup, JoinGroupReply, MemberIdentity, OffsetCommit, SyncGroup, TokioClock, TopicPartition};
use bytes::Bytes;
use tokio::time::{advance, timeout};

use super::*;

const SESSION_MS: u64 = 10_000;

/// A broker whose time is tokio's, with a topic `t` of two partitions; the group is `g`.
struct Meeting {
    disk: MemoryDisk,
    broker: Broker,
}

type Joining = tokio::task::JoinHandle<Result<JoinGroupReply, ErrorCode>>;

/// Another seed each time: ids of members must not come again.
fn open_with(disk: &MemoryDisk, config: BrokerConfig, seed: u64) -> Broker {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Broker::builder().disk(disk).clock(Arc::new(TokioClock::new(NOW))).config(config).seed(seed).open().expect("opened")
}

impl Meeting {
    fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    fn with(config: BrokerConfig) -> Self {
        let disk = MemoryDisk::new();
        let broker = open_with(&disk, config, 1);
        broker.create_topic(&NewTopic::new("t").partitions(2)).expect("made");
        Self { disk, broker }
    }

    fn wish(member: &str, protocols: &[&str]) -> JoinGroup {
        JoinGroup {
            group: "g".to_owned(),
            member_id: member.to_owned(),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: protocols.iter().map(|name| ((*name).to_owned(), Bytes::from_static(b"opaque"))).collect(),
            ..JoinGroup::default()
        }
    }

    fn ask(&self, wish: JoinGroup) -> Joining {
        let joining = self.broker.join_group(wish);
        tokio::spawn(async move { joining.await.map_err(|error| error.code()) })
    }

    fn join(&self, member: &str) -> Joining {
        self.ask(Self::wish(member, &["range"]))
    }

    fn request(joined: &JoinGroupReply, assignments: Vec<(String, Bytes)>) -> SyncGroup {
        SyncGroup {
            group: "g".to_owned(),
            generation: joined.generation,
            member_id: joined.member_id.clone(),
            assignments,
            ..SyncGroup::default()
        }
    }

    async fn sync(&self, joined: &JoinGroupReply, assignments: Vec<(String, Bytes)>) -> Result<Bytes, ErrorCode> {
        let synced = self.broker.sync_group(Self::request(joined, assignments)).await;
        synced.map(|reply| reply.assignment).map_err(|error| error.code())
    }

    fn heartbeat(&self, joined: &JoinGroupReply) -> Result<(), ErrorCode> {
        let who = MemberIdentity::of(joined.generation, &joined.member_id);
        self.broker.heartbeat("g", who).map_err(|error| error.code())
    }

    /// A stable group of one.
    async fn alone(&self) -> JoinGroupReply {
        let joined = answered(self.join("")).await.expect("joined");
        self.sync(&joined, Vec::new()).await.expect("synced");
        joined
    }

    /// A stable group of two; the leader comes first.
    async fn two(&self) -> [JoinGroupReply; 2] {
        let first = self.alone().await;
        let second = self.join("");
        let (first, second) = (self.join(&first.member_id), second);
        let mut both = [answered(first).await.expect("joined"), answered(second).await.expect("joined")];
        both.sort_by_key(|joined| joined.member_id != joined.leader);
        let follower = self.broker.sync_group(Self::request(&both[1], Vec::new()));
        self.sync(&both[0], Vec::new()).await.expect("synced");
        follower.await.expect("synced");
        both
    }

    fn commit(&self, who: MemberIdentity<'_>, offset: i64) -> Result<(), ErrorCode> {
        self.broker.commit_offsets("g", who, &[commit(0, offset, "")]).map_err(|error| error.code())
    }

    fn committed(&self, partition: i32) -> Option<i64> {
        let found = self.broker.fetch_offsets("g", Some(&[TopicPartition::new("t", partition)]));
        found[0].1.as_ref().map(|kept| kept.offset)
    }
}

fn commit(partition: i32, offset: i64, metadata: &str) -> OffsetCommit<'_> {
    OffsetCommit { topic: "t", partition, offset, leader_epoch: 3, metadata }
}

/// What a join comes to, which must be soon.
async fn answered(joining: Joining) -> Result<JoinGroupReply, ErrorCode> {
    timeout(Duration::from_secs(120), joining).await.expect("an answer within its rebalance time-out").expect("no panic")
}

#[tokio::test(start_paused = true)]
async fn fact_58_a_reserved_id_joins() {
    let world = Meeting::new();
    let id = world.broker.reserve_member_id(&Meeting::wish("", &["range"])).expect("given");
    assert!(id.starts_with("client-"), "{id}");
    let joined = answered(world.join(&id)).await.expect("joined");
    assert_eq!((joined.generation, joined.member_id), (1, id));
}

#[tokio::test(start_paused = true)]
async fn fact_59_members_that_come_within_the_delay_are_one_generation_with_one_leader() {
    let world = Meeting::with(BrokerConfig { group_initial_rebalance_delay_ms: 3000, ..BrokerConfig::default() });
    let (first, second) = (world.join(""), world.join(""));
    let both = [answered(first).await.expect("joined"), answered(second).await.expect("joined")];
    assert_eq!(both.each_ref().map(|joined| joined.generation), [1, 1]);
    assert_eq!(both[0].leader, both[1].leader);
    for joined in &both {
        let leads = joined.member_id == joined.leader;
        assert_eq!(joined.members.len(), if leads { 2 } else { 0 }, "the leader alone sees who is there");
    }
}

#[tokio::test(start_paused = true)]
async fn fact_60_the_protocol_is_one_that_all_members_know() {
    let world = Meeting::with(BrokerConfig { group_initial_rebalance_delay_ms: 1000, ..BrokerConfig::default() });
    let first = world.ask(Meeting::wish("", &["range", "roundrobin"]));
    let second = world.ask(Meeting::wish("", &["roundrobin"]));
    assert_eq!(answered(first).await.expect("joined").protocol, "roundrobin");
    assert_eq!(answered(second).await.expect("joined").protocol, "roundrobin");
    let other = world.ask(Meeting::wish("", &["sticky"]));
    assert_eq!(answered(other).await, Err(ErrorCode::InconsistentGroupProtocol));
    let mut connect = Meeting::wish("", &["roundrobin"]);
    connect.protocol_type = "connect".to_owned();
    assert_eq!(answered(world.ask(connect)).await, Err(ErrorCode::InconsistentGroupProtocol));
}

#[tokio::test(start_paused = true)]
async fn fact_61_a_third_member_makes_the_next_generation() {
    let world = Meeting::new();
    let both = world.two().await;
    let third = world.join("");
    for joined in &both {
        assert_eq!(world.heartbeat(joined), Err(ErrorCode::RebalanceInProgress));
    }
    let again = both.each_ref().map(|joined| world.join(&joined.member_id));
    let next = both[0].generation + 1;
    for joined in again {
        assert_eq!(answered(joined).await.expect("joined").generation, next);
    }
    assert_eq!(answered(third).await.expect("joined").generation, next);
}

#[tokio::test(start_paused = true)]
async fn fact_62_a_follower_that_syncs_first_gets_what_the_leader_brings() {
    let world = Meeting::new();
    let first = world.alone().await;
    let (second, third) = (world.join(""), world.join(""));
    let first = answered(world.join(&first.member_id)).await.expect("joined");
    let (second, third) = (answered(second).await.expect("joined"), answered(third).await.expect("joined"));
    assert_eq!(first.leader, first.member_id);
    let waiting = [&second, &third].map(|joined| tokio::spawn(world.broker.sync_group(Meeting::request(joined, Vec::new()))));
    let slice = encode_assignment(&[TopicPartition::new("t", 1)]);
    let own = world.sync(&first, vec![(second.member_id.clone(), slice.clone())]).await.expect("synced");
    let [given, left_out] = waiting;
    assert_eq!(given.await.expect("no panic").expect("synced").assignment, slice);
    // Who is left out must be able to read what it gets.
    for empty in [left_out.await.expect("no panic").expect("synced").assignment, own] {
        assert_eq!(decode_assignment(&empty), Ok(Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn fact_63_a_silent_member_is_taken_out_when_its_session_ends() {
    let world = Meeting::new();
    let [first, second] = world.two().await;
    for _ in 0..4 {
        advance(Duration::from_millis(SESSION_MS / 4)).await;
        let _ = world.heartbeat(&first);
    }
    advance(Duration::from_millis(SESSION_MS / 4)).await;
    tokio::task::yield_now().await;
    assert_eq!(world.heartbeat(&second), Err(ErrorCode::UnknownMemberId));
    assert_eq!(world.heartbeat(&first), Err(ErrorCode::RebalanceInProgress));
    let who = MemberIdentity::of(second.generation, &second.member_id);
    assert_eq!(world.commit(who, 5), Err(ErrorCode::UnknownMemberId));
    assert_eq!(world.sync(&second, Vec::new()).await, Err(ErrorCode::UnknownMemberId));
    let joined = answered(world.join(&first.member_id)).await.expect("joined");
    assert_eq!((joined.generation, joined.members.len()), (first.generation + 1, 1));
}

#[tokio::test(start_paused = true)]
async fn fact_64_an_old_generation_is_told_so() {
    let world = Meeting::new();
    let joined = world.alone().await;
    let old = JoinGroupReply { generation: joined.generation - 1, ..joined.clone() };
    let who = MemberIdentity::of(old.generation, &old.member_id);
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.sync(&old, Vec::new()).await, Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.commit(who, 5), Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.committed(0), None);
    assert_eq!(world.commit(MemberIdentity::of(joined.generation, &joined.member_id), 5), Ok(()));
    assert_eq!(world.committed(0), Some(5));
}

#[tokio::test(start_paused = true)]
async fn fact_66_a_commit_comes_back_as_it_was_made() {
    let world = Meeting::new();
    world.broker.commit_offsets("g", MemberIdentity::administrator(), &[commit(0, 42, "a note")]).expect("stored");
    let asked = [TopicPartition::new("t", 0), TopicPartition::new("t", 1), TopicPartition::new("absent", 9)];
    let found = world.broker.fetch_offsets("g", Some(&asked));
    let kept = found[0].1.as_ref().expect("stored");
    assert_eq!((kept.offset, kept.leader_epoch, kept.metadata.as_str()), (42, 3, "a note"));
    assert_eq!(found[1..].iter().map(|(_, kept)| kept.is_some()).collect::<Vec<_>>(), [false, false], "none is no error");
}

#[tokio::test(start_paused = true)]
async fn fact_67_a_long_text_refuses_its_partition_alone() {
    let world = Meeting::new();
    let (fits, long) = ("x".repeat(4096), "x".repeat(4097));
    let offsets = [commit(0, 7, &fits), commit(1, 8, &long)];
    let stored = world.broker.commit_each_offset("g", MemberIdentity::administrator(), &offsets).expect("answered");
    let codes: Vec<_> = stored.into_iter().map(|one| one.map_err(|error| error.code())).collect();
    assert_eq!(codes, [Ok(()), Err(ErrorCode::OffsetMetadataTooLarge)]);
    assert_eq!((world.committed(0), world.committed(1)), (Some(7), None));
}

#[tokio::test(start_paused = true)]
async fn fact_68_an_administrator_commits_for_an_empty_group_only() {
    let world = Meeting::new();
    let joined = world.alone().await;
    assert_eq!(world.commit(MemberIdentity::administrator(), 5), Err(ErrorCode::UnknownMemberId));
    world.broker.leave_group("g", MemberIdentity::of(joined.generation, &joined.member_id)).expect("left");
    assert_eq!(world.commit(MemberIdentity::administrator(), 5), Ok(()));
    assert_eq!(world.committed(0), Some(5));
}

#[tokio::test(start_paused = true)]
async fn fact_70_a_static_member_that_is_away_keeps_its_place_for_its_session() {
    let world = Meeting::new();
    let mut wish = Meeting::wish("", &["range"]);
    wish.group_instance_id = Some("one".to_owned());
    let first = answered(world.ask(wish.clone())).await.expect("joined");
    let mut sync = Meeting::request(&first, vec![(first.member_id.clone(), Bytes::from_static(b"mine"))]);
    sync.group_instance_id = Some("one".to_owned());
    world.broker.sync_group(sync).await.expect("synced");
    // It closes without leaving, and is back within its session: nobody rebalances.
    advance(Duration::from_millis(SESSION_MS / 2)).await;
    let back = answered(world.ask(wish)).await.expect("joined");
    assert_eq!(back.generation, first.generation);
    assert_ne!(back.member_id, first.member_id);
    let mut sync = Meeting::request(&back, Vec::new());
    sync.group_instance_id = Some("one".to_owned());
    assert_eq!(world.broker.sync_group(sync).await.expect("synced").assignment, &b"mine"[..]);
    // This time it stays away for too long.
    advance(Duration::from_millis(SESSION_MS + 1)).await;
    tokio::task::yield_now().await;
    assert_eq!(world.broker.describe_group("g").map(|group| (group.state, group.members.len())), Some((GroupState::Empty, 0)));
}

#[test]
fn fact_71_what_moves_between_cooperative_members_is_given_up_first() {
    let partition = |number| TopicPartition::new("t", number);
    let topics = [("t".into(), 4)].into();
    let member = |owned: &[i32]| MemberSubscription {
        topics: vec!["t".into()],
        owned: owned.iter().copied().map(partition).collect(),
        generation: 1,
    };
    let round = |members| cooperative_sticky(&members, &topics);
    let first = round([("a".to_owned(), member(&[0, 1, 2, 3])), ("b".to_owned(), member(&[]))].into());
    assert_eq!((first["a"].len(), first["b"].len()), (2, 0), "two are given up, nobody has them yet");
    let kept: Vec<i32> = first["a"].iter().map(|one| one.partition).collect();
    let second = round([("a".to_owned(), member(&kept)), ("b".to_owned(), member(&[]))].into());
    assert_eq!((&second["a"], second["b"].len()), (&first["a"], 2), "what was kept was never taken away");
}

#[tokio::test(start_paused = true)]
async fn fact_72_an_empty_group_is_deleted_with_its_offsets() {
    let world = Meeting::new();
    let joined = world.alone().await;
    let who = MemberIdentity::of(joined.generation, &joined.member_id);
    assert_eq!(world.commit(who, 5), Ok(()));
    let delete = |group: &str| world.broker.delete_group(group).map_err(|error| error.code());
    assert_eq!(delete("g"), Err(ErrorCode::NonEmptyGroup));
    assert_eq!(delete("nowhere"), Err(ErrorCode::GroupIdNotFound));
    world.broker.leave_group("g", who).expect("left");
    assert_eq!(delete("g"), Ok(()));
    assert_eq!((world.committed(0), world.broker.list_groups().len()), (None, 0));
    assert_eq!(delete("g"), Err(ErrorCode::GroupIdNotFound));
}

#[tokio::test(start_paused = true)]
async fn fact_74_members_outlive_the_broker() {
    let mut world = Meeting::new();
    let both = world.two().await;
    assert_eq!(world.commit(MemberIdentity::of(both[0].generation, &both[0].member_id), 9), Ok(()));
    world.broker = open_with(&world.disk, BrokerConfig::default(), 2);
    for joined in &both {
        assert_eq!(world.heartbeat(joined), Ok(()));
    }
    let group = world.broker.describe_group("g").expect("there");
    assert_eq!((group.state, group.generation, group.members.len()), (GroupState::Stable, both[0].generation, 2));
    assert_eq!(world.committed(0), Some(9));
    // The leader leads on: it assigns when a member comes.
    let third = world.join("");
    let again = both.each_ref().map(|joined| world.join(&joined.member_id));
    for joined in again {
        assert_eq!(answered(joined).await.expect("joined").leader, both[0].leader);
    }
    answered(third).await.expect("joined");
}

/// Who ran in the broker's process is gone with it; the others hear so.
#[tokio::test(start_paused = true)]
async fn fact_74_members_in_the_brokers_process_end_with_it() {
    for (hosts, expected) in [
        (["in-process", "in-process"], (GroupState::Empty, 0)),
        (["/127.0.0.1", "in-process"], (GroupState::PreparingRebalance, 1)),
        (["in-process", "/::1"], (GroupState::PreparingRebalance, 1)),
        (["/127.0.0.1", "/::1"], (GroupState::Stable, 2)),
    ] {
        let mut world = Meeting::with(BrokerConfig { group_initial_rebalance_delay_ms: 1000, ..BrokerConfig::default() });
        let joining = hosts.map(|host| world.ask(JoinGroup { client_host: host.to_owned(), ..Meeting::wish("", &["range"]) }));
        let mut both = Vec::new();
        for joining in joining {
            both.push(answered(joining).await.expect("joined"));
        }
        both.sort_by_key(|joined| joined.member_id != joined.leader);
        for joined in &both {
            drop(world.broker.sync_group(Meeting::request(joined, Vec::new())));
        }
        world.broker = open_with(&world.disk, BrokerConfig::default(), 2);
        let group = world.broker.describe_group("g").expect("there");
        assert_eq!((group.state, group.members.len()), expected, "{hosts:?}");
        assert_eq!(group.generation, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn fact_75_offsets_of_a_group_that_is_empty_for_too_long_go() {
    let world = Meeting::with(BrokerConfig {
        offsets_retention_minutes: 10,
        offsets_retention_check_interval_ms: 60_000,
        ..BrokerConfig::default()
    });
    let joined = world.alone().await;
    let who = MemberIdentity::of(joined.generation, &joined.member_id);
    assert_eq!(world.commit(who, 5), Ok(()));
    let pass = async |minutes: u64, alive: bool| {
        for _ in 0..minutes * 12 {
            advance(Duration::from_secs(5)).await;
            tokio::task::yield_now().await;
            if alive {
                assert_eq!(world.heartbeat(&joined), Ok(()));
            }
        }
    };
    pass(30, true).await;
    world.broker.leave_group("g", who).expect("left");
    pass(9, false).await;
    assert_eq!(world.committed(0), Some(5), "not yet");
    pass(3, false).await;
    assert_eq!(world.committed(0), None);
}

#[tokio::test(start_paused = true)]
async fn fact_76_groups_of_another_kind_are_served_without_a_look_inside() {
    let world = Meeting::new();
    let mut wish = Meeting::wish("", &["compatible"]);
    wish.protocol_type = "connect".to_owned();
    let joined = answered(world.ask(wish)).await.expect("joined");
    assert_eq!((joined.protocol_type.as_str(), &joined.members[0].metadata[..]), ("connect", &b"opaque"[..]));
    let bytes = Bytes::from_static(&[0xff, 0, 1]);
    assert_eq!(world.sync(&joined, vec![(joined.member_id.clone(), bytes.clone())]).await, Ok(bytes));
    assert_eq!(world.broker.describe_group("g").map(|group| group.protocol_type), Some("connect".to_owned()));
}
