use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_core::record::{RecordView, batches};
use bytes::Bytes;
use clap::Args;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};

use super::Bootstrap;
use super::print::{json, out};
use crate::client::{Cluster, EARLIEST, Failure, LATEST, LEADER_MOVED, Member, Result, fail, refused, text};

/// The highest version of Fetch that names topics.
pub const FETCH: i16 = 12;
/// How long a fetch waits for records, in milliseconds.
const WAIT_MS: i32 = 250;
/// The most bytes of one partition, and of one answer.
const PARTITION_BYTES: i32 = 1 << 20;
const ANSWER_BYTES: i32 = 32 << 20;
/// The most bytes that one batch is unpacked to.
const UNPACKED_BYTES: usize = 1 << 30;
/// Between two signs of life to the group, and two commits.
const BEAT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags")]
pub struct Consume {
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// The topic to read.
    #[arg(long, short = 't')]
    topic: String,
    /// One partition; all otherwise.
    #[arg(long, short = 'p', conflicts_with = "group")]
    partition: Option<i32>,
    /// Begins with the first records where nothing else says where; at the end otherwise.
    #[arg(long)]
    from_beginning: bool,
    /// Begins here; from the end if negative.
    #[arg(long, short = 'o', conflicts_with_all = ["group", "from_beginning"], allow_hyphen_values = true)]
    offset: Option<i64>,
    /// Reads as a member of this group, and commits what was printed.
    #[arg(long, short = 'g')]
    group: Option<String>,
    /// Ends after this many records.
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_messages: Option<u64>,
    /// Ends at what was the end of each partition when it began.
    #[arg(long, short = 'e', conflicts_with = "group")]
    exit_at_end: bool,
    /// Ends when nothing came for this long; in a group, from when it gave partitions.
    #[arg(long, value_name = "MILLISECONDS")]
    timeout_ms: Option<u64>,
    /// One JSON object a record: topic, partition, offset, timestamp, key, value, headers.
    #[arg(long, conflicts_with_all = ["print_key", "print_place", "print_timestamp", "print_headers"])]
    json: bool,
    /// The key before the value.
    #[arg(long)]
    print_key: bool,
    /// Partition and offset first.
    #[arg(long)]
    print_place: bool,
    /// The timestamp, in milliseconds since 1970.
    #[arg(long)]
    print_timestamp: bool,
    /// `name=value` of each header, with commas.
    #[arg(long)]
    print_headers: bool,
    /// Between what is printed of a record.
    #[arg(long, value_name = "TEXT", default_value = "\t")]
    separator: String,
}

pub async fn run(consume: Consume) -> Result<()> {
    let mut cluster = consume.bootstrap.connect().await?;
    let mut reader = Reader::begin(&mut cluster, &consume).await?;
    let (mut interrupted, mut terminated) = signals()?;
    let ended = tokio::select! {
        biased;
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
        ended = reader.read(&mut cluster) => ended,
    };
    // An answer may be half read: what is left to say goes over a connection of its own.
    let mut cluster = consume.bootstrap.connect().await?;
    let left = reader.end(&mut cluster).await;
    ended.and(left)
}

fn signals() -> Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure(format!("signals: {error}"));
    Ok((signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?))
}

struct Reader<'a> {
    consume: &'a Consume,
    member: Option<Member>,
    /// The next offset by partition.
    positions: BTreeMap<i32, i64>,
    /// Where to end, with `--exit-at-end`.
    ends: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    beaten: Instant,
    printed: u64,
    last: Instant,
}

impl<'a> Reader<'a> {
    async fn begin(cluster: &mut Cluster, consume: &'a Consume) -> Result<Self> {
        let now = Instant::now();
        let mut this = Self {
            consume,
            member: None,
            positions: BTreeMap::new(),
            ends: BTreeMap::new(),
            committed: BTreeMap::new(),
            beaten: now,
            printed: 0,
            last: now,
        };
        let count = cluster.topic(&consume.topic, false).await?.leaders.len() as i32;
        if let Some(group) = &consume.group {
            let (member, given) = Member::join(cluster, group, &consume.topic).await?;
            this.member = Some(member);
            this.take(cluster, &given).await?;
            // Whoever waits for records does not wait for the group, which may take as long as others like.
            this.last = Instant::now();
            return Ok(this);
        }
        let partitions = consume.partition.map_or(0..count, |one| one..one + 1);
        for partition in partitions {
            let (start, end) = this.bounds(cluster, partition).await?;
            let position = match consume.offset {
                Some(back) if back < 0 => end.saturating_add(back).max(start),
                Some(offset) if (start..=end).contains(&offset) => offset,
                Some(offset) => {
                    return fail(format!("{}-{partition} has offsets {start} to {end}, not {offset}", consume.topic));
                }
                None if consume.from_beginning => start,
                None => end,
            };
            this.positions.insert(partition, position);
            this.ends.insert(partition, end);
        }
        Ok(this)
    }

