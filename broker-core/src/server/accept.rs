use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::config::ServerConfig;
use super::connection::{self, Client};
use super::memory::Pool;
use crate::broker::Broker;
use crate::error::{Error, ErrorCode};

/// How long connections are given to end their answers when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How long no connection is accepted after accepting failed: mostly since the process has no file descriptors left.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// A broker that clients reach over TCP. Stops when it is told to, or when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), broker_core::Error> {
/// use broker_core::Broker;
/// use broker_core::server::{Server, ServerConfig};
///
/// let server = Server::start(Broker::in_memory(), ServerConfig::default()).await?;
/// println!("kcat -b {} -L", server.address());
/// server.stop().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub broker: Broker,
    pub config: ServerConfig,
    pub requests: Arc<Pool>,
    pub answers: Arc<Pool>,
}

impl Shared {
    pub fn new(broker: Broker, config: ServerConfig) -> Arc<Self> {
        let requests = Pool::new(config.queued_max_request_bytes);
        let answers = Pool::new(config.queued_max_response_bytes);
        Arc::new(Self { broker, config, requests, answers })
    }
}

impl Server {
    /// Listens, and serves until [`stop`](Self::stop).
    pub async fn start(broker: Broker, config: ServerConfig) -> Result<Self, Error> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(Error::new(ErrorCode::InvalidConfig, problems.join("; ")));
        }
        let failed = |error: io::Error| {
            Error::with_source(ErrorCode::NetworkException, format!("cannot listen on '{}'", config.listen), error)
        };
        let socket = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        broker.attend_groups();
        let (stop, stopped) = watch::channel(false);
        let shared = Shared::new(broker, config);
        let task = tokio::spawn(accept(socket, shared, stopped));
        tracing::info!(target: "broker_core::server", %address, "serving");
        if !address.ip().is_loopback() {
            tracing::warn!(target: "broker_core::server", %address, "whoever reaches this address may read, write and delete: there is no security");
        }
        Ok(Self { address, stop, task: Some(task) })
    }

    /// Serves one client over a stream that is no socket, until either side ends it: what a client may send, without a port.
    /// Nothing of `config` that is about several connections holds.
    pub async fn serve(broker: Broker, config: ServerConfig, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (_stop, stopped) = watch::channel(false);
        let shared = Shared::new(broker, config);
        connection::serve_stream(stream, Client { shared, peer: nowhere, local: nowhere }, stopped).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets each connection end the answer in hand, and closes them.
    pub async fn stop(mut self) {
        // Nobody hears it if the task is gone already.
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Open connections, and from where.
struct Connections {
    tasks: JoinSet<IpAddr>,
    by_ip: BTreeMap<IpAddr, usize>,
}

impl Connections {
    fn ended(&mut self, ip: IpAddr) {
        if let Some(count) = self.by_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.by_ip.remove(&ip);
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, stopped: &watch::Receiver<bool>) {
        let from_there = self.by_ip.get(&peer.ip()).copied().unwrap_or(0);
        let config = &shared.config;
        if self.tasks.len() >= config.max_connections || from_there >= config.max_connections_from(peer.ip()) {
            let open = self.tasks.len();
            tracing::warn!(target: "broker_core::server", %peer, open, from_there, "too many connections: closed");
            return;
        }
        *self.by_ip.entry(peer.ip()).or_insert(0) += 1;
        let (shared, stopped) = (shared.clone(), stopped.clone());
        self.tasks.spawn(async move {
            connection::serve(stream, peer, shared, stopped).await;
            peer.ip()
        });
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = Connections { tasks: JoinSet::new(), by_ip: BTreeMap::new() };
    let told = stopped.clone();
    loop {
        tokio::select! {
            biased;
            // First the end, then places that became free, then who wants one.
            _ = stopped.changed() => break,
            Some(ended) = connections.tasks.join_next() => match ended {
                Ok(ip) => connections.ended(ip),
                Err(error) => tracing::error!(target: "broker_core::server", %error, "a connection's task failed"),
            },
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => connections.begin(stream, peer, &shared, &told),
                Err(error) => {
                    tracing::warn!(target: "broker_core::server", %error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
    drop(socket);
    let ended = async { while connections.tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
        tracing::warn!(target: "broker_core::server", "connections that did not end in time are cut");
        connections.tasks.shutdown().await;
    }
}
