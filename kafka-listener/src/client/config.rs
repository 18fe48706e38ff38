//! Kafka's client settings: names, types and defaults of Kafka 4. One that is unknown, ill-typed or not built is an error
//! that names it; all problems are found at once.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::{ClientError, ClientErrorKind, Properties};

/// A consumer's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `group.id`.
    pub group_id: Option<String>,
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
    /// `max.block.ms`; 60 s.
    pub max_block: Duration,
    /// `max.request.size`; 1 MiB.
    pub max_request_size: usize,
    /// `delivery.timeout.ms`; 2 min.
    pub delivery_timeout: Duration,
    /// `retries`; i32::MAX.
    pub retries: u32,
    /// `retry.backoff.ms`; 100 ms.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`; 1 s.
    pub retry_backoff_max: Duration,
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

/// Settings that only mean something over a network: accepted, since nothing here could differ by them.
const NETWORK: [&str; 12] = [
    "client.dns.lookup",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
];

/// Takes settings one by one and collects what is wrong with them.
struct Reader<'a> {
    properties: &'a Properties,
    known: Vec<&'static str>,
    problems: Vec<ClientError>,
}

impl<'a> Reader<'a> {
    fn new(properties: &'a Properties) -> Self {
        Self { properties, known: NETWORK.to_vec(), problems: Vec::new() }
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
        match text.trim().parse::<N>() {
            Ok(number) if number >= least && number <= most => number,
            _ => {
                self.problem(format!("{key} = \"{text}\": expected a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn millis(&mut self, key: &'static str, default: u64, least: u64) -> Duration {
        Duration::from_millis(self.number(key, default, least, i32::MAX as u64))
    }

    fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        match self.text(key).map(str::trim) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.problem(format!("{key} = \"{other}\": expected true or false"));
                default
            }
        }
    }

    /// A setting of which only some values are built.
    fn only(&mut self, key: &'static str, built: &[&str], why: &str) {
        if let Some(text) = self.text(key)
            && !built.contains(&text.trim())
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
            let nearest = self.known.iter().map(|known| (distance(&key, known), *known)).min();
            let hint =
                nearest.filter(|(far, _)| *far <= 4).map_or_else(String::new, |(_, known)| format!("; did you mean '{known}'?"));
            self.problem(format!("'{key}' is no setting that this client knows{hint}"));
        }
        if self.problems.is_empty() { Ok(config) } else { Err(self.problems) }
    }
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

impl ConsumerConfig {
    /// Reads settings; the error lists every problem.
    pub fn parse(properties: &Properties) -> Result<Self, Vec<ClientError>> {
        let mut read = Reader::new(properties);
        let group_id = read.text("group.id").map(str::to_owned).filter(|group| !group.is_empty());
        let reset = match read.text("auto.offset.reset").map(str::trim) {
            None | Some("latest") => OffsetReset::Latest,
            Some("earliest") => OffsetReset::Earliest,
            Some("none") => OffsetReset::None,
            Some(other) => {
                read.problem(format!("auto.offset.reset = \"{other}\": expected earliest, latest or none"));
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
        read.refused("group.instance.id", "static membership is not built");
        read.refused("client.rack", "this broker has no racks");
        let config = Self {
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
            check_crcs: read.boolean("check.crcs", true),
            allow_auto_create_topics: read.boolean("allow.auto.create.topics", true),
            group_id,
        };
        if config.heartbeat_interval >= config.session_timeout {
            let (beat, session) = (config.heartbeat_interval.as_millis(), config.session_timeout.as_millis());
            read.problem(format!("heartbeat.interval.ms ({beat}) must be below session.timeout.ms ({session})"));
        }
        read.finish(config)
    }
}

impl ProducerConfig {
    /// Reads settings; the error lists every problem.
    pub fn parse(properties: &Properties) -> Result<Self, Vec<ClientError>> {
        let mut read = Reader::new(properties);
        let acks = match read.text("acks").map(str::trim) {
            None | Some("all" | "-1") => Acks::All,
            Some("1") => Acks::One,
            Some("0") => Acks::Zero,
            Some(other) => {
                read.problem(format!("acks = \"{other}\": expected 0, 1 or all"));
                Acks::All
            }
        };
        let idempotent = read.boolean("enable.idempotence", true);
        if idempotent && acks != Acks::All && properties.get("enable.idempotence").is_some() {
            read.problem("enable.idempotence = true needs acks = all".to_owned());
        }
        read.only("compression.type", &["none"], "compression is not built");
        read.refused("transactional.id", "transactions are not built");
        read.number("max.in.flight.requests.per.connection", 5u32, 1, i32::MAX as u32);
        let config = Self {
            client_id: read.text("client.id").unwrap_or("producer").to_owned(),
            acks,
            linger: read.millis("linger.ms", 5, 0),
            batch_size: read.number("batch.size", 16_384, 0, i32::MAX as usize),
            buffer_memory: read.number("buffer.memory", 33_554_432, 1, usize::MAX),
            max_block: read.millis("max.block.ms", 60_000, 0),
            max_request_size: read.number("max.request.size", 1_048_576, 0, i32::MAX as usize),
            delivery_timeout: read.millis("delivery.timeout.ms", 120_000, 0),
            retries: read.number("retries", i32::MAX as u32, 0, i32::MAX as u32),
            retry_backoff: read.millis("retry.backoff.ms", 100, 0),
            retry_backoff_max: read.millis("retry.backoff.max.ms", 1_000, 0),
        };
        if config.delivery_timeout < config.linger {
            read.problem("delivery.timeout.ms must not be below linger.ms".to_owned());
        }
        read.finish(config)
    }
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
    fn every_problem_is_named_at_once() {
        let wrong = Properties::new()
            .with("max.poll.recods", 5)
            .with("session.timeout.ms", "soon")
            .with("auto.offset.reset", "first")
            .with("group.instance.id", "a")
            .with("isolation.level", "dirty");
        let problems: Vec<String> = ConsumerConfig::parse(&wrong).expect_err("wrong").iter().map(ToString::to_string).collect();
        for part in [
            "did you mean 'max.poll.records'",
            "session.timeout.ms = \"soon\"",
            "earliest, latest or none",
            "static membership",
            "isolation.level",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:#?}");
        }
        assert_eq!(problems.len(), 5);
        let wrong = Properties::new().with("acks", 2).with("compression.type", "zstd").with("transactional.id", "t");
        assert_eq!(ProducerConfig::parse(&wrong).expect_err("wrong").len(), 3);
    }
}
