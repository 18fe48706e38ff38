//! Offsets that a transaction stores, over the wire.

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{FetchRequest, GroupId, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;

use super::records::fetch;
use super::{Bench, name, versions};
use crate::coordinator::group::{MemberIdentity, OffsetCommit};

fn commit(partition: i32, offset: i64) -> OffsetCommit<'static> {
    OffsetCommit { topic: "t", partition, offset, leader_epoch: 0, metadata: "note" }
}

type Producer = (i64, i16);

async fn producer(bench: &Bench) -> Producer {
    bench.broker.init_transactional_producer("x", 60_000, None).await.expect("given")
}

fn commit_within(bench: &Bench, producer: Producer, offset: i64) {
    bench.broker.add_offsets_to_transaction("x", producer, "g1").expect("added");
    let nobody = MemberIdentity::administrator();
    let stored = bench.broker.txn_offset_commit("x", producer, "g1", nobody, &[commit(0, offset)]);
    stored.expect("asked").remove(0).expect("stored");
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
            commit_within(&bench, x, 5);
            assert_eq!(fetched(&mut bench, version, by_number, false).await, [(0, 0, 3), (1, 0, 4)], "version {version}");
            if version >= 7 {
                assert_eq!(fetched(&mut bench, version, by_number, true).await, [(0, 88, -1), (1, 0, 4)], "version {version}");
            }
            end(&bench, x, false).await;
            assert_eq!(fetched(&mut bench, version, by_number, version >= 7).await, [(0, 0, 3), (1, 0, 4)]);
        }
    }
    commit_within(&bench, x, 5);
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
    commit_within(&bench, x, 5);
    end(&bench, x, false).await;
    commit_within(&bench, x, 6);
    for version in versions::<FetchRequest>() {
        let asked = fetch("__consumer_offsets", 42, 0).with_isolation_level(1);
        let told = bench.ask(version, &asked).await;
        let found = &told.responses[0].partitions[0];
        assert_eq!((found.error_code, found.high_watermark, found.last_stable_offset), (0, 4, 3), "version {version}");
        let aborted = found.aborted_transactions.iter().flatten().map(|one| (one.producer_id.0, one.first_offset));
        assert_eq!(aborted.collect::<Vec<_>>(), [(x.0, 1)], "version {version}");
    }
}
