use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Broker;
use crate::error::{Error, ErrorCode};
use crate::storage::{Disk, TOP, replace};

/// How many ids are taken from the disk at a time.
const BLOCK: i64 = 1000;
/// The file in the data folder that says where the next block starts: its format's version, then the number.
pub(super) const FILE: &str = "producer-ids";

/// Gives each id once, over restarts too: the next block is kept before one of its ids is given.
#[derive(Debug)]
pub(super) struct ProducerIds {
    disk: Arc<dyn Disk>,
    next: Mutex<Next>,
}

#[derive(Debug)]
struct Next {
    id: i64,
    block_end: i64,
}

impl ProducerIds {
    pub fn load(disk: &Arc<dyn Disk>) -> Result<Self, Error> {
        let failed = |error| Error::with_source(ErrorCode::KafkaStorageError, format!("{FILE} cannot be read"), error);
        let start = if disk.size(TOP, FILE).map_err(failed)?.is_none() { 0 } else { read(disk.as_ref()).map_err(failed)? };
        Ok(Self { disk: disk.clone(), next: Mutex::new(Next { id: start, block_end: start }) })
    }

    fn give(&self) -> io::Result<i64> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.id == next.block_end {
            let end = next.block_end + BLOCK;
            replace(self.disk.as_ref(), TOP, FILE, Bytes::from(format!("0\n{end}\n")))?;
            next.block_end = end;
        }
        next.id += 1;
        Ok(next.id - 1)
    }
}

fn read(disk: &dyn Disk) -> io::Result<i64> {
    let file = disk.open(TOP, FILE)?;
    let bytes = file.read(0, file.size() as usize)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        ["0", number] => number.parse().ok().filter(|number| *number >= 0),
        _ => None,
    }
    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("expected version 0 and a number, found {text:?}")))
}

impl Broker {
    /// A producer id that nobody had before, and its epoch: for an idempotent producer, without a transactional id.
    pub fn init_producer_id(&self) -> Result<(i64, i16), Error> {
        let id = self.0.producer_ids.give();
        id.map(|id| (id, 0))
            .map_err(|error| Error::with_source(ErrorCode::KafkaStorageError, "no producer id can be given", error))
    }
}