    async fn bounds(&self, cluster: &mut Cluster, partition: i32) -> Result<(i64, i64)> {
        let start = cluster.offset(&self.consume.topic, partition, EARLIEST).await?.unwrap_or(0);
        let end = cluster.offset(&self.consume.topic, partition, LATEST).await?.unwrap_or(0);
        Ok((start, end))
    }

    /// Reads these partitions from where the group is.
    async fn take(&mut self, cluster: &mut Cluster, given: &[i32]) -> Result<()> {
        let Some(member) = &self.member else { return Ok(()) };
        let stored = member.committed(cluster, given).await?;
        self.positions.clear();
        self.committed.clone_from(&stored);
        for partition in given {
            let at = if self.consume.from_beginning { EARLIEST } else { LATEST };
            let position = match stored.get(partition) {
                Some(offset) => *offset,
                None => cluster.offset(&self.consume.topic, *partition, at).await?.unwrap_or(0),
            };
            self.positions.insert(*partition, position);
        }
        eprintln!("reading {:?} of {}", given, self.consume.topic);
        Ok(())
    }

    async fn read(&mut self, cluster: &mut Cluster) -> Result<()> {
        let timeout = self.consume.timeout_ms.map(Duration::from_millis);
        loop {
            let most = self.consume.max_messages.is_some_and(|most| self.printed >= most);
            let at_end = self.consume.exit_at_end && self.positions.iter().all(|(one, at)| *at >= self.ends[one]);
            if most || at_end || timeout.is_some_and(|timeout| self.last.elapsed() >= timeout) {
                return Ok(());
            }
            self.live(cluster).await?;
            if self.positions.is_empty() {
                tokio::time::sleep(Duration::from_millis(WAIT_MS as u64)).await;
                continue;
            }
            for answer in self.fetch(cluster).await? {
                if !self.print(cluster, &answer).await? {
                    return Ok(());
                }
            }
        }
    }

    /// In a group: commits and says that it is there, when it is time.
    async fn live(&mut self, cluster: &mut Cluster) -> Result<()> {
        if self.member.is_none() || self.beaten.elapsed() < BEAT {
            return Ok(());
        }
        self.beaten = Instant::now();
        self.commit(cluster).await?;
        let Some(member) = &mut self.member else { return Ok(()) };
        if !member.beat(cluster).await? {
            let given = member.rejoin(cluster).await?;
            self.take(cluster, &given).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, cluster: &mut Cluster) -> Result<()> {
        let Some(member) = &self.member else { return Ok(()) };
        let new: BTreeMap<i32, i64> =
            self.positions.iter().filter(|(one, at)| self.committed.get(one) != Some(at)).map(|(one, at)| (*one, *at)).collect();
        if !new.is_empty() {
            member.commit(cluster, &new).await?;
            self.committed.extend(new);
        }
        Ok(())
    }

    /// One answer of each broker that leads some of the partitions.
    async fn fetch(&self, cluster: &mut Cluster) -> Result<Vec<FetchResponse>> {
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, position) in &self.positions {
            let leader = cluster.leader(&self.consume.topic, *partition).await?;
            by_leader.entry(leader).or_default().push((*partition, *position));
        }
        let mut sent = Vec::new();
        for (leader, wanted) in by_leader {
            let connection = cluster.node(leader).await?;
            let version = connection.version::<FetchRequest>(FETCH)?;
            connection.send(version, &request(&self.consume.topic, &wanted, PARTITION_BYTES, ANSWER_BYTES, WAIT_MS)).await?;
            sent.push((leader, version));
        }
        let mut answers = Vec::new();
        for (leader, version) in sent {
            answers.push(cluster.node(leader).await?.receive::<FetchRequest>(version).await?);
        }
        Ok(answers)
    }

