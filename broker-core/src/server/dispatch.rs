//! Which APIs are served, in which versions: one table, sorted by key.

use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::time::timeout;

use super::api;
use super::connection::{Client, PATIENCE};
use super::header::{Request, answer_has_tags};
use super::memory::{self, Share};
use super::outgoing::Answer;
use super::shape::{self, Field};

/// An API that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// Its number on the wire.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest version that clients are told of.
    pub min: i16,
    /// The highest.
    pub max: i16,
    /// The lowest version that is read. Where it is over `min`, clients switch something off when they are told the truth, and
    /// none of them sends what is between: the connection is closed.
    pub read_min: i16,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Done {
    Answer(Answer),
    /// The client wants no answer.
    Silent,
    /// The answer is the last one; then the connection is closed, for this reason.
    Last(Answer, String),
    /// The connection is closed, for this reason.
    Close(String),
}

/// An answer's body.
pub(super) trait Body {
    /// Writes it; an error if something in it does not exist in this version.
    fn put(self, version: i16, answer: &mut Answer) -> Result<(), String>;
}

impl<T: Encodable> Body for T {
    fn put(self, version: i16, answer: &mut Answer) -> Result<(), String> {
        self.encode(answer.buffer(), version).map_err(|error| error.to_string())
    }
}

macro_rules! apis {
    ($($key:literal $name:ident $min:literal..=$max:literal, read from $read_min:literal, $module:ident as $request:ident;)*) => {
        /// All APIs that are served, by key.
        pub const APIS: &[Api] = &[
            $(Api { key: $key, name: stringify!($name), min: $min, max: $max, read_min: $read_min },)*
        ];

        async fn served(client: &Client, request: Request) -> Done {
            match request.key {
                $($key => {
                    let body = match kafka::$request::decode(&mut request.body.clone(), request.version) {
                        Ok(body) => body,
                        Err(error) => return Done::Close(format!("{} {}: {error}", stringify!($name), request.version)),
                    };
                    api::$module::answer(client, &request, body).await.into_done(&request)
                })*
                key => Done::Close(format!("API {key} is not served")),
            }
        }

        /// The shape of an API's request.
        pub(super) fn shape_of(key: i16) -> Option<&'static [Field]> {
            match key {
                $($key => Some(api::$module::SHAPE),)*
                _ => None,
            }
        }

        #[cfg(test)]
        mod requests {
            use super::*;

            #[test]
            fn keys_and_versions_are_the_librarys() {
                use kafka_protocol::protocol::{Message, Request as KafkaRequest};
                $(
                    assert_eq!($key, <kafka::$request as KafkaRequest>::KEY);
                    let known = <kafka::$request as Message>::VERSIONS;
                    assert!($read_min >= known.min && $max <= known.max, "{}: {known}", stringify!($name));
                )*
            }
        }
    };
}

apis! {
    0 Produce 0..=12, read from 3, produce as ProduceRequest;
    1 Fetch 4..=12, read from 4, fetch as FetchRequest;
    2 ListOffsets 0..=10, read from 1, list_offsets as ListOffsetsRequest;
    3 Metadata 0..=12, read from 0, metadata as MetadataRequest;
    8 OffsetCommit 2..=8, read from 2, offset_commit as OffsetCommitRequest;
    9 OffsetFetch 1..=8, read from 1, offset_fetch as OffsetFetchRequest;
    10 FindCoordinator 0..=5, read from 0, find_coordinator as FindCoordinatorRequest;
    11 JoinGroup 0..=9, read from 0, join_group as JoinGroupRequest;
    12 Heartbeat 0..=4, read from 0, heartbeat as HeartbeatRequest;
    13 LeaveGroup 0..=5, read from 0, leave_group as LeaveGroupRequest;
    14 SyncGroup 0..=5, read from 0, sync_group as SyncGroupRequest;
    15 DescribeGroups 0..=6, read from 0, describe_groups as DescribeGroupsRequest;
    16 ListGroups 0..=5, read from 0, list_groups as ListGroupsRequest;
    17 SaslHandshake 0..=1, read from 0, sasl_handshake as SaslHandshakeRequest;
    18 ApiVersions 0..=4, read from 0, api_versions as ApiVersionsRequest;
    19 CreateTopics 2..=7, read from 2, create_topics as CreateTopicsRequest;
    20 DeleteTopics 1..=6, read from 1, delete_topics as DeleteTopicsRequest;
    21 DeleteRecords 0..=2, read from 0, delete_records as DeleteRecordsRequest;
    22 InitProducerId 0..=5, read from 0, init_producer_id as InitProducerIdRequest;
    23 OffsetForLeaderEpoch 2..=4, read from 2, offset_for_leader_epoch as OffsetForLeaderEpochRequest;
    24 AddPartitionsToTxn 0..=3, read from 0, add_partitions_to_txn as AddPartitionsToTxnRequest;
    25 AddOffsetsToTxn 0..=4, read from 0, add_offsets_to_txn as AddOffsetsToTxnRequest;
    26 EndTxn 0..=5, read from 0, end_txn as EndTxnRequest;
    27 WriteTxnMarkers 1..=1, read from 1, write_txn_markers as WriteTxnMarkersRequest;
    28 TxnOffsetCommit 0..=5, read from 0, txn_offset_commit as TxnOffsetCommitRequest;
    29 DescribeAcls 1..=3, read from 1, describe_acls as DescribeAclsRequest;
    30 CreateAcls 1..=3, read from 1, create_acls as CreateAclsRequest;
    31 DeleteAcls 1..=3, read from 1, delete_acls as DeleteAclsRequest;
    32 DescribeConfigs 1..=4, read from 1, describe_configs as DescribeConfigsRequest;
    33 AlterConfigs 0..=2, read from 0, alter_configs as AlterConfigsRequest;
    35 DescribeLogDirs 1..=4, read from 1, describe_log_dirs as DescribeLogDirsRequest;
    36 SaslAuthenticate 0..=2, read from 0, sasl_authenticate as SaslAuthenticateRequest;
    37 CreatePartitions 0..=3, read from 0, create_partitions as CreatePartitionsRequest;
    42 DeleteGroups 0..=2, read from 0, delete_groups as DeleteGroupsRequest;
    43 ElectLeaders 0..=2, read from 0, elect_leaders as ElectLeadersRequest;
    44 IncrementalAlterConfigs 0..=1, read from 0, incremental_alter_configs as IncrementalAlterConfigsRequest;
    45 AlterPartitionReassignments 0..=0, read from 0, alter_partition_reassignments as AlterPartitionReassignmentsRequest;
    46 ListPartitionReassignments 0..=0, read from 0, list_partition_reassignments as ListPartitionReassignmentsRequest;
    47 OffsetDelete 0..=0, read from 0, offset_delete as OffsetDeleteRequest;
    48 DescribeClientQuotas 0..=1, read from 0, describe_client_quotas as DescribeClientQuotasRequest;
    49 AlterClientQuotas 0..=1, read from 0, alter_client_quotas as AlterClientQuotasRequest;
    50 DescribeUserScramCredentials 0..=0, read from 0, describe_user_scram_credentials as DescribeUserScramCredentialsRequest;
    51 AlterUserScramCredentials 0..=0, read from 0, alter_user_scram_credentials as AlterUserScramCredentialsRequest;
    60 DescribeCluster 0..=1, read from 0, describe_cluster as DescribeClusterRequest;
    61 DescribeProducers 0..=0, read from 0, describe_producers as DescribeProducersRequest;
    65 DescribeTransactions 0..=0, read from 0, describe_transactions as DescribeTransactionsRequest;
    66 ListTransactions 0..=1, read from 0, list_transactions as ListTransactionsRequest;
    75 DescribeTopicPartitions 0..=0, read from 0, describe_topic_partitions as DescribeTopicPartitionsRequest;
}

