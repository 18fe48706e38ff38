//! Groups and their coordinator: each API in each version, along a member's life.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, InitProducerIdRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::{Bench, name, versions};

fn id(group: &'static str) -> StrBytes {
    StrBytes::from_static_str(group)
}

fn group(called: &'static str) -> GroupId {
    GroupId(id(called))
}

fn join(called: &'static str, member_id: &StrBytes, version: i16) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(id("mine")).with_metadata(Bytes::from_static(b"opaque"));
    JoinGroupRequest::default()
        .with_group_id(group(called))
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(if version == 0 { -1 } else { 6000 })
        .with_member_id(member_id.clone())
        .with_protocol_type(id("other"))
        .with_protocols(vec![protocol])
}

/// Joins, the first time without an id, and again with the one that was given if that is wanted.
async fn joined(bench: &mut Bench, called: &'static str, version: i16) -> JoinGroupResponse {
    let first = bench.ask(version, &join(called, &StrBytes::default(), version)).await;
    if version < 4 {
        return first;
    }
    assert_eq!((first.error_code, first.generation_id), (79, -1));
    assert!(first.member_id.starts_with("bench-"), "{}", first.member_id.as_str());
    bench.ask(version, &join(called, &first.member_id, version)).await
}

fn sync(called: &'static str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"yours"));
    SyncGroupRequest::default()
        .with_group_id(group(called))
        .with_protocol_type(Some(id("other")))
        .with_protocol_name(Some(id("mine")))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment])
}

fn heartbeat(called: &'static str, joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group(called))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
}

fn commit(
    called: &'static str,
    generation: i32,
    member_id: &StrBytes,
    partitions: &[(&'static str, i32)],
) -> OffsetCommitRequest {
    let topics = partitions.iter().map(|(topic, partition)| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(42)
            .with_committed_metadata(Some(id("note")));
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition])
    });
    OffsetCommitRequest::default()
        .with_group_id(group(called))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member_id.clone())
        .with_topics(topics.collect())
}

#[tokio::test]
async fn a_members_life_in_every_version() {
    let mut bench = Bench::new().await;
    for version in versions::<JoinGroupRequest>() {
        let me = joined(&mut bench, "life", version).await;
        assert_eq!((me.error_code, &me.leader), (0, &me.member_id), "version {version}");
        assert_eq!(me.protocol_name.as_deref(), Some("mine"));
        assert_eq!(me.protocol_type.as_deref(), (version >= 7).then_some("other"));
        assert_eq!((me.members.len(), &me.members[0].metadata[..]), (1, &b"opaque"[..]));
        let sync_version = version.min(*versions::<SyncGroupRequest>().end());
        let synced = bench.ask(sync_version, &sync("life", &me)).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"yours"[..]), "version {sync_version}");
        assert_eq!(synced.protocol_name.as_deref(), (sync_version >= 5).then_some("mine"));
        let beat_version = version.min(*versions::<HeartbeatRequest>().end());
        assert_eq!(bench.ask(beat_version, &heartbeat("life", &me)).await.error_code, 0);
        let late = heartbeat("life", &me).with_generation_id(me.generation_id + 1);
        assert_eq!(bench.ask(beat_version, &late).await.error_code, 22);
        let described = bench.ask(version.min(6), &DescribeGroupsRequest::default().with_groups(vec![group("life")])).await;
        let one = &described.groups[0];
        assert_eq!((one.error_code, one.group_state.as_str(), one.protocol_type.as_str()), (0, "Stable", "other"));
        assert_eq!((one.members[0].client_id.as_str(), one.members[0].client_host.as_str()), ("bench", "/127.0.0.1"));
        let request = LeaveGroupRequest::default().with_group_id(group("life"));
        let leave_version = version.min(*versions::<LeaveGroupRequest>().end());
        if leave_version < 3 {
            let request = request.with_member_id(me.member_id.clone());
            assert_eq!(bench.ask(leave_version, &request).await.error_code, 0);
            assert_eq!(bench.ask(leave_version, &request).await.error_code, 25);
        } else {
            let both = [me.member_id.clone(), id("nobody")].map(|member| MemberIdentity::default().with_member_id(member));
            let left = bench.ask(leave_version, &request.with_members(both.to_vec())).await;
            let codes: Vec<_> = left.members.iter().map(|member| member.error_code).collect();
            assert_eq!((left.error_code, codes), (0, vec![0, 25]));
        }
    }
}

#[tokio::test]
async fn joins_that_are_refused() {
    let mut bench = Bench::new().await;
    for version in versions::<JoinGroupRequest>() {
        let nobody = bench.ask(version, &join("refused", &id("nobody"), version)).await;
        assert_eq!((nobody.error_code, nobody.generation_id, nobody.member_id.as_str()), (25, -1, "nobody"), "version {version}");
        let short = join("refused", &StrBytes::default(), version).with_session_timeout_ms(1);
        assert_eq!(bench.ask(version, &short).await.error_code, 26);
        let nameless = join("", &StrBytes::default(), version);
        assert_eq!(bench.ask(version, &nameless).await.error_code, 24);
        let without = join("refused", &StrBytes::default(), version).with_protocols(Vec::new());
        assert_eq!(bench.ask(version, &without).await.error_code, 23);
    }
}

