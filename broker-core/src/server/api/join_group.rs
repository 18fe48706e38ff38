//! JoinGroup (11), versions 0 to 9: a member is in the next generation of a group.
//!
//! - Answered when the generation is there. A client that goes meanwhile takes a member that nobody knows yet along.
//! - A dynamic member without an id (4) is given one, and comes back with it; a static one (5) joins at once.
//! - Version 0 has no rebalance time-out: the session's counts. Protocol types (7) are opaque. Reasons (8) are logged.
//! - Version 9 may tell a static leader to keep the assignment that is there.

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::{kept, millis, optional, text};
use crate::coordinator::group::{JoinGroup, JoinGroupReply};
use crate::error::ErrorCode;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BYTES, Field, I32, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] =
    &[TEXT, I32, I32.from(1), TEXT, TEXT.from(5), TEXT, array(&[TEXT, BYTES]), TEXT.from(8)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: JoinGroupRequest) -> JoinGroupResponse {
    if let Err(error) = client.check(Operation::Read, Resource::Group(&body.group_id)) {
        return refused(error.code(), body.member_id, request.version);
    }
    let version = request.version;
    if let Some(reason) = &body.reason {
        let (group, member, reason) = (body.group_id.as_str(), body.member_id.as_str(), reason.as_str());
        tracing::debug!(target: "broker_core::server", group, member, reason, "a member joins");
    }
    let session_timeout_ms = millis(body.session_timeout_ms);
    let join = JoinGroup {
        group: body.group_id.to_string(),
        member_id: body.member_id.to_string(),
        group_instance_id: optional(body.group_instance_id.as_ref()),
        client_id: request.client(),
        client_host: client.host(),
        session_timeout_ms,
        rebalance_timeout_ms: if version == 0 { session_timeout_ms } else { millis(body.rebalance_timeout_ms) },
        protocol_type: body.protocol_type.to_string(),
        protocols: body.protocols.into_iter().map(|protocol| (protocol.name.to_string(), kept(protocol.metadata))).collect(),
        skips_assignment: version >= 9,
    };
    let broker = &client.shared.broker;
    if version >= 4 && join.member_id.is_empty() && join.group_instance_id.is_none() {
        return match broker.reserve_member_id(&join) {
            Ok(member_id) => refused(ErrorCode::MemberIdRequired, text(member_id), version),
            Err(error) => refused(error.code(), StrBytes::default(), version),
        };
    }
    match broker.join_group(join).await {
        Ok(reply) => joined(reply, version),
        Err(error) => refused(error.code(), body.member_id, version),
    }
}

fn joined(reply: JoinGroupReply, version: i16) -> JoinGroupResponse {
    let member = |member: crate::coordinator::group::JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member_id))
            .with_group_instance_id(member.group_instance_id.map(text))
            .with_metadata(member.metadata)
    };
    JoinGroupResponse::default()
        .with_generation_id(reply.generation)
        .with_protocol_type((version >= 7).then(|| text(reply.protocol_type)))
        .with_protocol_name(Some(text(reply.protocol)))
        .with_leader(text(reply.leader))
        .with_skip_assignment(reply.skip_assignment)
        .with_member_id(text(reply.member_id))
        .with_members(reply.members.into_iter().map(member).collect())
}

fn refused(code: ErrorCode, member_id: StrBytes, version: i16) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(code.code())
        .with_generation_id(-1)
        .with_protocol_name(if version >= 7 { None } else { Some(StrBytes::default()) })
        .with_member_id(member_id)
}
