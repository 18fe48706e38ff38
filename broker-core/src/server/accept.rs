use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::config::{Endpoint, SecurityProtocol, ServerConfig};
use super::connection::{self, Client};
use super::memory::Pool;
use super::metrics::{Metrics, ServerMetrics};
use super::passwords::Passwords;
use super::tls::Tls;
use super::turned_away::TurnedAway;
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
    addresses: Vec<SocketAddr>,
    pub(super) shared: Arc<Shared>,
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
    /// For what requests of very many elements are read into, and their answers until they are whole. By itself: who waits for it
    /// holds what it has sent.
    pub elements: Arc<Pool>,
    pub metrics: Metrics,
    pub passwords: Passwords,
    /// When it began: quotas count from here.
    begun: Instant,
    open: Mutex<Open>,
}

/// How many connections are open, and from where.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_ip: BTreeMap<IpAddr, usize>,
}

impl Shared {
    pub fn new(broker: Broker, config: ServerConfig) -> Arc<Self> {
        let requests = Pool::new(config.queued_max_request_bytes);
        let answers = Pool::new(config.queued_max_response_bytes);
        let elements = Pool::new(config.queued_max_request_bytes);
        let (metrics, begun) = (Metrics::default(), Instant::now());
        let passwords = Passwords::default();
        Arc::new(Self { broker, config, requests, answers, elements, metrics, passwords, begun, open: Mutex::default() })
    }

    /// Milliseconds since the server began.
    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// A place for one more connection, if there is one.
    fn place(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_there = open.by_ip.get(&ip).copied().unwrap_or(0);
        if open.all >= self.config.max_connections || from_there >= self.config.max_connections_from(ip) {
            self.metrics.turned_away.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.metrics.accepted.fetch_add(1, Ordering::Relaxed);
        open.all += 1;
        open.by_ip.insert(ip, from_there + 1);
        Some(Place { shared: self.clone(), ip })
    }
}

/// Names the next step.
fn cannot_listen(address: &str, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there: stop it, or name another port",
        io::ErrorKind::AddrNotAvailable => ": it is no address of this machine",
        io::ErrorKind::PermissionDenied => ": this process may not use that port: name one from 1024 on",
        io::ErrorKind::InvalidInput => ": expected host:port, as in 127.0.0.1:9092",
        _ => "",
    };
    Error::with_source(ErrorCode::NetworkException, format!("cannot listen on '{address}'{why}"), error)
}

/// One connection's place, free again when it is dropped.
struct Place {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

impl Server {
    /// Listens, and serves until [`stop`](Self::stop).
    pub async fn start(broker: Broker, config: ServerConfig) -> Result<Self, Error> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(Error::new(ErrorCode::InvalidConfig, problems.join("; ")));
        }
        let tls = config.tls().map_err(|problems| Error::new(ErrorCode::InvalidConfig, problems.join("; ")))?;
        let endpoints = config.endpoints().map_err(|problem| Error::new(ErrorCode::InvalidConfig, problem))?;
        let mut doors = Vec::new();
        for Endpoint { protocol, address } in endpoints {
            let failed = |error: io::Error| cannot_listen(&address, error);
            let socket = TcpListener::bind(&address).await.map_err(failed)?;
            let bound = socket.local_addr().map_err(failed)?;
            tracing::info!(target: "broker_core::server", address = %bound, protocol = protocol.name(), "serving");
            if !bound.ip().is_loopback() && !protocol.is_sasl() && !config.has_authorizer() {
                let text = "whoever reaches this address may read, write and delete: there is no login";
                tracing::warn!(target: "broker_core::server", address = %bound, "{text}");
            }
            doors.push((socket, protocol, bound));
        }
        config.warn_of_lockout(&broker);
        broker.attend_groups();
        let (stop, stopped) = watch::channel(false);
        let shared = Shared::new(broker, config);
        let addresses = doors.iter().map(|(_, _, bound)| *bound).collect();
        let mut accepting = JoinSet::new();
        for (socket, protocol, _) in doors {
            let door = Door { protocol, tls: tls.clone().filter(|_| protocol.is_tls()) };
            accepting.spawn(accept(socket, door, shared.clone(), stopped.clone()));
        }
        let task = tokio::spawn(async move { while accepting.join_next().await.is_some() {} });
        Ok(Self { addresses, shared, stop, task: Some(task) })
    }

    /// Serves one client over a stream that is no socket, until either side ends it: what a client may send, without a port.
    /// Nothing of `config` that is about several connections holds.
    pub async fn serve(broker: Broker, config: ServerConfig, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let protocol = config.endpoints().map_or(SecurityProtocol::Plaintext, |all| all[0].protocol);
        let (_stop, stopped) = watch::channel(false);
        let shared = Shared::new(broker, config);
        connection::serve_stream(stream, Client::new(shared, nowhere, nowhere, protocol), stopped).await;
    }

    /// Where it listens; of several places the first.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All places where it listens, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it has done so far.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), broker_core::Error> {
    /// # use broker_core::{Broker, server::{Server, ServerConfig}};
    /// let server = Server::start(Broker::in_memory(), ServerConfig::default()).await?;
    /// let metrics = server.metrics();
    /// println!("{} connections; produce: p99 {:?}", metrics.connections, metrics.apis[0].latency.quantile(0.99));
    /// println!("{}", metrics.prometheus());
    /// # Ok(()) }
    /// ```
    pub fn metrics(&self) -> ServerMetrics {
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).all;
        self.shared.metrics.snapshot(open)
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

/// How one port speaks.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub protocol: SecurityProtocol,
    /// There for a protocol under TLS.
    pub tls: Option<Tls>,
}

/// Open connections of one port.
struct Connections {
    tasks: JoinSet<()>,
    door: Door,
    shared: Arc<Shared>,
    turned_away: TurnedAway,
}

impl Connections {
    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, stopped: &watch::Receiver<bool>) {
        // On a port of IPv6 an IPv4 address is seen as a mapped one.
        let Some(place) = self.shared.place(peer.ip().to_canonical()) else {
            self.turned_away.note(peer);
            return;
        };
        let (shared, stopped, door) = (self.shared.clone(), stopped.clone(), self.door.clone());
        self.tasks.spawn(async move {
            connection::serve(stream, peer, door, shared, stopped).await;
            drop(place);
        });
    }
}

async fn accept(socket: TcpListener, door: Door, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = Connections { tasks: JoinSet::new(), door, shared, turned_away: TurnedAway::default() };
    let told = stopped.clone();
    loop {
        let due = connections.turned_away.due();
        tokio::select! {
            biased;
            // First the end, then what is to be told, then connections that ended, then who wants one.
            _ = stopped.changed() => break,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => connections.turned_away.say(),
            Some(ended) = connections.tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(target: "broker_core::server", %error, "a connection's task failed");
                }
            }
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => connections.begin(stream, peer, &told),
                Err(error) => {
                    tracing::warn!(target: "broker_core::server", %error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
    drop(socket);
    connections.turned_away.say();
    let ended = async { while connections.tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
        tracing::warn!(target: "broker_core::server", "connections that did not end in time are cut");
        connections.tasks.shutdown().await;
    }
}
