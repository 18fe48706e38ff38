//! What the server has done: per API how often, how long it took, how many bytes; and its connections.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::dispatch::APIS;

/// Latencies are counted in buckets, each up to twice the one before, from this many microseconds on.
const FIRST_BUCKET_US: u64 = 16;
/// Up to 2 minutes; the last one holds all that took longer.
const BUCKETS: usize = 24;

/// What one API has done since the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiMetrics {
    /// Kafka's name of the API.
    pub name: &'static str,
    /// Requests that were answered, or taken without an answer where none is wanted.
    pub requests: u64,
    /// Requests that closed their connection.
    pub refused: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of answers.
    pub response_bytes: u64,
    /// From a request's arrival to its answer, waiting included (a fetch without data, a join).
    pub latency: Latency,
}

/// How long something took, in buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; BUCKETS],
    total_us: u64,
}

impl Latency {
    /// How often it was measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// On average.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.total_us.checked_div(self.count()).unwrap_or(0))
    }

    /// What this part of all (0 to 1) did not take longer than, to within a factor of two; zero if nothing was measured.
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Duration::from_micros(upper_us(bucket));
            }
        }
        Duration::ZERO
    }
}

/// The server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMetrics {
    /// Every API that is served, by its number on the wire.
    pub apis: Vec<ApiMetrics>,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were accepted, in all.
    pub accepted: u64,
    /// Connections that were closed at once, since there were too many.
    pub turned_away: u64,
    /// Logins that failed.
    pub failed_logins: u64,
    /// Answers that told a client to wait, since it was over its quota.
    pub throttled: u64,
    /// For how long, in milliseconds, in all.
    pub throttled_ms: u64,
}

impl ServerMetrics {
    /// In the text format of Prometheus, for whatever serves it.
    pub fn prometheus(&self) -> String {
        let mut out = String::new();
        let mut gauge = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "# HELP kafka_server_{name} {help}\n# TYPE kafka_server_{name} {kind}\nkafka_server_{name} {value}"
            );
        };
        gauge("connections", "gauge", "Open connections.", self.connections);
        gauge("connections_accepted_total", "counter", "Connections accepted.", self.accepted);
        gauge("connections_turned_away_total", "counter", "Connections closed since there were too many.", self.turned_away);
        gauge("failed_logins_total", "counter", "Logins that failed.", self.failed_logins);
        gauge("throttled_total", "counter", "Answers that told a client to wait.", self.throttled);
        gauge("throttled_milliseconds_total", "counter", "How long clients were told to wait.", self.throttled_ms);
        self.per_api(&mut out, "requests_total", "Requests answered.", |api| api.requests);
        self.per_api(&mut out, "requests_refused_total", "Requests that closed their connection.", |api| api.refused);
        self.per_api(&mut out, "request_bytes_total", "Bytes of requests.", |api| api.request_bytes);
        self.per_api(&mut out, "response_bytes_total", "Bytes of answers.", |api| api.response_bytes);
        out.push_str("# HELP kafka_server_request_seconds From a request's arrival to its answer.\n");
        out.push_str("# TYPE kafka_server_request_seconds histogram\n");
        for api in self.apis.iter().filter(|api| api.latency.count() > 0) {
            let mut seen = 0;
            for (bucket, count) in api.latency.counts.iter().enumerate() {
                seen += count;
                let upper = if bucket + 1 == BUCKETS { "+Inf".to_owned() } else { seconds(upper_us(bucket)) };
                let _ = writeln!(out, "kafka_server_request_seconds_bucket{{api=\"{}\",le=\"{upper}\"}} {seen}", api.name);
            }
            let _ = writeln!(out, "kafka_server_request_seconds_sum{{api=\"{}\"}} {}", api.name, seconds(api.latency.total_us));
            let _ = writeln!(out, "kafka_server_request_seconds_count{{api=\"{}\"}} {seen}", api.name);
        }
        out
    }

    fn per_api(&self, out: &mut String, name: &str, help: &str, value: impl Fn(&ApiMetrics) -> u64) {
        let _ = writeln!(out, "# HELP kafka_server_{name} {help}\n# TYPE kafka_server_{name} counter");
        for api in &self.apis {
            let _ = writeln!(out, "kafka_server_{name}{{api=\"{}\"}} {}", api.name, value(api));
        }
    }
}

fn seconds(us: u64) -> String {
    format!("{}", us as f64 / 1e6)
}

fn bucket_of(us: u64) -> usize {
    let above = us.saturating_sub(1) / FIRST_BUCKET_US;
    ((u64::BITS - above.leading_zeros()) as usize).min(BUCKETS - 1)
}

