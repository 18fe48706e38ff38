use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, Result, fail, refused};

/// How long connecting, and an answer that nothing is waited for, may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const MOST_BYTES: usize = 256 << 20;
/// What the broker is told that we are.
const CLIENT: &str = "broker-cli";

/// One connection; requests may be sent before the answers of those before have come.
pub struct Connection {
    address: String,
    stream: TcpStream,
    correlation: i32,
    expected: i32,
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects, and asks which versions are understood there.
    pub async fn open(address: &str) -> Result<Self> {
        let failed = |error: &dyn std::fmt::Display| Failure(format!("cannot connect to {address}: {error}"));
        let connected = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await;
        let stream = connected.map_err(|_| failed(&"no answer in time"))?.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let mut this = Self { address: address.to_owned(), stream, correlation: 0, expected: 0, versions: BTreeMap::new() };
        let told = this.ask_version(0, &ApiVersionsRequest::default()).await?;
        refused(&format!("{address}: ApiVersions"), told.error_code, None)?;
        this.versions = told.api_keys.iter().map(|row| (row.api_key, (row.min_version, row.max_version))).collect();
        Ok(this)
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

    /// Sends a request; [`receive`](Self::receive) gives the answers in order.
    pub async fn send<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut frame = BytesMut::from(&[0; 4][..]);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT)));
        let encoded = header.encode(&mut frame, R::header_version(version)).and_then(|()| request.encode(&mut frame, version));
        encoded.map_err(|error| Failure(format!("API {} version {version}: {error}", R::KEY)))?;
        let size = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        self.stream.write_all(&frame).await.map_err(|error| self.broken(&error))
    }

    /// Sends a request that the broker does not answer, such as Produce with `acks=0`.
    pub async fn send_unanswered<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> Result<()> {
        self.send(version, request).await?;
        self.expected = self.expected.wrapping_add(1);
        Ok(())
    }

    /// The answer to the oldest request that has none yet, which was an `R` of this version. Not cancel-safe.
    pub async fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let size = self.stream.read_i32().await.map_err(|error| self.broken(&error))?;
        let size = usize::try_from(size).ok().filter(|size| *size <= MOST_BYTES);
        let Some(size) = size else { return fail(format!("{} is no Kafka broker: its answer has no sane length", self.address)) };
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

    async fn ask_version<R: Request + HeaderVersion>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let exchanged = async {
            self.send(version, request).await?;
            self.receive::<R>(version).await
        };
        match tokio::time::timeout(TIMEOUT, exchanged).await {
            Ok(answer) => answer,
            Err(_) => fail(format!("{}: no answer to API {} within {} s", self.address, R::KEY, TIMEOUT.as_secs())),
        }
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Failure(format!("{} closed the connection; its log says why", self.address)),
            _ => Failure(format!("{}: {error}", self.address)),
        }
    }
}
