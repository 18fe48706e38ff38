//! What administrators ask beside topics and settings: ids, folders, producers, leaders, replicas.

use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest as TopicName};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreateTopicsRequest, DeleteTopicsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    MetadataRequest, describe_producers_request,
};

use super::records::{batch, produce};
use super::{Bench, name, versions};
use crate::record::BatchBuilder;

#[tokio::test]
async fn topics_go_by_name_or_by_id() {
    let mut bench = Bench::new().await;
    let new = CreatableTopic::default().with_name(name("new")).with_num_partitions(2).with_replication_factor(1);
    let made = bench.ask(7, &CreateTopicsRequest::default().with_topics(vec![new])).await;
    let id = made.topics[0].topic_id;
    assert!(!id.is_nil());
    assert!(made.topics[0].configs.as_ref().is_some_and(|configs| configs.iter().any(|one| one.name.as_str() == "retention.ms")));
    for version in 10..=12 {
        let by_name = MetadataRequestTopic::default().with_name(Some(name("new")));
        let told = bench.ask(version, &MetadataRequest::default().with_topics(Some(vec![by_name]))).await;
        assert_eq!((told.topics[0].error_code, told.topics[0].topic_id), (0, id), "version {version}");
    }
    let by_id = |id| {
        MetadataRequest::default().with_topics(Some(vec![MetadataRequestTopic::default().with_name(None).with_topic_id(id)]))
    };
    let mut with_name = by_id(id);
    with_name.topics.as_mut().expect("topics")[0].name = Some(name(""));
    assert_eq!(bench.ask(12, &with_name).await.topics[0].name, Some(name("new")));
    let told = bench.ask(12, &by_id(id)).await;
    assert_eq!((told.topics[0].error_code, told.topics[0].name.clone()), (0, Some(name("new"))));
    let both = DeleteTopicState::default().with_name(Some(name("new"))).with_topic_id(id);
    let gone = bench.ask(6, &DeleteTopicsRequest::default().with_topics(vec![both.clone()])).await;
    assert_eq!(gone.responses[0].error_code, 42);
    let gone = bench.ask(6, &DeleteTopicsRequest::default().with_topics(vec![both.with_name(None)])).await;
    let answer = &gone.responses[0];
    assert_eq!((answer.error_code, answer.name.clone(), answer.topic_id), (0, Some(name("new")), id));
    assert_eq!(bench.broker.topic("new"), None);
    assert_eq!(bench.ask(12, &by_id(id)).await.topics[0].error_code, 100);
}

#[tokio::test]
async fn topics_that_a_request_names_twice_by_whatever_stay() {
    let mut bench = Bench::new().await;
    let id = uuid::Uuid::from_bytes(bench.broker.topic("t").expect("there").id.bytes());
    let by_id = || DeleteTopicState::default().with_name(None).with_topic_id(id);
    let by_name = || DeleteTopicState::default().with_name(Some(name("t")));
    for topics in [vec![by_id(), by_id(), by_id()], vec![DeleteTopicState::default().with_name(None)]] {
        let told = bench.ask(6, &DeleteTopicsRequest::default().with_topics(topics)).await;
        assert_eq!(told.responses.iter().map(|one| one.error_code).collect::<Vec<_>>(), [42], "{told:?}");
    }
    assert!(bench.broker.topic("t").is_some());
    // Once by its id, once by its name: the id counts.
    for topics in [vec![by_id(), by_name()], vec![by_name(), by_id()]] {
        bench.broker.create_topic(&crate::broker::NewTopic::new("u")).expect("made");
        let id = uuid::Uuid::from_bytes(bench.broker.topic("u").expect("there").id.bytes());
        let renamed = |one: DeleteTopicState| match one.name {
            Some(_) => one.with_name(Some(name("u"))),
            None => one.with_topic_id(id),
        };
        let topics: Vec<_> = topics.into_iter().map(renamed).collect();
        let expected: Vec<_> = topics.iter().map(|one| if one.name.is_some() { 42 } else { 0 }).collect();
        let told = bench.ask(6, &DeleteTopicsRequest::default().with_topics(topics)).await;
        assert_eq!(told.responses.iter().map(|one| one.error_code).collect::<Vec<_>>(), expected);
        assert_eq!(bench.broker.topic("u"), None);
    }
}

