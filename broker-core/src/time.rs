use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from. Only hot code asks it; machines are given `now`.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970: what records are stamped with.
    fn wall_ms(&self) -> i64;
    /// Milliseconds since some fixed moment, never going back: what deadlines are measured with.
    fn monotonic_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

/// tokio's clock, which a test may pause: wall time is a given start plus what has passed.
#[derive(Debug)]
pub struct TokioClock {
    wall_start_ms: i64,
    start: std::sync::OnceLock<tokio::time::Instant>,
}

impl TokioClock {
    /// A clock that shows `wall_start_ms` (milliseconds since 1970) when it is first asked.
    pub fn new(wall_start_ms: i64) -> Self {
        Self { wall_start_ms, start: std::sync::OnceLock::new() }
    }

    fn passed_ms(&self) -> u64 {
        let now = tokio::time::Instant::now();
        now.duration_since(*self.start.get_or_init(|| now)).as_millis() as u64
    }
}

impl Clock for TokioClock {
    fn wall_ms(&self) -> i64 {
        self.wall_start_ms + self.passed_ms() as i64
    }

    fn monotonic_ms(&self) -> u64 {
        self.passed_ms()
    }
}
