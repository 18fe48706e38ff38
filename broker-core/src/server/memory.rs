//! Bytes that all connections together hold: for requests that arrive, and for answers that wait to be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What a connection holds without being counted: its usual buffer, and as much read ahead.
pub(super) const UNCOUNTED_BYTES: usize = 128 * 1024;

/// What an element of a request takes of memory about, with what is answered to it: many times what it took on the wire.
const ELEMENT_BYTES: usize = 256;

/// What the elements of a request take, if that is so much that it counts.
pub(super) fn counted(elements: usize) -> Option<usize> {
    Some(elements.saturating_mul(ELEMENT_BYTES)).filter(|bytes| *bytes > UNCOUNTED_BYTES)
}

/// A bound that connections share. It may be passed by what one of them takes at a time: while anything is free, whoever asks
/// gets what is asked for, so that nobody waits for a size that never comes.
#[derive(Debug)]
pub(super) struct Pool {
    total: i64,
    free: AtomicI64,
    freed: Notify,
}

impl Pool {
    pub fn new(total: usize) -> Arc<Self> {
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        Arc::new(Self { total, free: AtomicI64::new(total), freed: Notify::new() })
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub fn taken(&self) -> i64 {
        self.total - self.free.load(Ordering::Relaxed)
    }

    /// Whether so little is left that who is slow must go.
    pub fn is_short(&self) -> bool {
        self.free.load(Ordering::Relaxed) <= self.total / 4
    }

    /// What one may take at most, so that some is left for others.
    pub fn share(&self) -> usize {
        usize::try_from(self.free.load(Ordering::Relaxed) / 2).unwrap_or(0)
    }

    /// Completes when something became free after this call. To be called before the look at what is free.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

/// What one connection holds of a pool.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Share {
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool, bytes: 0 }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Holds this much, whatever is left.
    pub fn set(&mut self, bytes: usize) {
        let counted = bytes.saturating_sub(UNCOUNTED_BYTES);
        if counted == self.bytes {
            return;
        }
        let (before, after) = (self.bytes as i64, counted as i64);
        self.pool.free.fetch_add(before - after, Ordering::Relaxed);
        self.bytes = counted;
        if after < before {
            self.pool.freed.notify_waiters();
        }
    }

    /// Holds this much, once anything is left.
    pub async fn set_when_free(&mut self, bytes: usize) {
        let pool = self.pool.clone();
        loop {
            let freed = pool.freed();
            if self.try_set(bytes) {
                return;
            }
            freed.await;
        }
    }

    /// Holds this much if it is less than before, or if anything is left.
    pub fn try_set(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(UNCOUNTED_BYTES) > self.bytes;
        if more && self.pool.free.load(Ordering::Relaxed) <= 0 {
            return false;
        }
        self.set(bytes);
        true
    }

    /// What is held, as it was set.
    pub fn held(&self) -> usize {
        if self.bytes == 0 { 0 } else { self.bytes + UNCOUNTED_BYTES }
    }

    pub fn is_counted(&self) -> bool {
        self.bytes > 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes free between a look and the wait for it must not be missed.
    #[tokio::test(start_paused = true)]
    async fn a_wait_begins_when_it_is_asked_for() {
        let pool = Pool::new(1000);
        let mut one = Share::new(pool.clone());
        one.set(UNCOUNTED_BYTES + 1000);
        let mut other = Share::new(pool.clone());
        let freed = pool.freed();
        assert!(!other.try_set(UNCOUNTED_BYTES + 1));
        drop(one);
        tokio::time::timeout(std::time::Duration::from_secs(1), freed).await.expect("it is seen");
        assert!(other.try_set(UNCOUNTED_BYTES + 1));
    }

    #[test]
    fn what_is_taken_comes_back() {
        let pool = Pool::new(1000);
        let (mut one, mut other) = (Share::new(pool.clone()), Share::new(pool.clone()));
        assert!(one.try_set(UNCOUNTED_BYTES), "nothing of the pool");
        assert_eq!((pool.taken(), one.is_counted()), (0, false));
        assert!(one.try_set(UNCOUNTED_BYTES + 700));
        assert_eq!((pool.taken(), pool.share(), pool.is_short()), (700, 150, false));
        assert!(other.try_set(UNCOUNTED_BYTES + 500), "over the bound, but something was left");
        assert!(!one.try_set(UNCOUNTED_BYTES + 701), "nothing is left");
        assert!(pool.is_short() && pool.share() == 0);
        assert!(one.try_set(UNCOUNTED_BYTES + 699), "less can always be");
        drop(other);
        assert_eq!(pool.taken(), 699);
        drop(one);
        assert_eq!(pool.taken(), 0);
    }
}
