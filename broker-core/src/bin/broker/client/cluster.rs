use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, TopicName,
};

use super::{Config, Connection, Result, fail, refused, text};

/// `ListOffsets`: the first offset.
pub const EARLIEST: i64 = -2;
/// `ListOffsets`: the end.
pub const LATEST: i64 = -1;

/// Error codes after which another broker, or the same one a moment later, answers: nothing was done.
pub const LEADER_MOVED: [i16; 4] = [3, 5, 6, 74];
/// How often, and after how long, a broker is asked again.
pub const RETRIES: usize = 100;
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// A topic, and who leads its partitions.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub internal: bool,
    /// By partition; -1 where nobody leads.
    pub leaders: Vec<i32>,
    pub replicas: Vec<usize>,
}

/// The brokers of a cluster, each over one connection, made when first needed.
pub struct Cluster {
    config: Arc<Config>,
    bootstrap: String,
    addresses: BTreeMap<i32, String>,
    connections: BTreeMap<i32, Connection>,
    controller: i32,
    topics: BTreeMap<String, Topic>,
}

impl Cluster {
    /// Asks one of these brokers (`host:port`, several with commas) for all of them.
    pub async fn connect(bootstrap: &str, config: Config) -> Result<Self> {
        let config = Arc::new(config);
        let mut failures = Vec::new();
        for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let connection = match Connection::open(address, &config).await {
                Ok(connection) => connection,
                Err(failure) => {
                    failures.push(failure.0);
                    continue;
                }
            };
            let mut this = Self {
                config,
                bootstrap: address.to_owned(),
                addresses: BTreeMap::new(),
                connections: BTreeMap::from([(-1, connection)]),
                controller: -1,
                topics: BTreeMap::new(),
            };
            this.refresh(Some(&[]), false).await?;
            return Ok(this);
        }
        if failures.is_empty() { fail("--bootstrap-server is empty: give host:port") } else { fail(failures.join("; ")) }
    }

    /// Reads metadata: of these topics, or of all.
    async fn refresh(&mut self, topics: Option<&[&str]>, create: bool) -> Result<MetadataResponse> {
        let topics = topics.map(|names| {
            let one = |name: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(*name))));
            names.iter().map(one).collect()
        });
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(create);
        let answer = self.node(-1).await?.ask(12, &request).await?;
        self.controller = answer.controller_id.0;
        self.addresses =
            answer.brokers.iter().map(|broker| (broker.node_id.0, format!("{}:{}", broker.host, broker.port))).collect();
        for topic in &answer.topics {
            let Some(name) = topic.name.as_ref().filter(|_| topic.error_code == 0) else { continue };
            let mut partitions: Vec<_> = topic.partitions.iter().collect();
            partitions.sort_by_key(|partition| partition.partition_index);
            let known = Topic {
                name: name.to_string(),
                internal: topic.is_internal,
                leaders: partitions.iter().map(|partition| partition.leader_id.0).collect(),
                replicas: partitions.iter().map(|partition| partition.replica_nodes.len()).collect(),
            };
            self.topics.insert(known.name.clone(), known);
        }
        Ok(answer)
    }

    /// All topics.
    pub async fn topics(&mut self) -> Result<Vec<Topic>> {
        self.topics.clear();
        self.refresh(None, false).await?;
        Ok(self.topics.values().cloned().collect())
    }

    /// One topic; an error if it is not there. `create`: it is made where the broker makes topics by itself.
    pub async fn topic(&mut self, name: &str, create: bool) -> Result<Topic> {
        // A topic that was just made may have no leaders yet, elsewhere.
        for _ in 0..RETRIES {
            let answer = self.refresh(Some(&[name]), create).await?;
            let code = answer.topics.first().map_or(3, |topic| topic.error_code);
            match self.topics.get(name) {
                Some(topic) if code == 0 && !topic.leaders.contains(&-1) => return Ok(topic.clone()),
                _ if code == 5 || code == 0 || (create && code == 3) => {
                    tokio::time::sleep(RETRY_BACKOFF).await;
                }
                _ if code == 3 => {
                    let next = text("there is none of this name; `broker topics list` names those that there are");
                    refused(&format!("topic '{name}'"), code, Some(&next))?;
                }
                _ => refused(&format!("topic '{name}'"), code, None)?,
            }
        }
        fail(format!("topic '{name}' has partitions that nobody leads"))
    }

    /// The connection to a broker; -1 is the one that was asked first.
    pub async fn node(&mut self, id: i32) -> Result<&mut Connection> {
        if !self.connections.contains_key(&id) {
            let Some(address) = self.addresses.get(&id) else {
                return fail(format!("{} names no broker with node.id {id}", self.bootstrap));
            };
            let connection = Connection::open(address, &self.config).await?;
            self.connections.insert(id, connection);
        }
        match self.connections.get_mut(&id) {
            Some(connection) => Ok(connection),
            None => fail(format!("no connection to broker {id}")),
        }
    }

    /// All brokers.
    pub fn nodes(&self) -> Vec<i32> {
        self.addresses.keys().copied().collect()
    }

    /// Where topics are made.
    pub async fn controller(&mut self) -> Result<&mut Connection> {
        let id = if self.addresses.contains_key(&self.controller) { self.controller } else { -1 };
        self.node(id).await
    }

    /// The broker that leads a partition.
    pub async fn leader(&mut self, topic: &str, partition: i32) -> Result<i32> {
        let topic = match self.topics.get(topic) {
            Some(topic) => topic.clone(),
            None => self.topic(topic, false).await?,
        };
        match usize::try_from(partition).ok().and_then(|index| topic.leaders.get(index)) {
            Some(leader) => Ok(*leader),
            None => {
                fail(format!("topic '{}' has partitions 0 to {}, not {partition}", topic.name, topic.leaders.len() as i32 - 1))
            }
        }
    }

    /// A connection of its own to the broker that leads a partition.
    pub async fn connect_to_leader(&mut self, topic: &str, partition: i32) -> Result<Connection> {
        let leader = self.leader(topic, partition).await?;
        match self.addresses.get(&leader) {
            Some(address) => Connection::open(address, &self.config).await,
            None => fail(format!("{topic}-{partition} is led by broker {leader}, which is not there")),
        }
    }

    /// The broker that looks after a group.
    pub async fn coordinator(&mut self, group: &str) -> Result<i32> {
        let request = FindCoordinatorRequest::default().with_key(text(group)).with_key_type(0);
        // A cluster that has no __consumer_offsets yet makes it now.
        for _ in 0..RETRIES {
            let answer = self.node(-1).await?.ask(3, &request).await?;
            if answer.error_code == 15 {
                tokio::time::sleep(RETRY_BACKOFF).await;
                continue;
            }
            refused(&format!("group '{group}'"), answer.error_code, answer.error_message.as_ref())?;
            self.addresses.insert(answer.node_id.0, format!("{}:{}", answer.host, answer.port));
            return Ok(answer.node_id.0);
        }
        fail(format!("group '{group}' has no coordinator"))
    }

    /// The offset of a partition at [`EARLIEST`], [`LATEST`], or the first one at or after a timestamp (`None` if there is none).
    pub async fn offset(&mut self, topic: &str, partition: i32, at: i64) -> Result<Option<i64>> {
        // Elsewhere a topic that was just made, or whose leader just died, is not answered about at once.
        for _ in 0..RETRIES {
            match self.offset_once(topic, partition, at).await? {
                Ok(offset) => return Ok(offset),
                Err(code) if LEADER_MOVED.contains(&code) => self.look_again(topic).await?,
                Err(code) => refused(&format!("{topic}-{partition}"), code, None)?,
            }
        }
        fail(format!("{topic}-{partition} has no leader that answers"))
    }

    /// After one of [`LEADER_MOVED`]: waits a moment and asks who leads now.
    pub async fn look_again(&mut self, topic: &str) -> Result<()> {
        tokio::time::sleep(RETRY_BACKOFF).await;
        self.refresh(Some(&[topic]), false).await.map(drop)
    }

    async fn offset_once(&mut self, topic: &str, partition: i32, at: i64) -> Result<std::result::Result<Option<i64>, i16>> {
        let leader = self.leader(topic, partition).await?;
        let one =
            ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(at).with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![one]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let answer = self.node(leader).await?.ask(7, &request).await?;
        let Some(found) = answer.topics.first().and_then(|topic| topic.partitions.first()) else {
            return fail(format!("{topic}-{partition}: no answer about its offsets"));
        };
        Ok(if found.error_code == 0 { Ok((found.offset >= 0).then_some(found.offset)) } else { Err(found.error_code) })
    }
}
