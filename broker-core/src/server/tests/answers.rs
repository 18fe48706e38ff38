//! Kafka's own answers, one row each: what Apache Kafka 4.3 says to the same request.

use bytes::Bytes;
use kafka_protocol::messages::alter_configs_request as legacy;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, GroupId,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetDeleteRequest, ProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::records::{batch, fetch, produce};
use super::{Bench, name};
use crate::broker::NewTopic;
use crate::coordinator::group::{MemberIdentity, OffsetCommit};

const OFFSETS: &str = "__consumer_offsets";

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

#[tokio::test]
async fn what_stands_twice_in_a_request_is_refused_once() {
    let mut bench = Bench::new().await;
    let topic = || CreatableTopic::default().with_name(name("d")).with_num_partitions(1).with_replication_factor(1);
    let made = bench.ask(7, &CreateTopicsRequest::default().with_topics(vec![topic(), topic()])).await;
    assert_eq!(made.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [42]);
    let gone = bench.ask(5, &DeleteTopicsRequest::default().with_topic_names(vec![name("t"), name("t")])).await;
    assert_eq!(gone.responses.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [42]);
    assert!(bench.broker.topic("t").is_some());
}

#[tokio::test]
async fn names_that_no_topic_can_have() {
    let mut bench = Bench::new().await;
    for (called, described, altered) in [("a/b", 17, 17), ("", 17, 42), ("absent", 3, 3)] {
        let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text(called));
        let told = bench.ask(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(told.results[0].error_code, described, "describe '{called}'");
        let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(text(called));
        let told = bench.ask(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(told.responses[0].error_code, altered, "alter '{called}'");
        let resource = legacy::AlterConfigsResource::default().with_resource_type(2).with_resource_name(text(called));
        let told = bench.ask(2, &AlterConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(told.responses[0].error_code, altered, "replace '{called}'");
    }
}

#[tokio::test]
async fn settings_that_are_asked_for_in_two_places_are_told() {
    let mut bench = Bench::new().await;
    let of_t = |keys: Option<&[&'static str]>| {
        let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
        DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text("t")).with_configuration_keys(keys)
    };
    let (ms, bytes) = (&["retention.ms"][..], &["retention.bytes"][..]);
    for (first, second, all) in [
        (Some(ms), Some(bytes), false),
        (Some(ms), None, true),
        (None, Some(ms), true),
        (Some(&[][..]), Some(ms), true),
        (Some(ms), Some(&[][..]), true),
    ] {
        let resources = vec![of_t(first), of_t(second)];
        let told = bench.ask(4, &DescribeConfigsRequest::default().with_resources(resources)).await;
        assert_eq!(told.results.len(), 1);
        let mut names: Vec<_> = told.results[0].configs.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((names.len() > 2, all || names == ["retention.bytes", "retention.ms"]), (all, true), "{names:?}");
    }
}

#[tokio::test]
async fn deleting_what_is_no_setting_is_no_error() {
    let mut bench = Bench::new().await;
    let config = AlterableConfig::default().with_name(text("no.such.setting")).with_config_operation(1).with_value(None);
    let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])]);
    assert_eq!(bench.ask(1, &request).await.responses[0].error_code, 0);
}

