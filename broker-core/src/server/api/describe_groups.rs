//! DescribeGroups (15), versions 0 to 6: groups and their members.
//!
//! Of a group that rebalances neither the protocol nor what members had before is told, as in Kafka.
//!
//! A group that is not there is `Dead`, and from 6 on an error as well. What one may do to a group (3) is told to who asks for it.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::{distinct, text};
use crate::coordinator::group::{GroupDescription, GroupState, MemberDescription};
use crate::error::ErrorCode;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{BOOL, Field, TEXT, list};

pub(in crate::server) const SHAPE: &[Field] = &[list(&TEXT), BOOL.from(3)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let one = |id: GroupId| {
        if let Err(error) = client.check(Operation::Describe, Resource::Group(&id)) {
            let message = (request.version >= 6).then(|| text(&error));
            let refused = DescribedGroup::default().with_group_id(id).with_error_code(error.code().code());
            return refused.with_error_message(message);
        }
        let mut answer = match client.shared.broker.describe_group(&id) {
            Some(group) => described(group),
            None if request.version >= 6 => {
                let message = text(format!("there is no group '{}'", id.as_str()));
                dead().with_error_code(ErrorCode::GroupIdNotFound.code()).with_error_message(Some(message))
            }
            None => dead(),
        };
        if body.include_authorized_operations && answer.error_code == 0 {
            answer.authorized_operations = client.authorized_operations(Resource::Group(&id));
        }
        answer.with_group_id(id)
    };
    DescribeGroupsResponse::default().with_groups(distinct(body.groups, GroupId::clone).into_iter().map(one).collect())
}

fn dead() -> DescribedGroup {
    DescribedGroup::default().with_group_state(text("Dead"))
}

fn described(mut group: GroupDescription) -> DescribedGroup {
    if group.state != GroupState::Stable {
        group.protocol = None;
        for member in &mut group.members {
            (member.metadata, member.assignment) = Default::default();
        }
    }
    let member = |member: MemberDescription| {
        DescribedGroupMember::default()
            .with_member_id(text(member.member_id))
            .with_group_instance_id(member.group_instance_id.map(text))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    };
    DescribedGroup::default()
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol.unwrap_or_default()))
        .with_members(group.members.into_iter().map(member).collect())
}
