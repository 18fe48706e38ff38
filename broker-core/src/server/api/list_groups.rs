//! ListGroups (16), versions 0 to 5: all groups, or (4) those in some states, or (5) of some types. All are `classic`.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::coordinator::group::GroupListing;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{Field, TEXT, list};

pub(in crate::server) const SHAPE: &[Field] = &[list(&TEXT).from(4), list(&TEXT).from(5)];

const CLASSIC: &str = "classic";

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: ListGroupsRequest) -> ListGroupsResponse {
    let version = request.version;
    let one = |group: GroupListing| {
        let mut listed =
            ListedGroup::default().with_group_id(GroupId(text(group.group))).with_protocol_type(text(group.protocol_type));
        if version >= 4 {
            listed = listed.with_group_state(text(group.state.name()));
        }
        if version >= 5 {
            listed = listed.with_group_type(text(CLASSIC));
        }
        listed
    };
    let groups = client.shared.broker.list_groups().into_iter();
    let wanted = groups.filter(|group| allows(&body.states_filter, group.state.name()) && allows(&body.types_filter, CLASSIC));
    ListGroupsResponse::default().with_groups(wanted.map(one).collect())
}

/// No filter lets all through.
fn allows(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|allowed| allowed.eq_ignore_ascii_case(value))
}
