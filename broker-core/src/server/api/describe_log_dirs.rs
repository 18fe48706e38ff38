//! DescribeLogDirs (35), versions 1 to 4: how many bytes each partition's log holds in the one folder.
//!
//! - No list of topics asks for all, the broker's own among them; what is not there is passed over.
//! - Nothing lags behind, and no log is being moved.
//! - How large the volume is, and how much of it is free (4), is not known: -1.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use super::text;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I32, TEXT, array, list};

pub(in crate::server) const SHAPE: &[Field] = &[array(&[TEXT, list(&I32)])];

pub(in crate::server) async fn answer(
    client: &Client,
    request: &Request,
    body: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if let Err(error) = client.check(Operation::Describe, Resource::Cluster) {
        return DescribeLogDirsResponse::default().with_error_code(if request.version >= 3 { error.code().code() } else { 0 });
    }
    let broker = &client.shared.broker;
    let wanted: Option<BTreeSet<(&str, i32)>> = body.topics.as_ref().map(|topics| {
        topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic.as_str(), *partition))).collect()
    });
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for partition in broker.partitions() {
        let id = partition.topic_partition();
        let asked = wanted.as_ref().is_none_or(|wanted| wanted.contains(&(&*id.topic, id.partition)));
        if asked {
            let size = i64::try_from(partition.size()).unwrap_or(i64::MAX);
            let found = DescribeLogDirsPartition::default().with_partition_index(id.partition).with_partition_size(size);
            topics.entry(id.topic.clone()).or_default().push(found);
        }
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| DescribeLogDirsTopic::default().with_name(TopicName(text(name))).with_partitions(partitions));
    let result = DescribeLogDirsResult::default()
        .with_log_dir(text(broker.log_dir()))
        .with_topics(topics.collect())
        .with_total_bytes(-1)
        .with_usable_bytes(-1);
    DescribeLogDirsResponse::default().with_results(vec![result])
}
