//! Kafka's client settings: names, types and defaults of Kafka 4. One that is unknown, ill-typed or not built is an error
//! that names it; all problems are found at once.
//!
//! On the embedded broker these are checked and then have no effect, since what they bound cannot happen in one process:
//!
//! | settings | why |
//! | --- | --- |
//! | `request.timeout.ms`, `default.api.timeout.ms`, `metadata.*`, `reconnect.backoff.*`, `connections.*`, `socket.*`, `receive.buffer.bytes`, `send.buffer.bytes`, `client.dns.lookup` | there is no connection; each call is answered at once, with the newest metadata |
//! | `retries`, `retry.backoff.*`, `delivery.timeout.ms`, `max.in.flight.requests.per.connection` | a produce succeeds or fails for good inside the call that sends the batch; nothing is ever in flight |
//! | `acks = 1` and `all` | one broker has one log |
//! | `partitioner.adaptive.partitioning.enable`, `partitioner.availability.timeout.ms` | all partitions are equally near and always there |
//!
//! `buffer.memory` is kept by sending the oldest open batches at once, so no send waits for room; `max.block.ms` bounds only the
//! wait for a topic that does not exist where sends may not create it.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::{ClientError, ClientErrorKind, Properties};

/// A consumer's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `group.id`.
    pub group_id: Option<String>,
    /// `group.instance.id`: a name of the member's own, which keeps its place while it is away.
    pub group_instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// `session.timeout.ms`; 45 s.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`; 3 s.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`; 5 min.
    pub max_poll_interval: Duration,
    /// `max.poll.records`; 500.
    pub max_poll_records: usize,
    /// `fetch.min.bytes`; 1.
    pub fetch_min_bytes: usize,
    /// `fetch.max.bytes`; 50 MiB.
    pub fetch_max_bytes: usize,
    /// `max.partition.fetch.bytes`; 1 MiB.
    pub max_partition_fetch_bytes: usize,
    /// `fetch.max.wait.ms`; 500 ms.
    pub fetch_max_wait: Duration,
    /// `enable.auto.commit`; true, but false without a group. A container sets it to false unless told otherwise.
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms`; 5 s.
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`; latest.
    pub auto_offset_reset: OffsetReset,
    /// `partition.assignment.strategy`; range, cooperative-sticky.
    pub assignors: Vec<Assignor>,
    /// `isolation.level`: whether it is `read_committed`; it is `read_uncommitted`.
    pub read_committed: bool,
    /// `check.crcs`; true.
    pub check_crcs: bool,
    /// `allow.auto.create.topics`; true.
    pub allow_auto_create_topics: bool,
}

/// Where to start without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// Behind the last one.
    Latest,
    /// Nowhere: an error.
    None,
}

/// Who gets which partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Contiguous runs, topic by topic.
    Range,
    /// One by one in a circle.
    RoundRobin,
    /// Evenly, and everybody keeps what they had; all is given up during a rebalance.
    Sticky,
    /// The same, but only what moves is given up.
    CooperativeSticky,
}

impl Assignor {
    /// Kafka's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of that name on the wire.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky].into_iter().find(|one| one.name() == name)
    }

    fn from_setting(text: &str) -> Option<Self> {
        // Kafka's settings name Java classes; their last part is enough.
        match text.rsplit('.').next().unwrap_or(text) {
            "RangeAssignor" | "range" => Some(Self::Range),
            "RoundRobinAssignor" | "roundrobin" => Some(Self::RoundRobin),
            "StickyAssignor" | "sticky" => Some(Self::Sticky),
            "CooperativeStickyAssignor" | "cooperative-sticky" => Some(Self::CooperativeSticky),
            _ => None,
        }
    }
}