/// Finds an API by its key.
pub(super) fn api(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key).ok().map(|index| &APIS[index])
}

/// Answers a request.
pub(super) async fn answer(client: &Client, request: Request) -> Done {
    match api(request.key) {
        None => Done::Close(format!("API {} is not served", request.key)),
        // Nothing is served to who has not said who it is, but what is needed to say it.
        Some(api) if let Some(why) = client.may_not_ask(api.key) => Done::Close(format!("{} {why}", api.name)),
        Some(api) if (api.read_min..=api.max).contains(&request.version) => match room(client, &request).await {
            Ok(_held) => served(client, request).await,
            Err(error) => Done::Close(format!("{} {}: {error}", api.name, request.version)),
        },
        // The one API whose unknown versions are answered: clients find the version to use in the answer.
        Some(api) if api.key == 18 => api::api_versions::unsupported().into_done(&Request { version: 0, ..request }),
        Some(api) => Done::Close(format!("{} {}: the versions are {} to {}", api.name, request.version, api.read_min, api.max)),
    }
}

/// Whether a request is of its shape; and room for what it is read into, once there is some.
async fn room(client: &Client, request: &Request) -> Result<Option<Share>, String> {
    let shape = shape_of(request.key).unwrap_or_default();
    let elements = shape::elements(shape, request.version, request.is_flexible(), &request.body);
    let Some(bytes) = memory::counted(elements.map_err(|error| error.to_string())?) else { return Ok(None) };
    let mut share = Share::new(client.shared.elements.clone());
    match timeout(PATIENCE, share.set_when_free(bytes)).await {
        Ok(()) => Ok(Some(share)),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(format!("it takes {bytes} bytes to read, and queued.max.request.bytes were short for {seconds} seconds"))
        }
    }
}

/// What an API's file gives back: a body; none; or a reason to close.
pub(super) trait IntoDone {
    fn into_done(self, request: &Request) -> Done;
}

impl<B: Body> IntoDone for B {
    fn into_done(self, request: &Request) -> Done {
        let mut answer = Answer::new(request.correlation, answer_has_tags(request.key, request.version));
        match self.put(request.version, &mut answer) {
            Ok(()) => Done::Answer(answer),
            Err(error) => Done::Close(format!("API {} {}: the answer: {error}", request.key, request.version)),
        }
    }
}

/// For APIs that may want no answer, or be refused by closing.
#[derive(Debug)]
pub(super) enum Maybe<B> {
    Body(B),
    /// After it the connection is closed, for this reason.
    Last(B, String),
    Silent,
    Close(String),
}

impl<B: Body> IntoDone for Maybe<B> {
    fn into_done(self, request: &Request) -> Done {
        match self {
            Self::Body(body) => body.into_done(request),
            Self::Last(body, cause) => match body.into_done(request) {
                Done::Answer(answer) => Done::Last(answer, cause),
                other => other,
            },
            Self::Silent => Done::Silent,
            Self::Close(cause) => Done::Close(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_ranges_are_ranges() {
        assert!(APIS.is_sorted_by(|a, b| a.key < b.key));
        for api in APIS {
            assert!(api.min <= api.read_min && api.read_min <= api.max, "{api:?}");
        }
    }
}
