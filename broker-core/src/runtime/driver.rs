//! The one task of a broker: steps the machines of groups and transactions when their time has come.

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
    task: Mutex<Option<JoinHandle<()>>>,
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
        let (wake, task, changes) = (Arc::default(), Mutex::new(None), Arc::default());
        Self { looks, shards, transactions, clock, wake, tokens, random, task, changes }
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

    /// The task is there, if it can be.
    pub fn attend(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shards, transactions, clock) = (self.shards.clone(), self.transactions.clone(), self.clock.clone());
            let task_of = Task { shards, transactions, clock, changes: self.changes.clone(), looks: self.looks };
            *task = Some(runtime.spawn(task_of.run(self.wake.clone())));
        }
    }

    pub fn changes(&self) -> GroupChanges {
        GroupChanges::new(self.changes.clone())
    }

    pub async fn close(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// What the task works on.
struct Task {
    shards: Arc<Vec<Mutex<Shard>>>,
    transactions: Arc<TransactionCoordinator>,
    clock: Arc<dyn Clock>,
    changes: Arc<Counter>,
    looks: Looks,
}

/// When each thing is looked at next.
struct Next {
    offsets: u64,
    transactions: u64,
    transactional_ids: u64,
}

impl Next {
    fn after(now: u64, looks: &Looks) -> Self {
        Self {
            offsets: now + looks.offsets_ms,
            transactions: now + looks.transactions_ms,
            transactional_ids: now + looks.transactional_ids_ms,
        }
    }

    fn first(&self) -> u64 {
        self.offsets.min(self.transactions).min(self.transactional_ids)
    }
}

impl Task {
    fn each(&self, mut step: impl FnMut(&mut Shard)) {
        self.shards.iter().for_each(|shard| step(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    async fn run(self, wake: Arc<Notify>) {
        let mut next = Next::after(self.clock.monotonic_ms(), &self.looks);
        loop {
            self.look(&mut next).await;
            let mut deadline = next.first();
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

    async fn look(&self, next: &mut Next) {
        let (now, later) = (self.clock.monotonic_ms(), Next::after(self.clock.monotonic_ms(), &self.looks));
        if now >= next.offsets {
            self.each(|shard| expire_offsets(shard, self.looks.offsets_retention_ms));
            next.offsets = later.offsets;
        }
        if now >= next.transactional_ids {
            self.transactions.expire();
            next.transactional_ids = later.transactional_ids;
        }
        if now >= next.transactions {
            self.transactions.resume().await;
            next.transactions = later.transactions;
        }
    }
}

fn expire_offsets(shard: &mut Shard, retention_ms: i64) {
    if let Err(error) = shard.expire_offsets(retention_ms) {
        tracing::error!(target: "broker_core::group", %error, "offsets that have had their time could not be taken away");
    }
}
