//! What Kafka's clients rely on over the wire, one fact a test. The numbers are those of the conformance tests.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreateTopicsRequest, DescribeAclsRequest, FetchRequest,
    GroupId, JoinGroupRequest, ListOffsetsRequest, MetadataRequest,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::records::{batch, fetch, produce};
use super::{Bench, name, versions};
use crate::broker::{Broker, NewTopic};
use crate::config::BrokerConfig;
use crate::server::{APIS, ServerConfig};

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

/// There is one replica, and no more are waited for than there are.
#[tokio::test]
async fn fact_25_more_replicas_in_sync_than_there_are_cannot_be_asked_for() {
    let mut bench = Bench::new().await;
    let mut topic = NewTopic::new("careful").partitions(1);
    topic.configs.insert("min.insync.replicas".to_owned(), "2".to_owned());
    bench.broker.create_topic(&topic).expect("made");
    for acks in [-1, 1] {
        let answer = bench.ask(9, &produce("careful", 0, batch(b"v")).with_acks(acks)).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "acks {acks}");
    }
}

#[tokio::test]
async fn fact_31_a_leaders_epoch_that_is_not_known_yet_is_refused() {
    let mut bench = Bench::new().await;
    for (epoch, error) in [(-1, 0), (0, 0), (1, 75)] {
        for version in *versions::<FetchRequest>().start().max(&9)..=*versions::<FetchRequest>().end() {
            let mut request = fetch("t", 0, 0);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            let answer = bench.ask(version, &request).await;
            assert_eq!(answer.responses[0].partitions[0].error_code, error, "fetch {version}, epoch {epoch}");
        }
        for version in 4..=*versions::<ListOffsetsRequest>().end() {
            let partition = ListOffsetsPartition::default().with_current_leader_epoch(epoch).with_timestamp(-1);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let answer = bench.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
            assert_eq!(answer.topics[0].partitions[0].error_code, error, "list offsets {version}, epoch {epoch}");
        }
    }
}

#[tokio::test]
async fn fact_58_a_new_member_is_given_its_id_and_must_come_back_with_it() {
    let mut bench = Bench::new().await;
    for version in versions::<JoinGroupRequest>() {
        let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::new());
        let join = |member: StrBytes| {
            JoinGroupRequest::default()
                .with_group_id(GroupId(StrBytes::from_string(format!("group-{version}"))))
                .with_session_timeout_ms(10_000)
                .with_rebalance_timeout_ms(if version == 0 { -1 } else { 10_000 })
                .with_member_id(member)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol.clone()])
        };
        let first = bench.ask(version, &join(StrBytes::default())).await;
        assert_eq!((first.error_code, first.member_id.is_empty()), (if version < 4 { 0 } else { 79 }, false), "{version}");
        if version >= 4 {
            let again = bench.ask(version, &join(first.member_id.clone())).await;
            assert_eq!((again.error_code, again.member_id, again.generation_id), (0, first.member_id, 1));
        }
    }
}

/// An ApiVersions request as bytes.
fn api_versions(version: u8, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(10 + body.len() as i32);
    frame.put_slice(&[0, 18, 0, version, 0, 0, 0, 9, 0xff, 0xff]);
    frame.put_slice(body);
    frame
}

#[tokio::test]
async fn fact_80_an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let mut bench = Bench::new().await;
    bench.send_raw(&api_versions(99, &[0])).await;
    let mut answer = bench.receive_raw().await.expect("an answer");
    assert_eq!(answer.get_i32(), 9, "no tags behind it");
    let told = ApiVersionsResponse::decode(&mut answer, 0).expect("version 0");
    assert!(answer.is_empty());
    assert_eq!((told.error_code, told.api_keys.iter().any(|row| row.api_key == 18)), (35, true));
    assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0, "the connection stays");
}

#[tokio::test]
async fn fact_81_the_answer_to_api_versions_has_no_tags_in_its_header() {
    let mut bench = Bench::new().await;
    // Tags of the header, then "me", "1" and the tags of the body.
    bench.send_raw(&api_versions(3, &[0, 3, b'm', b'e', 2, b'1', 0])).await;
    let mut answer = bench.receive_raw().await.expect("an answer");
    assert_eq!(answer.get_i32(), 9);
    assert_eq!(answer.get_i16(), 0, "the error comes at once");
    assert_eq!(usize::from(answer.get_u8()), APIS.len() + 1, "the body is a compact one");
}

#[tokio::test]
async fn fact_84_without_acks_there_is_no_answer_and_an_error_closes() {
    let mut bench = Bench::new().await;
    bench.send(7, &produce("t", 0, batch(b"v")).with_acks(0)).await;
    // The next answer is to the next request.
    bench.ask(0, &ApiVersionsRequest::default()).await;
    assert_eq!(bench.broker.partition("t", 0).expect("there").end_offset(), 1);
    bench.send(7, &produce("absent", 0, batch(b"v")).with_acks(0)).await;
    assert!(bench.receive_raw().await.is_none());
}

