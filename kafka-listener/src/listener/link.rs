//! What a worker shares with what it hands out: acknowledgments and consumer handles leave messages here, the worker takes
//! them at its next turn. One short lock, never across an await.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::{AckError, HandleError};
use crate::client::{OffsetAndMetadata, SeekTo, TopicPartition};

/// The shared end of a worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerLink {
    state: Mutex<LinkState>,
    notify: Notify,
    /// Whether there is a message: lets the worker look between two records without taking the lock.
    waiting: AtomicBool,
}

#[derive(Debug, Default)]
struct LinkState {
    live: BTreeMap<TopicPartition, LivePartition>,
    messages: Vec<LinkMessage>,
    closed: bool,
}

/// What acknowledgments and handles may know of an assigned partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LivePartition {
    pub epoch: u64,
    pub position: i64,
    pub paused: bool,
}

pub(crate) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// A place that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct AckPlace {
    pub topic_partition: TopicPartition,
    pub epoch: u64,
    pub offset: i64,
}

#[derive(Debug)]
pub(crate) enum LinkMessage {
    /// One record; without async acks it covers everything lower.
    Ack {
        place: AckPlace,
        reply: Option<Reply<(), AckError>>,
    },
    /// Several places at once: a batch or a part of it.
    AckMany {
        places: Vec<AckPlace>,
        reply: Option<Reply<(), AckError>>,
    },
    /// An acknowledgment was dropped without being used (async acks).
    Dropped {
        places: Vec<AckPlace>,
    },
    Pause {
        partitions: Vec<(TopicPartition, u64)>,
        paused: bool,
    },
    Seek {
        topic_partition: TopicPartition,
        epoch: u64,
        to: SeekTo,
    },
    Commit {
        offsets: Vec<(TopicPartition, u64, i64)>,
        reply: Option<Reply<(), HandleError>>,
    },
    Committed {
        topic_partition: TopicPartition,
        reply: Reply<Option<OffsetAndMetadata>, HandleError>,
    },
}

impl WorkerLink {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message if `check` agrees with what is live now, under one lock.
    pub fn send<E>(&self, check: impl FnOnce(&Live<'_>) -> Result<LinkMessage, E>) -> Result<(), E> {
        let mut state = self.lock();
        let message = check(&Live(&state))?;
        if state.closed {
            return Ok(());
        }
        state.messages.push(message);
        self.waiting.store(true, Ordering::Release);
        drop(state);
        self.notify.notify_one();
        Ok(())
    }

    pub fn read<T>(&self, look: impl FnOnce(&Live<'_>) -> T) -> T {
        look(&Live(&self.lock()))
    }

    pub fn assignment(&self) -> Vec<(TopicPartition, LivePartition)> {
        self.lock().live.iter().map(|(partition, live)| (partition.clone(), *live)).collect()
    }

    pub fn has_messages(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Completes when a message waits; cancel-safe.
    pub async fn message(&self) {
        while !self.has_messages() {
            self.notify.notified().await;
        }
    }

    pub fn take_messages(&self, into: &mut Vec<LinkMessage>) {
        let mut state = self.lock();
        self.waiting.store(false, Ordering::Release);
        into.append(&mut state.messages);
    }

    pub fn assigned(&self, partition: TopicPartition, live: LivePartition) {
        self.lock().live.insert(partition, live);
    }

    pub fn update(&self, partition: &TopicPartition, change: impl FnOnce(&mut LivePartition)) {
        if let Some(live) = self.lock().live.get_mut(partition) {
            change(live);
        }
    }

    pub fn unassigned(&self, partition: &TopicPartition) {
        self.lock().live.remove(partition);
    }

    /// The worker is gone: what waits is answered by dropping it, nothing new is taken.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.live.clear();
        state.messages.clear();
    }
}

/// What is assigned, as seen under the lock.
pub(crate) struct Live<'a>(&'a LinkState);

impl Live<'_> {
    pub fn get(&self, partition: &TopicPartition) -> Option<LivePartition> {
        self.0.live.get(partition).copied()
    }

    /// Whether the partition is still owned in this assignment.
    pub fn holds(&self, partition: &TopicPartition, epoch: u64) -> bool {
        self.get(partition).is_some_and(|live| live.epoch == epoch)
    }
}

/// A nack, kept until the listener returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nack {
    pub index: usize,
    pub sleep: Duration,
}
