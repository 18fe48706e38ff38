//! Who changes very much in one request holds up neither others nor the server's end.

use std::io::ErrorKind;

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, GroupId,
    TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::Bench;
use crate::broker::NewTopic;
use crate::server::ServerConfig;

/// Others are answered before this is. All run on one thread.
async fn lets_others_in<R: Request>(bench: &mut Bench, version: i16, request: &R) {
    let mut other = Bench::on(bench.broker.clone(), ServerConfig::default()).await;
    other.stream = tokio::net::TcpStream::connect(bench.server.address()).await.expect("connected");
    other.ask(0, &ApiVersionsRequest::default()).await;
    let correlation = bench.send(version, request).await;
    for _ in 0..2 {
        other.ask(0, &ApiVersionsRequest::default()).await;
    }
    let told = bench.stream.try_read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(told, Err(ErrorKind::WouldBlock), "API {}: nobody was answered before", R::KEY);
    bench.receive::<R>(version, correlation).await;
}

#[tokio::test]
async fn others_have_their_turn_while_very_much_is_changed() {
    let mut bench = Bench::new().await;
    let name = |number: i32| StrBytes::from_string(format!("one-{number}"));
    let entry = |number| {
        let entity = EntityData::default().with_entity_type("client-id".into()).with_entity_name(Some(name(number)));
        let op = OpData::default().with_key("producer_byte_rate".into()).with_value(1000.0);
        EntryData::default().with_entity(vec![entity]).with_ops(vec![op])
    };
    let quotas = AlterClientQuotasRequest::default().with_entries((0..1000).map(entry).collect());
    lets_others_in(&mut bench, 0, &quotas).await;
    (0..1000).for_each(|number| drop(bench.broker.create_topic(&NewTopic::new(name(number).as_str()))));
    let topics = DeleteTopicsRequest::default().with_topic_names((0..1000).map(|number| TopicName(name(number))).collect());
    lets_others_in(&mut bench, 1, &topics).await;
    let groups = DeleteGroupsRequest::default().with_groups_names((0..100_000).map(|number| GroupId(name(number))).collect());
    lets_others_in(&mut bench, 0, &groups).await;
    let partition = |number| DeleteRecordsPartition::default().with_partition_index(number).with_offset(-1);
    let topic = DeleteRecordsTopic::default().with_name(TopicName("t".into()));
    let records = topic.with_partitions((0..100_000).map(partition).collect());
    lets_others_in(&mut bench, 0, &DeleteRecordsRequest::default().with_topics(vec![records])).await;
}