/// A producer's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerConfig {
    /// `client.id`.
    pub client_id: String,
    /// `acks`: whether sends wait for an answer; `all`. On one broker `1` and `all` are the same.
    pub acks: Acks,
    /// `linger.ms`; 5 ms.
    pub linger: Duration,
    /// `batch.size`; 16384.
    pub batch_size: usize,
    /// `buffer.memory`; 32 MiB.
    pub buffer_memory: usize,
    /// `compression.type`; none. A batch that would not shrink is sent as it is.
    pub compression: CompressionType,
    /// `compression.gzip.level`, `compression.lz4.level`, `compression.zstd.level`: the one of the type chosen, if it is set.
    pub compression_level: Option<i32>,
    /// `max.block.ms`; 60 s.
    pub max_block: Duration,
    /// `max.request.size`; 1 MiB.
    pub max_request_size: usize,
    /// `delivery.timeout.ms`; 2 min.
    pub delivery_timeout: Duration,
    /// `retries`; i32::MAX.
    pub retries: u32,
    /// `enable.idempotence`: whether the broker may recognise a batch that it had before; true, but false where `acks` or
    /// `retries` say otherwise and `enable.idempotence` does not, as in Kafka.
    pub idempotent: bool,
    /// `retry.backoff.ms`; 100 ms.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`; 1 s.
    pub retry_backoff_max: Duration,
}

/// How a producer compresses its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kafka's names")]
pub enum CompressionType {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CompressionType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What a send waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: the offset stays unknown.
    Zero,
    /// The broker's log.
    One,
    /// All replicas' logs.
    All,
}

/// Settings that mean something over a network only, with the least and the most that each allows (none: a text). They are
/// checked and then without effect: a call in this process has no connection, is answered at once, and sees the newest metadata.
const NETWORK: [(&str, Option<(i64, i64)>); 14] = [
    ("client.dns.lookup", None),
    ("connections.max.idle.ms", Some((-1, i64::MAX))),
    ("default.api.timeout.ms", Some((0, INT))),
    ("metadata.max.age.ms", Some((0, i64::MAX))),
    ("metadata.max.idle.ms", Some((5_000, i64::MAX))),
    ("metadata.recovery.rebootstrap.trigger.ms", Some((0, i64::MAX))),
    ("metadata.recovery.strategy", None),
    ("receive.buffer.bytes", Some((-1, INT))),
    ("reconnect.backoff.max.ms", Some((0, i64::MAX))),
    ("reconnect.backoff.ms", Some((0, i64::MAX))),
    ("request.timeout.ms", Some((0, INT))),
    ("send.buffer.bytes", Some((-1, INT))),
    ("socket.connection.setup.timeout.max.ms", Some((0, i64::MAX))),
    ("socket.connection.setup.timeout.ms", Some((0, i64::MAX))),
];

/// The most that a setting of Kafka's type `int` may be; others are of type `long`.
const INT: i64 = i32::MAX as i64;

/// Kafka's settings that are refused by name, whole families by their first part, and what to do instead.
const REFUSED: [(&str, &str); 13] = [
    ("bootstrap.servers", "the broker is in this process: there is no server to connect to"),
    ("security.", "the broker is in this process: there is no connection to secure"),
    ("sasl.", "the broker is in this process: nobody has to log in"),
    ("ssl.", "the broker is in this process: there is no connection to secure"),
    ("key.deserializer", "the type of the listener's parameter says how a key is read"),
    ("value.deserializer", "the type of the listener's parameter says how a value is read"),
    ("key.serializer", "the type that is sent says how a key is written"),
    ("value.serializer", "the type that is sent says how a value is written"),
    ("interceptor.classes", "no classes are loaded; a tower layer sees each delivery"),
    ("metric.reporters", "no classes are loaded; there are no metrics yet"),
    ("metrics.", "there are no metrics yet"),
    ("enable.metrics.push", "there are no metrics yet"),
    ("transaction.", "transactions are not built"),
];

/// Takes settings one by one and collects what is wrong with them.
struct Reader<'a> {
    properties: &'a Properties,
    known: Vec<&'static str>,
    problems: Vec<ClientError>,
}

