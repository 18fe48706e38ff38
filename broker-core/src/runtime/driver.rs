//! The tasks of a broker: they step the machines of groups, and of transactions, when their time has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Counter, GroupChanges, Random, Shard, TransactionCoordinator};
use crate::coordinator::group::ReplyToken;
use crate::time::Clock;

/// What is looked at, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    /// How long offsets are kept that nobody needs.
    pub offsets_retention_ms: i64,
    pub offsets_ms: u64,
    /// Transactions that are open for too long, or not complete.
    pub transactions_ms: u64,
    /// Transactional ids that nobody uses.
    pub transactional_ids_ms: u64,
}

pub(crate) struct Driver {
    looks: Looks,
    shards: Arc<Vec<Mutex<Shard>>>,
    transactions: Arc<TransactionCoordinator>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    tokens: AtomicU64,
    random: Random,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Counts what may have begun a rebalance.
    changes: Arc<Counter>,
}

impl Driver {
    pub fn new(
        shards: Arc<Vec<Mutex<Shard>>>,
        transactions: Arc<TransactionCoordinator>,
        clock: Arc<dyn Clock>,
        seed: u64,
        looks: Looks,
    ) -> Self {
        let (tokens, random) = (AtomicU64::new(0), Random::new(seed));
        let (wake, tasks, changes) = (Arc::default(), Mutex::default(), Arc::default());
        Self { looks, shards, transactions, clock, wake, tokens, random, tasks, changes }
    }

    pub fn token(&self) -> ReplyToken {
        ReplyToken(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// A new member's id: `<client id>-<random>`.
    pub fn member_id(&self, client_id: &str) -> String {
        let (high, low) = (self.random.next(), self.random.next());
        format!("{client_id}-{high:016x}{low:016x}")
    }

    /// A deadline may have moved: the task looks again. It is started with the first member, since a broker may be opened
    /// outside a runtime, and again if its runtime ended.
    pub fn wake(&self) {
        self.changes.raise();
        self.attend();
        self.wake.notify_one();
    }

    /// The tasks are there, if they can be.
    pub fn attend(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.first().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shards, clock, looks) = (self.shards.clone(), self.clock.clone(), self.looks);
            let groups = GroupTask { shards, clock: clock.clone(), changes: self.changes.clone(), looks };
            let transactions = TransactionTask { transactions: self.transactions.clone(), clock, looks };
            *tasks = vec![runtime.spawn(groups.run(self.wake.clone())), runtime.spawn(transactions.run())];
        }
    }

    pub fn changes(&self) -> GroupChanges {
        GroupChanges::new(self.changes.clone())
    }

    pub async fn close(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }
}

struct GroupTask {
    shards: Arc<Vec<Mutex<Shard>>>,
    clock: Arc<dyn Clock>,
    changes: Arc<Counter>,
    looks: Looks,
}

impl GroupTask {
    fn each(&self, mut step: impl FnMut(&mut Shard)) {
        self.shards.iter().for_each(|shard| step(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    async fn run(self, wake: Arc<Notify>) {
        let mut look_at = self.clock.monotonic_ms() + self.looks.offsets_ms;
        loop {
            if self.clock.monotonic_ms() >= look_at {
                self.each(|shard| expire_offsets(shard, self.looks.offsets_retention_ms));
                look_at = self.clock.monotonic_ms() + self.looks.offsets_ms;
            }
            let mut deadline = look_at;
            self.each(|shard| deadline = deadline.min(shard.next_deadline().unwrap_or(u64::MAX)));
            let due = tokio::time::sleep(Duration::from_millis(deadline.saturating_sub(self.clock.monotonic_ms())));
            tokio::select! {
                biased;
                // First what is due: a flood of wake-ups must not keep a silent member in its group.
                () = due => {
                    self.each(Shard::expire);
                    self.changes.raise();
                }
                () = wake.notified() => {}
            }
        }
    }
}

/// A task of its own: it waits for disks, and nobody's session must.
struct TransactionTask {
    transactions: Arc<TransactionCoordinator>,
    clock: Arc<dyn Clock>,
    looks: Looks,
}

impl TransactionTask {
    async fn run(self) {
        let later = || {
            (self.clock.monotonic_ms() + self.looks.transactions_ms, self.clock.monotonic_ms() + self.looks.transactional_ids_ms)
        };
        let (mut resume_at, mut expire_at) = later();
        loop {
            let now = self.clock.monotonic_ms();
            if now >= resume_at {
                self.transactions.resume().await;
                resume_at = later().0;
            }
            if now >= expire_at {
                self.transactions.expire();
                expire_at = later().1;
            }
            let next = resume_at.min(expire_at);
            tokio::time::sleep(Duration::from_millis(next.saturating_sub(self.clock.monotonic_ms()))).await;
        }
    }
}

fn expire_offsets(shard: &mut Shard, retention_ms: i64) {
    if let Err(error) = shard.expire_offsets(retention_ms) {
        tracing::error!(target: "broker_core::group", %error, "offsets that have had their time could not be taken away");
    }
}
