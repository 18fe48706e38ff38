//! What one without rights sees: less, and no more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::super::records::{batch, fetch, produce};
use super::super::{Bench, name, versions};
use super::{config, guarded, guarded_by, may, put, rule};
use crate::broker::{Broker, NewTopic};
use crate::config::BrokerConfig;
use crate::coordinator::group::{JoinGroup, JoinGroupReply, SyncGroup};
use crate::security::Operation::{self, All, Create, Describe, DescribeConfigs, Read, Write};
use crate::security::ResourceKind::{Cluster, Group, Topic};
use crate::security::{CLUSTER, Permission, RuleFilter};
use crate::server::ServerConfig;
use crate::time::Clock;

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

fn allow(bench: &Bench, operation: Operation, topic: &str) {
    put(bench, rule(Permission::Allow, "User:ANONYMOUS", operation, Topic, topic));
}

fn deny(bench: &Bench, operation: Operation, topic: &str) {
    put(bench, rule(Permission::Deny, "User:*", operation, Topic, topic));
}

async fn listed(bench: &mut Bench, version: i16) -> Vec<String> {
    let all = if version == 0 { Some(Vec::new()) } else { None };
    let told = bench.ask(version, &MetadataRequest::default().with_topics(all)).await;
    assert!(told.topics.iter().all(|topic| topic.error_code == 0), "{told:?}");
    told.topics.iter().map(|topic| topic.name.as_ref().expect("named").to_string()).collect()
}

#[tokio::test]
async fn lists_hold_only_what_one_may_describe() {
    let mut bench = guarded().await;
    for topic in ["orders", "orders-eu", "secret"] {
        bench.broker.create_topic(&NewTopic::new(topic)).expect("made");
    }
    allow(&bench, Read, "orders*");
    for version in versions::<MetadataRequest>() {
        assert_eq!(listed(&mut bench, version).await, ["orders", "orders-eu"], "version {version}");
    }
    let all = DescribeTopicPartitionsRequest::default().with_response_partition_limit(100).with_cursor(None);
    let told = bench.ask(0, &all).await;
    assert_eq!(told.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [0, 0]);
    deny(&bench, Describe, "orders-eu");
    assert_eq!(listed(&mut bench, 12).await, ["orders"]);
    allow(&bench, Describe, "*");
    assert_eq!(listed(&mut bench, 12).await, ["__consumer_offsets", "orders", "secret", "t"]);
    // Whether the cluster may be described says nothing about topics, but something about groups.
    assert!(bench.ask(4, &ListGroupsRequest::default()).await.groups.is_empty());
    put(&bench, rule(Permission::Allow, "User:ANONYMOUS", Describe, Cluster, CLUSTER));
    assert_eq!(bench.ask(4, &ListGroupsRequest::default()).await.groups.len(), 1);
    assert_eq!(listed(&mut bench, 12).await.len(), 4);
}

#[tokio::test]
async fn offsets_of_all_topics_are_those_of_topics_that_one_may_describe() {
    let mut bench = guarded().await;
    may(&bench, Read, Group);
    let all = OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![all]);
    let told = bench.ask(8, &request).await;
    assert_eq!((told.groups[0].error_code, told.groups[0].topics.len()), (0, 0));
    may(&bench, Describe, Topic);
    assert_eq!(bench.ask(8, &request).await.groups[0].topics.len(), 1);
}

#[tokio::test]
async fn each_topic_of_a_request_is_answered_for_itself() {
    let mut bench = guarded().await;
    may(&bench, Read, Group);
    bench.broker.create_topic(&NewTopic::new("mine")).expect("made");
    allow(&bench, All, "mine");
    let of = |topic| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition])
    };
    let request = OffsetCommitRequest::default().with_group_id(GroupId(text("g")));
    let request = request.with_topics(vec![of("t"), of("mine"), of("t")]);
    let told = bench.ask(8, &request).await;
    assert_eq!(told.topics.iter().map(|topic| topic.partitions[0].error_code).collect::<Vec<_>>(), [29, 0, 29]);
    let stored: Vec<_> = bench.broker.fetch_offsets("g", None).into_iter().map(|(id, found)| (id.to_string(), found)).collect();
    assert_eq!(
        stored.iter().map(|(id, found)| (id.as_str(), found.as_ref().map(|one| one.offset))).collect::<Vec<_>>(),
        [("mine-0", Some(7)), ("t-0", Some(0))]
    );
    let mut both = produce("t", 0, batch(b"v"));
    both.topic_data.extend(produce("mine", 0, batch(b"v")).topic_data);
    let told = bench.ask(9, &both).await;
    let answers = told.responses.iter().map(|topic| &topic.partition_responses[0]);
    assert_eq!(answers.map(|one| (one.error_code, one.error_message.is_some())).collect::<Vec<_>>(), [(29, true), (0, false)]);
    let mut both = fetch("t", 0, 0);
    both.topics.extend(fetch("mine", 0, 0).topics);
    let told = bench.ask(11, &both).await;
    let answers: Vec<_> = told.responses.iter().map(|topic| &topic.partitions[0]).collect();
    assert_eq!(answers.iter().map(|one| one.error_code).collect::<Vec<_>>(), [29, 0]);
    assert!(answers[0].records.as_deref().is_none_or(<[u8]>::is_empty) && answers[1].high_watermark == 1);
}

