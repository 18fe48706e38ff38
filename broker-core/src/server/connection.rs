//! One connection: frames in, answers out, in order.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::accept::{Door, Shared};
use super::config::SecurityProtocol;
use super::dispatch::{Done, answer};
use super::frame::{self, Limit, READ_BYTES, Room};
use super::header::Request;
use super::memory::Share;
use super::outgoing::Outgoing;
use super::rights::Subject;
use super::session::{Session, Standing};
use super::tls::Tls;
#[cfg(feature = "tls")]
use super::tls::in_the_clear;
use crate::error::ErrorCode;
use crate::quota::QuotaKind;

/// The APIs of a login.
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
/// How often is looked at clients that are slow.
const TICK: Duration = Duration::from_secs(1);
/// How long a client may be slow while memory is short: with its request, or until it has read `ENOUGH_BYTES`.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const ENOUGH_BYTES: usize = 64 * 1024;
/// What is over this is not kept from one request to the next.
const LARGE_BYTES: usize = 2 * 1024 * 1024;
/// What a connection that says nothing keeps for what it may say.
const REST_BYTES: usize = 512;
/// Answers are written when no request is left to answer, or when this much waits.
const FLUSH_BYTES: usize = 256 * 1024;
/// How much is read ahead while an answer is waited for. Behind that the client waits, and whether it is gone is not noticed.
const AHEAD_BYTES: usize = 256 * 1024;

/// Who asks: what the API's files know of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub shared: Arc<Shared>,
    pub peer: SocketAddr,
    /// The broker's address, as the client reached it.
    pub local: SocketAddr,
    protocol: SecurityProtocol,
    /// Who it is.
    pub session: Session,
    /// Who it is to the rules, once they were asked.
    pub subject: OnceLock<Subject>,
    /// How long it must wait for what it took with this request, in milliseconds.
    throttled_ms: AtomicU64,
}

impl Client {
    pub fn new(shared: Arc<Shared>, peer: SocketAddr, local: SocketAddr, protocol: SecurityProtocol) -> Self {
        let session = Session::new(protocol);
        Self { shared, peer, local, protocol, session, subject: OnceLock::new(), throttled_ms: AtomicU64::new(0) }
    }

    /// Counts what the client took of its quota; how long it must wait for that, as its answer says it in milliseconds.
    pub fn take_of_quota(&self, kind: QuotaKind, request: &Request, bytes: usize) -> i32 {
        let quotas = self.shared.broker.quotas();
        if bytes == 0 || !quotas.any() {
            return 0;
        }
        let (user, client) = (self.session.user().unwrap_or_default(), request.client());
        let wait = quotas.record(kind, &user, &client, self.shared.now_ms(), bytes as u64);
        self.throttled_ms.fetch_max(wait, Ordering::Relaxed);
        i32::try_from(wait).unwrap_or(i32::MAX)
    }

    /// The most that the client may take at once.
    pub fn most_of_quota(&self, kind: QuotaKind, request: &Request) -> usize {
        let quotas = self.shared.broker.quotas();
        if !quotas.any() {
            return usize::MAX;
        }
        quotas.most(kind, &self.session.user().unwrap_or_default(), &request.client())
    }

    /// Why this is not served to it: it has not said who it is, and this API is not for saying it.
    pub fn may_not_ask(&self, key: i16) -> Option<&'static str> {
        match (self.session.standing(), key) {
            (_, SASL_HANDSHAKE | SASL_AUTHENTICATE) if !self.protocol.is_sasl() => Some("where nobody logs in"),
            (_, SASL_HANDSHAKE) | (Standing::Known, _) => None,
            (Standing::Unknown, API_VERSIONS | SASL_AUTHENTICATE) => None,
            (Standing::Unknown, _) => Some("before a login"),
            (Standing::Over, _) => Some("after its login was over by connections.max.reauth.ms"),
        }
    }

    /// The largest request: little from who has not said who it is.
    fn request_max(&self) -> Limit {
        let (config, logs_in) = (&self.shared.config, self.session.logs_in_since().is_some());
        match config.sasl_server_max_receive_size {
            bytes if logs_in && bytes < config.socket_request_max_bytes => {
                Limit { bytes, setting: "sasl.server.max.receive.size" }
            }
            _ => Limit { bytes: config.socket_request_max_bytes, setting: "socket.request.max.bytes" },
        }
    }

    /// Where the client is, as Kafka writes it.
    pub fn host(&self) -> String {
        format!("/{}", self.peer.ip())
    }

    /// Where clients are told to connect.
    pub fn advertised(&self) -> (String, i32) {
        let config = &self.shared.config;
        match config.advertised_by.get(&self.protocol).or(config.advertised.as_ref()) {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (self.local.ip().to_string(), i32::from(self.local.port())),
        }
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client is gone")]
    Gone,
    #[error("the server stops")]
    Stopped,
    #[error("nothing happened for connections.max.idle.ms")]
    Idle,
    #[error("its request did not arrive within socket.request.max.ms")]
    Slow,
    #[error("its request did not arrive within {} seconds while queued.max.request.bytes were short", PATIENCE.as_secs())]
    Short,
    #[error("nobody logged in within connections.authentication.max.ms")]
    Unknown,
    #[error("it read less than {ENOUGH_BYTES} bytes in {} seconds while queued.max.response.bytes were short", PATIENCE.as_secs())]
    Unread,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("a request's header is damaged")]
    Header,
    /// The API has no other way to say no, or its request cannot be read.
    #[error("{0}")]
    Refused(String),
}

