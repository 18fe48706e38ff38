//! The least of a Kafka client: three requests, written by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker_core::record::BatchBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long any one answer may take: only so that a failure is not a hang.
const DEADLINE: Duration = Duration::from_secs(60);

pub fn address_of(line: &str) -> Result<SocketAddr> {
    line.trim().parse().with_context(|| format!("no address: '{line}'"))
}

pub async fn connect(address: SocketAddr) -> Result<TcpStream> {
    Ok(tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await??)
}

fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = (10 + body.len() as i32).to_be_bytes().to_vec();
    for part in [key, version, 0, 7, -1] {
        frame.extend_from_slice(&part.to_be_bytes());
    }
    frame.extend_from_slice(body);
    frame
}

/// The partition that holds 18 MB.
pub const LARGE: i32 = 1;

/// One topic `t`, one partition of it.
fn one_partition(body: &mut Vec<u8>, partition: i32) {
    body.extend_from_slice(&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1]);
    body.extend_from_slice(&partition.to_be_bytes());
}

/// Fetch version 4 from offset 0, of all that is there.
pub fn fetch(partition: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [-1, 0, 1, i32::MAX] {
        body.extend_from_slice(&number.to_be_bytes());
    }
    body.push(0);
    one_partition(&mut body, partition);
    body.extend_from_slice(&0i64.to_be_bytes());
    body.extend_from_slice(&i32::MAX.to_be_bytes());
    request(1, 4, &body)
}

/// What is written with an old time goes with the next retention.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Produce version 3 of one record, acknowledged.
fn produce(value: &[u8]) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    batch.append(now_ms(), None, Some(value), &[]);
    let batch = batch.build();
    let mut body = vec![0xff, 0xff, 0xff, 0xff, 0, 0, 0x75, 0x30];
    one_partition(&mut body, 0);
    body.extend_from_slice(&(batch.len() as i32).to_be_bytes());
    body.extend_from_slice(&batch);
    request(0, 3, &body)
}

async fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let read = async {
        let size = stream.read_i32().await?;
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await?;
        anyhow::Ok(frame)
    };
    let frame = tokio::time::timeout(DEADLINE, read).await.context("no answer")??;
    ensure!(frame[..4] == [0, 0, 0, 7] || frame[..4] == [0, 7, 0xff, 0xff], "another answer: {:?}", &frame[..4]);
    Ok(frame)
}

/// ApiVersions, answered.
pub async fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&request(18, 0, &[])).await?;
    let answer = answer(stream).await?;
    ensure!(answer[4..6] == [0, 0], "error {:?}", &answer[4..6]);
    Ok(())
}

/// Reads until the server closes.
pub async fn closes(stream: &mut TcpStream) -> Result<()> {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.context("still open")?;
    Ok(())
}

/// Whether the server has closed.
pub fn is_closed(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 1]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// A client that means well.
pub struct Healthy {
    stream: TcpStream,
    sent: u64,
}

impl Healthy {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(address).await?, sent: 0 })
    }

    /// Produces, and finds what it produced.
    pub async fn round(&mut self) -> Result<()> {
        ask(&mut self.stream).await?;
        self.sent += 1;
        self.stream.write_all(&produce(format!("value {}", self.sent).as_bytes())).await?;
        let produced = answer(&mut self.stream).await?;
        // Behind the topic and the partition's number.
        ensure!(produced[19..21] == [0, 0], "produce: error {:?}", &produced[19..21]);
        self.stream.write_all(&fetch(0)).await?;
        let fetched = answer(&mut self.stream).await?;
        ensure!(fetched.windows(7).any(|part| part == b"value 1"), "what was produced is not there");
        Ok(())
    }
}

/// A healthy client that goes on and on, and how long it ever waited.
pub struct Watch {
    longest: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    task: JoinHandle<Result<u64>>,
}

impl Watch {
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let mut client = Healthy::connect(address).await?;
        let (longest, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, told) = (longest.clone(), stopped.clone());
        let task = tokio::spawn(async move {
            let mut rounds = 0;
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                client.round().await?;
                seen.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
                rounds += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(rounds)
        });
        Ok(Self { longest, stopped, task })
    }

    /// Whether it is still being answered, and was never left waiting since the last look.
    pub async fn check(&mut self, most: Duration, during: &str) -> Result<()> {
        if self.task.is_finished() {
            (&mut self.task).await?.with_context(|| format!("{during}: the healthy client failed"))?;
        }
        let longest = Duration::from_millis(self.longest.swap(0, Ordering::Relaxed));
        println!("{during}: a round of the healthy client took {longest:?} at most");
        ensure!(longest <= most, "{during}: the healthy client waited {longest:?}");
        Ok(())
    }

    pub async fn stop(self) -> Result<u64> {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await?
    }
}