impl<'a> Reader<'a> {
    fn new(properties: &'a Properties) -> Self {
        let mut read = Self { properties, known: Vec::new(), problems: Vec::new() };
        for (name, allowed) in NETWORK {
            match allowed {
                Some((least, most)) => drop(read.number(name, 0, least, most)),
                None => drop(read.text(name)),
            }
        }
        read
    }

    fn problem(&mut self, text: String) {
        self.problems.push(ClientError::new(ClientErrorKind::Config, text));
    }

    fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.known.push(key);
        self.properties.get(key)
    }

    fn number<N: FromStr + PartialOrd + Copy + Display>(&mut self, key: &'static str, default: N, least: N, most: N) -> N {
        let Some(text) = self.text(key) else { return default };
        match text.parse::<N>() {
            Ok(number) if number >= least && number <= most => number,
            _ => {
                self.problem(format!("{key} = \"{text}\": expected a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn millis(&mut self, key: &'static str, default: u64, least: u64) -> Duration {
        Duration::from_millis(self.number(key, default, least, INT as u64))
    }

    /// The same of Kafka's type `long`, for which people write its largest number and mean without end.
    fn long_millis(&mut self, key: &'static str, default: u64) -> Duration {
        Duration::from_millis(self.number(key, default, 0, i64::MAX as u64))
    }

    fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        match self.text(key) {
            None => default,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(other) => {
                self.problem(format!("{key} = \"{other}\": expected true or false"));
                default
            }
        }
    }

    /// A setting of which only some values are built.
    fn only(&mut self, key: &'static str, built: &[&str], why: &str) {
        if let Some(text) = self.text(key)
            && !built.contains(&text)
        {
            self.problem(format!("{key} = \"{text}\": {why}; it may be {}", built.join(" or ")));
        }
    }

    fn refused(&mut self, key: &'static str, why: &str) {
        if self.text(key).is_some() {
            self.problem(format!("{key}: {why}"));
        }
    }

    fn finish<T>(mut self, config: T) -> Result<T, Vec<ClientError>> {
        let unknown: Vec<String> =
            self.properties.iter().map(|(key, _)| key.to_owned()).filter(|key| !self.known.contains(&key.as_str())).collect();
        for key in unknown {
            if let Some(why) = refusal(&key) {
                self.problem(format!("{key}: {why}"));
                continue;
            }
            let hint = hint(&key, &self.known);
            self.problem(format!("'{key}' is no setting that this client knows{hint}"));
        }
        if self.problems.is_empty() { Ok(config) } else { Err(self.problems) }
    }
}

/// Why a setting, or its whole family, is refused by name.
fn refusal(key: &str) -> Option<&'static str> {
    let family = |(name, _): &&(&str, &str)| key == *name || (name.ends_with('.') && key.starts_with(name));
    REFUSED.iter().find(family).map(|(_, why)| *why)
}

/// The known name that was probably meant.
fn hint(key: &str, known: &[&'static str]) -> String {
    let nearest = known.iter().map(|known| (distance(key, known), *known)).min();
    nearest.filter(|(far, _)| *far <= 4).map_or_else(String::new, |(_, known)| format!("; did you mean '{known}'?"))
}

/// Says that a setting is neither client's, and what was probably meant. `place` says where it was set.
pub(crate) fn unknown_setting(key: &str, place: &str) -> String {
    let none = Properties::new();
    let mut known = ConsumerConfig::read(&none).0.known;
    known.extend(ProducerConfig::read(&none).0.known);
    format!("'{key}', set {place}, is no setting of a consumer or producer{}", hint(key, &known))
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

/// The longest name of a static member, as in Kafka.
const INSTANCE_MAX: usize = 249;

impl ConsumerConfig {
    /// Reads settings; the error lists every problem.
    pub fn parse(properties: &Properties) -> Result<Self, Vec<ClientError>> {
        let (read, config) = Self::read(properties);
        read.finish(config)
    }

    /// Whether a setting is a consumer's, built or refused by name.
    pub fn knows(key: &str) -> bool {
        Self::read(&Properties::new()).0.known.contains(&key) || refusal(key).is_some()
    }

    fn read(properties: &Properties) -> (Reader<'_>, Self) {
        let mut read = Reader::new(properties);
        let group_id = read.text("group.id").map(str::to_owned).filter(|group| !group.is_empty());
        let reset = match read.text("auto.offset.reset") {
            None | Some("latest") => OffsetReset::Latest,
            Some("earliest") => OffsetReset::Earliest,
            Some("none") => OffsetReset::None,
            Some(other) => {
                let not_built = if other.starts_with("by_duration:") { " (by_duration is not built)" } else { "" };
                read.problem(format!("auto.offset.reset = \"{other}\": expected earliest, latest or none{not_built}"));
                OffsetReset::Latest
            }
        };
        let mut assignors = Vec::new();
        let strategy = read.text("partition.assignment.strategy").unwrap_or("range,cooperative-sticky");
        for name in strategy.split(',').map(str::trim) {
            match Assignor::from_setting(name) {
                Some(assignor) if !assignors.contains(&assignor) => assignors.push(assignor),
                Some(_) => {}
                None => read.problem(format!(
                    "partition.assignment.strategy: '{name}' is unknown; expected range, roundrobin, sticky or cooperative-sticky"
                )),
            }
        }
        read.only("group.protocol", &["classic"], "the consumer protocol of KIP-848 is not built");
        read.only("isolation.level", &["read_uncommitted", "read_committed"], "no such level");
        let group_instance_id = read.text("group.instance.id").map(str::to_owned);
        if let Some(name) = &group_instance_id {
            let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if matches!(name.as_str(), "" | "." | "..") || name.len() > INSTANCE_MAX || !name.chars().all(letter) {
                let letters = "letters, digits, '.', '_' and '-', and not '.' or '..' alone";
                read.problem(format!("group.instance.id = \"{name}\": expected 1 to {INSTANCE_MAX} of {letters}"));
            }
        }
        read.refused("client.rack", "this broker has no racks");
        read.refused("group.remote.assignor", "the consumer protocol of KIP-848 is not built");
        read.only("exclude.internal.topics", &["true"], "patterns never match internal topics");
        // A commit is answered at once; what fails for a passing reason is the container's to try again.
        read.long_millis("retry.backoff.ms", 100);
        read.long_millis("retry.backoff.max.ms", 1_000);
        let config = Self {
            group_instance_id,
            client_id: read.text("client.id").unwrap_or("consumer").to_owned(),
            session_timeout: read.millis("session.timeout.ms", 45_000, 1),
            heartbeat_interval: read.millis("heartbeat.interval.ms", 3_000, 1),
            max_poll_interval: read.millis("max.poll.interval.ms", 300_000, 1),
            max_poll_records: read.number("max.poll.records", 500, 1, i32::MAX as usize),
            fetch_min_bytes: read.number("fetch.min.bytes", 1, 0, i32::MAX as usize),
            fetch_max_bytes: read.number("fetch.max.bytes", 52_428_800, 0, i32::MAX as usize),
            max_partition_fetch_bytes: read.number("max.partition.fetch.bytes", 1_048_576, 0, i32::MAX as usize),
            fetch_max_wait: read.millis("fetch.max.wait.ms", 500, 0),
            enable_auto_commit: read.boolean("enable.auto.commit", group_id.is_some()) && group_id.is_some(),
            auto_commit_interval: read.millis("auto.commit.interval.ms", 5_000, 0),
            auto_offset_reset: reset,
            assignors,
            read_committed: read.text("isolation.level") == Some("read_committed"),
            check_crcs: read.boolean("check.crcs", true),
            allow_auto_create_topics: read.boolean("allow.auto.create.topics", true),
            group_id,
        };
        if config.heartbeat_interval >= config.session_timeout {
            let (beat, session) = (config.heartbeat_interval.as_millis(), config.session_timeout.as_millis());
            read.problem(format!("heartbeat.interval.ms ({beat}) must be below session.timeout.ms ({session})"));
        }
        (read, config)
    }
}

impl ProducerConfig {
    /// Reads settings; the error lists every problem.
    pub fn parse(properties: &Properties) -> Result<Self, Vec<ClientError>> {
        let (read, config) = Self::read(properties);
        read.finish(config)
    }

    /// Whether a setting is a producer's, built or refused by name.
    pub fn knows(key: &str) -> bool {
        Self::read(&Properties::new()).0.known.contains(&key) || refusal(key).is_some()
    }

    fn read(properties: &Properties) -> (Reader<'_>, Self) {
        let mut read = Reader::new(properties);
        let acks = match read.text("acks") {
            None | Some("all" | "-1") => Acks::All,
            Some("1") => Acks::One,
            Some("0") => Acks::Zero,
            Some(other) => {
                read.problem(format!("acks = \"{other}\": expected 0, 1 or all"));
                Acks::All
            }
        };
        let (compression, compression_level) = compression(&mut read);
        read.refused("transactional.id", "transactions are not built");
        read.refused("partitioner.class", "no classes are loaded; name a partition in the record to choose it");
        read.only("partitioner.ignore.keys", &["false"], "keys always decide");
        // With one broker all partitions are equally near and always there.
        read.boolean("partitioner.adaptive.partitioning.enable", true);
        read.number("partitioner.availability.timeout.ms", 0u64, 0, i32::MAX as u64);
        let idempotent = idempotence(&mut read, acks);
        let config = Self {
            client_id: read.text("client.id").unwrap_or("producer").to_owned(),
            acks,
            linger: read.millis("linger.ms", 5, 0),
            batch_size: read.number("batch.size", 16_384, 0, i32::MAX as usize),
            buffer_memory: read.number("buffer.memory", 33_554_432, 1, usize::MAX),
            compression,
            compression_level,
            max_block: read.long_millis("max.block.ms", 60_000),
            max_request_size: read.number("max.request.size", 1_048_576, 0, i32::MAX as usize),
            delivery_timeout: read.millis("delivery.timeout.ms", 120_000, 0),
            retries: read.number("retries", i32::MAX as u32, 0, i32::MAX as u32),
            idempotent,
            retry_backoff: read.long_millis("retry.backoff.ms", 100),
            retry_backoff_max: read.long_millis("retry.backoff.max.ms", 1_000),
        };
        if config.delivery_timeout < config.linger {
            read.problem("delivery.timeout.ms must not be below linger.ms".to_owned());
        }
        (read, config)
    }
}

/// Whether the producer is idempotent, and what that asks of other settings. As in Kafka 4, settings that go against the default
/// turn it off, but for more requests in flight than the broker keeps batches.
fn idempotence(read: &mut Reader<'_>, acks: Acks) -> bool {
    let explicit = read.properties.get("enable.idempotence").is_some();
    let in_flight = read.number("max.in.flight.requests.per.connection", 5u32, 1, i32::MAX as u32);
    let retries = read.number("retries", i32::MAX as u32, 0, i32::MAX as u32);
    if !read.boolean("enable.idempotence", true) {
        return false;
    }
    let against = [(acks != Acks::All, "acks = all"), (retries == 0, "retries above 0")];
    for (_, needed) in against.iter().filter(|(wrong, _)| explicit && *wrong) {
        read.problem(format!("enable.idempotence = true needs {needed}"));
    }
    let off = !explicit && against.iter().any(|(wrong, _)| *wrong);
    if in_flight > 5 && !off {
        read.problem(format!(
            "max.in.flight.requests.per.connection = {in_flight}: enable.idempotence, true by default, needs at most 5"
        ));
    }
    !off
}

/// The type, and its level if that is set. All levels are checked, also those of other types.
fn compression(read: &mut Reader<'_>) -> (CompressionType, Option<i32>) {
    let text = read.text("compression.type").unwrap_or("none");
    let chosen = CompressionType::ALL.into_iter().find(|kind| kind.name() == text).unwrap_or_else(|| {
        read.problem(format!("compression.type = \"{text}\": expected none, gzip, snappy, lz4 or zstd"));
        CompressionType::None
    });
    let mut level = None;
    for (key, kind, default, least, most) in [
        ("compression.gzip.level", CompressionType::Gzip, -1, -1, 9),
        ("compression.lz4.level", CompressionType::Lz4, 9, 1, 17),
        ("compression.zstd.level", CompressionType::Zstd, 3, -131_072, 22),
    ] {
        let set = read.number(key, default, least, most);
        if kind == chosen && set != default {
            level = Some(set);
        }
    }
    (chosen, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kafkas() {
        let config = ConsumerConfig::parse(&Properties::new().with("group.id", "g")).expect("defaults");
        assert_eq!((config.max_poll_records, config.session_timeout.as_millis(), config.enable_auto_commit), (500, 45_000, true));
        assert!(!ConsumerConfig::parse(&Properties::new()).expect("defaults").enable_auto_commit);
        let config = ProducerConfig::parse(&Properties::new()).expect("defaults");
        assert_eq!((config.linger.as_millis(), config.batch_size, config.acks), (5, 16_384, Acks::All));
    }

    #[test]
    fn space_around_a_value_does_not_count() {
        let spaced =
            Properties::new().with("isolation.level", " read_committed\n").with("group.id", " g ").with("client.id", "\tc");
        let config = ConsumerConfig::parse(&spaced).expect("fine");
        assert!(config.read_committed);
        assert_eq!((config.group_id.as_deref(), config.client_id.as_str()), (Some("g"), "c"));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let wrong = Properties::new()
            .with("max.poll.recods", 5)
            .with("session.timeout.ms", "soon")
            .with("auto.offset.reset", "first")
            .with("group.instance.id", "a b")
            .with("isolation.level", "dirty");
        let problems: Vec<String> = ConsumerConfig::parse(&wrong).expect_err("wrong").iter().map(ToString::to_string).collect();
        for part in [
            "did you mean 'max.poll.records'",
            "session.timeout.ms = \"soon\"",
            "earliest, latest or none",
            "group.instance.id = \"a b\"",
            "isolation.level",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:#?}");
        }
        assert_eq!(problems.len(), 5);
        let wrong = Properties::new().with("acks", 2).with("compression.type", "zip").with("transactional.id", "t");
        assert_eq!(ProducerConfig::parse(&wrong).expect_err("wrong").len(), 3);
    }

    /// A setting, its value, and a part of what is said about it; nothing if it is accepted.
    type Case = (&'static str, &'static str, Option<&'static str>);

    fn check(cases: &[Case], parse: impl Fn(&Properties) -> Result<(), Vec<ClientError>>) {
        for (key, value, expected) in cases {
            let said = parse(&Properties::new().with("client.id", "c").with(*key, value));
            match (said, expected) {
                (Ok(()), None) => {}
                (Err(problems), Some(part)) => {
                    let text = problems[0].to_string();
                    assert!(problems.len() == 1 && text.contains(key) && text.contains(part), "{key} = {value}: {problems:?}");
                }
                (said, _) => panic!("{key} = {value}: {said:?}"),
            }
        }
    }

    #[test]
    fn consumer_settings_are_taken_or_refused_by_name() {
        let cases: &[Case] = &[
            ("bootstrap.servers", "b:9092", Some("in this process")),
            ("security.protocol", "SSL", Some("no connection to secure")),
            ("sasl.mechanism", "PLAIN", Some("log in")),
            ("ssl.truststore.location", "x", Some("no connection")),
            ("value.deserializer", "x", Some("listener's parameter")),
            ("group.protocol", "consumer", Some("KIP-848")),
            ("group.protocol", "classic", None),
            ("client.rack", "r", Some("no racks")),
            ("exclude.internal.topics", "false", Some("internal")),
            ("auto.offset.reset", "by_duration:PT1H", Some("by_duration is not built")),
            ("partition.assignment.strategy", "fair", Some("cooperative-sticky")),
            ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor", None),
            ("max.poll.records", "0", Some("from 1 to")),
            ("metadata.max.age.ms", "9223372036854775807", None),
            ("connections.max.idle.ms", "9223372036854775807", None),
            ("request.timeout.ms", "2147483648", Some("from 0 to 2147483647")),
            ("check.crcs", "yes", Some("true or false")),
            ("check.crcs", "FALSE", None),
            ("request.timeout.ms", "soon", Some("whole number")),
            ("request.timeout.ms", "30000", None),
            ("receive.buffer.bytes", "-1", None),
            ("isolation.level", "read_committed", None),
            ("retry.backoff.ms", "100", None),
            ("linger.ms", "5", Some("no setting")),
            ("heartbeat.interval.ms", "60000", Some("below session.timeout.ms")),
        ];
        check(cases, |properties| ConsumerConfig::parse(properties).map(drop));
    }

    #[test]
    fn producer_settings_are_taken_or_refused_by_name() {
        let cases: &[Case] = &[
            ("bootstrap.servers", "b:9092", Some("in this process")),
            ("transactional.id", "t", Some("not built")),
            ("transaction.timeout.ms", "1", Some("not built")),
            ("compression.type", "lz4", None),
            ("compression.type", "none", None),
            ("compression.type", "brotli", Some("none, gzip, snappy, lz4 or zstd")),
            ("compression.gzip.level", "10", Some("-1 to 9")),
            ("compression.zstd.level", "3", None),
            ("compression.zstd.level", "23", Some("to 22")),
            ("partitioner.class", "x", Some("name a partition")),
            ("partitioner.ignore.keys", "true", Some("keys")),
            ("acks", "2", Some("0, 1 or all")),
            ("acks", "-1", None),
            ("linger.ms", "-1", Some("from 0 to")),
            ("max.block.ms", "9223372036854775807", None),
            ("retry.backoff.ms", "9223372036854775807", None),
            ("delivery.timeout.ms", "2147483648", Some("to 2147483647")),
            ("batch.size", "16k", Some("whole number")),
            ("enable.idempotence", "true", None),
            ("enable.idempotence", "false", None),
            ("max.in.flight.requests.per.connection", "6", Some("needs at most 5")),
            ("retries", "0", None),
            ("bach.size", "1", Some("did you mean 'batch.size'")),
        ];
        check(cases, |properties| ProducerConfig::parse(properties).map(drop));
        let explicit = Properties::new()
            .with("enable.idempotence", true)
            .with("acks", 1)
            .with("retries", 0)
            .with("max.in.flight.requests.per.connection", 6);
        assert_eq!(ProducerConfig::parse(&explicit).expect_err("three conditions").len(), 3);
        let idempotent =
            |settings: &[(&str, &str)]| ProducerConfig::parse(&settings.iter().copied().collect()).expect("fine").idempotent;
        for (settings, expected) in [
            (&[][..], true),
            (&[("acks", "all"), ("retries", "1"), ("max.in.flight.requests.per.connection", "1")], true),
            (&[("acks", "1")], false),
            (&[("acks", "0"), ("max.in.flight.requests.per.connection", "6")], false),
            (&[("retries", "0")], false),
            (&[("enable.idempotence", "false")], false),
            (&[("enable.idempotence", "false"), ("max.in.flight.requests.per.connection", "6")], false),
        ] {
            assert_eq!(idempotent(settings), expected, "{settings:?}");
        }
    }
}
