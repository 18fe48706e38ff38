//! LeaveGroup (13), versions 0 to 5: members leave; the others rebalance.
//!
//! Version 3 takes several, each answered for itself; an administrator takes static members out by their names alone.

use kafka_protocol::messages::leave_group_request::MemberIdentity as Leaving;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::coordinator::group::MemberIdentity;
use crate::error::{Error, ErrorCode};
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, TEXT, array};

pub(in crate::server) const SHAPE: &[Field] = &[TEXT, TEXT.to(2), array(&[TEXT, TEXT, TEXT.from(5)]).from(3)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: LeaveGroupRequest) -> LeaveGroupResponse {
    if let Err(error) = client.check(Operation::Read, Resource::Group(&body.group_id)) {
        return LeaveGroupResponse::default().with_error_code(error.code().code());
    }
    if body.group_id.is_empty() {
        return LeaveGroupResponse::default().with_error_code(ErrorCode::InvalidGroupId.code());
    }
    let leave = |member_id: &str, group_instance_id: Option<&str>| {
        let who = MemberIdentity { generation: -1, member_id, group_instance_id };
        code(&client.shared.broker.leave_group(&body.group_id, who))
    };
    if request.version < 3 {
        return LeaveGroupResponse::default().with_error_code(leave(&body.member_id, None));
    }
    let one = |member: &Leaving| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(leave(&member.member_id, member.group_instance_id.as_deref()))
    };
    LeaveGroupResponse::default().with_members(body.members.iter().map(one).collect())
}

fn code(left: &Result<(), Error>) -> i16 {
    left.as_ref().map_or_else(|error| error.code().code(), |()| 0)
}
