use std::collections::VecDeque;

/// `quota.window.num` and `quota.window.size.seconds`.
const WINDOWS: u64 = 11;
const WINDOW_MS: u64 = 1000;
/// How long something counts.
pub(super) const COUNTS_MS: u64 = WINDOWS * WINDOW_MS;
/// How many seconds' worth may be taken at once.
pub(super) const SECONDS: f64 = ((WINDOWS - 1) * WINDOW_MS / 1000) as f64;

/// What was taken in the last windows, as Kafka counts it.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When each window began, and what was taken in it; the oldest first.
    windows: VecDeque<(u64, u64)>,
}

impl Rate {
    /// Counts something.
    pub fn record(&mut self, now: u64, amount: u64) {
        self.forget(now);
        match self.windows.back_mut() {
            Some((begun, taken)) if now < *begun + WINDOW_MS => *taken += amount,
            _ => self.windows.push_back((now, amount)),
        }
    }

    /// How long to wait until the rate is the quota's again, in milliseconds: none if it is not over it.
    pub fn wait(&mut self, now: u64, quota: f64) -> u64 {
        self.forget(now);
        let Some((oldest, _)) = self.windows.front() else { return 0 };
        let taken: u64 = self.windows.iter().map(|(_, taken)| taken).sum();
        // Windows that nothing was taken in count as well, so that the first requests are no burst.
        let elapsed = now - oldest;
        let full = elapsed / WINDOW_MS;
        let elapsed = (elapsed + (WINDOWS - 1).saturating_sub(full) * WINDOW_MS) as f64;
        let rate = taken as f64 * 1000.0 / elapsed;
        if rate > quota { ((rate - quota) / quota * elapsed).round() as u64 } else { 0 }
    }

    /// Nothing was taken for as long as it would count.
    pub fn is_over(&mut self, now: u64) -> bool {
        self.forget(now);
        self.windows.is_empty()
    }

    fn forget(&mut self, now: u64) {
        while self.windows.front().is_some_and(|(begun, _)| begun + COUNTS_MS <= now) {
            self.windows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_what_is_allowed_never_waits() {
        let mut rate = Rate::default();
        for tick in 0..1000 {
            rate.record(tick * 100, 99);
            assert_eq!(rate.wait(tick * 100, 1000.0), 0, "{tick}");
        }
    }

    #[test]
    fn who_took_too_much_waits_until_it_is_paid() {
        let mut rate = Rate::default();
        // Ten windows' worth are allowed at once; twenty are ten seconds too many.
        rate.record(5_000, 10_000);
        assert_eq!(rate.wait(5_000, 1000.0), 0);
        rate.record(5_000, 10_000);
        assert_eq!(rate.wait(5_000, 1000.0), 10_000);
        assert_eq!(rate.wait(16_000, 1000.0), 0, "it was paid by waiting");
    }

    #[test]
    fn over_time_the_rate_is_the_quota() {
        // Sends as much as it can, and waits as it is told.
        let (mut rate, mut now, mut sent) = (Rate::default(), 0, 0u64);
        while now < 600_000 {
            rate.record(now, 3_000);
            sent += 3_000;
            now += 10 + rate.wait(now, 1000.0);
        }
        let average = sent as f64 / (now as f64 / 1000.0);
        assert!((900.0..1_150.0).contains(&average), "{average}");
        assert!(!rate.is_over(now) && rate.is_over(now + COUNTS_MS));
    }
}