#[tokio::test]
async fn fact_85_metadata_of_all_and_of_none_and_of_what_is_not_made() {
    let config = BrokerConfig { auto_create_topics_enable: false, ..BrokerConfig::default() };
    let broker = Broker::builder().config(config).open().expect("opened");
    broker.create_topic(&NewTopic::new("t").partitions(1)).expect("made");
    let mut bench = Bench::on(broker, ServerConfig::default()).await;
    for version in 1..=*versions::<MetadataRequest>().end() {
        let all = bench.ask(version, &MetadataRequest::default().with_topics(None)).await;
        assert!(all.topics.iter().any(|topic| topic.name == Some(name("t"))), "version {version}");
        assert!(bench.ask(version, &MetadataRequest::default().with_topics(Some(Vec::new()))).await.topics.is_empty());
        let absent = vec![MetadataRequestTopic::default().with_name(Some(name("absent")))];
        let told = bench.ask(version, &MetadataRequest::default().with_topics(Some(absent))).await;
        assert_eq!((told.topics[0].error_code, bench.broker.topic("absent")), (3, None), "version {version}");
    }
}

#[tokio::test]
async fn fact_87_fetch_sessions_are_declined_and_clients_go_on_without() {
    let mut bench = Bench::new().await;
    bench.ask(3, &produce("t", 0, batch(b"v"))).await;
    for version in 7..=*versions::<FetchRequest>().end() {
        // (session, epoch): none, and a new one. Both get everything, and session 0.
        for (session, epoch) in [(0, -1), (0, 0)] {
            let request = fetch("t", 0, 0).with_session_id(session).with_session_epoch(epoch);
            let answer = bench.ask(version, &request).await;
            assert_eq!((answer.error_code, answer.session_id, answer.responses.len()), (0, 0, 1), "version {version}");
        }
        let unknown = bench.ask(version, &fetch("t", 0, 0).with_session_id(7).with_session_epoch(1)).await;
        assert_eq!((unknown.error_code, unknown.responses.len()), (70, 0));
    }
}

#[tokio::test]
async fn fact_88_topics_that_cannot_be_made() {
    let mut bench = Bench::new().await;
    let topic = |called, partitions, factor| {
        CreatableTopic::default().with_name(name(called)).with_num_partitions(partitions).with_replication_factor(factor)
    };
    let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("soon")));
    for version in versions::<CreateTopicsRequest>() {
        let wanted = vec![
            topic("t", 1, 1),
            topic("a/b", 1, 1),
            topic("none", 0, 1),
            topic("copies", 1, 2),
            topic("config", 1, 1).with_configs(vec![config.clone()]),
        ];
        let told = bench.ask(version, &CreateTopicsRequest::default().with_topics(wanted)).await;
        let codes: Vec<_> = told.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [36, 17, 37, 38, 40], "version {version}");
        let only = CreateTopicsRequest::default().with_topics(vec![topic("new", 1, 1)]).with_validate_only(true);
        assert_eq!((bench.ask(version, &only).await.topics[0].error_code, bench.broker.topic("new")), (0, None));
    }
}

#[tokio::test]
async fn fact_90_a_topic_grows_and_keeps_what_it_has() {
    let mut bench = Bench::new().await;
    bench.ask(3, &produce("t", 1, batch(b"v"))).await;
    let grow = |count| {
        let topic = CreatePartitionsTopic::default().with_name(name("t")).with_count(count).with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![topic])
    };
    for (count, error) in [(1, 37), (2, 37), (3, 0)] {
        assert_eq!(bench.ask(0, &grow(count)).await.results[0].error_code, error, "{count} partitions");
    }
    assert_eq!(bench.broker.partition("t", 1).expect("there").end_offset(), 1);
    let asked = vec![MetadataRequestTopic::default().with_name(Some(name("t")))];
    let told = bench.ask(4, &MetadataRequest::default().with_topics(Some(asked))).await;
    assert_eq!(told.topics[0].partitions.len(), 3);
}

#[test]
fn fact_93_no_telemetry_is_offered() {
    assert!(APIS.iter().all(|api| !matches!(api.key, 71 | 72)));
}

#[tokio::test]
async fn fact_94_who_asks_for_rights_is_told_that_there_are_none() {
    let mut bench = Bench::new().await;
    for version in versions::<DescribeAclsRequest>() {
        let told = bench.ask(version, &DescribeAclsRequest::default().with_pattern_type_filter(3)).await;
        assert_eq!((told.error_code, told.error_message.is_some(), told.resources.len()), (54, true, 0), "version {version}");
    }
    assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0, "the connection stays");
}
