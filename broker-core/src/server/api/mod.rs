//! One file an API: decode, ask the broker, encode. What an API does stands at the top of its file; which versions are served
//! stands in `dispatch`.

pub(super) mod add_offsets_to_txn;
pub(super) mod add_partitions_to_txn;
pub(super) mod alter_client_quotas;
pub(super) mod alter_configs;
pub(super) mod alter_partition_reassignments;
pub(super) mod alter_user_scram_credentials;
pub(super) mod api_versions;
pub(super) mod create_acls;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_acls;
pub(super) mod delete_groups;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod describe_acls;
pub(super) mod describe_client_quotas;
pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod describe_groups;
pub(super) mod describe_log_dirs;
pub(super) mod describe_producers;
pub(super) mod describe_topic_partitions;
pub(super) mod describe_transactions;
pub(super) mod describe_user_scram_credentials;
pub(super) mod elect_leaders;
pub(super) mod end_txn;
pub(super) mod fetch;
pub(super) mod find_coordinator;
pub(super) mod heartbeat;
pub(super) mod incremental_alter_configs;
pub(super) mod init_producer_id;
pub(super) mod join_group;
pub(super) mod leave_group;
pub(super) mod list_groups;
pub(super) mod list_offsets;
pub(super) mod list_partition_reassignments;
pub(super) mod list_transactions;
pub(super) mod metadata;
pub(super) mod offset_commit;
pub(super) mod offset_delete;
pub(super) mod offset_fetch;
pub(super) mod offset_for_leader_epoch;
pub(super) mod produce;
pub(super) mod sasl_authenticate;
pub(super) mod sasl_handshake;
pub(super) mod sync_group;
pub(super) mod txn_offset_commit;
pub(super) mod write_txn_markers;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use bytes::Bytes;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;
use tokio::task::coop::consume_budget;
use uuid::Uuid;

use super::connection::Client;
use super::rights::Resource;
use crate::broker::TopicDescription;
use crate::error::{Error, ErrorCode};
use crate::id::TopicId;
use crate::security::Operation;

/// The one epoch that a leader has here: there is one broker, and it leads.
const LEADER_EPOCH: i32 = 0;

/// What has settings, by Kafka's numbers: these two here.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(value: impl Display) -> StrBytes {
    StrBytes::from_string(value.to_string())
}

/// A topic's id on the wire.
fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.bytes())
}

/// The topic of an id.
fn topic_by_id(client: &Client, id: Uuid) -> Result<TopicDescription, Error> {
    let id = TopicId::from_bytes(*id.as_bytes());
    let found = client.shared.broker.topic_by_id(id);
    found.ok_or_else(|| Error::new(ErrorCode::UnknownTopicId, format!("there is no topic of id {id}")))
}

/// A time-out on the wire, where less than none is none.
fn millis(value: i32) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn optional(value: Option<&StrBytes>) -> Option<String> {
    value.map(StrBytes::to_string)
}

/// Bytes that outlive their request: a slice would keep all that was read with it.
fn kept(bytes: Bytes) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

/// Each thing once, where it stands first: a request that names one thing a hundred thousand times must not be told all about it
/// as often.
fn distinct<T, K: Ord>(mut things: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = BTreeSet::new();
    things.retain(|thing| seen.insert(key(thing)));
    things
}

/// The same, but what is asked of a thing in several places is asked of it as a whole, where it stands first.
fn merged<T, K: Ord>(things: Vec<T>, key: impl Fn(&T) -> K, mut merge: impl FnMut(&mut T, T)) -> Vec<T> {
    let (mut places, mut all) = (BTreeMap::new(), Vec::<T>::new());
    for thing in things {
        match places.entry(key(&thing)) {
            Entry::Occupied(place) => merge(&mut all[*place.get()], thing),
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(thing);
            }
        }
    }
    all
}

/// All of them, one after the other; others have their turn in between, for each may wait for the disk, and there may be very many.
async fn one_by_one<T>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut done = Vec::new();
    for one in all {
        done.push(one);
        consume_budget().await;
    }
    done
}

/// Those of some topics whose offsets a client may not store, with the error's number.
fn unreadable<'a>(client: &Client, topics: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, i16> {
    let refusal = |topic| client.check(Operation::Read, Resource::Topic(topic)).err().map(|error| error.code().code());
    topics.filter_map(|topic| Some((topic, refusal(topic)?))).collect()
}

/// Whether a client's idea of the leader's epoch is not ahead of the leader; -1 is no idea.
fn check_epoch(epoch: i32) -> Result<(), Error> {
    if epoch > LEADER_EPOCH {
        let text = format!("leader epoch {epoch} is not known here: it is {LEADER_EPOCH}");
        return Err(Error::new(ErrorCode::UnknownLeaderEpoch, text));
    }
    Ok(())
}

/// An error's number; of a producer that is fenced the one that versions before `knows` use.
fn fenced_before(knows: i16, version: i16, error: &Error) -> i16 {
    match error.code() {
        ErrorCode::ProducerFenced if version < knows => ErrorCode::InvalidProducerEpoch.code(),
        code => code.code(),
    }
}

/// Partitions that one request may make, as in Kafka.
const PARTITIONS_A_REQUEST: i64 = 10_000;

/// Whether one request may make that many partitions.
fn check_partitions(wanted: i64) -> Result<(), Error> {
    if wanted > PARTITIONS_A_REQUEST {
        let text = format!("{wanted} new partitions in one request: {PARTITIONS_A_REQUEST} at most");
        return Err(Error::new(ErrorCode::PolicyViolation, text));
    }
    Ok(())
}

/// A partition's replicas, as an administrator wants them: this broker, and no other.
fn check_replicas(client: &Client, topic: &str, replicas: &[BrokerId]) -> Result<(), Error> {
    let node = client.shared.config.node_id;
    if replicas.len() == 1 && replicas[0].0 == node {
        return Ok(());
    }
    let wanted: Vec<i32> = replicas.iter().map(|replica| replica.0).collect();
    let text = format!("topic '{topic}': replicas on {wanted:?}, but the one broker is {node}");
    Err(Error::new(ErrorCode::InvalidReplicaAssignment, text))
}

/// Whether the client may do this to the settings of something.
fn check_right(client: &Client, operation: Operation, kind: i8, name: &str) -> Result<(), Error> {
    match kind {
        TOPIC => client.check(operation, Resource::Topic(name)),
        _ => client.check(operation, Resource::Cluster),
    }
}

fn refuse_resource(kind: i8) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!("resources of type {kind} have no settings here: topics (2) and brokers (4) have"),
    )
}

/// What stands more than once among these.
fn repeated(all: impl Iterator<Item = (i8, StrBytes)>) -> BTreeSet<(i8, StrBytes)> {
    let mut seen = BTreeSet::new();
    all.filter(|one| !seen.insert(one.clone())).collect()
}

/// Whether the settings of something can be changed at all; `repeated` is what the request names more than once.
fn check_alterable(repeated: &BTreeSet<(i8, StrBytes)>, kind: i8, name: &StrBytes) -> Result<(), Error> {
    if repeated.contains(&(kind, name.clone())) {
        return Err(Error::new(ErrorCode::InvalidRequest, format!("'{name}' stands more than once in one request")));
    }
    match kind {
        TOPIC if name.is_empty() => Err(Error::new(ErrorCode::InvalidRequest, "there are no settings of all topics")),
        TOPIC => Ok(()),
        BROKER => {
            let text = format!("broker '{name}': its settings are those that it was started with");
            Err(Error::new(ErrorCode::InvalidRequest, text))
        }
        other => Err(refuse_resource(other)),
    }
}
