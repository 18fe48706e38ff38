//! Asks each API for something that needs a right; what its answer's error is.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData};
use kafka_protocol::messages::alter_configs_request as replace;
use kafka_protocol::messages::alter_partition_reassignments_request as reassign;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request as stored;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::super::records::{batch, fetch, produce};
use super::super::{Bench, name};

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

fn group() -> GroupId {
    GroupId(text("g"))
}

/// The error of an API's answer, asked about topic `t` or `new`, group `g` or the cluster; `None` for one that nobody here knows.
pub(super) async fn error(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    for found in [records(bench, key, version).await, topics(bench, key, version).await] {
        if found.is_some() {
            return found;
        }
    }
    for found in [groups(bench, key, version).await, offsets(bench, key, version).await] {
        if found.is_some() {
            return found;
        }
    }
    for found in [configs(bench, key, version).await, transactions(bench, key, version).await] {
        if found.is_some() {
            return found;
        }
    }
    cluster(bench, key, version).await
}

async fn transactions(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    let (id, producer) = (TransactionalId(text("x")), ProducerId(7));
    Some(match key {
        24 => {
            let topic = AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(vec![0]);
            let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(id);
            let request = request.with_v3_and_below_producer_id(producer).with_v3_and_below_topics(vec![topic]);
            let answer = bench.ask(version, &request).await;
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        }
        25 => {
            let request = AddOffsetsToTxnRequest::default().with_transactional_id(id).with_producer_id(producer);
            bench.ask(version, &request.with_group_id(group())).await.error_code
        }
        26 => {
            let request = EndTxnRequest::default().with_transactional_id(id).with_producer_id(producer);
            bench.ask(version, &request).await.error_code
        }
        27 => {
            let topic = WritableTxnMarkerTopic::default().with_name(name("t")).with_partition_indexes(vec![0]);
            let marker = WritableTxnMarker::default().with_producer_id(producer).with_topics(vec![topic]);
            let answer = bench.ask(version, &WriteTxnMarkersRequest::default().with_markers(vec![marker])).await;
            answer.markers[0].topics[0].partitions[0].error_code
        }
        28 => {
            let topic = TxnOffsetCommitRequestTopic::default().with_name(name("t"));
            let topic = topic.with_partitions(vec![TxnOffsetCommitRequestPartition::default()]);
            let request = TxnOffsetCommitRequest::default().with_transactional_id(id).with_group_id(group());
            bench.ask(version, &request.with_topics(vec![topic])).await.topics[0].partitions[0].error_code
        }
        65 => {
            let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id]);
            bench.ask(version, &request).await.transaction_states[0].error_code
        }
        66 => {
            bench.broker.init_transactional_producer("x", 1000, None).await.expect("given");
            let request = ListTransactionsRequest::default().with_duration_filter(-1);
            // What one may not see is not listed, and no error either.
            if bench.ask(version, &request).await.transaction_states.is_empty() { 53 } else { 0 }
        }
        _ => return None,
    })
}

async fn records(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    Some(match key {
        0 => bench.ask(version, &produce("t", 0, batch(b"v"))).await.responses[0].partition_responses[0].error_code,
        1 => bench.ask(version, &fetch("t", 0, 0)).await.responses[0].partitions[0].error_code,
        2 => {
            let partition = ListOffsetsPartition::default().with_timestamp(-1);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            bench.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await.topics[0].partitions[0].error_code
        }
        21 => {
            let partition = DeleteRecordsPartition::default().with_offset(-1);
            let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
            bench.ask(version, &request).await.topics[0].partitions[0].error_code
        }
        22 => bench.ask(version, &InitProducerIdRequest::default().with_transactional_id(None)).await.error_code,
        23 => {
            let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1);
            let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            bench.ask(version, &request).await.topics[0].partitions[0].error_code
        }
        61 => {
            let topic = describe_producers_request::TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0]);
            let request = DescribeProducersRequest::default().with_topics(vec![topic]);
            bench.ask(version, &request).await.topics[0].partitions[0].error_code
        }
        _ => return None,
    })
}