const fn upper_us(bucket: usize) -> u64 {
    FIRST_BUCKET_US << bucket
}

#[derive(Debug)]
struct ApiCounts {
    refused: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    total_us: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

/// The counters that connections count with.
#[derive(Debug)]
pub(super) struct Metrics {
    /// In the order of the table.
    apis: Vec<ApiCounts>,
    pub accepted: AtomicU64,
    pub turned_away: AtomicU64,
    pub failed_logins: AtomicU64,
    throttled: AtomicU64,
    throttled_ms: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let counts = || ApiCounts {
            refused: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            total_us: AtomicU64::new(0),
            latency: [const { AtomicU64::new(0) }; BUCKETS],
        };
        Self {
            apis: APIS.iter().map(|_| counts()).collect(),
            accepted: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            failed_logins: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            throttled_ms: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    fn api(&self, key: i16) -> Option<&ApiCounts> {
        APIS.binary_search_by_key(&key, |api| api.key).ok().and_then(|index| self.apis.get(index))
    }

    /// A request was answered with so many bytes; none where none is wanted.
    pub fn answered(&self, key: i16, request_bytes: usize, response_bytes: usize, took: Duration) {
        let Some(api) = self.api(key) else { return };
        let us = took.as_micros() as u64;
        api.request_bytes.fetch_add(request_bytes as u64, Ordering::Relaxed);
        api.response_bytes.fetch_add(response_bytes as u64, Ordering::Relaxed);
        api.total_us.fetch_add(us, Ordering::Relaxed);
        api.latency[bucket_of(us)].fetch_add(1, Ordering::Relaxed);
    }

    /// A request closed its connection.
    pub fn refused(&self, key: i16) {
        if let Some(api) = self.api(key) {
            api.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client was told to wait.
    pub fn throttled(&self, ms: u64) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        self.throttled_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// With the connections that are open now.
    pub fn snapshot(&self, connections: usize) -> ServerMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let one = |(api, counts): (&super::Api, &ApiCounts)| {
            let latency =
                Latency { counts: std::array::from_fn(|bucket| read(&counts.latency[bucket])), total_us: read(&counts.total_us) };
            ApiMetrics {
                name: api.name,
                requests: latency.count(),
                refused: read(&counts.refused),
                request_bytes: read(&counts.request_bytes),
                response_bytes: read(&counts.response_bytes),
                latency,
            }
        };
        ServerMetrics {
            apis: APIS.iter().zip(&self.apis).map(one).collect(),
            connections: connections as u64,
            accepted: read(&self.accepted),
            turned_away: read(&self.turned_away),
            failed_logins: read(&self.failed_logins),
            throttled: read(&self.throttled),
            throttled_ms: read(&self.throttled_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_say() {
        for (us, bucket) in [(0, 0), (1, 0), (16, 0), (17, 1), (32, 1), (33, 2), (64, 2), (65, 3), (u64::MAX, BUCKETS - 1)] {
            assert_eq!(bucket_of(us), bucket, "{us}");
        }
        for us in 1..100_000u64 {
            let bucket = bucket_of(us);
            assert!(us <= upper_us(bucket) && (bucket == 0 || us > upper_us(bucket - 1)), "{us}");
        }
    }

    #[test]
    fn what_was_done_is_told() {
        let metrics = Metrics::default();
        for took in [10, 100, 100, 5_000] {
            metrics.answered(0, 1000, 50, Duration::from_micros(took));
        }
        metrics.refused(1);
        metrics.answered(-7, 1, 1, Duration::ZERO);
        metrics.throttled(250);
        let told = metrics.snapshot(0);
        let produce = &told.apis[0];
        assert_eq!((produce.name, produce.requests, produce.request_bytes, produce.response_bytes), ("Produce", 4, 4000, 200));
        assert_eq!(produce.latency.mean(), Duration::from_micros(1302));
        let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| produce.latency.quantile(part).as_micros());
        assert_eq!(quantiles, [16, 16, 128, 128, 8192]);
        assert_eq!((told.apis[1].refused, told.throttled, told.throttled_ms), (1, 1, 250));
        let text = told.prometheus();
        for line in [
            "kafka_server_requests_total{api=\"Produce\"} 4",
            "kafka_server_request_seconds_bucket{api=\"Produce\",le=\"0.000128\"} 3",
            "kafka_server_request_seconds_bucket{api=\"Produce\",le=\"+Inf\"} 4",
            "kafka_server_request_seconds_sum{api=\"Produce\"} 0.00521",
            "kafka_server_requests_refused_total{api=\"Fetch\"} 1",
            "kafka_server_throttled_milliseconds_total 250",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
