use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts changes, and wakes who waits for one in the order in which they began to wait. A `watch` channel would wake them in
/// random order, and two runs from one seed would differ.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    count: AtomicU64,
    notify: Notify,
}

impl Counter {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub fn raise(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.notify.notify_waiters();
    }

    /// Completes when the count is another than `seen`; cancel-safe.
    pub async fn changed(&self, seen: u64) -> u64 {
        loop {
            // Before the look: it hears of every change from here on.
            let notified = self.notify.notified();
            let count = self.count();
            if count != seen {
                return count;
            }
            notified.await;
        }
    }
}

/// Tells one who waits that groups may have begun a rebalance.
#[derive(Debug, Clone)]
pub struct GroupChanges {
    counter: Arc<Counter>,
    seen: u64,
}

impl GroupChanges {
    pub(crate) fn new(counter: Arc<Counter>) -> Self {
        Self { seen: counter.count(), counter }
    }

    /// Counts everything up to now as seen.
    pub fn mark_seen(&mut self) {
        self.seen = self.counter.count();
    }

    /// Completes when there was a change that is not seen yet, and counts it as seen; cancel-safe.
    pub async fn changed(&mut self) {
        self.seen = self.counter.changed(self.seen).await;
    }
}
