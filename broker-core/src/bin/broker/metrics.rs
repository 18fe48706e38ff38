use std::error::Error;
use std::time::Duration;

use broker_core::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a client may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest question.
const QUESTION_BYTES: usize = 8 * 1024;

/// Where the numbers are asked for; nowhere unless told.
pub struct Metrics(Option<TcpListener>);

impl Metrics {
    pub async fn listen(address: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let Some(address) = address else { return Ok(Self(None)) };
        let socket = TcpListener::bind(address).await.map_err(|error| format!("--metrics {address}: {error}"))?;
        eprintln!("metrics at http://{}/metrics", socket.local_addr()?);
        Ok(Self(Some(socket)))
    }

    /// Answers for ever.
    pub async fn serve(&self, server: &Server) {
        let Some(socket) = &self.0 else { return std::future::pending().await };
        loop {
            match socket.accept().await {
                Ok((stream, _)) => {
                    let text = server.metrics().prometheus();
                    tokio::spawn(async move { tokio::time::timeout(PATIENCE, answer(stream, text)).await });
                }
                // Mostly no file descriptors: some will be free again.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// `GET /metrics`, and nothing else.
async fn answer(mut stream: TcpStream, text: String) -> std::io::Result<()> {
    let mut question = Vec::new();
    while !question.windows(4).any(|end| end == b"\r\n\r\n") && question.len() < QUESTION_BYTES {
        if stream.read_buf(&mut question).await? == 0 {
            break;
        }
    }
    let (status, text) = match question.starts_with(b"GET /metrics ") {
        true => ("200 OK", text),
        false => ("404 Not Found", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