async fn topics(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    Some(match key {
        3 => {
            let asked = MetadataRequestTopic::default().with_name(Some(name("t")));
            bench.ask(version, &MetadataRequest::default().with_topics(Some(vec![asked]))).await.topics[0].error_code
        }
        19 => {
            let new = CreatableTopic::default().with_name(name("new")).with_num_partitions(1).with_replication_factor(1);
            bench.ask(version, &CreateTopicsRequest::default().with_topics(vec![new])).await.topics[0].error_code
        }
        20 => {
            let request = match version {
                6 => DeleteTopicsRequest::default().with_topics(vec![DeleteTopicState::default().with_name(Some(name("t")))]),
                _ => DeleteTopicsRequest::default().with_topic_names(vec![name("t")]),
            };
            bench.ask(version, &request.with_timeout_ms(5000)).await.responses[0].error_code
        }
        37 => {
            let more = CreatePartitionsTopic::default().with_name(name("t")).with_count(3).with_assignments(None);
            bench.ask(version, &CreatePartitionsRequest::default().with_topics(vec![more]).with_timeout_ms(5000)).await.results[0]
                .error_code
        }
        75 => {
            let asked = describe_topic_partitions_request::TopicRequest::default().with_name(name("t"));
            let request = DescribeTopicPartitionsRequest::default().with_topics(vec![asked]).with_cursor(None);
            bench.ask(version, &request).await.topics[0].error_code
        }
        _ => return None,
    })
}

async fn groups(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    Some(match key {
        10 if version >= 4 => {
            let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
            bench.ask(version, &request).await.coordinators[0].error_code
        }
        10 => bench.ask(version, &FindCoordinatorRequest::default().with_key(text("g"))).await.error_code,
        11 => {
            let protocol = JoinGroupRequestProtocol::default().with_name(text("p"));
            let request = JoinGroupRequest::default().with_group_id(group()).with_session_timeout_ms(6000);
            let request = request.with_rebalance_timeout_ms(if version == 0 { -1 } else { 6000 });
            let request = request.with_protocol_type(text("consumer")).with_protocols(vec![protocol]);
            bench.ask(version, &request).await.error_code
        }
        12 => bench.ask(version, &HeartbeatRequest::default().with_group_id(group())).await.error_code,
        13 if version >= 3 => {
            let nobody = leave_group_request::MemberIdentity::default().with_member_id(text("nobody"));
            let request = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![nobody]);
            let answer = bench.ask(version, &request).await;
            answer.members.first().map_or(answer.error_code, |member| member.error_code)
        }
        13 => bench.ask(version, &LeaveGroupRequest::default().with_group_id(group())).await.error_code,
        14 => {
            let request = SyncGroupRequest::default().with_group_id(group());
            let request = request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("p")));
            bench.ask(version, &request).await.error_code
        }
        15 => bench.ask(version, &DescribeGroupsRequest::default().with_groups(vec![group()])).await.groups[0].error_code,
        // What one may not see is not listed, and no error either.
        16 if bench.ask(version, &ListGroupsRequest::default()).await.groups.is_empty() => 30,
        16 => 0,
        42 => bench.ask(version, &DeleteGroupsRequest::default().with_groups_names(vec![group()])).await.results[0].error_code,
        _ => return None,
    })
}

async fn offsets(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    Some(match key {
        8 => {
            let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
            let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![topic]);
            bench.ask(version, &request).await.topics[0].partitions[0].error_code
        }
        9 if version >= 8 => {
            let topic = stored::OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
            let asked = stored::OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
            let answer = bench.ask(version, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
            let found = &answer.groups[0];
            if found.error_code == 0 { found.topics[0].partitions[0].error_code } else { found.error_code }
        }
        9 => {
            let topic = stored::OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0]);
            let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
            let answer = bench.ask(version, &request).await;
            if answer.error_code == 0 { answer.topics[0].partitions[0].error_code } else { answer.error_code }
        }
        47 => {
            let partition = OffsetDeleteRequestPartition::default();
            let topic = OffsetDeleteRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]);
            let answer = bench.ask(version, &request).await;
            if answer.error_code == 0 { answer.topics[0].partitions[0].error_code } else { answer.error_code }
        }
        _ => return None,
    })
}

