//! DescribeCluster (60), versions 0 to 1: the one broker, which everybody may know of.
//!
//! What one may do to the cluster is told to who asks for it.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::text;
use crate::error::ErrorCode;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{BOOL, Field, I8};

/// Version 1 asks for brokers (1) or controllers (2). The one that answers is a broker.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(in crate::server) const SHAPE: &[Field] = &[BOOL, I8.from(1)];

pub(in crate::server) async fn answer(client: &Client, _: &Request, body: DescribeClusterRequest) -> DescribeClusterResponse {
    if body.endpoint_type != BROKERS {
        let (code, message) = match body.endpoint_type {
            CONTROLLERS => (ErrorCode::MismatchedEndpointType, "this is a broker, and controllers (2) are asked for".to_owned()),
            other => (ErrorCode::UnsupportedEndpointType, format!("endpoint type {other} is none: brokers are 1")),
        };
        return DescribeClusterResponse::default().with_error_code(code.code()).with_error_message(Some(text(message)));
    }
    let config = &client.shared.config;
    let node = BrokerId(config.node_id);
    let (host, port) = client.advertised();
    let mut answer = DescribeClusterResponse::default();
    if body.include_cluster_authorized_operations {
        answer.cluster_authorized_operations = client.authorized_on_cluster();
    }
    answer
        .with_cluster_id(text(&config.cluster_id))
        .with_controller_id(node)
        .with_brokers(vec![DescribeClusterBroker::default().with_broker_id(node).with_host(text(host)).with_port(port)])
}