#[tokio::test]
async fn syncs_and_leaves_that_are_refused() {
    let mut bench = Bench::new().await;
    for version in versions::<SyncGroupRequest>() {
        let member = joined(&mut bench, "refuses", version).await;
        assert_eq!(bench.ask(version, &sync("", &member)).await.error_code, 24, "version {version}");
        let protocols = [(None, Some("mine")), (Some("other"), None), (Some("another"), Some("mine"))];
        for (kind, protocol) in protocols.into_iter().filter(|_| version >= 5) {
            let asked = sync("refuses", &member).with_protocol_type(kind.map(id)).with_protocol_name(protocol.map(id));
            assert_eq!(bench.ask(version, &asked).await.error_code, 23, "{kind:?} {protocol:?}");
        }
        assert_eq!(bench.ask(version, &sync("refuses", &member)).await.error_code, 0, "version {version}");
        let nameless = LeaveGroupRequest::default().with_member_id(member.member_id.clone());
        let nameless = if version < 3 { nameless } else { LeaveGroupRequest::default() };
        assert_eq!(bench.ask(version, &nameless).await.error_code, 24, "version {version}");
        bench.broker.leave_group("refuses", crate::coordinator::group::MemberIdentity::of(-1, &member.member_id)).expect("left");
    }
}

#[tokio::test]
async fn a_static_member_comes_back_under_its_name_and_its_old_id_is_fenced() {
    let mut bench = Bench::new().await;
    let named = |member_id: &StrBytes| join("static", member_id, 5).with_group_instance_id(Some(id("one")));
    let first = bench.ask(5, &named(&StrBytes::default())).await;
    assert_eq!(first.error_code, 0);
    let synced = sync("static", &first).with_group_instance_id(Some(id("one")));
    assert_eq!(bench.ask(3, &synced).await.error_code, 0);
    let again = bench.ask(5, &named(&StrBytes::default())).await;
    assert_eq!((again.error_code, again.generation_id), (0, first.generation_id));
    assert_ne!(again.member_id, first.member_id);
    let old = heartbeat("static", &first).with_group_instance_id(Some(id("one")));
    assert_eq!(bench.ask(3, &old).await.error_code, 82);
    let taken_out = MemberIdentity::default().with_group_instance_id(Some(id("one")));
    let left = bench.ask(3, &LeaveGroupRequest::default().with_group_id(group("static")).with_members(vec![taken_out])).await;
    assert_eq!(left.members[0].error_code, 0);
}

#[tokio::test]
async fn offsets_are_kept_for_each_partition() {
    let mut bench = Bench::new().await;
    let nobody = StrBytes::default();
    for version in versions::<OffsetCommitRequest>() {
        let answer = bench.ask(version, &commit("kept", -1, &nobody, &[("t", 0), ("absent", 0), ("t", 9)])).await;
        let codes: Vec<_> = answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
        assert_eq!(codes, [0, 3, 3], "version {version}");
        let late = bench.ask(version, &commit("kept", 7, &nobody, &[("t", 0)])).await;
        assert_eq!(late.topics[0].partitions[0].error_code, 25);
        let none = bench.ask(version, &commit("other", 7, &nobody, &[("t", 0)])).await;
        assert_eq!(none.topics[0].partitions[0].error_code, 22);
    }
    for version in versions::<OffsetFetchRequest>() {
        let (asked, all) = if version < 8 {
            let topic = OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
            let request = OffsetFetchRequest::default().with_group_id(group("kept"));
            (request.clone().with_topics(Some(vec![topic])), request.with_topics(None))
        } else {
            let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
            let of = |topics| OffsetFetchRequestGroup::default().with_group_id(group("kept")).with_topics(topics);
            let request = |topics| OffsetFetchRequest::default().with_groups(vec![of(topics)]);
            (request(Some(vec![topic])), request(None))
        };
        let answer = bench.ask(version, &asked).await;
        let found: Vec<_> = if version < 8 {
            let partitions = answer.topics[0].partitions.iter();
            partitions.map(|one| (one.partition_index, one.committed_offset, one.metadata.clone(), one.error_code)).collect()
        } else {
            assert_eq!(answer.groups[0].group_id, group("kept"));
            let partitions = answer.groups[0].topics[0].partitions.iter();
            partitions.map(|one| (one.partition_index, one.committed_offset, one.metadata.clone(), one.error_code)).collect()
        };
        assert_eq!(found, [(0, 42, Some(id("note")), 0), (1, -1, Some(id("")), 0)], "version {version}");
        if version >= 2 {
            let answer = bench.ask(version, &all).await;
            let count = if version < 8 { answer.topics[0].partitions.len() } else { answer.groups[0].topics[0].partitions.len() };
            assert_eq!(count, 1, "version {version}");
        }
    }
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let mut bench = Bench::new().await;
    let me = joined(&mut bench, "live", 5).await;
    bench.ask(3, &sync("live", &me)).await;
    bench.ask(2, &commit("plain", -1, &StrBytes::default(), &[("t", 0)])).await;
    for version in versions::<ListGroupsRequest>() {
        let all = bench.ask(version, &ListGroupsRequest::default()).await;
        let listed: Vec<_> = all.groups.iter().map(|one| (one.group_id.as_str(), one.protocol_type.as_str())).collect();
        assert_eq!(listed, [("live", "other"), ("plain", "")], "version {version}");
        if version >= 4 {
            let some = bench.ask(version, &ListGroupsRequest::default().with_states_filter(vec![id("stable")])).await;
            assert_eq!((some.groups.len(), some.groups[0].group_state.as_str()), (1, "Stable"));
        }
        if version >= 5 {
            let none = bench.ask(version, &ListGroupsRequest::default().with_types_filter(vec![id("consumer")])).await;
            assert_eq!((none.groups.len(), all.groups[0].group_type.as_str()), (0, "classic"));
        }
    }
    for version in versions::<DescribeGroupsRequest>() {
        let request = DescribeGroupsRequest::default().with_groups(vec![group("live"), group("absent")]);
        let told = bench.ask(version, &request).await;
        assert_eq!((told.groups[0].group_state.as_str(), told.groups[1].group_state.as_str()), ("Stable", "Dead"));
        assert_eq!(told.groups[1].error_code, if version >= 6 { 69 } else { 0 }, "version {version}");
    }
    let offsets = |called| {
        let partition = OffsetDeleteRequestPartition::default();
        let topic = OffsetDeleteRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        OffsetDeleteRequest::default().with_group_id(group(called)).with_topics(vec![topic])
    };
    let gone = bench.ask(0, &offsets("plain")).await;
    assert_eq!((gone.error_code, gone.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(bench.ask(0, &offsets("absent")).await.error_code, 69);
    for version in versions::<DeleteGroupsRequest>() {
        bench.ask(2, &commit("plain", -1, &StrBytes::default(), &[("t", 0)])).await;
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group("plain"), group("live"), group("absent")]);
        let codes: Vec<_> = bench.ask(version, &request).await.results.iter().map(|one| one.error_code).collect();
        assert_eq!(codes, [0, 68, 69], "version {version}");
    }
}

