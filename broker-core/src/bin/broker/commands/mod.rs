//! The subcommands: what one does with a broker, this one or any Kafka.

mod consume;
mod groups;
mod perf;
mod print;
mod produce;
mod topics;

use clap::{Args, Subcommand};

use crate::client::{Cluster, Result};

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

/// Which brokers.
#[derive(Debug, Args)]
pub struct Bootstrap {
    /// A broker of the cluster; several with commas.
    #[arg(long, short = 'b', value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap_server: String,
}

impl Bootstrap {
    async fn connect(&self) -> Result<Cluster> {
        Cluster::connect(&self.bootstrap_server).await
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
