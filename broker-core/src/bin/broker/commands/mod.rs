//! The subcommands: what one does with a broker, this one or any Kafka.

mod consume;
mod groups;
mod perf;
mod print;
mod produce;
mod topics;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::client::{Cluster, Config, Failure, Result};

/// What can be done with a broker that runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists, describes, makes, changes and deletes topics.
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Lists, describes and deletes groups; moves and deletes their offsets.
    #[command(subcommand)]
    Groups(groups::Groups),
    /// Sends each line of standard input as a record.
    Produce(produce::Produce),
    /// Prints records.
    Consume(consume::Consume),
    /// Measures how fast records go in and out.
    #[command(subcommand)]
    Perf(perf::Perf),
}

/// Which brokers, and how they are spoken to.
#[derive(Debug, Args)]
pub struct Bootstrap {
    /// A broker of the cluster; several with commas [default: bootstrap.servers of --command-config, or 127.0.0.1:9092]
    #[arg(long, short = 'b', value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// A file of properties as Kafka's tools take it: security.protocol, sasl.mechanism, sasl.jaas.config, ssl.truststore.location
    /// in PEM, client.id, ..
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// One of these properties; wins over the file. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    command_property: Vec<(String, String)>,
}

impl Bootstrap {
    async fn connect(&self) -> Result<Cluster> {
        let config = Config::read(self.command_config.as_deref(), &self.command_property).map_err(Failure)?;
        let address = self.bootstrap_server.clone().or_else(|| config.bootstrap.clone());
        Cluster::connect(address.as_deref().unwrap_or("127.0.0.1:9092"), config).await
    }
}

/// Runs a subcommand.
pub async fn run(command: Command) -> Result<()> {
    match command {
        Command::Topics(topics) => topics::run(topics).await,
        Command::Groups(groups) => groups::run(groups).await,
        Command::Produce(produce) => produce::run(produce).await,
        Command::Consume(consume) => consume::run(consume).await,
        Command::Perf(perf) => perf::run(perf).await,
    }
}

/// `name=value`.
fn assignment(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
