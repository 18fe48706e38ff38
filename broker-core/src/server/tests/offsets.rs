//! Offsets that a transaction stores, over the wire.

use std::time::Duration;

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use kafka_protocol::messages::{FetchRequest, GroupId, OffsetFetchRequest, ProducerId, TransactionalId, TxnOffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;

use super::records::fetch;
use super::{Bench, name, versions, versions_of_v1};
use crate::broker::{Broker, NewTopic};
use crate::config::BrokerConfig;
use crate::coordinator::group::{JoinGroup, MemberIdentity, OffsetCommit};
use crate::server::ServerConfig;

fn commit(partition: i32, offset: i64) -> OffsetCommit<'static> {
    OffsetCommit { topic: "t", partition, offset, leader_epoch: 0, metadata: "note" }
}

type Producer = (i64, i16);

async fn producer(bench: &Bench) -> Producer {
    bench.broker.init_transactional_producer("x", 60_000, None).await.expect("given")
}

async fn add(bench: &Bench, producer: Producer) {
    bench.broker.add_offsets_to_transaction("x", producer, "g1").await.expect("added");
}

fn within(producer: Producer, offsets: &[(&'static str, i32, i64)]) -> TxnOffsetCommitRequest {
    let topics = offsets.iter().map(|(topic, partition, offset)| {
        let partition =
            TxnOffsetCommitRequestPartition::default().with_partition_index(*partition).with_committed_offset(*offset);
        let partition = partition.with_committed_metadata(Some(StrBytes::from_static_str("note")));
        TxnOffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition])
    });
    TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(StrBytes::from_static_str("x")))
        .with_group_id(GroupId(StrBytes::from_static_str("g1")))
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_topics(topics.collect())
}

/// The code of each partition.
async fn codes(bench: &mut Bench, version: i16, request: &TxnOffsetCommitRequest) -> Vec<i16> {
    let told = bench.ask(version, request).await;
    told.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
}

async fn commit_within(bench: &mut Bench, version: i16, producer: Producer, offset: i64) {
    add(bench, producer).await;
    assert_eq!(codes(bench, version, &within(producer, &[("t", 0, offset)])).await, [0], "version {version}");
}

async fn end(bench: &Bench, producer: Producer, committed: bool) {
    bench.broker.end_transaction("x", producer, committed).await.expect("ended");
}

/// Error and offset of both partitions, asked for by their numbers or as all that there are.
async fn fetched(bench: &mut Bench, version: i16, by_number: bool, stable: bool) -> Vec<(i32, i16, i64)> {
    let request = OffsetFetchRequest::default().with_require_stable(stable);
    let group = || GroupId(StrBytes::from_static_str("g1"));
    if version >= 8 {
        let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
        let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(by_number.then(|| vec![topic]));
        let told = bench.ask(version, &request.with_groups(vec![asked])).await;
        let partitions = told.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
        return partitions.map(|one| (one.partition_index, one.error_code, one.committed_offset)).collect();
    }
    let topic = OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
    let asked = request.with_group_id(group()).with_topics(by_number.then(|| vec![topic]));
    let told = bench.ask(version, &asked).await;
    let partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|one| (one.partition_index, one.error_code, one.committed_offset)).collect()
}

#[tokio::test]
async fn who_asks_for_stable_offsets_is_told_which_are_not() {
    let mut bench = Bench::new().await;
    let x = producer(&bench).await;
    bench.broker.commit_offsets("g1", MemberIdentity::administrator(), &[commit(0, 3), commit(1, 4)]).expect("stored");
    for version in versions::<OffsetFetchRequest>() {
        let kinds = if version >= 2 { &[true, false][..] } else { &[true] };
        for by_number in kinds.iter().copied() {
            commit_within(&mut bench, 3, x, 5).await;
            assert_eq!(fetched(&mut bench, version, by_number, false).await, [(0, 0, 3), (1, 0, 4)], "version {version}");
            if version >= 7 {
                assert_eq!(fetched(&mut bench, version, by_number, true).await, [(0, 88, -1), (1, 0, 4)], "version {version}");
            }
            end(&bench, x, false).await;
            assert_eq!(fetched(&mut bench, version, by_number, version >= 7).await, [(0, 0, 3), (1, 0, 4)]);
        }
    }
    commit_within(&mut bench, 3, x, 5).await;
    end(&bench, x, true).await;
    for version in versions::<OffsetFetchRequest>() {
        assert_eq!(fetched(&mut bench, version, true, version >= 7).await, [(0, 0, 5), (1, 0, 4)], "version {version}");
    }
}

