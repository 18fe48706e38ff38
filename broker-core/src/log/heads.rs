//! Walks a file's batches by their headers alone.

use std::io;

use bytes::Bytes;

use super::read::read_exact;
use crate::record::batch::peek_size;
use crate::record::{BatchError, CONTROL_BIT, HEADER_BYTES, at, header};
use crate::storage::DiskFile;

/// How much is read at a time: a walk mostly goes over what one index entry stands for.
const AHEAD_BYTES: usize = 8 << 10;

/// What a batch's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub position: u64,
    pub size: u64,
    pub base_offset: i64,
    pub last_offset: i64,
    /// -1 for a control batch and for one without records: nobody who asks for a time may be sent there.
    pub max_timestamp: i64,
}

impl Head {
    /// Of the batch whose whole header is at the front of `bytes`.
    pub fn of(bytes: &[u8], position: u64) -> Result<Self, BatchError> {
        let size = peek_size(bytes)? as u64;
        let base_offset = header::i64(bytes, at::BASE_OFFSET);
        let last_offset = base_offset.saturating_add(i64::from(header::i32(bytes, at::LAST_OFFSET_DELTA)));
        let has_records = header::i16(bytes, at::ATTRIBUTES) & CONTROL_BIT == 0 && header::i32(bytes, at::COUNT) != 0;
        let max_timestamp = if has_records { header::i64(bytes, at::MAX_TIMESTAMP) } else { -1 };
        Ok(Self { position, size, base_offset, last_offset, max_timestamp })
    }
}

/// The headers from a position on, up to an end. Ends behind the first one that is damaged or whose batch is cut short.
pub(super) struct Heads<'f> {
    file: &'f dyn DiskFile,
    position: u64,
    end: u64,
    ahead: Bytes,
    ahead_from: u64,
}

impl<'f> Heads<'f> {
    pub fn new(file: &'f dyn DiskFile, position: u64, end: u64) -> Self {
        Self { file, position, end, ahead: Bytes::new(), ahead_from: 0 }
    }

    fn read(&mut self) -> io::Result<Result<Head, BatchError>> {
        let skip = self.position - self.ahead_from;
        let there = (self.ahead.len() as u64).saturating_sub(skip);
        if there < HEADER_BYTES as u64 {
            self.ahead = self.file.read(self.position, AHEAD_BYTES)?;
            if self.ahead.len() < HEADER_BYTES {
                self.ahead = read_exact(self.file, self.position, HEADER_BYTES)?;
            }
            self.ahead_from = self.position;
        }
        let head = match Head::of(&self.ahead[(self.position - self.ahead_from) as usize..], self.position) {
            Ok(head) => head,
            Err(damage) => return Ok(Err(damage)),
        };
        let left = self.end - self.position;
        if head.size > left {
            return Ok(Err(BatchError::Incomplete { have: left as usize, need: head.size as usize }));
        }
        Ok(Ok(head))
    }
}

impl Iterator for Heads<'_> {
    type Item = io::Result<Result<Head, BatchError>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let head = self.read();
        self.position = match &head {
            Ok(Ok(head)) => head.position + head.size,
            _ => self.end,
        };
        Some(head)
    }
}
