//! Topics made, grown and deleted; the cluster; the leaders' epochs.

use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    OffsetForLeaderEpochRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::records::{batch, produce};
use super::{Bench, name, versions};

fn topic(called: &'static str) -> CreatableTopic {
    CreatableTopic::default().with_name(name(called)).with_num_partitions(3).with_replication_factor(1)
}

fn assigned(replicas: &[&[i32]]) -> CreatableTopic {
    let partition = |(index, brokers): (usize, &&[i32])| {
        let brokers = brokers.iter().copied().map(BrokerId).collect();
        CreatableReplicaAssignment::default().with_partition_index(index as i32).with_broker_ids(brokers)
    };
    let assignments = replicas.iter().enumerate().map(partition).collect();
    topic("new").with_num_partitions(-1).with_replication_factor(-1).with_assignments(assignments)
}

fn with_config(key: &'static str, value: Option<&'static str>) -> CreatableTopic {
    let value = value.map(StrBytes::from_static_str);
    topic("new").with_configs(vec![CreatableTopicConfig::default().with_name(StrBytes::from_static_str(key)).with_value(value)])
}

#[tokio::test]
async fn topics_are_made_and_deleted() {
    let mut bench = Bench::new().await;
    for version in versions::<CreateTopicsRequest>() {
        let request = CreateTopicsRequest::default().with_topics(vec![topic("new")]);
        let only = bench.ask(version, &request.clone().with_validate_only(true)).await;
        assert_eq!((only.topics[0].error_code, bench.broker.topic("new")), (0, None), "version {version}");
        let made = bench.ask(version, &request).await;
        assert_eq!((made.topics[0].error_code, &made.topics[0].error_message), (0, &None));
        if version >= 5 {
            assert_eq!((made.topics[0].num_partitions, made.topics[0].replication_factor), (3, 1));
            assert!(made.topics[0].configs.as_ref().is_some_and(|configs| !configs.is_empty()));
        }
        assert_eq!(bench.broker.topic("new").map(|topic| topic.partitions), Some(3));
        assert_eq!(bench.ask(version, &request).await.topics[0].error_code, 36);
        let version = version.min(*versions::<DeleteTopicsRequest>().end());
        let (by_name, by_state) = match version {
            0..6 => (vec![name("new"), name("absent")], Vec::new()),
            _ => {
                let one = |called| DeleteTopicState::default().with_name(Some(name(called)));
                (Vec::new(), vec![one("new"), one("absent"), DeleteTopicState::default().with_name(None)])
            }
        };
        let request = DeleteTopicsRequest::default().with_topic_names(by_name).with_topics(by_state);
        let gone = bench.ask(version, &request).await;
        assert_eq!((gone.responses[0].error_code, gone.responses[1].error_code), (0, 3), "version {version}");
        assert!(version < 5 || gone.responses[1].error_message.as_deref().is_some_and(|told| told.contains("'absent'")));
        assert!(version < 6 || gone.responses[2].error_code == 42);
        assert_eq!(bench.broker.topic("new"), None);
    }
    let internal = DeleteTopicsRequest::default().with_topic_names(vec![name("__consumer_offsets")]);
    assert_eq!(bench.ask(1, &internal).await.responses[0].error_code, 17);
}

