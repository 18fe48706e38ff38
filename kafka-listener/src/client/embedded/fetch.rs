//! What was fetched of one partition and not yet handed out.

use std::collections::VecDeque;

use broker_core::record::{Batch, batches};
use broker_core::{CommittedOnly, PartitionHandle, WatchGuard};
use bytes::{Buf, Bytes};

use super::client_error;
use crate::client::{ClientError, ClientErrorKind, RawRecord, TimestampType, TopicPartition};

/// A batch in hand.
struct Started {
    /// Uncompressed.
    batch: Batch,
    /// Where its next record starts.
    place: (usize, i32),
    /// Its size as it was fetched.
    size: usize,
}

/// An assigned partition: its position, and fetched batches that lie at or behind it.
pub(super) struct Source {
    pub partition: TopicPartition,
    pub handle: PartitionHandle,
    _watch: WatchGuard,
    /// The offset of the next record to hand out.
    pub position: i64,
    pub paused: bool,
    /// What auto-commit stored last.
    pub auto_committed: i64,
    /// With `isolation.level = read_committed`: what of the fetched batches is left out.
    committed_only: Option<CommittedOnly>,
    runs: VecDeque<Bytes>,
    current: Option<Started>,
    buffered: usize,
}

impl Source {
    pub fn new(
        partition: TopicPartition,
        handle: PartitionHandle,
        watch: WatchGuard,
        position: i64,
        read_committed: bool,
    ) -> Self {
        Self {
            partition,
            handle,
            _watch: watch,
            position,
            paused: false,
            auto_committed: position,
            committed_only: read_committed.then(CommittedOnly::default),
            runs: VecDeque::new(),
            current: None,
            buffered: 0,
        }
    }

    /// Moves the position; what was fetched is dropped.
    pub fn seek(&mut self, position: i64) {
        self.position = position;
        self.runs.clear();
        self.current = None;
        self.buffered = 0;
    }

    /// Bytes that were fetched and not handed out.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Behind the last record that may be read.
    pub fn end(&self) -> i64 {
        if self.committed_only.is_some() { self.handle.stable_offset() } else { self.handle.end_offset() }
    }

    /// Whether a fetch would bring something: records, or the news that the position lies behind the end or the topic is gone.
    pub fn wants_fetch(&self) -> bool {
        let drained = self.runs.is_empty() && self.current.is_none();
        // What is not decided is not to be fetched, and no news.
        let (readable, end) = (self.end(), self.handle.end_offset());
        drained && (self.position < readable || self.position > end || self.handle.is_deleted())
    }

    /// Fetches up to `max_bytes`, if nothing is buffered.
    pub fn fetch(&mut self, max_bytes: usize) -> Result<(), ClientError> {
        let fetched = match &mut self.committed_only {
            Some(only) => {
                let fetched = self.handle.fetch_committed(self.position, max_bytes).map_err(client_error)?;
                *only = CommittedOnly::new(fetched.aborted);
                fetched.batches
            }
            None => self.handle.fetch(self.position, max_bytes).map_err(client_error)?.batches,
        };
        self.buffered = fetched.iter().map(Bytes::len).sum();
        self.runs = fetched.into();
        Ok(())
    }

    /// Hands out up to `most` records. A damaged batch is an error; the position stays on it until a seek.
    pub fn take(&mut self, most: usize, check_crcs: bool, into: &mut Vec<RawRecord>) -> Result<(), ClientError> {
        let taken = self.take_some(most, check_crcs, into);
        if taken.is_err() {
            // What was fetched goes: kept, the next call would pass over the damaged batch in silence.
            self.seek(self.position);
        }
        taken
    }

    fn take_some(&mut self, most: usize, check_crcs: bool, into: &mut Vec<RawRecord>) -> Result<(), ClientError> {
        while into.len() < most {
            let Some(Started { batch, place, size }) = self.next_batch(check_crcs)? else { return Ok(()) };
            let mut records = batch.records().resume(place);
            let kind = if batch.is_log_append_time() { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
            while into.len() < most {
                let Some(record) = records.next() else { break };
                let record = record.map_err(|error| self.corrupt(&error))?;
                if record.offset < self.position {
                    continue;
                }
                self.position = record.offset + 1;
                into.push(RawRecord::from_ranges(
                    batch.bytes().clone(),
                    record.key_range(),
                    record.value_range(),
                    Some(record.headers_range()),
                    record.offset,
                    record.timestamp,
                    kind,
                ));
            }
            let place = records.position();
            if place.1 < batch.count() {
                self.current = Some(Started { batch, place, size });
            } else {
                self.position = self.position.max(batch.last_offset() + 1);
                self.buffered = self.buffered.saturating_sub(size);
            }
        }
        Ok(())
    }

    /// The batch to go on with; control batches are passed over, and what was aborted where only what is committed is read.
    fn next_batch(&mut self, check_crcs: bool) -> Result<Option<Started>, ClientError> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        while let Some(run) = self.runs.front() {
            let Some(batch) = batches(run).next() else {
                self.runs.pop_front();
                continue;
            };
            let batch = batch.map_err(|error| self.corrupt(&error))?;
            self.advance(batch.size());
            if check_crcs {
                batch.verify_crc().map_err(|error| self.corrupt(&error))?;
            }
            let left_out = match &mut self.committed_only {
                Some(only) => only.leaves_out(&batch),
                None => batch.is_control(),
            };
            if left_out || batch.last_offset() < self.position {
                self.position = self.position.max(batch.last_offset() + 1);
                self.buffered = self.buffered.saturating_sub(batch.size());
                continue;
            }
            let size = batch.size();
            let batch = batch.decompressed(self.handle.decompressed_bytes_max()).map_err(|error| self.corrupt(&error))?;
            let place = batch.records().position();
            return Ok(Some(Started { batch, place, size }));
        }
        Ok(None)
    }

    /// Moves past a batch. A run that is used up goes: an empty one would look like something to hand out.
    fn advance(&mut self, size: usize) {
        if let Some(run) = self.runs.front_mut() {
            run.advance(size);
            if run.is_empty() {
                self.runs.pop_front();
            }
        }
    }

    fn corrupt(&self, error: &dyn std::fmt::Display) -> ClientError {
        let text = format!("the batch at offset {} is damaged: {error}; seek past it to go on", self.position);
        ClientError::on_partition(ClientErrorKind::Corrupt, self.partition.clone(), text)
    }
}
