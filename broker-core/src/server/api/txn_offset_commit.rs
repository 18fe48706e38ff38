//! TxnOffsetCommit (28), versions 0 to 5: offsets of a group as part of a producer's transaction, each for itself; they count when it is
//! committed.
//!
//! - Which member the offsets come from is told from version 3 on, and then looked at as for OffsetCommit; but a rebalance that goes on
//!   is no matter. Earlier versions say nothing of members, and are taken.
//! - Leaders' epochs (2) are kept.
//! - The transaction must be open and have the group in it: `TRANSACTION_ABORTABLE` (4), `INVALID_TXN_STATE` before. A fenced producer
//!   hears `INVALID_PRODUCER_EPOCH`, in every version.
//! - From version 5 on (KIP-890) the group becomes part of the transaction by this alone, and may be what begins it.

use std::collections::VecDeque;

use kafka_protocol::messages::txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::unreadable;
use crate::coordinator::group::{MemberIdentity, OffsetCommit};
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I16, I32, I64, TEXT, array};

/// From this version on a group becomes part of a transaction by what is stored for it.
const JOINS: i16 = 5;

pub(in crate::server) const SHAPE: &[Field] =
    &[TEXT, TEXT, I64, I16, I32.from(3), TEXT.from(3), TEXT.from(3), array(&[TEXT, array(&[I32, I64, I32.from(2), TEXT])])];

pub(in crate::server) async fn answer(
    client: &Client,
    request: &Request,
    body: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let right = client
        .check(Operation::Write, Resource::TransactionalId(&body.transactional_id))
        .and_then(|()| client.check(Operation::Read, Resource::Group(&body.group_id)));
    if let Err(error) = right {
        return answered(&body, |_| error.code().code());
    }
    let refused = unreadable(client, body.topics.iter().map(|topic| topic.name.as_str()));
    let allowed = body.topics.iter().filter(|topic| !refused.contains_key(topic.name.as_str()));
    let commits = allowed.flat_map(|topic| {
        topic.partitions.iter().map(|partition| OffsetCommit {
            topic: &topic.name,
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.as_deref().unwrap_or_default(),
        })
    });
    let commits: Vec<_> = commits.collect();
    let code = |error: &Error| code(request.version, error);
    let mut codes: VecDeque<i16> = match stored(client, request.version, &body, &commits).await {
        Ok(stored) => stored.iter().map(|one| one.as_ref().map_or_else(code, |()| 0)).collect(),
        Err(error) => commits.iter().map(|_| code(&error)).collect(),
    };
    answered(&body, |topic| refused.get(topic).copied().or_else(|| codes.pop_front()).unwrap_or_default())
}

/// Of nothing nobody hears.
async fn stored(
    client: &Client,
    version: i16,
    body: &TxnOffsetCommitRequest,
    commits: &[OffsetCommit<'_>],
) -> Result<Vec<Result<(), Error>>, Error> {
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let who = MemberIdentity {
        generation: body.generation_id,
        member_id: &body.member_id,
        group_instance_id: body.group_instance_id.as_deref(),
    };
    let producer = (body.producer_id.0, body.producer_epoch);
    let (broker, id, group) = (&client.shared.broker, &body.transactional_id, &body.group_id);
    match version {
        JOINS.. => broker.txn_offset_commit_v2(id, producer, group, who, commits).await,
        _ => broker.txn_offset_commit(id, producer, group, who, commits).await,
    }
}

fn code(version: i16, error: &Error) -> i16 {
    match error.code() {
        ErrorCode::TransactionAbortable if version < 4 => ErrorCode::InvalidTxnState.code(),
        code => code.code(),
    }
}

/// An answer to each partition, in their order: the code for one of this topic.
fn answered(body: &TxnOffsetCommitRequest, mut code: impl FnMut(&str) -> i16) -> TxnOffsetCommitResponse {
    let topics = body.topics.iter().map(|topic| {
        let one =
            |index| TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code(&topic.name));
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).map(one).collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
