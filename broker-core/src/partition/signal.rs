use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, oneshot};

use super::PartitionHandle;
use crate::error::{Error, ErrorCode};

/// Told when a partition has news. Keeps one permit, so news between a look and a wait are not lost.
#[derive(Debug, Default)]
pub struct DataSignal(Notify);

impl DataSignal {
    /// A signal that was not given.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Gives it.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Completes when it was given since the last time; cancel-safe. For one waiter.
    pub async fn notified(&self) {
        self.0.notified().await;
    }
}

/// Who is told; a lock of its own, taken only when there is somebody. Clones are one: there may be watchers before there is a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchers(Arc<List>);

#[derive(Debug, Default)]
struct List {
    count: AtomicUsize,
    signals: Mutex<Vec<Weak<DataSignal>>>,
}

impl Watchers {
    pub fn add(&self, signal: &Arc<DataSignal>) -> WatchGuard {
        let mut signals = self.0.signals.lock().unwrap_or_else(PoisonError::into_inner);
        signals.push(Arc::downgrade(signal));
        self.0.count.store(signals.len(), Ordering::Release);
        WatchGuard { list: self.0.clone(), signal: Arc::downgrade(signal) }
    }

    /// Whether there is anybody to be told.
    pub fn any(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    pub fn notify(&self) {
        let signals = self.0.signals.lock().unwrap_or_else(PoisonError::into_inner);
        signals.iter().filter_map(Weak::upgrade).for_each(|signal| signal.notify());
    }
}

/// Ends the watching when it is dropped.
#[derive(Debug)]
pub struct WatchGuard {
    list: Arc<List>,
    signal: Weak<DataSignal>,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let mut signals = self.list.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = signals.iter().position(|signal| signal.ptr_eq(&self.signal)) {
            signals.remove(index);
        }
        self.list.count.store(signals.len(), Ordering::Release);
    }
}

impl PartitionHandle {
    /// Completes when everything before `end` counts: it can be read, and is as durable as the topic's `flush.messages` asks. At
    /// once where the page cache is good enough. An error if the disk failed; the partition takes no more writes then.
    pub fn acknowledged(&self, end: i64) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        self.when_acknowledged(end, move |result| drop(sender.send(result)));
        self.told(receiver)
    }

    /// Completes when everything that is there now is durable, whatever counted before.
    pub(crate) fn made_durable(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        self.when_durable(move |result| drop(sender.send(result)));
        self.told(receiver)
    }

    fn told(&self, receiver: oneshot::Receiver<Result<(), Error>>) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let id = self.topic_partition().clone();
        async move {
            let ended = |_| Error::new(ErrorCode::KafkaStorageError, format!("{id}: the broker ended before this was durable"));
            receiver.await.map_err(ended)?
        }
    }
}
