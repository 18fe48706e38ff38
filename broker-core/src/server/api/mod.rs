//! One file an API: decode, ask the broker, encode. What an API does stands at the top of its file; which versions are served
//! stands in `dispatch`.

pub(super) mod api_versions;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_topics;
pub(super) mod describe_cluster;
pub(super) mod fetch;
pub(super) mod find_coordinator;
pub(super) mod list_offsets;
pub(super) mod metadata;
pub(super) mod offset_for_leader_epoch;
pub(super) mod produce;

use std::fmt::Display;

use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use super::connection::Client;
use crate::error::{Error, ErrorCode};

/// The one epoch that a leader has here: there is one broker, and it leads.
const LEADER_EPOCH: i32 = 0;

fn text(value: impl Display) -> StrBytes {
    StrBytes::from_string(value.to_string())
}

/// Whether a client's idea of the leader's epoch is not ahead of the leader; -1 is no idea.
fn check_epoch(epoch: i32) -> Result<(), Error> {
    if epoch > LEADER_EPOCH {
        let text = format!("leader epoch {epoch} is not known here: it is {LEADER_EPOCH}");
        return Err(Error::new(ErrorCode::UnknownLeaderEpoch, text));
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
