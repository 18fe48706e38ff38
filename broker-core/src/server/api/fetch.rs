//! Fetch (1), versions 4 to 12: whole batches, as they lie in the log, from the one that holds the offset asked for.
//!
//! - Waits until there are `min_bytes`, or as much as may be given, an error, or `max_wait_ms` is over; with very many partitions only
//!   while there is room for what others ask. A partition that stands twice is told of once. The first batch comes whatever the byte limits say,
//!   further ones only within them; partitions earlier in the request come first.
//! - Sessions (7): each fetch is answered in full with session 0, so that clients go on asking in full. A session that was never
//!   given is not found.
//! - An epoch (9) ahead of the leader's is refused. Readers are never sent elsewhere (11).
//! - Topics go by name: ids come with version 13, which is left out.
//! - A reader of committed records is answered only what is decided, with the list of aborted transactions that reach into it.
//! - Who is over its quota (`consumer_byte_rate`) gets what it asked for, at most ten seconds' worth, and must then wait; Kafka
//!   would answer with nothing, and never give a batch that is larger than that.
//!
//! The answer is put together here: the messages' library would copy the records.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use tokio::time::{Instant, timeout_at};

use super::check_epoch;
use crate::broker::Broker;
use crate::error::{Error, ErrorCode};
use crate::partition::{DataSignal, Fetched, WatchGuard};
use crate::quota::QuotaKind;
use crate::record::batches;
use crate::security::Operation;
use crate::server::connection::Client;
use crate::server::dispatch::Body;
use crate::server::header::Request;
use crate::server::memory;
use crate::server::outgoing::Answer;
use crate::server::rights::Resource;
use crate::server::shape::{Field, I8, I32, I64, TEXT, array, list};

/// How often who waits with very many partitions looks whether it may.
const TICK: Duration = Duration::from_secs(1);

/// What is given back.
#[derive(Debug)]
pub(in crate::server) struct FetchAnswer {
    error: i16,
    throttled_ms: i32,
    read_committed: bool,
    topics: Vec<Topic>,
}

#[derive(Debug)]
struct Topic {
    name: Bytes,
    partitions: Vec<(i32, Result<Fetched, Error>)>,
}

pub(in crate::server) const SHAPE: &[Field] = &[
    I32,
    I32,
    I32,
    I32,
    I8,
    I32.from(7),
    I32.from(7),
    array(&[TEXT, array(&[I32, I32.from(9), I64, I32.from(12), I64.from(5), I32])]),
    array(&[TEXT, list(&I32)]).from(7),
    TEXT.from(11),
];

pub(in crate::server) async fn answer(client: &Client, request: &Request, mut body: FetchRequest) -> FetchAnswer {
    told_once(&mut body);
    let mut answer = found(client, request, &body).await;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let bytes = partitions.filter_map(|(_, found)| found.as_ref().ok()).map(size).sum();
    answer.throttled_ms = client.take_of_quota(QuotaKind::Fetch, request, bytes);
    answer
}

async fn found(client: &Client, request: &Request, body: &FetchRequest) -> FetchAnswer {
    let read_committed = body.isolation_level == 1;
    let mut answer = FetchAnswer { error: 0, throttled_ms: 0, read_committed, topics: Vec::new() };
    if body.session_id != 0 {
        answer.error = ErrorCode::FetchSessionIdNotFound.code();
        return answer;
    }
    let most = client.shared.config.fetch_max_bytes.min(client.shared.answers.share());
    let most = most.min(client.most_of_quota(QuotaKind::Fetch, request));
    let budget = usize::try_from(body.max_bytes).unwrap_or(0).min(most);
    // As in Kafka, nobody waits for more than can be given. Without any room there is still one batch to wait for.
    let wanted = usize::try_from(body.min_bytes).unwrap_or(0).min(budget.max(1));
    let wait = Duration::from_millis(u64::try_from(body.max_wait_ms).unwrap_or(0));
    answer.topics = look(client, body, budget);
    if !wait.is_zero() && !gives(&answer.topics, wanted) {
        answer.topics.clear();
        answer.topics = waited(client, body, budget, wanted, Instant::now() + wait).await;
    }
    answer
}