#[tokio::test]
async fn a_topic_is_made_on_the_way_by_who_may_make_it() {
    let mut bench = guarded().await;
    let asked = |topic| {
        let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
        MetadataRequest::default().with_topics(Some(vec![asked]))
    };
    allow(&bench, Write, "fresh*");
    for version in versions::<MetadataRequest>() {
        assert_eq!(bench.ask(version, &asked("fresh")).await.topics[0].error_code, 29, "version {version}");
    }
    // Who does not ask for it to be made is told what there is.
    let only = asked("fresh").with_allow_auto_topic_creation(false);
    assert_eq!(bench.ask(12, &only).await.topics[0].error_code, 3);
    assert_eq!(bench.broker.topic("fresh"), None);
    allow(&bench, Create, "fresh");
    assert_eq!(bench.ask(12, &asked("fresh")).await.topics[0].error_code, 0);
    put(&bench, rule(Permission::Allow, "User:ANONYMOUS", Create, Cluster, CLUSTER));
    assert_eq!(bench.ask(12, &asked("fresh-2")).await.topics[0].error_code, 0);
    // The right to make it is none to see it.
    assert_eq!(bench.ask(12, &asked("other")).await.topics[0].error_code, 29);
    assert_eq!(bench.broker.topic("other"), None);
}

/// A clock that stands still until it is told.
#[derive(Debug, Clone, Default)]
struct Hand(Arc<AtomicI64>);

impl Clock for Hand {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.wall_ms().cast_unsigned()
    }
}

/// Not even that a member is alive, or one without the right could keep partitions from those who have it.
#[tokio::test]
async fn a_commit_of_nothing_does_nothing_for_who_may_not_commit() {
    for right in [true, false] {
        let hand = Hand::default();
        let settings = BrokerConfig { group_initial_rebalance_delay_ms: 0, ..BrokerConfig::default() };
        let broker = Broker::builder().config(settings).clock(Arc::new(hand.clone())).seed(1).open().expect("in memory");
        let joined = broker.join_group(JoinGroup {
            group: "g".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("p".to_owned(), bytes::Bytes::new())],
            ..JoinGroup::default()
        });
        let JoinGroupReply { member_id, generation, .. } = joined.await.expect("joined");
        let (group, member) = ("g".to_owned(), member_id.clone());
        let sync = SyncGroup { group, generation, member_id: member, ..SyncGroup::default() };
        broker.sync_group(sync).await.expect("synced");
        let mut bench = Bench::on(broker, config()).await;
        if right {
            may(&bench, Read, Group);
        }
        hand.0.fetch_add(6000, Ordering::Relaxed);
        let nothing = OffsetCommitRequest::default().with_group_id(GroupId(text("g"))).with_topics(Vec::new());
        let nothing = nothing.with_generation_id_or_member_epoch(generation);
        let told = bench.ask(8, &nothing.with_member_id(StrBytes::from_string(member_id))).await;
        assert!(told.topics.is_empty());
        hand.0.fetch_add(6000, Ordering::Relaxed);
        bench.broker.attend_groups();
        // Somebody looks at the sessions now; a round of the runtime's own makes sure that it has.
        let sessions_were_looked_at = async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            bench.broker.describe_group("g").expect("a group").members.len()
        };
        assert_eq!(sessions_were_looked_at.await, usize::from(right));
    }
}

/// How many partitions a request may make is no way to count those of others' topics.
#[tokio::test]
async fn partitions_of_others_topics_do_not_count() {
    let mut bench = guarded().await;
    bench.broker.create_topic(&NewTopic::new("secret").partitions(2)).expect("a topic");
    allow(&bench, Operation::Alter, "t");
    let topic = |called, count| CreatePartitionsTopic::default().with_name(name(called)).with_count(count).with_assignments(None);
    for count in [10_001, 10_003] {
        let request = CreatePartitionsRequest::default().with_topics(vec![topic("secret", count), topic("t", 3)]);
        let told = bench.ask(3, &request.with_validate_only(true)).await;
        assert_eq!(told.results.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [29, 0], "{count}");
    }
}

