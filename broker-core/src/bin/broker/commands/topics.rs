use clap::Subcommand;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    TopicName,
};

use super::print::{json, out, table};
use super::{Bootstrap, assignment};
use crate::client::{Cluster, EARLIEST, LATEST, Result, fail, refused, text};

/// How long the broker is given, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;
/// `DescribeConfigs`: a topic's own setting.
const TOPIC_CONFIG: i8 = 1;
/// The resource type of a topic.
const TOPIC: i8 = 2;

/// What is done with topics.
#[derive(Debug, Subcommand)]
pub enum Topics {
    /// Names all topics, one a line.
    List {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Kafka's own topics as well.
        #[arg(long)]
        internal: bool,
    },
    /// Partitions with first offset, end and leader, and the settings that are not the broker's.
    Describe {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The topic.
        topic: String,
        /// One JSON object a partition, in place of a table.
        #[arg(long)]
        json: bool,
    },
    /// Makes a topic.
    Create {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The topic.
        topic: String,
        /// The broker's `num.partitions` otherwise.
        #[arg(long)]
        partitions: Option<i32>,
        /// The broker's `default.replication.factor` otherwise.
        #[arg(long)]
        replication_factor: Option<i16>,
        /// A setting by Kafka's name, for example `retention.ms=3600000`.
        #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
        config: Vec<(String, String)>,
    },
    /// Grows a topic, or changes its settings.
    Alter {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The topic.
        topic: String,
        /// How many partitions it shall have; never fewer than it has.
        #[arg(long)]
        partitions: Option<i32>,
        /// Sets a setting by Kafka's name.
        #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
        config: Vec<(String, String)>,
        /// Gives a setting back to the broker's default.
        #[arg(long, value_name = "NAME")]
        delete_config: Vec<String>,
    },
    /// Deletes a topic and its records.
    Delete {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// The topic.
        topic: String,
    },
}

pub async fn run(topics: Topics) -> Result<()> {
    match topics {
        Topics::List { bootstrap, internal } => {
            let all = bootstrap.connect().await?.topics().await?;
            let names = all.iter().filter(|topic| internal || !topic.internal).map(|topic| format!("{}\n", topic.name));
            out(names.collect::<String>().as_bytes())?;
            Ok(())
        }
        Topics::Describe { bootstrap, topic, json } => describe(&mut bootstrap.connect().await?, &topic, json).await,
        Topics::Create { bootstrap, topic, partitions, replication_factor, config } => {
            let configs = config
                .into_iter()
                .map(|(name, value)| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value))));
            let wanted = CreatableTopic::default()
                .with_name(TopicName(text(&*topic)))
                .with_num_partitions(partitions.unwrap_or(-1))
                .with_replication_factor(replication_factor.unwrap_or(-1))
                .with_configs(configs.collect());
            let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS);
            let answer = bootstrap.connect().await?.controller().await?.ask(7, &request).await?;
            for made in &answer.topics {
                refused(&format!("topic '{}'", made.name.0), made.error_code, made.error_message.as_ref())?;
            }
            Ok(())
        }
        Topics::Alter { bootstrap, topic, partitions, config, delete_config } => {
            if partitions.is_none() && config.is_empty() && delete_config.is_empty() {
                return fail("nothing to change: give --partitions, --config or --delete-config");
            }
            let mut cluster = bootstrap.connect().await?;
            if let Some(count) = partitions {
                grow(&mut cluster, &topic, count).await?;
            }
            change(&mut cluster, &topic, config, delete_config).await
        }
        Topics::Delete { bootstrap, topic } => {
            let request =
                DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text(topic))]).with_timeout_ms(TIMEOUT_MS);
            let answer = bootstrap.connect().await?.controller().await?.ask(5, &request).await?;
            for gone in &answer.responses {
                let name = gone.name.as_ref().map_or("?", |name| name.0.as_str());
                refused(&format!("topic '{name}'"), gone.error_code, gone.error_message.as_ref())?;
            }
            Ok(())
        }
    }
}

async fn grow(cluster: &mut Cluster, topic: &str, count: i32) -> Result<()> {
    let wanted = CreatePartitionsTopic::default().with_name(TopicName(text(topic))).with_count(count).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS);
    let answer = cluster.controller().await?.ask(3, &request).await?;
    for grown in &answer.results {
        refused(&format!("topic '{}'", grown.name.0), grown.error_code, grown.error_message.as_ref())?;
    }
    Ok(())
}

async fn change(cluster: &mut Cluster, topic: &str, set: Vec<(String, String)>, delete: Vec<String>) -> Result<()> {
    let set = set.into_iter().map(|(name, value)| {
        AlterableConfig::default().with_name(text(name)).with_config_operation(0).with_value(Some(text(value)))
    });
    let delete =
        delete.into_iter().map(|name| AlterableConfig::default().with_name(text(name)).with_config_operation(1).with_value(None));
    let configs: Vec<_> = set.chain(delete).collect();
    if configs.is_empty() {
        return Ok(());
    }
    let resource =
        AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(topic)).with_configs(configs);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = cluster.controller().await?.ask(1, &request).await?;
    for changed in &answer.responses {
        refused(&format!("topic '{}'", changed.resource_name), changed.error_code, changed.error_message.as_ref())?;
    }
    Ok(())
}

/// The topic's own settings.
async fn settings(cluster: &mut Cluster, topic: &str) -> Result<Vec<DescribeConfigsResourceResult>> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configuration_keys(None);
    let answer = cluster.node(-1).await?.ask(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).await?;
    let mut own = Vec::new();
    for told in answer.results {
        refused(&format!("topic '{topic}': settings"), told.error_code, told.error_message.as_ref())?;
        own.extend(told.configs.into_iter().filter(|setting| setting.config_source == TOPIC_CONFIG));
    }
    Ok(own)
}

async fn describe(cluster: &mut Cluster, name: &str, as_json: bool) -> Result<()> {
    let topic = cluster.topic(name, false).await?;
    let mut rows = Vec::new();
    let mut lines = String::new();
    for (partition, leader) in topic.leaders.iter().enumerate() {
        let start = cluster.offset(name, partition as i32, EARLIEST).await?.unwrap_or(0);
        let end = cluster.offset(name, partition as i32, LATEST).await?.unwrap_or(0);
        let cells = [partition as i64, start, end, end - start, i64::from(*leader), topic.replicas[partition] as i64];
        rows.push(cells.iter().map(ToString::to_string).collect());
        lines += &format!(
            "{{\"topic\":{},\"partition\":{partition},\"start\":{start},\"end\":{end},\"leader\":{leader}}}\n",
            json(name)
        );
    }
    if as_json {
        out(lines.as_bytes())?;
        return Ok(());
    }
    let own: Vec<String> = settings(cluster, name)
        .await?
        .iter()
        .map(|setting| format!("{}={}", setting.name, setting.value.as_ref().map_or("", |value| value.as_str())))
        .collect();
    let own = if own.is_empty() { "the broker's settings".to_owned() } else { own.join(" ") };
    let headline = ["PARTITION", "START", "END", "OFFSETS", "LEADER", "REPLICAS"];
    out(format!("{name}: {own}\n{}", table(&headline, &rows)).as_bytes())?;
    Ok(())
}