    /// `false`: nobody reads any more, or enough was printed.
    async fn print(&mut self, cluster: &mut Cluster, answer: &FetchResponse) -> Result<bool> {
        for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let partition = part.partition_index;
            let place = format!("{}-{partition}", self.consume.topic);
            match part.error_code {
                1 => {
                    let (start, end) = self.bounds(cluster, partition).await?;
                    eprintln!("{place}@{}: not in the log any more; going on at {start}", self.positions[&partition]);
                    self.positions.insert(partition, start.min(end));
                    continue;
                }
                // Another broker leads it by now.
                code if LEADER_MOVED.contains(&code) => {
                    cluster.look_again(&self.consume.topic).await?;
                    continue;
                }
                code => refused(&place, code, None)?,
            }
            let Some(records) = &part.records else { continue };
            let mut text = Vec::new();
            let done = self.records(partition, &place, records, &mut text);
            if !out(&text)? {
                return Ok(false);
            }
            if done? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the records of one partition into `text`; whether that is all that was wanted.
    fn records(&mut self, partition: i32, place: &str, records: &Bytes, text: &mut Vec<u8>) -> Result<bool> {
        let mut next = self.positions[&partition];
        let unreadable = |at: i64, error: &dyn std::fmt::Display| Failure(format!("{place}@{at}: {error}"));
        for batch in batches(records) {
            // A fetch may end with a part of a batch.
            let Ok(batch) = batch else { break };
            batch.verify_crc().map_err(|error| unreadable(batch.base_offset(), &error))?;
            let plain = batch.decompressed(UNPACKED_BYTES).map_err(|error| unreadable(batch.base_offset(), &error))?;
            for record in plain.records().take(if plain.is_control() { 0 } else { usize::MAX }) {
                let record = record.map_err(|error| unreadable(next, &error))?;
                if record.offset < next {
                    continue;
                }
                if self.consume.exit_at_end && record.offset >= self.ends[&partition] {
                    break;
                }
                self.show(partition, &record, text);
                self.printed += 1;
                self.last = Instant::now();
                next = record.offset + 1;
                self.positions.insert(partition, next);
                if self.consume.max_messages.is_some_and(|most| self.printed >= most) {
                    return Ok(true);
                }
            }
            next = next.max(batch.last_offset() + 1);
            self.positions.insert(partition, next);
        }
        Ok(false)
    }

    fn show(&self, partition: i32, record: &RecordView<'_>, text: &mut Vec<u8>) {
        if self.consume.json {
            text.extend(as_json(&self.consume.topic, partition, record).into_bytes());
            return;
        }
        let mut part = |bytes: &[u8], last: bool| {
            text.extend_from_slice(bytes);
            text.extend_from_slice(if last { "\n" } else { self.consume.separator.as_str() }.as_bytes());
        };
        if self.consume.print_place {
            part(format!("{partition}@{}", record.offset).as_bytes(), false);
        }
        if self.consume.print_timestamp {
            part(record.timestamp.to_string().as_bytes(), false);
        }
        if self.consume.print_headers {
            let one = |header: broker_core::record::HeaderView<'_>| {
                format!("{}={}", shown(header.name), header.value.map_or_else(|| "null".to_owned(), shown))
            };
            let headers: Vec<String> = record.headers().map(one).collect();
            part(headers.join(",").as_bytes(), false);
        }
        if self.consume.print_key {
            part(record.key().unwrap_or(b"null"), false);
        }
        part(record.value().unwrap_or(b"null"), true);
    }

    /// Commits and leaves.
    async fn end(mut self, cluster: &mut Cluster) -> Result<()> {
        let committed = self.commit(cluster).await;
        match self.member {
            Some(member) => committed.and(member.leave(cluster).await),
            None => committed,
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn as_json(topic: &str, partition: i32, record: &RecordView<'_>) -> String {
    let text = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".to_owned(), |bytes| json(&shown(bytes)));
    let headers: Vec<String> =
        record.headers().map(|header| format!("[{},{}]", json(&shown(header.name)), text(header.value))).collect();
    format!(
        "{{\"topic\":{},\"partition\":{partition},\"offset\":{},\"timestamp\":{},\"key\":{},\"value\":{},\"headers\":[{}]}}\n",
        json(topic),
        record.offset,
        record.timestamp,
        text(record.key()),
        text(record.value()),
        headers.join(",")
    )
}

/// A fetch of these partitions from these offsets.
pub fn request(topic: &str, wanted: &[(i32, i64)], partition_bytes: i32, answer_bytes: i32, wait_ms: i32) -> FetchRequest {
    let one = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(partition_bytes)
    };
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(wanted.iter().map(one).collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(answer_bytes)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}
