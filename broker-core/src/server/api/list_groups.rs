//! ListGroups (16), versions 0 to 5: all groups, or (4) those in some states, or (5) of some types. All are `classic`.
//!
//! Groups that one may not describe are not listed, unless one may describe the cluster.

use std::collections::BTreeSet;

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::coordinator::group::GroupListing;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
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
    let all = client.may(Operation::Describe, Resource::Cluster);
    let groups = client.shared.broker.list_groups().into_iter();
    let groups = groups.filter(|group| all || client.may(Operation::Describe, Resource::Group(&group.group)));
    let (states, types) = (Filter::new(&body.states_filter), Filter::new(&body.types_filter));
    let wanted = groups.filter(|group| states.allows(group.state.name()) && types.allows(CLASSIC));
    ListGroupsResponse::default().with_groups(wanted.map(one).collect())
}

/// No names let all through; upper and lower case are the same.
struct Filter(BTreeSet<String>);

impl Filter {
    fn new(names: &[StrBytes]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn allows(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.contains(&name.to_ascii_lowercase())
    }
}
