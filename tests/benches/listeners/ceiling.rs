//! What could be reached at most: a channel between two tasks, and plain writes.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{VALUE, temporary};

/// The channel's bound.
const BOUND: usize = 1024;
/// The bytes of one plain write: about what a commit takes.
const WRITE: [u8; 150] = [b'w'; 150];

/// One by one from a sending task to a receiving one.
pub async fn channel(records: u64) -> Result<Duration> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(BOUND);
    let value = Bytes::copy_from_slice(&VALUE);
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..records {
            sender.send(value.clone()).await?;
        }
        anyhow::Ok(())
    });
    let receiving = tokio::spawn(async move {
        let mut received = 0u64;
        while let Some(value) = receiver.recv().await {
            received += u64::from(value.len() == VALUE.len());
        }
        received
    });
    sending.await??;
    let received = receiving.await?;
    let took = start.elapsed();
    ensure!(received == records, "{received} of {records} values came through the channel");
    Ok(took)
}

/// One `write(2)` a record.
pub fn write(dir: Option<&Path>, records: u64) -> Result<Duration> {
    let dir = temporary(dir)?;
    let mut file = File::create(dir.path().join("plain"))?;
    let start = Instant::now();
    for _ in 0..records {
        file.write_all(&WRITE)?;
    }
    Ok(start.elapsed())
}
