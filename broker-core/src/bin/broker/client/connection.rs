use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Config, Failure, Result, fail, refused, text, tls};
use crate::settings::host_and_port;

/// When a client logs in again, in percent of the time for which a login holds.
const LOG_IN_AGAIN_PERCENT: u64 = 85;
/// The largest answer that is read.
const MOST_BYTES: usize = 256 << 20;

/// In the clear or under TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// One connection; requests may be sent before the answers of those before have come.
pub struct Connection {
    address: String,
    config: Arc<Config>,
    stream: Box<dyn Stream>,
    correlation: i32,
    expected: i32,
    versions: BTreeMap<i16, (i16, i16)>,
    /// When to log in again, and when the login is over, where logins end.
    login_ends: Option<(Instant, Instant)>,
}

impl Connection {
    /// Connects, asks which versions are understood there, and logs in.
    pub async fn open(address: &str, config: &Arc<Config>) -> Result<Self> {
        let stream = match timeout(config.request_timeout, connect(address, config)).await {
            Ok(connected) => connected.map_err(|cause| Failure(format!("cannot connect to {address}: {cause}")))?,
            Err(_) => return fail(format!("cannot connect to {address}: no answer in time")),
        };
        let (config, versions) = (config.clone(), BTreeMap::new());
        let mut this =
            Self { address: address.to_owned(), config, stream, correlation: 0, expected: 0, versions, login_ends: None };
        let told = this.ask_version(0, &ApiVersionsRequest::default()).await?;
        refused(&format!("{address}: ApiVersions"), told.error_code, None)?;
        this.versions = told.api_keys.iter().map(|row| (row.api_key, (row.min_version, row.max_version))).collect();
        if let Some(login) = this.config.login.clone() {
            login.run(&mut this).await?;
        }
        Ok(this)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The broker takes us for who we are; for so many milliseconds, if not for ever.
    pub fn logged_in(&mut self, lifetime_ms: i64) {
        let lifetime = u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0);
        let now = Instant::now();
        let after = |ms: u64, percent: u64| now.checked_add(Duration::from_millis(ms.saturating_mul(percent) / 100));
        self.login_ends = lifetime.and_then(|ms| Some((after(ms, LOG_IN_AGAIN_PERCENT)?, after(ms, 100)?)));
    }

    /// Whether it is time to log in again: what comes next does that, once nothing is on its way any more.
    pub fn wants_another_login(&self) -> bool {
        self.login_ends.is_some_and(|(soon, _)| soon <= Instant::now())
    }

    async fn log_in_again(&mut self) -> Result<()> {
        let Some(login) = self.config.login.clone() else { return Ok(()) };
        // The login's own requests must not begin another one.
        self.login_ends = None;
        let run: Pin<Box<dyn Future<Output = Result<()>> + '_>> = Box::pin(login.run(self));
        run.await
    }

    /// The highest version of this request up to `cap` that the broker understands as well.
    pub fn version<R: Request + Message>(&self, cap: i16) -> Result<i16> {
        let name = std::any::type_name::<R>().rsplit("::").next().unwrap_or_default().trim_end_matches("Request");
        let Some((min, max)) = self.versions.get(&R::KEY).copied() else {
            return fail(format!("{} does not serve {name}", self.address));
        };
        let (ours, version) = (R::VERSIONS.min, cap.min(max));
        if version < min || version < ours {
            return fail(format!("{} serves {name} {min} to {max}; this program speaks {ours} to {cap}", self.address));
        }
        Ok(version)
    }

