//! SyncGroup (14), versions 0 to 5: the leader brings everybody's assignment, each member gets its own.
//!
//! Answered when the leader has brought it. A static member (3) may have been replaced. Version 5 checks what the member takes
//! the group's protocol for, which it must say, and tells it.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{kept, optional, text};
use crate::coordinator::group::SyncGroup;
use crate::error::ErrorCode;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BYTES, Field, I32, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I32, TEXT, TEXT.from(3), TEXT.from(5), TEXT.from(5), array(&[TEXT, BYTES])];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: SyncGroupRequest) -> SyncGroupResponse {
    if let Err(error) = client.check(Operation::Read, Resource::Group(&body.group_id)) {
        return SyncGroupResponse::default().with_error_code(error.code().code());
    }
    if request.version >= 5 && (body.protocol_type.is_none() || body.protocol_name.is_none()) {
        return SyncGroupResponse::default().with_error_code(ErrorCode::InconsistentGroupProtocol.code());
    }
    if body.group_id.is_empty() {
        return SyncGroupResponse::default().with_error_code(ErrorCode::InvalidGroupId.code());
    }
    let sync = SyncGroup {
        group: body.group_id.to_string(),
        generation: body.generation_id,
        member_id: body.member_id.to_string(),
        group_instance_id: optional(body.group_instance_id.as_ref()),
        protocol_type: optional(body.protocol_type.as_ref()),
        protocol: optional(body.protocol_name.as_ref()),
        assignments: body.assignments.into_iter().map(|one| (one.member_id.to_string(), kept(one.assignment))).collect(),
    };
    match client.shared.broker.sync_group(sync).await {
        Ok(reply) if request.version >= 5 => SyncGroupResponse::default()
            .with_protocol_type(Some(text(reply.protocol_type)))
            .with_protocol_name(Some(text(reply.protocol)))
            .with_assignment(reply.assignment),
        Ok(reply) => SyncGroupResponse::default().with_assignment(reply.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code().code()),
    }
}
