use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::{ClientError, TopicPartition};

/// Whose clock a record's timestamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's, when the record was made.
    CreateTime,
    /// The broker's, when the record was appended.
    LogAppendTime,
}

const NULL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    const NONE: Self = Self { start: NULL, end: NULL };

    fn new(range: Option<Range<usize>>) -> Self {
        range.map_or(Self::NONE, |range| Self { start: range.start as u32, end: range.end as u32 })
    }

    fn range(self) -> Option<Range<usize>> {
        (self.start != NULL).then_some(self.start as usize..self.end as usize)
    }
}

/// A record as it came: slices of the bytes it arrived in. Cloning it copies nothing.
pub struct RawRecord {
    bytes: Bytes,
    key: Span,
    value: Span,
    headers: Span,
    offset: i64,
    timestamp: i64,
    timestamp_type: TimestampType,
}

impl Clone for RawRecord {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), ..*self }
    }

    /// Over a record that arrived in the same bytes: they are not counted once more.
    fn clone_from(&mut self, source: &Self) {
        let same = self.bytes.as_ptr() == source.bytes.as_ptr() && self.bytes.len() == source.bytes.len();
        let bytes = if same { std::mem::take(&mut self.bytes) } else { source.bytes.clone() };
        *self = Self { bytes, ..*source };
    }
}

impl RawRecord {
    /// A record whose key, value and headers lie at these ranges of `bytes` (less than 4 GiB). The header range holds
    /// Kafka's v2 encoding, the count first.
    pub fn from_ranges(
        bytes: Bytes,
        key: Option<Range<usize>>,
        value: Option<Range<usize>>,
        headers: Option<Range<usize>>,
        offset: i64,
        timestamp: i64,
        timestamp_type: TimestampType,
    ) -> Self {
        Self {
            bytes,
            key: Span::new(key),
            value: Span::new(value),
            headers: Span::new(headers),
            offset,
            timestamp,
            timestamp_type,
        }
    }

    /// A record made by hand, for tests and for backends that hand over parts.
    pub fn from_parts(
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Self {
        let mut bytes = BytesMut::new();
        let mut put = |part: Option<&[u8]>| {
            part.map(|part| {
                let start = bytes.len();
                bytes.extend_from_slice(part);
                start..bytes.len()
            })
        };
        let (key, value) = (put(key), put(value));
        let mut encoded = Vec::new();
        write_varint(&mut encoded, headers.len() as i64);
        for (name, content) in headers {
            write_varint(&mut encoded, name.len() as i64);
            encoded.extend_from_slice(name.as_bytes());
            write_varint(&mut encoded, content.map_or(-1, |content| content.len() as i64));
            encoded.extend_from_slice(content.unwrap_or_default());
        }
        let headers = put(Some(&encoded));
        Self::from_ranges(bytes.freeze(), key, value, headers, offset, timestamp, TimestampType::CreateTime)
    }

    /// Its place in the partition.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Milliseconds since 1970; -1 if the producer gave none.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Whose clock the timestamp is.
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// The key's bytes; `None` is Kafka's null.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.range().map(|range| &self.bytes[range])
    }

    /// The value's bytes; `None` is a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.range().map(|range| &self.bytes[range])
    }

    /// The key as a slice that shares the record's memory.
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key.range().map(|range| self.bytes.slice(range))
    }

    /// The value as a slice that shares the record's memory.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value.range().map(|range| self.bytes.slice(range))
    }

    /// The headers, in order, duplicates included.
    pub fn headers(&self) -> Headers<'_> {
        let mut rest = self.headers.range().map_or(&[][..], |range| &self.bytes[range]);
        let left = read_varint(&mut rest).unwrap_or(0).max(0);
        Headers { rest, left }
    }

    /// The last header of this name; `Some(None)` is a header without a value.
    pub fn header(&self, name: &str) -> Option<Option<&[u8]>> {
        self.headers().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }
}

impl fmt::Debug for RawRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key_len", &self.key().map(<[u8]>::len))
            .field("value_len", &self.value().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// Iterates a record's headers without copying; passes over names that are not UTF-8, ends early at damaged bytes.
#[derive(Debug, Clone)]
pub struct Headers<'r> {
    rest: &'r [u8],
    left: i64,
}

impl<'r> Iterator for Headers<'r> {
    type Item = (&'r str, Option<&'r [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            self.left -= 1;
            let name = take(&mut self.rest)??;
            let value = take(&mut self.rest)?;
            if let Ok(name) = std::str::from_utf8(name) {
                return Some((name, value));
            }
        }
        None
    }
}

/// A length-prefixed run of bytes: outer `None` is damage, inner `None` is null.
fn take<'r>(rest: &mut &'r [u8]) -> Option<Option<&'r [u8]>> {
    let length = read_varint(rest)?;
    if length < 0 {
        return Some(None);
    }
    let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(Some(head))
}

fn read_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        raw |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// The records of one partition from one poll, in offset order.
#[derive(Debug, Clone)]
pub struct PartitionRecords {
    /// Where they come from.
    pub topic_partition: TopicPartition,
    /// At least one.
    pub records: Vec<RawRecord>,
}

/// The records of one poll, grouped by partition.
#[derive(Debug, Clone, Default)]
pub struct ConsumerRecords {
    /// One entry a partition that has records.
    pub partitions: Vec<PartitionRecords>,
}