#[tokio::test]
async fn the_folder_says_how_large_logs_are() {
    let mut bench = Bench::new().await;
    let sent = batch(b"v");
    for _ in 0..3 {
        bench.ask(3, &produce("t", 1, sent.clone())).await;
    }
    for version in versions::<DescribeLogDirsRequest>() {
        let told = bench.ask(version, &DescribeLogDirsRequest::default().with_topics(None)).await;
        let dir = &told.results[0];
        assert_eq!((told.error_code, told.results.len(), dir.error_code, dir.log_dir.as_str()), (0, 1, 0, "memory"));
        let found = dir.topics.iter().find(|topic| topic.name == name("t")).expect("told");
        let sizes: Vec<_> =
            found.partitions.iter().map(|one| (one.partition_index, one.partition_size, one.offset_lag)).collect();
        assert_eq!(sizes, [(0, 0, 0), (1, 3 * sent.len() as i64, 0)], "version {version}");
        let asked = |topic, partitions| DescribableLogDirTopic::default().with_topic(name(topic)).with_partitions(partitions);
        let some = Some(vec![asked("t", vec![1, 7]), asked("absent", vec![0])]);
        let told = bench.ask(version, &DescribeLogDirsRequest::default().with_topics(some)).await;
        let found: Vec<_> = told.results[0].topics.iter().map(|topic| (topic.name.clone(), topic.partitions.len())).collect();
        assert_eq!(found, [(name("t"), 1)]);
    }
}

#[tokio::test]
async fn producers_are_described() {
    let mut bench = Bench::new().await;
    for (sequence, count) in [(0, 3), (3, 2)] {
        let mut builder = BatchBuilder::new();
        builder.producer(7, 2, sequence);
        for n in 0..count {
            builder.append(1000 + n, None, Some(b"v"), &[]);
        }
        bench.ask(9, &produce("t", 0, builder.build().freeze())).await;
    }
    let asked = |topic, partitions| {
        describe_producers_request::TopicRequest::default().with_name(name(topic)).with_partition_indexes(partitions)
    };
    let topics = vec![asked("t", vec![0, 1, 2]), asked("absent", vec![0]), asked("__consumer_offsets", vec![0, 50])];
    let request = DescribeProducersRequest::default().with_topics(topics);
    let told = bench.ask(0, &request).await;
    let partitions = &told.topics[0].partitions;
    assert_eq!(
        partitions.iter().map(|one| (one.error_code, one.active_producers.len())).collect::<Vec<_>>(),
        [(0, 1), (0, 0), (3, 0)]
    );
    let found = &partitions[0].active_producers[0];
    assert_eq!((found.producer_id.0, found.producer_epoch, found.last_sequence, found.last_timestamp), (7, 2, 4, 1001));
    assert_eq!((found.coordinator_epoch, found.current_txn_start_offset), (-1, -1));
    assert_eq!(told.topics[1].partitions[0].error_code, 3);
    // Who looks for transactions that hang asks all partitions that there are.
    let internal = &told.topics[2].partitions;
    assert_eq!(internal.iter().map(|one| one.error_code).collect::<Vec<_>>(), [0, 3]);
    // A topic that stands there twice is told of once, with all that is asked of it.
    let twice = DescribeProducersRequest::default().with_topics(vec![asked("t", vec![0]), asked("t", vec![1, 0])]);
    let told = bench.ask(0, &twice).await;
    let found: Vec<_> = told.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.partition_index).collect();
    assert_eq!((told.topics.len(), found), (1, vec![0, 1]));
}

/// Asks for partitions from a cursor on: `(topic, error, first partition, count)`, and the next cursor.
async fn page(
    bench: &mut Bench,
    topics: &[&'static str],
    limit: i32,
    from: Option<(&'static str, i32)>,
) -> (Vec<(String, i16, i32, usize)>, Option<(String, i32)>) {
    let cursor = from.map(|(topic, index)| Cursor::default().with_topic_name(name(topic)).with_partition_index(index));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics.iter().map(|topic| TopicName::default().with_name(name(topic))).collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    let told = bench.ask(0, &request).await;
    let topics = told.topics.iter().map(|topic| {
        let first = topic.partitions.first().map_or(-1, |one| one.partition_index);
        (topic.name.as_ref().expect("named").to_string(), topic.error_code, first, topic.partitions.len())
    });
    (topics.collect(), told.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)))
}

