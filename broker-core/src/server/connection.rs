//! One connection: frames in, answers out, in order.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::accept::Shared;
use super::dispatch::{Done, answer};
use super::frame;
use super::header::Request;
use super::outgoing::Outgoing;

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
}

impl Client {
    /// Where the client is, as Kafka writes it.
    pub fn host(&self) -> String {
        format!("/{}", self.peer.ip())
    }

    /// Where clients are told to connect.
    pub fn advertised(&self) -> (String, i32) {
        match &self.shared.config.advertised {
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
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    // Small answers must not wait for one another; without it the connection works all the same.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    serve_stream(stream, Client { shared, peer, local }, stopped).await;
}

/// Serves a client over any stream until it ends, and says why if the client may wonder.
pub(super) async fn serve_stream(stream: impl AsyncRead + AsyncWrite + Unpin, client: Client, stopped: watch::Receiver<bool>) {
    let peer = client.peer;
    let mut connection = Connection { stream, stopped, incoming: BytesMut::new(), outgoing: Outgoing::default() };
    match connection.run(&client).await {
        End::Gone | End::Stopped | End::Idle => {}
        End::Io(error) => tracing::debug!(target: "broker_core::server", %peer, %error, "connection lost"),
        end => tracing::warn!(target: "broker_core::server", %peer, cause = %end, "connection closed"),
    }
}

struct Connection<S> {
    stream: S,
    stopped: watch::Receiver<bool>,
    incoming: BytesMut,
    outgoing: Outgoing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
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
        let limit = client.shared.config.socket_request_max_bytes;
        while let Some(frame) = frame::take(&mut self.incoming, limit)? {
            let request = Request::parse(frame).ok_or(End::Header)?;
            let mut work = pin!(answer(client, request));
            let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            let done = match first {
                Poll::Ready(done) => done,
                Poll::Pending => {
                    self.flush(client).await?;
                    self.wait(work, client).await?
                }
            };
            match done {
                Done::Answer(answer) => self.outgoing.push(answer),
                Done::Silent => {}
                Done::Close(cause) => return Err(End::Refused(cause)),
            }
            if self.outgoing.remaining() >= FLUSH_BYTES {
                self.flush(client).await?;
            }
        }
        Ok(())
    }

    /// Waits for an answer, and reads on meanwhile: if the client goes, what waits for it goes too.
    async fn wait(&mut self, mut work: impl Future<Output = Done> + Unpin, client: &Client) -> Result<Done, End> {
        let limit = client.shared.config.socket_request_max_bytes;
        loop {
            frame::make_room(&mut self.incoming, limit);
            let ahead = self.incoming.len();
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.stopped.changed() => return Err(End::Stopped),
                read = self.stream.read_buf(&mut self.incoming), if ahead < AHEAD_BYTES => {
                    if read? == 0 {
                        return Err(End::Gone);
                    }
                }
            }
        }
    }

    async fn flush(&mut self, client: &Client) -> Result<(), End> {
        if !self.outgoing.has_remaining() {
            return Ok(());
        }
        let written = timeout(client.shared.config.connections_max_idle, self.stream.write_all_buf(&mut self.outgoing)).await;
        Ok(written.map_err(|_| End::Idle)??)
    }

    async fn read(&mut self, client: &Client) -> Result<(), End> {
        let config = &client.shared.config;
        frame::make_room(&mut self.incoming, config.socket_request_max_bytes);
        let read = timeout(config.connections_max_idle, self.stream.read_buf(&mut self.incoming));
        tokio::select! {
            biased;
            _ = self.stopped.changed() => Err(End::Stopped),
            read = read => match read {
                Err(_) => Err(End::Idle),
                Ok(Ok(0)) => Err(End::Gone),
                Ok(read) => Ok(read.map(drop)?),
            },
        }
    }
}