#[tokio::test]
async fn the_offsets_topic_is_read_with_its_transactions() {
    let mut bench = Bench::new().await;
    let x = producer(&bench).await;
    bench.broker.commit_offsets("g1", MemberIdentity::administrator(), &[commit(0, 3)]).expect("stored");
    commit_within(&mut bench, 3, x, 5).await;
    end(&bench, x, false).await;
    commit_within(&mut bench, 3, x, 6).await;
    for version in versions::<FetchRequest>() {
        let asked = fetch("__consumer_offsets", 42, 0).with_isolation_level(1);
        let told = bench.ask(version, &asked).await;
        let found = &told.responses[0].partitions[0];
        assert_eq!((found.error_code, found.high_watermark, found.last_stable_offset), (0, 4, 3), "version {version}");
        let aborted = found.aborted_transactions.iter().flatten().map(|one| (one.producer_id.0, one.first_offset));
        assert_eq!(aborted.collect::<Vec<_>>(), [(x.0, 1)], "version {version}");
    }
}

#[tokio::test]
async fn fact_52_offsets_of_a_transaction_count_once_it_is_committed_in_every_version() {
    let mut bench = Bench::new().await;
    let x = producer(&bench).await;
    for version in versions::<TxnOffsetCommitRequest>() {
        let (aborted, committed) = (100 + i64::from(version), 200 + i64::from(version));
        let before = fetched(&mut bench, 7, true, true).await;
        commit_within(&mut bench, version, x, aborted).await;
        end(&bench, x, false).await;
        assert_eq!(fetched(&mut bench, 7, true, true).await, before, "version {version}");
        commit_within(&mut bench, version, x, committed).await;
        end(&bench, x, true).await;
        assert_eq!(fetched(&mut bench, 7, true, true).await, [(0, 0, committed), (1, 0, -1)], "version {version}");
        let stored = bench.broker.fetch_offsets("g1", None).remove(0).1.expect("stored");
        assert_eq!((stored.metadata.as_str(), stored.leader_epoch), ("note", -1));
    }
}

#[tokio::test]
async fn each_partition_is_answered_for_itself() {
    let mut bench = Bench::new().await;
    let x = producer(&bench).await;
    add(&bench, x).await;
    for version in versions::<TxnOffsetCommitRequest>() {
        let mut request = within(x, &[("t", 7, 1), ("t", 0, 5), ("absent", 0, 1), ("t", 1, 6)]);
        request.topics[3].partitions[0].committed_metadata = Some(StrBytes::from_string("m".repeat(5000)));
        assert_eq!(codes(&mut bench, version, &request).await, [3, 0, 3, 12], "version {version}");
        assert!(codes(&mut bench, version, &within(x, &[])).await.is_empty());
    }
    assert_eq!(fetched(&mut bench, 7, true, true).await, [(0, 88, -1), (1, 0, -1)]);
}

#[tokio::test]
async fn what_the_coordinator_knows_nothing_of_is_refused_in_every_version() {
    let mut bench = Bench::new().await;
    let (old, x) = (producer(&bench).await, producer(&bench).await);
    assert_eq!(x, (old.0, old.1 + 1));
    for version in versions_of_v1::<TxnOffsetCommitRequest>() {
        let none = if version < 4 { 48 } else { 120 };
        let mut try_as = async |request: TxnOffsetCommitRequest| {
            let codes = codes(&mut bench, version, &request).await;
            assert_eq!(bench.broker.fetch_offsets("g1", None).len(), 0);
            codes[0]
        };
        let offsets = [("t", 0, 5)];
        assert_eq!(try_as(within(x, &offsets)).await, none, "version {version}: no transaction is open");
        assert_eq!(try_as(within(old, &offsets)).await, 47, "version {version}: fenced");
        assert_eq!(try_as(within((x.0 + 1, 0), &offsets)).await, 49, "version {version}: of another");
        let nobodys = within(x, &offsets).with_transactional_id(TransactionalId(StrBytes::from_static_str("y")));
        assert_eq!(try_as(nobodys).await, 49, "version {version}: of nobody");
        bench.broker.add_offsets_to_transaction("x", x, "another").await.expect("added");
        let request = within(x, &offsets);
        assert_eq!(codes(&mut bench, version, &request).await, [none], "version {version}: the group is not in it");
        add(&bench, x).await;
        let nameless = request.clone().with_group_id(GroupId(StrBytes::default()));
        assert_eq!(codes(&mut bench, version, &nameless).await, [none]);
        assert_eq!(bench.broker.partition_to_read("__consumer_offsets", 42).expect("there").map(|log| log.end_offset()), None);
        end(&bench, x, false).await;
        assert!(fetched(&mut bench, 7, true, true).await.iter().all(|(_, code, offset)| (*code, *offset) == (0, -1)));
        bench = Bench::new().await;
        let (again, after) = (producer(&bench).await, producer(&bench).await);
        assert_eq!((again, after), (old, x));
    }
}