#[tokio::test]
async fn producers_get_ids() {
    let mut bench = Bench::new().await;
    let mut last = -1;
    for version in versions::<InitProducerIdRequest>() {
        let given = bench.ask(version, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((given.error_code, given.producer_epoch), (0, 0), "version {version}");
        assert!(given.producer_id.0 > last);
        last = given.producer_id.0;
    }
}

#[tokio::test]
async fn the_coordinator_is_here() {
    let mut bench = Bench::new().await;
    let port = i32::from(bench.server.address().port());
    for version in versions::<FindCoordinatorRequest>() {
        for key_type in if version == 0 { 0..=0 } else { 0..=2 } {
            let request = FindCoordinatorRequest::default().with_key_type(key_type);
            let expected = if key_type == 2 { (42, -1, -1) } else { (0, 0, port) };
            if version < 4 {
                let found = bench.ask(version, &request.with_key(id("g"))).await;
                assert_eq!((found.error_code, found.node_id.0, found.port), expected, "version {version}, type {key_type}");
                assert!(version < 1 || found.error_message.is_some() == (key_type == 2));
                continue;
            }
            let found = bench.ask(version, &request.with_coordinator_keys(vec![id("g"), id("h")])).await;
            let keys: Vec<_> = found.coordinators.iter().map(|one| one.key.as_str()).collect();
            assert_eq!(keys, ["g", "h"]);
            let one = &found.coordinators[1];
            assert_eq!((one.error_code, one.node_id.0, one.port), expected, "version {version}, type {key_type}");
            assert_eq!(one.error_message.is_some(), key_type == 2);
        }
    }
}

/// What was assigned before is not told as if it were so now.
#[tokio::test]
async fn a_group_that_rebalances_tells_of_no_assignment() {
    let mut bench = Bench::new().await;
    let me = joined(&mut bench, "live", 5).await;
    bench.ask(3, &sync("live", &me)).await;
    let asked = DescribeGroupsRequest::default().with_groups(vec![group("live")]);
    let told = bench.ask(5, &asked).await;
    let (one, member) = (&told.groups[0], &told.groups[0].members[0]);
    assert_eq!((one.group_state.as_str(), one.protocol_data.as_str()), ("Stable", "mine"));
    assert_eq!((&member.member_metadata[..], &member.member_assignment[..]), (&b"opaque"[..], &b"yours"[..]));
    // Another comes, and waits for the first.
    let mut other = Bench::on(bench.broker.clone(), crate::server::ServerConfig::default()).await;
    other.send(3, &join("live", &StrBytes::default(), 3)).await;
    let told = loop {
        let told = bench.ask(5, &asked).await;
        if told.groups[0].group_state.as_str() != "Stable" {
            break told;
        }
    };
    let one = &told.groups[0];
    assert_eq!((one.group_state.as_str(), one.protocol_data.as_str(), one.members.len()), ("PreparingRebalance", "", 2));
    assert!(one.members.iter().all(|member| member.member_metadata.is_empty() && member.member_assignment.is_empty()));
}
