//! Ten thousand connections at a time, silent, slow and senseless clients: the server holds them, and a client that means well
//! notices nothing. The server is a process of its own, so that its memory can be told.
//!
//! `cargo test -p integration-tests --test crowd` prints what was seen; `CROWD=500` takes fewer connections.

mod client;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker_core::record::BatchBuilder;
use broker_core::server::{Server, ServerConfig};
use broker_core::{Broker, NewTopic};
use client::{Healthy, Watch, address_of, ask, connect};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What the server may take of memory by itself, and for each connection that is open.
const BASE_BYTES: usize = 48 << 20;
const BYTES_A_CONNECTION: usize = 16 * 1024;
/// What it may hold of requests that arrive, and of answers that nobody reads.
const QUEUED_MAX_REQUEST_BYTES: usize = 64 << 20;
const QUEUED_MAX_RESPONSE_BYTES: usize = 64 << 20;
/// What it may take at any moment, whatever it may hold: what connections took before is used again.
const MOST_BYTES: usize = 300 << 20;
/// How long a request of the healthy client may take, in a debug build on a busy machine.
const NOTICED: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return runtime()?.block_on(serve());
    }
    // The test runner's own words: this is one test, and it may be asked for another.
    if arguments.iter().any(|word| word == "--list") {
        println!("crowd: test");
        return Ok(());
    }
    if arguments.iter().any(|word| !word.starts_with('-') && !"crowd".contains(word.as_str())) {
        return Ok(());
    }
    runtime()?.block_on(crowd())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).context("file descriptors")?;
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The server: says where it is, and ends with its standard input.
async fn serve() -> Result<()> {
    // On files: there, what is fetched is copied into memory.
    let folder = tempfile::tempdir()?;
    let broker = Broker::open(folder.path())?;
    broker.create_topic(&NewTopic::new("t").partitions(2))?;
    let large = broker.partition("t", client::LARGE)?;
    for _ in 0..20 {
        let mut batch = BatchBuilder::new();
        batch.append(client::now_ms(), None, Some(&[7; 900_000]), &[]);
        large.produce(batch.build())?;
    }
    let config = ServerConfig {
        socket_request_max: Duration::from_secs(5),
        queued_max_response_bytes: QUEUED_MAX_RESPONSE_BYTES,
        queued_max_request_bytes: QUEUED_MAX_REQUEST_BYTES,
        ..ServerConfig::default()
    };
    let server = Server::start(broker.clone(), config).await?;
    println!("{}", server.address());
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    server.stop().await;
    broker.close().await?;
    Ok(())
}

/// The server as the test sees it.
struct Served {
    child: Child,
    /// The most connections that were open at a time. What they took is kept for the next ones.
    crowd: usize,
}

impl Served {
    fn start(crowd: usize) -> Result<(Self, std::net::SocketAddr)> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        Ok((Self { child, crowd }, address_of(&line)?))
    }

    /// Resident memory; none where the system does not tell.
    fn resident(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
    }

    /// `queued`: what it may hold of requests and answers.
    fn check_memory(&self, what: &str, queued: usize) -> Result<()> {
        let Some(resident) = self.resident() else { return Ok(()) };
        println!("{what}: resident {} MiB", resident >> 20);
        let most = MOST_BYTES.min(BASE_BYTES + self.crowd * BYTES_A_CONNECTION + queued);
        ensure!(resident <= most, "{what}: {resident} bytes of memory, at most {most}");
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn crowd() -> Result<()> {
    let wanted = std::env::var("CROWD").ok().map(|count| count.parse()).transpose()?.unwrap_or(10_000);
    let most = getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |most| most as usize);
    let count = usize::min(wanted, most.saturating_sub(200));
    if count < wanted {
        println!("only {count} of {wanted} connections: the system allows {most} file descriptors");
    }
    // A thousand of them send half requests, whatever `CROWD` says.
    let (served, address) = Served::start(count.max(1000))?;
    let mut watch = Watch::start(address).await?;
    served.check_memory("at the start", 0)?;

    many(address, count, &served).await.context("many connections")?;
    watch.check(NOTICED, "many connections").await?;
    garbage(address).await.context("garbage")?;
    watch.check(NOTICED, "garbage").await?;
    slow(address, &served).await.context("slow requests")?;
    watch.check(NOTICED, "slow requests").await?;
    deaf(address, &served).await.context("answers that nobody reads")?;
    watch.check(NOTICED, "answers that nobody reads").await?;
    churn(address).await.context("connections that come and go")?;
    watch.check(NOTICED, "connections that come and go").await?;
    let rounds = watch.stop().await?;
    println!("the healthy client was answered {rounds} times");
    // A new one is as well off.
    Healthy::connect(address).await?.round().await?;
    served.check_memory("at the end", QUEUED_MAX_REQUEST_BYTES + QUEUED_MAX_RESPONSE_BYTES)
}