impl ConsumerRecords {
    /// How many records there are.
    pub fn count(&self) -> usize {
        self.partitions.iter().map(|partition| partition.records.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

/// A record to send, borrowed: it is copied into the partition's open batch during the call.
#[derive(Debug, Clone, Copy)]
pub struct RawProducerRecord<'a> {
    /// Where to.
    pub topic: &'a str,
    /// The partition; else the partitioner decides.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; else now.
    pub timestamp: Option<i64>,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Where a record ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset; -1 with `acks=0`, where nobody knows.
    pub offset: i64,
    /// The record's timestamp, or the broker's with `LogAppendTime`.
    pub timestamp: i64,
}

/// The shared result of a batch of sends: one allocation a batch, not a record.
pub struct SendCell {
    topic_partition: TopicPartition,
    state: Mutex<CellState>,
    /// Called when somebody first waits: an embedded producer then sends the open batch at once (Nagle's rule).
    kick: Option<Box<dyn Fn() + Send + Sync>>,
}

struct CellState {
    /// Base offset and, with `LogAppendTime`, the broker's timestamp.
    result: Option<Result<(i64, Option<i64>), ClientError>>,
    wakers: Vec<Waker>,
}

impl SendCell {
    /// An open result. `kick` is called when somebody waits for a batch that is not sent yet.
    pub fn new(topic_partition: TopicPartition, kick: Option<Box<dyn Fn() + Send + Sync>>) -> Arc<Self> {
        Arc::new(Self { topic_partition, state: Mutex::new(CellState { result: None, wakers: Vec::new() }), kick })
    }

    /// Gives every send of the batch its result: the base offset (-1 if unknown) and the broker's timestamp if it stamps.
    pub fn complete(&self, result: Result<(i64, Option<i64>), ClientError>) {
        let wakers = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.result.get_or_insert(result);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn result(&self) -> Option<Result<(i64, Option<i64>), ClientError>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).result.clone()
    }
}

impl fmt::Debug for SendCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendCell").field("topic_partition", &self.topic_partition).finish_non_exhaustive()
    }
}

/// The result of one send. A future; dropping it un-sends nothing.
#[derive(Debug)]
pub struct SendHandle(HandleState);

#[derive(Debug)]
enum HandleState {
    InBatch {
        cell: Arc<SendCell>,
        index: u32,
        timestamp: i64,
        kicked: bool,
    },
    Failed(ClientError),
    /// The place in the queue is taken when the future is first polled (`buffer.memory` was full).
    Deferred(DeferredSend),
}

struct DeferredSend(Mutex<BoxFutureSend>);
type BoxFutureSend = super::BoxFuture<'static, Result<RecordMetadata, ClientError>>;

impl fmt::Debug for DeferredSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeferredSend")
    }
}

impl SendHandle {
    /// Record `index` of a batch.
    pub fn in_batch(cell: Arc<SendCell>, index: u32, timestamp: i64) -> Self {
        Self(HandleState::InBatch { cell, index, timestamp, kicked: false })
    }

    /// A send that failed at once.
    pub fn failed(error: ClientError) -> Self {
        Self(HandleState::Failed(error))
    }

    /// A send that happens when the future is first polled.
    pub fn deferred(send: BoxFutureSend) -> Self {
        Self(HandleState::Deferred(DeferredSend(Mutex::new(send))))
    }
}

impl Future for SendHandle {
    type Output = Result<RecordMetadata, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Sends are mostly answered at once: a loop of awaited ones must let the other tasks of its thread run now and then.
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let polled = self.as_mut().poll_result(cx);
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }
}

impl SendHandle {
    fn poll_result(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<RecordMetadata, ClientError>> {
        let (cell, index, timestamp, kicked) = match &mut self.0 {
            HandleState::InBatch { cell, index, timestamp, kicked } => (cell, *index, *timestamp, kicked),
            HandleState::Failed(error) => return Poll::Ready(Err(error.clone())),
            HandleState::Deferred(send) => {
                return send.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx);
            }
        };
        if !std::mem::replace(kicked, true)
            && cell.result().is_none()
            && let Some(kick) = &cell.kick
        {
            kick();
        }
        let mut state = cell.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.result {
            Some(Ok((base, stamped))) => Poll::Ready(Ok(RecordMetadata {
                topic: cell.topic_partition.topic.clone(),
                partition: cell.topic_partition.partition,
                offset: if *base < 0 { -1 } else { base + i64::from(index) },
                timestamp: stamped.unwrap_or(timestamp),
            })),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => {
                if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were_given() {
        let record = RawRecord::from_parts(7, 1000, Some(b"k"), None, &[("a", Some(b"1")), ("b", None), ("a", Some(b"2"))]);
        assert_eq!((record.offset(), record.key(), record.value()), (7, Some(&b"k"[..]), None));
        let headers: Vec<_> = record.headers().collect();
        assert_eq!(headers, vec![("a", Some(&b"1"[..])), ("b", None), ("a", Some(&b"2"[..]))]);
        assert_eq!(record.header("a"), Some(Some(&b"2"[..])));
        assert_eq!(record.header("c"), None);
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_other_header() {
        let mut bytes = Vec::new();
        write_varint(&mut bytes, 3);
        for (name, value) in [(&b"a"[..], "1"), (b"\xff\xfe", "2"), (b"b", "3")] {
            write_varint(&mut bytes, name.len() as i64);
            bytes.extend_from_slice(name);
            write_varint(&mut bytes, value.len() as i64);
            bytes.extend_from_slice(value.as_bytes());
        }
        let all = 0..bytes.len();
        let record = RawRecord::from_ranges(bytes.into(), None, None, Some(all), 0, 0, TimestampType::CreateTime);
        assert_eq!(record.headers().collect::<Vec<_>>(), [("a", Some(&b"1"[..])), ("b", Some(&b"3"[..]))]);
    }
}