/// Serves a connection until it ends.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, door: Door, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    // Small answers must not wait for one another; without it the connection works all the same.
    let _ = stream.set_nodelay(true);
    // A client whose machine is gone without a word is found out while its fetch is parked.
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let Ok(local) = stream.local_addr() else { return };
    let patience = shared.config.connections_authentication_max;
    let client = Client::new(shared, peer, local, door.protocol);
    match door.tls {
        None => serve_stream(stream, client, stopped).await,
        Some(tls) => serve_under(tls, stream, client, stopped, patience).await,
    }
}

/// Serves a client under TLS, once it has agreed on it; it has as long for that as for a login.
#[cfg(feature = "tls")]
async fn serve_under(tls: Tls, stream: TcpStream, client: Client, mut stopped: watch::Receiver<bool>, patience: Duration) {
    let peer = client.peer;
    let agreed = tokio::select! {
        biased;
        _ = stopped.changed() => return,
        agreed = timeout(patience, tls.accept(stream)) => agreed,
    };
    match agreed {
        // Where a login is asked for, it says who the client is, and not its certificate.
        Ok(Ok(stream)) if client.protocol.is_sasl() => serve_stream(stream, client, stopped).await,
        Ok(Ok(stream)) => match tls.owner(&stream) {
            Ok(owner) => {
                client.session.is(owner);
                serve_stream(stream, client, stopped).await;
            }
            Err(cause) => tracing::warn!(target: "broker_core::server", %peer, cause, "nobody is known by this certificate"),
        },
        Ok(Err(error)) if in_the_clear(&error) => {
            let text = "no TLS with this client: it speaks in the clear, so its security.protocol is wrong";
            tracing::warn!(target: "broker_core::server", %peer, "{text}");
        }
        Ok(Err(error)) => tracing::warn!(target: "broker_core::server", %peer, %error, "no TLS with this client"),
        Err(_) => {
            tracing::warn!(target: "broker_core::server", %peer, "TLS was not agreed on within connections.authentication.max.ms")
        }
    }
}

#[cfg(not(feature = "tls"))]
async fn serve_under(tls: Tls, _: TcpStream, _: Client, _: watch::Receiver<bool>, _: Duration) {
    match tls {}
}

/// Serves a client over any stream until it ends, and says why if the client may wonder.
pub(super) async fn serve_stream(stream: impl AsyncRead + AsyncWrite + Unpin, client: Client, stopped: watch::Receiver<bool>) {
    let peer = client.peer;
    let mut connection = Connection::new(stream, stopped, &client.shared);
    let end = connection.run(&client).await;
    // Under TLS the client is told that this is the end and no cut.
    let _ = timeout(TICK, connection.stream.shutdown()).await;
    match end {
        End::Gone | End::Stopped | End::Idle => {}
        End::Io(error) => tracing::debug!(target: "broker_core::server", %peer, %error, "connection lost"),
        // As a text, and not as it is shown: what a client named something would otherwise be lines of the log.
        end => tracing::warn!(target: "broker_core::server", %peer, cause = end.to_string(), "connection closed"),
    }
}