/// Looks until there is enough, or the time is over. Meanwhile no records are held, and only what is new is looked at: others write
/// much and often while somebody waits for much.
async fn waited(client: &Client, body: &FetchRequest, budget: usize, wanted: usize, deadline: Instant) -> Vec<Topic> {
    let signal = DataSignal::new();
    // First the watch, then the look: what comes in between is seen by one of them.
    let _watches = watch(&client.shared.broker, body, &signal);
    let counts = memory::counted(body.topics.iter().map(|topic| topic.partitions.len()).sum()).is_some();
    loop {
        let topics = look(client, body, budget);
        let mut rest = Rest { body: body.clone(), wanted, room: budget };
        if rest.is_enough_with(&topics) {
            return topics;
        }
        drop(topics);
        loop {
            let next = if counts { deadline.min(Instant::now() + TICK) } else { deadline };
            if timeout_at(next, signal.notified()).await.is_err() {
                // Who waits with very many partitions does so no longer than there is room for others'.
                if next == deadline || client.shared.elements.is_short() {
                    return look(client, body, budget);
                }
                continue;
            }
            let news = look(client, &rest.body, rest.room);
            if rest.is_enough_with(&news) {
                break;
            }
        }
    }
}

/// What a fetch has not seen yet, and waits for.
struct Rest {
    /// The fetch, behind what was seen.
    body: FetchRequest,
    /// How many bytes there must be.
    wanted: usize,
    /// How many there may be.
    room: usize,
}

