//! The broker as a program: one process, one folder, one port.

mod client;
mod commands;
mod metrics;
mod settings;
mod users;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use broker_core::Broker;
use broker_core::server::Server;
use clap::Parser;
use settings::Settings;
use tokio::signal::unix::{SignalKind, signal};

/// A Kafka broker in one process. Without a subcommand it serves; the subcommands work with any Kafka.
#[derive(Debug, Parser)]
#[command(name = "broker", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<commands::Command>,
    /// Keeps the data in this folder. Without it, everything is in memory and ends with the process.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where to listen: `host:port`, or as the setting `listeners` [default: 127.0.0.1:9092]
    #[arg(long)]
    listen: Option<String>,
    /// Where clients are told to connect; the address that they reached otherwise.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Adds a user or changes its password, before serving: `SCRAM-SHA-512=[name=ann,password=secret,iterations=4096]`, or
    /// `[name=ann,password-file=FILE]`, which keeps the password out of the list of processes. May be repeated.
    #[arg(long, value_name = "MECHANISM=[..]")]
    add_scram: Vec<String>,
    /// Answers `GET /metrics` here, in the text format of Prometheus: requests, bytes and latencies by API, connections, quotas.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,
    /// A file of settings, one `name=value` a line, by Kafka's names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting by Kafka's name; wins over the file.
    #[arg(long = "set", short = 's', value_name = "NAME=VALUE")]
    set: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal() && !no_colour)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    if let Some(command) = arguments.command {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(commands::run(command));
        // A thread that reads standard input is not waited for.
        runtime.shutdown_background();
        return Ok(ended?);
    }
    // Among the settings, since others are checked against the ports.
    let listen = arguments.listen.as_ref().map(|listen| ["listeners", listen].join("="));
    let flags: Vec<_> = arguments.set.iter().cloned().chain(listen).collect();
    let settings = Settings::read(arguments.config.as_deref(), &flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments, settings, begun))
}

async fn serve(arguments: Arguments, settings: Settings, begun: Instant) -> Result<(), Box<dyn Error>> {
    // Before anything is opened: a signal that comes meanwhile ends the program as well.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Settings { broker: config, mut server } = settings;
    if let Some(address) = &arguments.advertise {
        server.advertised = Some(settings::host_and_port(address)?);
    }
    let builder = Broker::builder().config(config);
    let broker = match arguments.dir {
        Some(dir) => builder.dir(dir).open()?,
        None => builder.open()?,
    };
    for text in &arguments.add_scram {
        users::add(&broker, text)?;
    }
    let serving = Server::start(broker.clone(), server).await?;
    let metrics = metrics::Metrics::listen(arguments.metrics.as_deref()).await?;
    println!("ready at {} after {} ms: {}", serving.address(), begun.elapsed().as_millis(), broker.describe());
    std::io::stdout().flush()?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = metrics.serve(&serving) => {}
    }
    serving.stop().await;
    broker.close().await?;
    println!("stopped");
    Ok(())
}