async fn configs(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    let (kind, called) = (2, text("t"));
    Some(match key {
        32 => {
            let resource = DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(called);
            let request = DescribeConfigsRequest::default().with_resources(vec![resource.with_configuration_keys(None)]);
            bench.ask(version, &request).await.results[0].error_code
        }
        33 => {
            let resource = replace::AlterConfigsResource::default().with_resource_type(kind).with_resource_name(called);
            bench.ask(version, &AlterConfigsRequest::default().with_resources(vec![resource])).await.responses[0].error_code
        }
        44 => {
            let resource = incremental::AlterConfigsResource::default().with_resource_type(kind).with_resource_name(called);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            bench.ask(version, &request).await.responses[0].error_code
        }
        48 => bench.ask(version, &DescribeClientQuotasRequest::default()).await.error_code,
        49 => {
            let user = EntityData::default().with_entity_type(text("user")).with_entity_name(Some(text("ann")));
            let entry = EntryData::default().with_entity(vec![user]);
            bench.ask(version, &AlterClientQuotasRequest::default().with_entries(vec![entry])).await.entries[0].error_code
        }
        _ => return None,
    })
}

async fn cluster(bench: &mut Bench, key: i16, version: i16) -> Option<i16> {
    Some(match key {
        29 => {
            let all = DescribeAclsRequest::default().with_resource_type_filter(1).with_pattern_type_filter(1);
            let all = all.with_resource_name_filter(None).with_principal_filter(None).with_host_filter(None);
            bench.ask(version, &all.with_operation(1).with_permission_type(1)).await.error_code
        }
        30 => {
            let new = AclCreation::default().with_resource_type(2).with_resource_name(text("u")).with_resource_pattern_type(3);
            let new = new.with_principal(text("User:bob")).with_host(text("*")).with_operation(3).with_permission_type(3);
            bench.ask(version, &CreateAclsRequest::default().with_creations(vec![new])).await.results[0].error_code
        }
        31 => {
            let bobs = DeleteAclsFilter::default().with_resource_type_filter(1).with_pattern_type_filter(1);
            let bobs = bobs.with_resource_name_filter(None).with_principal_filter(Some(text("User:bob"))).with_host_filter(None);
            let request = DeleteAclsRequest::default().with_filters(vec![bobs.with_operation(1).with_permission_type(1)]);
            bench.ask(version, &request).await.filter_results[0].error_code
        }
        35 => {
            let answer = bench.ask(version, &DescribeLogDirsRequest::default().with_topics(None)).await;
            // Before version 3 there is no place for an error.
            if version < 3 && answer.results.is_empty() { 31 } else { answer.error_code }
        }
        43 => {
            let asked = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0]);
            let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked]));
            let answer = bench.ask(version, &request).await;
            let found = answer.replica_election_results.first().map(|topic| topic.partition_result[0].error_code);
            found.unwrap_or(answer.error_code)
        }
        45 => {
            let partition = reassign::ReassignablePartition::default().with_replicas(Some(vec![BrokerId(0)]));
            let topic = reassign::ReassignableTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            bench.ask(version, &AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])).await.error_code
        }
        46 => bench.ask(version, &ListPartitionReassignmentsRequest::default().with_topics(None)).await.error_code,
        50 => bench.ask(version, &DescribeUserScramCredentialsRequest::default().with_users(None)).await.error_code,
        51 => {
            let gone = ScramCredentialDeletion::default().with_name(text("nobody")).with_mechanism(1);
            let request = AlterUserScramCredentialsRequest::default().with_deletions(vec![gone]);
            bench.ask(version, &request).await.results[0].error_code
        }
        _ => return None,
    })
}