#[tokio::test]
async fn topics_that_cannot_be() {
    let mut bench = Bench::new().await;
    for (wanted, error, part) in [
        (topic("t"), 36, "exists already"),
        (topic("no/name"), 17, "no topic name"),
        (topic("__consumer_offsets"), 17, "internal"),
        (topic("new").with_num_partitions(0), 37, "0 partitions"),
        (topic("new").with_num_partitions(-2), 37, "-2 partitions"),
        (topic("new").with_replication_factor(3), 38, "one broker"),
        (topic("new").with_replication_factor(0), 38, "factor 0"),
        (assigned(&[&[0], &[1]]), 39, "[1], but the one broker is 0"),
        (assigned(&[&[0, 0]]), 39, "[0, 0]"),
        (assigned(&[&[0]]).with_num_partitions(1), 42, "excludes"),
        (with_config("no.such.setting", Some("1")), 40, "no.such.setting"),
        (with_config("segment.bytes", None), 40, "segment.bytes has no value"),
    ] {
        let answer = bench.ask(2, &CreateTopicsRequest::default().with_topics(vec![wanted])).await;
        let told = answer.topics[0].error_message.as_deref().unwrap_or_default();
        assert_eq!(answer.topics[0].error_code, error, "{told}");
        assert!(told.contains(part), "{told}");
    }
    let twice = bench.ask(2, &CreateTopicsRequest::default().with_topics(vec![topic("new"), topic("new"), topic("other")])).await;
    assert_eq!(twice.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [42, 0]);
    assert_eq!(bench.broker.topic("new"), None);
    let by_default = topic("plain").with_num_partitions(-1).with_replication_factor(-1);
    let made = bench.ask(4, &CreateTopicsRequest::default().with_topics(vec![by_default, assigned(&[&[0], &[0]])])).await;
    assert_eq!((made.topics[0].error_code, made.topics[1].error_code), (0, 0));
    let partitions = |called| bench.broker.topic(called).map(|topic| topic.partitions);
    assert_eq!((partitions("plain"), partitions("new")), (Some(1), Some(2)));
}

#[tokio::test]
async fn topics_grow() {
    let mut bench = Bench::new().await;
    let grow = |called, count, assigned: Option<&[i32]>| {
        let one = |broker: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(*broker)]);
        let assigned = assigned.map(|brokers| brokers.iter().map(one).collect());
        let topic = CreatePartitionsTopic::default().with_name(name(called)).with_count(count).with_assignments(assigned);
        CreatePartitionsRequest::default().with_topics(vec![topic])
    };
    let mut have = 2;
    for version in versions::<CreatePartitionsRequest>() {
        for (request, error) in [
            (grow("t", have, None), 37),
            (grow("absent", 9, None), 3),
            (grow("t", have + 1, Some(&[0, 0])), 39),
            (grow("t", have + 1, Some(&[5])), 39),
            (grow("t", have + 1, None).with_validate_only(true), 0),
            (grow("t", have + 1, Some(&[0])), 0),
        ] {
            let answer = bench.ask(version, &request).await;
            let told = answer.results[0].error_message.as_deref();
            assert_eq!((answer.results[0].error_code, told.is_some()), (error, error != 0), "version {version}: {told:?}");
        }
        have += 1;
        assert_eq!(bench.broker.topic("t").map(|topic| topic.partitions), Some(have));
    }
}

#[tokio::test]
async fn the_cluster_is_one_broker() {
    let mut bench = Bench::new().await;
    for version in versions::<DescribeClusterRequest>() {
        let told = bench.ask(version, &DescribeClusterRequest::default()).await;
        assert_eq!((told.error_code, told.controller_id.0, told.brokers.len()), (0, 0, 1));
        assert_eq!(told.brokers[0].port, i32::from(bench.server.address().port()));
        assert!(!told.cluster_id.is_empty());
    }
    assert_eq!(bench.ask(1, &DescribeClusterRequest::default().with_endpoint_type(2)).await.error_code, 114);
    assert_eq!(bench.ask(1, &DescribeClusterRequest::default().with_endpoint_type(3)).await.error_code, 115);
}

#[tokio::test]
async fn epochs_end_where_the_log_does() {
    let mut bench = Bench::new().await;
    bench.ask(3, &produce("t", 0, batch(b"v"))).await;
    for version in versions::<OffsetForLeaderEpochRequest>() {
        for (called, current, epoch, expected) in [
            ("t", -1, 0, (0, 0, 1)),
            ("t", 0, 0, (0, 0, 1)),
            ("t", 0, 5, (0, -1, -1)),
            ("t", 5, 0, (75, -1, -1)),
            ("absent", 0, 0, (3, -1, -1)),
        ] {
            let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
            let topic = OffsetForLeaderTopic::default().with_topic(name(called)).with_partitions(vec![partition]);
            let answer = bench.ask(version, &OffsetForLeaderEpochRequest::default().with_topics(vec![topic])).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.leader_epoch, found.end_offset), expected, "{called} {current} {epoch}");
        }
    }
}
