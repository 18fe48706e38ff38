use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long to wait between deliveries, and how often.
pub trait BackOff: Send + Sync + 'static {
    /// The wait after this many failures (from 1); `None` when retrying is over.
    fn after(&self, failures: u32) -> Option<Duration>;
}

/// The same wait each time.
#[derive(Debug, Clone, Copy)]
pub struct FixedBackOff {
    interval: Duration,
    max_retries: u32,
}

impl FixedBackOff {
    /// Retries this often, this far apart: `max_retries` + 1 deliveries in all.
    pub const fn new(interval: Duration, max_retries: u32) -> Self {
        Self { interval, max_retries }
    }
}

impl BackOff for FixedBackOff {
    fn after(&self, failures: u32) -> Option<Duration> {
        (failures <= self.max_retries).then_some(self.interval)
    }
}

/// Waits that grow by a factor.
#[derive(Debug)]
pub struct ExponentialBackOff {
    initial: Duration,
    multiplier: f64,
    max_interval: Duration,
    max_retries: u32,
    jitter: Duration,
    random: AtomicU64,
}

impl ExponentialBackOff {
    /// Starts with this wait; then 1.5 times as long each time, at most 30 s, without end.
    pub const fn new(initial: Duration) -> Self {
        Self {
            initial,
            multiplier: 1.5,
            max_interval: Duration::from_secs(30),
            max_retries: u32::MAX,
            jitter: Duration::ZERO,
            random: AtomicU64::new(0x9e37_79b9),
        }
    }

    /// How much longer each wait is; 1.5.
    pub fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier.max(1.0);
        self
    }

    /// The longest wait; 30 s.
    pub fn max_interval(mut self, interval: Duration) -> Self {
        self.max_interval = interval;
        self
    }

    /// How often to retry; without end.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Adds up to this much to each wait, on top of the longest one too, from a sequence that starts at `seed`.
    pub fn jitter(mut self, jitter: Duration, seed: u64) -> Self {
        self.jitter = jitter;
        self.random = AtomicU64::new(seed);
        self
    }
}

impl BackOff for ExponentialBackOff {
    fn after(&self, failures: u32) -> Option<Duration> {
        if failures > self.max_retries {
            return None;
        }
        let factor = self.multiplier.powi(failures.saturating_sub(1).min(1000) as i32);
        let wait =
            Duration::try_from_secs_f64(self.initial.as_secs_f64() * factor).unwrap_or(self.max_interval).min(self.max_interval);
        if self.jitter.is_zero() {
            return Some(wait);
        }
        let draw = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
        Some(wait + self.jitter.mul_f64(draw as f64 / f64::from(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_and_ends() {
        let fixed = FixedBackOff::new(Duration::from_millis(5), 2);
        assert_eq!([1, 2, 3].map(|n| fixed.after(n).map(|wait| wait.as_millis())), [Some(5), Some(5), None]);
        let growing = ExponentialBackOff::new(Duration::from_millis(100))
            .multiplier(2.0)
            .max_interval(Duration::from_millis(350))
            .max_retries(4);
        assert_eq!(
            [1, 2, 3, 4, 5].map(|n| growing.after(n).map(|wait| wait.as_millis())),
            [Some(100), Some(200), Some(350), Some(350), None]
        );
        let endless = ExponentialBackOff::new(Duration::from_millis(1)).multiplier(10.0);
        for failures in [9, 1000, u32::MAX] {
            assert_eq!(endless.after(failures), Some(Duration::from_secs(30)), "after {failures}");
        }
        assert_eq!(ExponentialBackOff::new(Duration::ZERO).after(5), Some(Duration::ZERO));
        assert_eq!(FixedBackOff::new(Duration::ZERO, u32::MAX).after(u32::MAX), Some(Duration::ZERO));
        let same = || ExponentialBackOff::new(Duration::from_millis(100)).jitter(Duration::from_millis(50), 7);
        let (left, right) = (same(), same());
        let waits: Vec<_> = (0..20).map(|_| left.after(1)).collect();
        assert_eq!(waits, (0..20).map(|_| right.after(1)).collect::<Vec<_>>(), "the same seed, the same waits");
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
        let spread = ExponentialBackOff::new(Duration::from_millis(100)).jitter(Duration::from_millis(10), 7);
        assert!((0..50).filter_map(|_| spread.after(1)).all(|wait| (100..=110).contains(&wait.as_millis())));
    }
}