impl Rest {
    /// Passes over what was found; whether that is enough, or something has to be told.
    fn is_enough_with(&mut self, found: &[Topic]) -> bool {
        let asked = self.body.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let mut kept_back = Vec::new();
        for (asked, (_, found)) in asked.zip(found.iter().flat_map(|topic| &topic.partitions)) {
            let Ok(found) = found else { return true };
            let bytes = size(found);
            if let Some(end) = end(found) {
                asked.fetch_offset = end;
                asked.partition_max_bytes = asked.partition_max_bytes.saturating_sub_unsigned(bytes as u32);
            }
            (self.wanted, self.room) = (self.wanted.saturating_sub(bytes), self.room.saturating_sub(bytes));
            let upper = if self.body.isolation_level == 1 { found.last_stable } else { found.high_watermark };
            if asked.fetch_offset < upper {
                kept_back.push(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
            }
        }
        // Batches are whole: the next one of a partition may not fit any more, though a few bytes are left.
        self.wanted == 0 || kept_back.into_iter().any(|own| own > self.room)
    }
}

fn size(found: &Fetched) -> usize {
    found.batches.iter().map(Bytes::len).sum()
}

/// Behind the last offset that was found.
fn end(found: &Fetched) -> Option<i64> {
    let last = batches(found.batches.last()?).filter_map(Result::ok).last()?;
    Some(last.last_offset().saturating_add(1))
}

/// Whether it is so much, or something has to be told.
fn gives(topics: &[Topic], wanted: usize) -> bool {
    let mut partitions = topics.iter().flat_map(|topic| &topic.partitions).peekable();
    if partitions.peek().is_none() {
        return true;
    }
    let mut bytes = 0;
    for (_, found) in partitions {
        match found {
            Ok(found) => bytes += size(found),
            Err(_) => return true,
        }
    }
    bytes >= wanted
}

/// Each partition once, where it stands first, as in Kafka.
fn told_once(body: &mut FetchRequest) {
    if body.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>() < 2 {
        return;
    }
    let mut seen = BTreeSet::new();
    for topic in &mut body.topics {
        let name = &topic.topic;
        topic.partitions.retain(|asked| seen.insert((name.clone(), asked.partition)));
    }
    body.topics.retain(|topic| !topic.partitions.is_empty());
}

fn watch(broker: &Broker, body: &FetchRequest, signal: &Arc<DataSignal>) -> Vec<WatchGuard> {
    let all = body.topics.iter().flat_map(|topic| topic.partitions.iter().map(|asked| (&topic.topic, asked.partition)));
    all.filter_map(|(topic, partition)| broker.watch(topic, partition, signal).ok()).collect()
}

fn look(client: &Client, body: &FetchRequest, budget: usize) -> Vec<Topic> {
    let mut left = budget;
    let mut some = false;
    let topics = body.topics.iter().map(|topic| {
        // Once a look: who waits for data must not get what it lost the right to meanwhile.
        let right = client.check(Operation::Read, Resource::Topic(&topic.topic));
        let one = |asked: &FetchPartition| {
            let limit = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(left);
            // The log gives one batch at least: only to who has got nothing yet, or still has room.
            let limit = (limit > 0 || !some).then_some(limit);
            let found = match &right {
                Ok(()) => fetch(&client.shared.broker, &topic.topic, asked, body.isolation_level == 1, limit),
                Err(error) => Err(Error::new(error.code(), error.to_string())),
            };
            let bytes = found.as_ref().map_or(0, size);
            left = left.saturating_sub(bytes);
            some |= bytes > 0;
            (asked.partition, found)
        };
        Topic { name: topic.topic.0.clone().into_bytes(), partitions: topic.partitions.iter().map(one).collect() }
    });
    topics.collect()
}

fn fetch(
    broker: &Broker,
    topic: &str,
    asked: &FetchPartition,
    read_committed: bool,
    limit: Option<usize>,
) -> Result<Fetched, Error> {
    check_epoch(asked.current_leader_epoch)?;
    let Some(partition) = broker.partition_to_read(topic, asked.partition)? else {
        return empty(topic, asked);
    };
    match limit {
        Some(limit) if read_committed => partition.fetch_committed(asked.fetch_offset, limit),
        Some(limit) => partition.fetch(asked.fetch_offset, limit),
        None => Ok(partition.fetched_nothing()),
    }
}

/// Of a partition of the broker's own that holds nothing yet.
fn empty(topic: &str, asked: &FetchPartition) -> Result<Fetched, Error> {
    if asked.fetch_offset != 0 {
        let text = format!("{topic}-{}: offset {} is outside the log, which is empty", asked.partition, asked.fetch_offset);
        return Err(Error::new(ErrorCode::OffsetOutOfRange, text));
    }
    Ok(nothing(0))
}

/// No batch, and this number for each offset.
fn nothing(offset: i64) -> Fetched {
    Fetched { batches: Vec::new(), high_watermark: offset, last_stable: offset, log_start: offset, aborted: Vec::new() }
}

impl FetchAnswer {
    fn put_partition(&self, index: i32, found: Result<Fetched, Error>, put: &Put, answer: &mut Answer) {
        let (error, found) = match found {
            Ok(found) => (0, found),
            Err(error) => (error.code().code(), nothing(-1)),
        };
        let out = answer.buffer();
        out.put_i32(index);
        out.put_i16(error);
        out.put_i64(found.high_watermark);
        out.put_i64(found.last_stable);
        if put.version >= 5 {
            out.put_i64(found.log_start);
        }
        // Who reads all records gets no list of aborted transactions.
        put.length(out, self.read_committed.then_some(found.aborted.len()));
        for aborted in &found.aborted {
            out.put_i64(aborted.producer_id);
            out.put_i64(aborted.first_offset);
            put.no_tags(out);
        }
        if put.version >= 11 {
            // No other replica is preferred.
            out.put_i32(-1);
        }
        // No records are an empty run, not null: some clients take null for damage.
        put.length(out, Some(size(&found)));
        found.batches.into_iter().for_each(|run| answer.attach(run));
        put.no_tags(answer.buffer());
    }
}

impl Body for FetchAnswer {
    fn put(mut self, version: i16, answer: &mut Answer) -> Result<(), String> {
        let put = Put { version };
        let out = answer.buffer();
        out.put_i32(self.throttled_ms);
        if version >= 7 {
            out.put_i16(self.error);
            // No session.
            out.put_i32(0);
        }
        put.length(out, Some(self.topics.len()));
        for topic in std::mem::take(&mut self.topics) {
            let out = answer.buffer();
            put.text(out, &topic.name);
            put.length(out, Some(topic.partitions.len()));
            for (index, found) in topic.partitions {
                self.put_partition(index, found, &put, answer);
            }
            put.no_tags(answer.buffer());
        }
        put.no_tags(answer.buffer());
        Ok(())
    }
}

/// Writes what differs from version 12 on: lengths are compact there, and structs end with tags.
struct Put {
    version: i16,
}

impl Put {
    fn is_flexible(&self) -> bool {
        self.version >= 12
    }

    fn length(&self, out: &mut BytesMut, length: Option<usize>) {
        if self.is_flexible() {
            put_uvarint(out, length.map_or(0, |length| length as u32 + 1));
        } else {
            out.put_i32(length.map_or(-1, |length| length as i32));
        }
    }

    fn text(&self, out: &mut BytesMut, text: &[u8]) {
        if self.is_flexible() {
            put_uvarint(out, text.len() as u32 + 1);
        } else {
            out.put_i16(text.len() as i16);
        }
        out.put_slice(text);
    }

    fn no_tags(&self, out: &mut BytesMut) {
        if self.is_flexible() {
            out.put_u8(0);
        }
    }
}

fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
