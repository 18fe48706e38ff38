use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where time comes from. Only hot code asks it; machines are given `now`.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970: what records are stamped with.
    fn wall_ms(&self) -> i64;
    /// The same to within a few milliseconds, if that is cheaper: for what is kept for days.
    fn wall_ms_coarse(&self) -> i64 {
        self.wall_ms()
    }
    /// Milliseconds since some fixed moment, never going back: what deadlines are measured with.
    fn monotonic_ms(&self) -> u64;
}

/// The machine's clock. Where the system has one, deadlines use the clock that it keeps ready at each of its ticks, a few
/// milliseconds apart: it costs a commit a fifth of what the exact one does.
#[derive(Debug)]
pub struct SystemClock {
    start: coarse::Monotonic,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: coarse::Monotonic::now() }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    fn wall_ms_coarse(&self) -> i64 {
        coarse::wall_ms().unwrap_or_else(|| self.wall_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed_ms()
    }
}

#[cfg(target_os = "linux")]
mod coarse {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    fn ms(time: Timespec) -> i64 {
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    #[derive(Debug)]
    pub(super) struct Monotonic(i64);

    impl Monotonic {
        pub fn now() -> Self {
            Self(ms(clock_gettime(ClockId::MonotonicCoarse)))
        }

        pub fn elapsed_ms(&self) -> u64 {
            (ms(clock_gettime(ClockId::MonotonicCoarse)) - self.0).cast_unsigned()
        }
    }

    pub(super) fn wall_ms() -> Option<i64> {
        Some(ms(clock_gettime(ClockId::RealtimeCoarse)))
    }
}

#[cfg(not(target_os = "linux"))]
mod coarse {
    use std::time::Instant;

    #[derive(Debug)]
    pub(super) struct Monotonic(Instant);

    impl Monotonic {
        pub fn now() -> Self {
            Self(Instant::now())
        }

        pub fn elapsed_ms(&self) -> u64 {
            self.0.elapsed().as_millis() as u64
        }
    }

    pub(super) fn wall_ms() -> Option<i64> {
        None
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