#[tokio::test]
async fn a_member_is_looked_at_where_the_version_tells_of_it() {
    let settings = BrokerConfig { group_initial_rebalance_delay_ms: 0, ..BrokerConfig::default() };
    let broker = Broker::builder().config(settings).open().expect("in memory");
    broker.create_topic(&NewTopic::new("t")).expect("a topic");
    let mut bench = Bench::on(broker, ServerConfig::default()).await;
    let x = producer(&bench).await;
    let joined = bench.broker.join_group(JoinGroup {
        group: "g1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("p".to_owned(), bytes::Bytes::new())],
        ..JoinGroup::default()
    });
    let joined = joined.await.expect("joined");
    add(&bench, x).await;
    for version in versions::<TxnOffsetCommitRequest>() {
        let as_member = |generation: i32, id: &str, instance: Option<&'static str>| {
            let request = within(x, &[("t", 0, 5)]);
            if version < 3 {
                return request;
            }
            let request = request.with_generation_id(generation).with_member_id(StrBytes::from_string(id.to_owned()));
            request.with_group_instance_id(instance.map(StrBytes::from_static_str))
        };
        let (generation, id) = (joined.generation, joined.member_id.as_str());
        for (request, code) in [
            (as_member(generation, id, None), 0),
            (as_member(-1, "", None), 0),
            (as_member(generation - 1, id, None), 22),
            (as_member(generation, "somebody", None), 25),
            (as_member(-1, "somebody", None), 25),
            (as_member(generation, id, Some("nobody")), 25),
        ] {
            let code = if version < 3 { 0 } else { code };
            assert_eq!(codes(&mut bench, version, &request).await, [code], "version {version}: {request:?}");
        }
    }
    let unknown = within(x, &[("t", 0, 5)]).with_group_id(GroupId(StrBytes::from_static_str("new"))).with_generation_id(3);
    bench.broker.add_offsets_to_transaction("x", x, "new").await.expect("added");
    assert_eq!(codes(&mut bench, 3, &unknown).await, [22]);
}

#[tokio::test]
async fn a_reader_of_an_internal_partition_that_holds_nothing_yet_is_woken_by_its_first_record() {
    let mut bench = Bench::new().await;
    bench.broker.init_transactional_producer("another", 60_000, None).await.expect("given");
    for (topic, partition) in [("__consumer_offsets", 42), ("__transaction_state", 20)] {
        let parked = bench.send(11, &fetch(topic, partition, 0).with_max_wait_ms(60_000)).await;
        // That it waits cannot be seen from here, but the bytes are there, and nobody else has anything to do.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        bench.broker.commit_offsets("g1", MemberIdentity::administrator(), &[commit(0, 3)]).expect("stored");
        producer(&bench).await;
        let told = tokio::time::timeout(Duration::from_secs(10), bench.receive::<FetchRequest>(11, parked)).await;
        let told = told.unwrap_or_else(|_| panic!("{topic}-{partition}: woken within 10 s, not after its whole wait"));
        let found = &told.responses[0].partitions[0];
        assert_eq!((found.error_code, found.high_watermark), (0, 1), "{topic}");
    }
}

#[tokio::test]
async fn very_many_offsets_in_one_request_are_answered_soon() {
    let mut bench = Bench::new().await;
    let x = producer(&bench).await;
    add(&bench, x).await;
    let request = within(x, &[("t", 0, 5); 50_000]);
    let answered = tokio::time::timeout(Duration::from_secs(20), codes(&mut bench, 4, &request)).await;
    let codes = answered.unwrap_or_else(|_| panic!("answered within 20 s"));
    assert!(codes.len() == 50_000 && codes.iter().all(|code| *code == 0));
    end(&bench, x, true).await;
    assert_eq!(fetched(&mut bench, 7, true, true).await, [(0, 0, 5), (1, 0, -1)]);
}

/// Each thing is told of once, and all of them are.
#[tokio::test]
async fn a_group_that_stands_in_a_request_twice_is_told_of_as_a_whole() {
    let mut bench = Bench::new().await;
    bench.broker.commit_offsets("g1", MemberIdentity::administrator(), &[commit(0, 5), commit(1, 6)]).expect("stored");
    let of = |partitions: Option<Vec<i32>>| {
        let topic = |partitions| OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(partitions);
        let asked = OffsetFetchRequestGroup::default().with_group_id(GroupId(StrBytes::from_static_str("g1")));
        asked.with_topics(partitions.map(|partitions| vec![topic(partitions)]))
    };
    for groups in [
        vec![of(Some(vec![0])), of(Some(vec![1]))],
        vec![of(Some(vec![0, 1])), of(Some(vec![1, 0]))],
        vec![of(None), of(Some(vec![1]))],
        vec![of(Some(vec![1])), of(None)],
    ] {
        let told = bench.ask(8, &OffsetFetchRequest::default().with_groups(groups)).await;
        let partitions = told.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
        let found: Vec<_> = partitions.map(|one| (one.partition_index, one.committed_offset)).collect();
        assert_eq!((told.groups.len(), found), (1, vec![(0, 5), (1, 6)]));
    }
}
