//! A request holds a name once, and may ask for very many things under it: what is made of the name must not grow with both.

use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ElectLeadersRequest, GroupId, OffsetCommitRequest, OffsetDeleteRequest, ProduceRequest, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::records::batch;
use super::{Bench, name};
use crate::coordinator::group::{MemberIdentity, OffsetCommit};

/// How long the names are, and how many things are asked for under one.
const LONG: usize = 30_000;
const MANY: i32 = 1000;
/// What is told of one thing at most.
const TOLD: usize = 1024;

fn long() -> StrBytes {
    StrBytes::from_string("x".repeat(LONG))
}

#[tokio::test]
async fn a_long_name_is_not_told_again_for_each_partition() {
    let mut bench = Bench::new().await;
    let partitions = |records: &'static [u8]| -> Vec<_> {
        (0..MANY).map(|index| PartitionProduceData::default().with_index(index).with_records(Some(records.into()))).collect()
    };
    let topic = TopicProduceData::default().with_name(TopicName(long())).with_partition_data(partitions(b""));
    let produce = ProduceRequest::default().with_acks(1).with_timeout_ms(1000).with_topic_data(vec![topic]);
    bench.send(9, &produce).await;
    let told = bench.receive_raw().await.expect("an answer").len();
    assert!(told < LONG + MANY as usize * TOLD, "Produce: {told} bytes");

    let within = batch(b"v");
    let data = (0..MANY).map(|_| {
        let mut within = bytes::BytesMut::from(&within[..]);
        // A transaction's, of producer 7.
        within[22] |= 0x10;
        within[43..51].copy_from_slice(&7i64.to_be_bytes());
        PartitionProduceData::default().with_index(0).with_records(Some(within.freeze()))
    });
    let topic = TopicProduceData::default().with_name(name("t")).with_partition_data(data.collect());
    let produce = produce.with_topic_data(vec![topic]).with_transactional_id(Some(TransactionalId(long())));
    bench.send(9, &produce).await;
    let told = bench.receive_raw().await.expect("an answer").len();
    assert!(told < MANY as usize * TOLD, "Produce in a transaction: {told} bytes");

    let topic = TopicPartitions::default().with_topic(TopicName(long())).with_partitions((0..MANY).collect());
    bench.send(2, &ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]))).await;
    let told = bench.receive_raw().await.expect("an answer").len();
    assert!(told < LONG + MANY as usize * TOLD, "ElectLeaders: {told} bytes");
}

#[tokio::test]
async fn what_cannot_be_committed_is_told_in_few_words() {
    let mut bench = Bench::new().await;
    let (group, topic) = ("g".repeat(LONG), "x".repeat(LONG));
    let commit = OffsetCommit { topic: &topic, partition: 0, offset: 1, leader_epoch: -1, metadata: "" };
    let told = bench.broker.commit_each_offset(&group, MemberIdentity::administrator(), &[commit]).expect("each for itself");
    let told = told[0].as_ref().expect_err("no such topic").to_string();
    assert!(told.len() < TOLD && told.contains("ggg…") && told.contains("xxx…"), "{} bytes", told.len());

    let partition = |index| OffsetCommitRequestPartition::default().with_partition_index(index);
    let asked =
        OffsetCommitRequestTopic::default().with_name(TopicName(long())).with_partitions((0..MANY).map(partition).collect());
    let asked = OffsetCommitRequest::default().with_group_id(GroupId(long())).with_topics(vec![asked]);
    let told = bench.ask(8, &asked).await;
    assert!(told.topics[0].partitions.iter().all(|one| one.error_code == 3));
}

#[tokio::test]
async fn offsets_that_are_not_stored_are_not_deleted_one_by_one() {
    let mut bench = Bench::new().await;
    let commit = OffsetCommit { topic: "t", partition: 1, offset: 1, leader_epoch: -1, metadata: "" };
    bench.broker.commit_offsets("g", MemberIdentity::administrator(), &[commit]).expect("stored");
    let kept = bench.broker.offsets_partition("g").partition;
    let end = |bench: &Bench| {
        let log = bench.broker.partition_to_read("__consumer_offsets", kept).expect("there").expect("written to");
        log.end_offset()
    };
    let before = end(&bench);
    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let of = |topic| OffsetDeleteRequestTopic::default().with_name(topic).with_partitions((0..MANY).map(partition).collect());
    let asked = OffsetDeleteRequest::default().with_group_id(GroupId(StrBytes::from_static_str("g")));
    let asked = asked.with_topics(vec![of(TopicName(long())), of(name("t")), of(name("t"))]);
    let told = bench.ask(0, &asked).await;
    let codes = |topic: usize| told.topics[topic].partitions.iter().map(|one| one.error_code).collect::<Vec<_>>();
    assert!(codes(0).iter().all(|code| *code == 3));
    assert_eq!(codes(1)[..3], [0, 0, 3]);
    assert_eq!(end(&bench) - before, 1, "a record for each that was stored");
    assert!(bench.broker.fetch_offsets("g", None).is_empty());
}
