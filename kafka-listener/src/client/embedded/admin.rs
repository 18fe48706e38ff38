use std::collections::BTreeMap;

use broker_core::Broker;

use super::{client_error, from_broker};
use crate::client::{Admin, BoxFuture, ClientError, NewTopic, OffsetAndMetadata, TopicInfo, TopicPartition};

/// Administration of the broker in this process: every answer is there at once.
pub(super) struct EmbeddedAdmin(Broker);

impl EmbeddedAdmin {
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

fn info(topic: broker_core::TopicDescription) -> TopicInfo {
    TopicInfo { name: topic.name, partitions: topic.partitions, internal: topic.internal }
}

impl Admin for EmbeddedAdmin {
    fn create_topic(&self, topic: &NewTopic) -> BoxFuture<'_, Result<(), ClientError>> {
        let configs: BTreeMap<String, String> = topic.configs.iter().cloned().collect();
        let topic = broker_core::NewTopic { name: topic.name.clone(), partitions: topic.partitions, configs };
        ready(self.0.create_topic(&topic).map(drop).map_err(client_error))
    }

    fn create_partitions(&self, topic: &str, total: i32) -> BoxFuture<'_, Result<(), ClientError>> {
        ready(self.0.create_partitions(topic, total).map_err(client_error))
    }

    fn delete_topic(&self, topic: &str) -> BoxFuture<'_, Result<(), ClientError>> {
        ready(self.0.delete_topic(topic).map_err(client_error))
    }

    fn topic(&self, name: &str) -> BoxFuture<'_, Result<Option<TopicInfo>, ClientError>> {
        ready(Ok(self.0.topic(name).map(info)))
    }

    fn topic_configs(&self, name: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ClientError>> {
        let found = self.0.describe_configs(name).map_err(client_error);
        ready(found.map(|all| all.into_iter().map(|one| (one.name.to_owned(), one.value)).collect()))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, ClientError>> {
        ready(Ok(self.0.topics().into_iter().map(info).collect()))
    }

    fn offsets(&self, partition: &TopicPartition) -> BoxFuture<'_, Result<(i64, i64), ClientError>> {
        let found = self.0.partition(&partition.topic, partition.partition).map_err(client_error);
        ready(found.map(|handle| (handle.log_start(), handle.end_offset())))
    }

    fn group_offsets(&self, group: &str) -> BoxFuture<'_, Result<Vec<(TopicPartition, OffsetAndMetadata)>, ClientError>> {
        let stored = self.0.fetch_offsets(group, None).into_iter().filter_map(|(partition, stored)| {
            stored.map(|stored| (from_broker(partition), OffsetAndMetadata { offset: stored.offset, metadata: stored.metadata }))
        });
        ready(Ok(stored.collect()))
    }

    fn metadata_changed(&self, seen: u64) -> BoxFuture<'_, u64> {
        Box::pin(self.0.metadata_changed(seen))
    }
}