#[tokio::test]
async fn an_id_is_not_exchanged_for_a_name() {
    let mut bench = guarded().await;
    let id = uuid::Uuid::from_bytes(bench.broker.topic("t").expect("there").id.bytes());
    let asked = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let told = bench.ask(12, &MetadataRequest::default().with_topics(Some(vec![asked]))).await;
    assert_eq!((told.topics[0].error_code, &told.topics[0].name, told.topics[0].topic_id), (29, &None, id));
    let gone = DeleteTopicState::default().with_name(None).with_topic_id(id);
    let told = bench.ask(6, &DeleteTopicsRequest::default().with_topics(vec![gone])).await;
    assert_eq!((told.responses[0].error_code, &told.responses[0].name), (29, &None));
    assert!(told.responses[0].error_message.as_ref().is_none_or(|message| !message.contains("'t'")), "{told:?}");
}

#[tokio::test]
async fn settings_of_a_new_topic_are_told_to_who_may_know_them() {
    let mut bench = guarded().await;
    allow(&bench, Create, "*");
    let new = |topic| {
        let new = CreatableTopic::default().with_name(name(topic)).with_num_partitions(2).with_replication_factor(1);
        CreateTopicsRequest::default().with_topics(vec![new])
    };
    let told = bench.ask(7, &new("a")).await.topics.remove(0);
    assert_eq!((told.error_code, told.topic_config_error_code, told.num_partitions, told.replication_factor), (0, 29, -1, -1));
    assert!(told.configs.is_none_or(|configs| configs.is_empty()));
    allow(&bench, DescribeConfigs, "b");
    let told = bench.ask(7, &new("b")).await.topics.remove(0);
    assert_eq!((told.error_code, told.topic_config_error_code, told.num_partitions), (0, 0, 2));
    assert!(told.configs.is_some_and(|configs| !configs.is_empty()));
    let broker = DescribeConfigsResource::default().with_resource_type(4).with_resource_name(text("0"));
    let request = DescribeConfigsRequest::default().with_resources(vec![broker.with_configuration_keys(None)]);
    assert_eq!(bench.ask(4, &request).await.results[0].error_code, 31);
    may(&bench, DescribeConfigs, Cluster);
    assert_eq!(bench.ask(4, &request).await.results[0].error_code, 0);
}

#[tokio::test]
async fn a_right_that_goes_while_a_fetch_waits_is_gone() {
    let mut bench = guarded().await;
    allow(&bench, Read, "t");
    let parked = bench.send(4, &fetch("t", 0, 0).with_max_wait_ms(60_000)).await;
    let asked = bench.send(0, &ApiVersionsRequest::default()).await;
    // That it waits cannot be seen from here, but the bytes are there, and nobody else has anything to do.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    bench.broker.acls().remove(vec![Ok(RuleFilter::default())]).remove(0).expect("removed");
    let partition = bench.broker.partition("t", 0).expect("there");
    partition.produce(bytes::BytesMut::from(&batch(b"late")[..])).expect("produced");
    let told = bench.receive::<FetchRequest>(4, parked).await;
    let found = &told.responses[0].partitions[0];
    assert_eq!((found.error_code, found.records.as_deref().map_or(0, <[u8]>::len)), (29, 0));
    bench.receive::<ApiVersionsRequest>(0, asked).await;
}

#[tokio::test]
async fn without_acks_a_refusal_closes_the_connection() {
    let mut bench = guarded().await;
    bench.send(9, &produce("t", 0, batch(b"v")).with_acks(0)).await;
    assert!(bench.receive_raw().await.is_none(), "closed");
}

