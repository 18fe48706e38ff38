//! A line on standard error now and then.

use std::cell::Cell;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(500);

pub struct Progress(Cell<Instant>);

impl Progress {
    pub fn new() -> Self {
        Self(Cell::new(Instant::now()))
    }

    /// Says it, if half a second has passed since the last time.
    pub fn say(&self, what: impl FnOnce() -> String) {
        let now = Instant::now();
        if now.duration_since(self.0.get()) >= EVERY {
            self.0.set(now);
            eprintln!("{}", what());
        }
    }
}