    /// Sends a request; [`receive`](Self::receive) gives the answers in order. Logs in again before, if it is time and no request
    /// is on its way.
    pub async fn send<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> Result<()> {
        if self.wants_another_login() && self.correlation == self.expected {
            self.log_in_again().await?;
        }
        self.correlation = self.correlation.wrapping_add(1);
        let mut frame = BytesMut::from(&[0; 4][..]);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(text(&*self.config.client_id)));
        let encoded = header.encode(&mut frame, R::header_version(version)).and_then(|()| request.encode(&mut frame, version));
        encoded.map_err(|error| Failure(format!("API {} version {version}: {error}", R::KEY)))?;
        let size = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        let written = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| self.broken(&error))
    }

    /// Sends a request that the broker does not answer, such as Produce with `acks=0`.
    pub async fn send_unanswered<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> Result<()> {
        self.send(version, request).await?;
        self.expected = self.expected.wrapping_add(1);
        Ok(())
    }

    /// The answer to the oldest request that has none yet, which was an `R` of this version. Not cancel-safe.
    pub async fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        self.receive_within::<R>(version, self.config.request_timeout).await
    }

    async fn receive_within<R: Request>(&mut self, version: i16, limit: Duration) -> Result<R::Response> {
        match timeout(limit, self.receive_in_time::<R>(version)).await {
            Ok(answer) => answer,
            Err(_) => fail(format!("{}: no answer to API {} within {} ms", self.address, R::KEY, limit.as_millis())),
        }
    }

    async fn receive_in_time<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let size = self.stream.read_i32().await.map_err(|error| self.broken(&error))?;
        let size = usize::try_from(size).ok().filter(|size| *size <= MOST_BYTES);
        let Some(size) = size else { return fail(self.insane()) };
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).await.map_err(|error| self.broken(&error))?;
        let mut frame = Bytes::from(frame);
        let unreadable = |error: &dyn std::fmt::Display| Failure(format!("{}: unreadable answer: {error}", self.address));
        let header =
            ResponseHeader::decode(&mut frame, R::Response::header_version(version)).map_err(|error| unreadable(&error))?;
        self.expected = self.expected.wrapping_add(1);
        if header.correlation_id != self.expected {
            return Err(unreadable(&format!("it is to request {}, not {}", header.correlation_id, self.expected)));
        }
        let response = R::Response::decode(&mut frame, version).map_err(|error| unreadable(&error))?;
        if frame.has_remaining() {
            return Err(unreadable(&format!("{} bytes too many", frame.remaining())));
        }
        Ok(response)
    }

    /// Sends a request in the highest version up to `cap` and waits for its answer.
    pub async fn ask<R: Request + Message + HeaderVersion>(&mut self, cap: i16, request: &R) -> Result<R::Response> {
        let version = self.version::<R>(cap)?;
        self.ask_version(version, request).await
    }

    /// The same, where the broker may take longer, since it waits for others.
    pub async fn ask_patiently<R: Request + Message + HeaderVersion>(
        &mut self,
        cap: i16,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response> {
        let version = self.version::<R>(cap)?;
        self.send(version, request).await?;
        self.receive_within::<R>(version, self.config.request_timeout.max(patience)).await
    }

    async fn ask_version<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }

    fn insane(&self) -> String {
        let (address, spoken) = (&self.address, self.config.describe());
        format!("{address}: its answer has no sane length: it is no Kafka broker, or it wants another protocol than {spoken}")
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let address = &self.address;
        if let Some(cause) = tls::cause(error) {
            return Failure(format!("{address}: {cause}"));
        }
        match error.kind() {
            _ if self.login_ends.is_some_and(|(_, end)| end <= Instant::now()) => {
                Failure(format!("{address} closed the connection: the login is over (connections.max.reauth.ms)"))
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                let spoken = self.config.describe();
                Failure(format!("{address} closed the connection (spoken to with {spoken}); its log says why"))
            }
            _ => Failure(format!("{address}: {error}")),
        }
    }
}

/// A stream to a broker, under TLS if that is its protocol; in words why there is none.
async fn connect(address: &str, config: &Config) -> std::result::Result<Box<dyn Stream>, String> {
    let (host, port) = host_and_port(address)?;
    let socket = TcpStream::connect((&*host, port)).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("no broker listens there ({error}): --bootstrap-server says where one does"),
        _ => error.to_string(),
    })?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    let Some(connector) = &config.tls else { return Ok(Box::new(socket)) };
    let name = ServerName::try_from(host.clone()).map_err(|_| format!("'{host}' is no name that a certificate may have"))?;
    match connector.connect(name, socket).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(format!("it ended the connection before TLS was agreed on: is {} right?", config.describe()))
        }
        Err(error) => Err(tls::cause(&error).unwrap_or_else(|| error.to_string())),
    }
}