#[tokio::test]
async fn transactional_ids_have_rights() {
    let mut bench = guarded().await;
    may(&bench, Write, Topic);
    let with_id = |request: ProduceRequest| request.with_transactional_id(Some(TransactionalId(text("x"))));
    let init = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("x"))));
    let init = init.with_transaction_timeout_ms(1000);
    let find = FindCoordinatorRequest::default().with_key_type(1).with_key(text("x"));
    assert_eq!(bench.ask(4, &init).await.error_code, 53);
    assert_eq!(bench.ask(3, &find).await.error_code, 53);
    let refused = bench.ask(9, &with_id(produce("t", 0, batch(b"v")))).await;
    assert_eq!(refused.responses[0].partition_responses[0].error_code, 53);
    may(&bench, Write, crate::security::ResourceKind::TransactionalId);
    assert_eq!(bench.ask(4, &init).await.error_code, 0);
    assert_eq!(bench.ask(3, &find).await.error_code, 0);
    let done = bench.ask(9, &with_id(produce("t", 0, batch(b"v")))).await;
    assert_eq!(done.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn what_one_may_do_is_told_to_who_asks() {
    let bits = |operations: &[Operation]| operations.iter().fold(0, |bits, one| bits | 1 << one.code());
    let mut open = Bench::new().await;
    let mut bench = guarded().await;
    allow(&bench, Read, "t");
    may(&bench, Operation::Delete, Group);
    let asked = |topic| vec![MetadataRequestTopic::default().with_name(Some(name(topic)))];
    let topics = MetadataRequest::default().with_topics(Some(asked("t"))).with_include_topic_authorized_operations(true);
    assert_eq!(bench.ask(8, &topics).await.topics[0].topic_authorized_operations, bits(&[Read, Describe]));
    // Of a topic that is not there as well, but nothing of what may not be known.
    deny(&bench, All, "secret");
    allow(&bench, Describe, "*");
    for (topic, error, told) in [("absent", 3, bits(&[Describe])), ("secret", 29, i32::MIN)] {
        let asked = MetadataRequest::default().with_topics(Some(asked(topic))).with_allow_auto_topic_creation(false);
        let found = bench.ask(8, &asked.with_include_topic_authorized_operations(true)).await.topics.remove(0);
        assert_eq!((found.error_code, found.topic_authorized_operations), (error, told), "{topic}");
        let page = describe_topic_partitions_request::TopicRequest::default().with_name(name(topic));
        let page = DescribeTopicPartitionsRequest::default().with_topics(vec![page]).with_cursor(None);
        let found = bench.ask(0, &page).await.topics.remove(0);
        assert_eq!((found.error_code, found.topic_authorized_operations), (error, told), "{topic}");
    }
    // All eight, where nobody's rights are looked at.
    assert_eq!(open.ask(8, &topics).await.topics[0].topic_authorized_operations, 0b1101_1111_1000);
    assert_eq!(open.ask(8, &topics).await.cluster_authorized_operations, i32::MIN, "nobody asked");
    let cluster = topics.with_include_cluster_authorized_operations(true);
    assert_eq!(bench.ask(8, &cluster).await.cluster_authorized_operations, 0);
    assert_eq!(open.ask(8, &cluster).await.cluster_authorized_operations, 0b1_1111_1010_0000);
    let cluster = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    assert_eq!(bench.ask(1, &cluster).await.cluster_authorized_operations, 0);
    assert_eq!(bench.ask(1, &DescribeClusterRequest::default()).await.cluster_authorized_operations, i32::MIN);
    may(&bench, Describe, Cluster);
    assert_eq!(bench.ask(1, &cluster).await.cluster_authorized_operations, bits(&[Describe]));
    let groups = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]).with_include_authorized_operations(true);
    assert_eq!(bench.ask(3, &groups).await.groups[0].authorized_operations, bits(&[Operation::Delete, Describe]));
    // Settings too, which Kafka keeps for groups.
    assert_eq!(open.ask(3, &groups).await.groups[0].authorized_operations, 0b1101_0100_1000);
    let page = describe_topic_partitions_request::TopicRequest::default().with_name(name("t"));
    let page = DescribeTopicPartitionsRequest::default().with_topics(vec![page]).with_cursor(None);
    assert_eq!(bench.ask(0, &page).await.topics[0].topic_authorized_operations, bits(&[Read, Describe]));
}

#[tokio::test]
async fn what_no_rule_is_about_is_everybodys_if_the_setting_says_so() {
    let mut bench = guarded_by(ServerConfig { allow_everyone_if_no_acl_found: true, ..config() }).await;
    assert_eq!(bench.ask(9, &produce("t", 0, batch(b"v"))).await.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(bench.ask(3, &InitProducerIdRequest::default().with_transactional_id(None)).await.error_code, 0);
    put(&bench, rule(Permission::Allow, "User:bob", Read, Topic, "t"));
    assert_eq!(bench.ask(9, &produce("t", 0, batch(b"v"))).await.responses[0].partition_responses[0].error_code, 29);
    assert_eq!(bench.ask(11, &fetch("t", 0, 0)).await.responses[0].partitions[0].error_code, 29);
}
