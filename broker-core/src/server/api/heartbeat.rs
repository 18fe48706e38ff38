//! Heartbeat (12), versions 0 to 4: a member is alive, and hears of a rebalance. A static member (3) may have been replaced.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::coordinator::group::MemberIdentity;
use crate::error::ErrorCode;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, I32, TEXT, TEXT.from(3)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: HeartbeatRequest) -> HeartbeatResponse {
    if let Err(error) = client.check(Operation::Read, Resource::Group(&body.group_id)) {
        return HeartbeatResponse::default().with_error_code(error.code().code());
    }
    if body.group_id.is_empty() {
        return HeartbeatResponse::default().with_error_code(ErrorCode::InvalidGroupId.code());
    }
    let who = MemberIdentity {
        generation: body.generation_id,
        member_id: &body.member_id,
        group_instance_id: body.group_instance_id.as_deref(),
    };
    match client.shared.broker.heartbeat(&body.group_id, who) {
        Ok(()) => HeartbeatResponse::default(),
        Err(error) => HeartbeatResponse::default().with_error_code(error.code().code()),
    }
}