struct Connection<S> {
    stream: S,
    stopped: watch::Receiver<bool>,
    incoming: BytesMut,
    room: Room,
    /// What is held of the memory for requests: the request in hand and what was read behind it.
    requests: Share,
    outgoing: Outgoing,
    answers: Share,
    /// Since when a request has been arriving that is not whole yet.
    arriving: Option<Instant>,
    /// The client is gone, and all that it has sent is there: it waits for nothing any more.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S, stopped: watch::Receiver<bool>, shared: &Shared) -> Self {
        let (requests, answers) = (Share::new(shared.requests.clone()), Share::new(shared.answers.clone()));
        let (incoming, room, outgoing) = (BytesMut::new(), Room::default(), Outgoing::default());
        Self { stream, stopped, incoming, room, requests, outgoing, answers, arriving: None, ended: false }
    }

    async fn run(&mut self, client: &Client) -> End {
        loop {
            if let Err(end) = self.answer_what_is_there(client).await {
                // What was answered before belongs to the client, whatever came behind it.
                let _ = self.flush(client).await;
                return end;
            }
            if let Err(end) = self.flush(client).await {
                return end;
            }
            if let Err(end) = self.read(client).await {
                return end;
            }
        }
    }

    async fn answer_what_is_there(&mut self, client: &Client) -> Result<(), End> {
        while let Some(frame) = frame::take(&mut self.incoming, client.request_max())? {
            // Who sends many requests at once that wait for nothing leaves others their turn.
            consume_budget().await;
            self.arriving = None;
            if client.session.expects_bare_token() {
                self.answer_token(client, &frame).await?;
                continue;
            }
            let request = Request::parse(frame).ok_or(End::Header)?;
            let (key, bytes, arrived) = (request.key, request.body.len(), Instant::now());
            let mut work = pin!(answer(client, request));
            let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            let done = match first {
                Poll::Ready(done) => done,
                Poll::Pending => {
                    self.flush(client).await?;
                    match self.wait(work).await {
                        // What it sent behind this is served all the same: without acks it counts as sent.
                        Err(End::Gone) => continue,
                        done => done?,
                    }
                }
            };
            let (metrics, before) = (&client.shared.metrics, self.outgoing.remaining());
            match done {
                Done::Answer(answer) => self.outgoing.push(answer),
                Done::Silent => {}
                Done::Last(answer, cause) => {
                    self.outgoing.push(answer);
                    return Err(self.fail(client, cause).await);
                }
                Done::Close(cause) => {
                    metrics.refused(key);
                    return Err(End::Refused(cause));
                }
            }
            metrics.answered(key, bytes, self.outgoing.remaining() - before, arrived.elapsed());
            self.answers.set(self.outgoing.remaining());
            if self.outgoing.remaining() >= FLUSH_BYTES {
                self.flush(client).await?;
            }
            self.let_wait(client).await?;
        }
        Ok(())
    }

    /// Who is over its quota is told so at once, and then not listened to for as long as that.
    async fn let_wait(&mut self, client: &Client) -> Result<(), End> {
        let wait = client.throttled_ms.swap(0, Ordering::Relaxed);
        if wait == 0 {
            return Ok(());
        }
        client.shared.metrics.throttled(wait);
        self.flush(client).await?;
        match self.wait(pin!(sleep(Duration::from_millis(wait)))).await {
            Err(End::Gone) => Ok(()),
            waited => waited,
        }
    }

    /// A token that is no request is answered by one that is no answer.
    async fn answer_token(&mut self, client: &Client, token: &[u8]) -> Result<(), End> {
        self.flush(client).await?;
        match self.wait(pin!(client.session.step(&client.shared, token))).await? {
            Ok(answer) => {
                self.outgoing.push_frame(&answer);
                Ok(())
            }
            Err(error) if error.code() == ErrorCode::RequestTimedOut => Err(End::Unknown),
            Err(error) => Err(self.fail(client, error.to_string()).await),
        }
    }

    /// Who failed to log in waits, so that guessing takes long.
    async fn fail(&mut self, client: &Client, cause: String) -> End {
        client.shared.metrics.failed_logins.fetch_add(1, Ordering::Relaxed);
        sleep(client.shared.config.connection_failed_authentication_delay).await;
        End::Refused(cause)
    }

    /// Waits for something, such as an answer, and reads on meanwhile: if the client goes, what waits for it goes too.
    async fn wait<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> Result<T, End> {
        let held = self.requests.held();
        while !self.ended {
            let ahead = self.incoming.len();
            let room = self.room.ahead();
            let reads = ahead < AHEAD_BYTES && self.requests.try_set(held + ahead + room);
            if reads {
                self.incoming.reserve(room);
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.stopped.changed() => return Err(End::Stopped),
                read = self.stream.read_buf(&mut self.incoming), if reads => {
                    self.ended = read? == 0;
                    self.room.learn(&self.incoming);
                }
            }
        }
        Err(End::Gone)
    }

    /// Writes what there is to write. A client that takes nothing is let go after `connections.max.idle.ms`; while the memory for
    /// answers is short, one that takes little is let go soon.
    async fn flush(&mut self, client: &Client) -> Result<(), End> {
        if !self.outgoing.has_remaining() {
            return Ok(());
        }
        let idle = client.shared.config.connections_max_idle;
        let (mut any, mut enough, mut left) = (Instant::now(), Instant::now(), self.outgoing.remaining());
        while self.outgoing.has_remaining() {
            match timeout(idle.min(TICK), self.stream.write_buf(&mut self.outgoing)).await {
                Ok(Ok(0)) => return Err(End::Gone),
                Ok(written) => any = written.map(|_| Instant::now())?,
                Err(_) if any.elapsed() >= idle => return Err(End::Idle),
                Err(_) if enough.elapsed() >= PATIENCE && self.answers.pool().is_short() => return Err(End::Unread),
                Err(_) => {}
            }
            let now_left = self.outgoing.remaining();
            if left - now_left >= ENOUGH_BYTES {
                (enough, left) = (any, now_left);
                self.answers.set(now_left);
            }
        }
        self.answers.set(0);
        Ok(timeout(idle, self.stream.flush()).await.map_err(|_| End::Idle)??)
    }

    /// Reads something, once there is memory for it.
    async fn read(&mut self, client: &Client) -> Result<(), End> {
        if self.ended {
            return Err(End::Gone);
        }
        let config = &client.shared.config;
        let idle_end = Instant::now() + config.connections_max_idle;
        let login = client.session.logs_in_since().map(|since| since + config.connections_authentication_max);
        // Here, too: who says something all the time never waits below.
        if login.is_some_and(|login| Instant::now() >= login) {
            return Err(End::Unknown);
        }
        self.let_go_of_what_was_answered();
        if self.incoming.is_empty() {
            self.arriving = None;
        } else {
            self.arriving.get_or_insert_with(Instant::now);
        }
        let (mut resting, pool) = (false, self.requests.pool().clone());
        loop {
            let room = if resting { REST_BYTES } else { self.room.next(&self.incoming, client.request_max()) };
            let freed = pool.freed();
            let reads = self.requests.try_set(self.requests.held().max(self.incoming.len() + room));
            if reads {
                self.incoming.reserve(room);
            }
            let short = self.requests.pool().is_short();
            let patience = if short { PATIENCE.min(config.socket_request_max) } else { config.socket_request_max };
            let late = self.arriving.map(|since| since + patience).into_iter().chain(login).min();
            let next_look = if resting { idle_end } else { idle_end.min(Instant::now() + TICK) };
            tokio::select! {
                biased;
                _ = self.stopped.changed() => return Err(End::Stopped),
                read = self.stream.read_buf(&mut self.incoming), if reads => {
                    if read? == 0 {
                        return Err(End::Gone);
                    }
                    self.room.learn(&self.incoming);
                    return Ok(());
                }
                () = freed, if !reads => {}
                () = sleep_until(late.map_or(next_look, |late| late.min(next_look))) => {
                    let now = Instant::now();
                    if late.is_some_and(|late| now >= late) {
                        let login_late = login.is_some_and(|login| now >= login);
                        return Err(if login_late { End::Unknown } else if short { End::Short } else { End::Slow });
                    }
                    if now >= idle_end {
                        return Err(End::Idle);
                    }
                    if self.incoming.is_empty() {
                        // A connection that says nothing keeps next to nothing: there may be many of them.
                        (self.incoming, self.room) = (BytesMut::new(), Room::default());
                        self.requests.set(0);
                        resting = true;
                    }
                }
            }
        }
    }

    /// The buffer of a large request goes with it; others are used again, unless memory is short.
    fn let_go_of_what_was_answered(&mut self) {
        let large = self.requests.held() > LARGE_BYTES || self.requests.is_counted() && self.requests.pool().is_short();
        if large && self.incoming.len() < READ_BYTES {
            self.incoming = BytesMut::from(&self.incoming[..]);
            self.requests.set(0);
        }
    }
}