/// Opened, used twice, and closed; all are open at the same time.
async fn many(address: std::net::SocketAddr, count: usize, served: &Served) -> Result<()> {
    let begun = Instant::now();
    let mut open: Vec<TcpStream> = Vec::with_capacity(count);
    while open.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..100.min(count - open.len()) {
            opening.spawn(async move {
                let mut stream = connect(address).await?;
                ask(&mut stream).await.map(|()| stream)
            });
        }
        while let Some(stream) = opening.join_next().await {
            open.push(stream??);
        }
    }
    println!("{count} connections opened and used after {:?}", begun.elapsed());
    for stream in &mut open {
        ask(stream).await?;
    }
    served.check_memory(&format!("{count} connections, all used"), 0)?;
    // After a second of silence each gives its buffer back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    served.check_memory(&format!("{count} connections at rest"), 0)?;
    drop(open);
    println!("{count} connections closed after {:?}", begun.elapsed());
    Ok(())
}

/// Bytes that are no requests: the server closes.
async fn garbage(address: std::net::SocketAddr) -> Result<()> {
    let mut closed = JoinSet::new();
    for number in 0..500u32 {
        closed.spawn(async move {
            let mut stream = connect(address).await?;
            let bytes: Vec<u8> = (0..200u32).map(|at| (number.wrapping_mul(2_654_435_761).rotate_left(at) ^ at) as u8).collect();
            // It may close before all is written.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            client::closes(&mut stream).await
        });
    }
    closed.join_all().await.into_iter().collect()
}

/// Half requests, announced large ones, and a byte now and then: let go once their time is over.
async fn slow(address: std::net::SocketAddr, served: &Served) -> Result<()> {
    let mut closed = JoinSet::new();
    for number in 0..1000u32 {
        closed.spawn(async move {
            let mut stream = connect(address).await?;
            let announced: u32 = [20, 5_000, 1_000_000, 100_000_000][number as usize % 4];
            stream.write_all(&announced.to_be_bytes()).await?;
            while stream.write_all(&[0]).await.is_ok() && !client::is_closed(&stream) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    served.check_memory("1000 half requests, of 100 MB among others", QUEUED_MAX_REQUEST_BYTES)?;
    let all = tokio::time::timeout(Duration::from_secs(60), closed.join_all()).await.context("they are still there")?;
    all.into_iter().collect()
}

/// Clients that ask for all there is and read nothing.
async fn deaf(address: std::net::SocketAddr, served: &Served) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(address).await?;
        stream.write_all(&client::fetch(client::LARGE)).await?;
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    served.check_memory("200 clients that do not read", QUEUED_MAX_REQUEST_BYTES + QUEUED_MAX_RESPONSE_BYTES)
}

/// Opened and closed at once, thousands of times, some in the middle of a request.
async fn churn(address: std::net::SocketAddr) -> Result<()> {
    for round in 0..50 {
        let mut opening = JoinSet::new();
        for number in 0..100 {
            opening.spawn(async move {
                let mut stream = connect(address).await?;
                let request = client::fetch(0);
                stream.write_all(&request[..request.len() * number / 100]).await?;
                anyhow::Ok(())
            });
        }
        for opened in opening.join_all().await {
            opened.with_context(|| format!("round {round}"))?;
        }
    }
    Ok(())
}
