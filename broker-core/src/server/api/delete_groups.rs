//! DeleteGroups (42), versions 0 to 2: groups without members, and their offsets; each is answered for itself.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use super::one_by_one;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, TEXT, list};

pub(in crate::server) const SHAPE: &[Field] = &[list(&TEXT)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let one = |id: GroupId| {
        let right = client.check(Operation::Delete, Resource::Group(&id));
        let deleted = right.and_then(|()| client.shared.broker.delete_group(&id));
        let code = deleted.map_or_else(|error| error.code().code(), |()| 0);
        DeletableGroupResult::default().with_group_id(id).with_error_code(code)
    };
    DeleteGroupsResponse::default().with_results(one_by_one(body.groups_names.into_iter().map(one)).await)
}