#[tokio::test]
async fn the_internal_topic_is_read_and_not_written() {
    let mut bench = Bench::new().await;
    let commit = OffsetCommit { topic: "t", partition: 0, offset: 5, leader_epoch: -1, metadata: "" };
    // "g1" is in partition 42.
    bench.broker.commit_offsets("g1", MemberIdentity::administrator(), &[commit]).expect("stored");
    assert_eq!(bench.ask(9, &produce(OFFSETS, 42, batch(b"v"))).await.responses[0].partition_responses[0].error_code, 17);
    for (partition, offset, expected) in
        [(42, 0, (0, 1, true)), (42, 9, (1, -1, false)), (7, 0, (0, 0, false)), (7, 1, (1, -1, false)), (50, 0, (3, -1, false))]
    {
        let answer = bench.ask(12, &fetch(OFFSETS, partition, offset)).await;
        let found = &answer.responses[0].partitions[0];
        let some = found.records.as_ref().is_some_and(|records| !records.is_empty());
        assert_eq!((found.error_code, found.high_watermark, some), expected, "partition {partition} at {offset}");
    }
    for (partition, timestamp, expected) in
        [(42, -1, (0, 1)), (42, -2, (0, 0)), (7, -1, (0, 0)), (7, -3, (0, -1)), (50, -1, (3, -1))]
    {
        let partition = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name(OFFSETS)).with_partitions(vec![partition]);
        let answer = bench.ask(7, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
        let found = &answer.topics[0].partitions[0];
        assert_eq!((found.error_code, found.offset), expected);
    }
    let grow = CreatePartitionsTopic::default().with_name(name(OFFSETS)).with_count(100).with_assignments(None);
    assert_eq!(bench.ask(3, &CreatePartitionsRequest::default().with_topics(vec![grow])).await.results[0].error_code, 17);
}

#[tokio::test]
async fn a_topic_that_is_to_grow_twice_does_not() {
    let mut bench = Bench::new().await;
    bench.broker.create_topic(&NewTopic::new("other")).expect("a topic");
    let grow = |topic, count| CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None);
    let topics = vec![grow("t", 4), grow("other", 2), grow("t", 1), grow("absent", 2), grow("absent", 2)];
    let answer = bench.ask(3, &CreatePartitionsRequest::default().with_topics(topics)).await;
    let told: Vec<_> = answer.results.iter().map(|one| (one.name.as_str(), one.error_code)).collect();
    assert_eq!(told, [("t", 42), ("other", 0), ("absent", 42)]);
    assert_eq!(bench.broker.topic("t").expect("there").partitions, 2);
}

#[tokio::test]
async fn what_is_no_batch() {
    let mut bench = Bench::new().await;
    let good = batch(b"v");
    let mut old = good.to_vec();
    old[16] = 1;
    for (what, records) in
        [("nothing", Bytes::new()), ("short", good.slice(..10)), ("cut", good.slice(..60)), ("format 1", old.into())]
    {
        let answer = bench.ask(9, &produce("t", 0, records)).await;
        let found = &answer.responses[0].partition_responses[0];
        assert_eq!((found.error_code, found.base_offset), (87, -1), "{what}");
    }
}

#[tokio::test]
async fn producer_ids_that_do_not_fit() {
    let mut bench = Bench::new().await;
    for (transactional, id, epoch, error) in
        [(None, -1, -1, 0), (None, 5, 0, 0), (None, 5, -1, 42), (None, -1, 5, 42), (Some(""), -1, -1, 42)]
    {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional.map(|id| TransactionalId(text(id))))
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch);
        assert_eq!(bench.ask(4, &request).await.error_code, error, "{transactional:?} {id} {epoch}");
    }
}

#[tokio::test]
async fn groups_without_a_name_and_topics_that_are_not_there() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.ask(4, &HeartbeatRequest::default()).await.error_code, 24);
    let commit = OffsetCommit { topic: "t", partition: 0, offset: 5, leader_epoch: -1, metadata: "" };
    bench.broker.commit_offsets("g", MemberIdentity::administrator(), &[commit]).expect("stored");
    for (group, topic, top, inner) in
        [("", "t", 24, None), ("nowhere", "t", 69, None), ("g", "absent", 0, Some(3)), ("g", "t", 0, Some(0))]
    {
        let asked = OffsetDeleteRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
        let request = OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(vec![asked]);
        let told = bench.ask(0, &request).await;
        let found = told.topics.first().map(|topic| topic.partitions[0].error_code);
        assert_eq!((told.error_code, found), (top, inner), "'{group}' {topic}");
    }
}