#[tokio::test]
async fn topics_are_described_a_page_at_a_time() {
    let mut bench = Bench::new().await;
    for topic in ["a", "b"] {
        bench.broker.create_topic(&crate::broker::NewTopic::new(topic).partitions(3)).expect("made");
    }
    let row = |topic: &str, error, first, count| (topic.to_owned(), error, first, count);
    let at = |topic: &str, index| Some((topic.to_owned(), index));
    assert_eq!(page(&mut bench, &["b", "a"], 100, None).await, (vec![row("a", 0, 0, 3), row("b", 0, 0, 3)], None));
    assert_eq!(page(&mut bench, &["b", "a"], 4, None).await, (vec![row("a", 0, 0, 3), row("b", 0, 0, 1)], at("b", 1)));
    assert_eq!(page(&mut bench, &["b", "a"], 4, Some(("b", 1))).await, (vec![row("b", 0, 1, 2)], None));
    assert_eq!(page(&mut bench, &["b", "a"], 3, None).await, (vec![row("a", 0, 0, 3)], at("b", 0)));
    assert_eq!(page(&mut bench, &["absent", "a"], 2, None).await, (vec![row("a", 0, 0, 2)], at("a", 2)));
    assert_eq!(
        page(&mut bench, &["absent", "a"], 2, Some(("a", 2))).await,
        (vec![row("a", 0, 2, 1), row("absent", 3, -1, 0)], None)
    );
    assert_eq!(page(&mut bench, &["no/name"], 2, None).await, (vec![row("no/name", 17, -1, 0)], None));
    assert_eq!(page(&mut bench, &["a"], 2, Some(("a", 9))).await, (vec![row("a", 0, -1, 0)], None));
    let (all, _) = page(&mut bench, &[], 2000, None).await;
    assert_eq!(all.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["__consumer_offsets", "a", "b", "t"]);
}

#[tokio::test]
async fn fact_33_an_election_is_not_needed() {
    let mut bench = Bench::new().await;
    for version in versions::<ElectLeadersRequest>() {
        for kind in if version == 0 { 0..1 } else { 0..2 } {
            let asked = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 5]);
            let request = ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(Some(vec![asked]));
            let told = bench.ask(version, &request).await;
            let codes: Vec<_> = told.replica_election_results[0].partition_result.iter().map(|one| one.error_code).collect();
            assert_eq!((told.error_code, codes), (0, vec![84, 3]), "version {version}");
            let all = bench.ask(version, &request.with_topic_partitions(None)).await;
            assert_eq!((all.error_code, all.replica_election_results.len()), (0, 0));
        }
    }
    assert_eq!(bench.ask(1, &ElectLeadersRequest::default().with_election_type(2)).await.error_code, 42);
}

#[tokio::test]
async fn replicas_stay_where_they_are() {
    let mut bench = Bench::new().await;
    for (topic, index, replicas, error) in [
        ("t", 0, Some(vec![0]), 0),
        ("t", 0, Some(vec![0, 1]), 39),
        ("t", 0, Some(vec![]), 39),
        ("t", 0, None, 85),
        ("t", 9, Some(vec![0]), 3),
        ("absent", 0, None, 3),
    ] {
        let replicas: Option<Vec<BrokerId>> = replicas.map(|ids| ids.into_iter().map(BrokerId).collect());
        let told = format!("{topic}-{index} to {replicas:?}");
        let partition = ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let asked = ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let answer = bench.ask(0, &AlterPartitionReassignmentsRequest::default().with_topics(vec![asked])).await;
        let found = &answer.responses[0].partitions[0];
        assert_eq!((answer.error_code, found.error_code, found.error_message.is_some()), (0, error, error != 0), "{told}");
    }
    let moving = bench.ask(0, &ListPartitionReassignmentsRequest::default().with_topics(None)).await;
    assert_eq!((moving.error_code, moving.topics.len()), (0, 0));
}
