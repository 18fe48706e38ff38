use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::state::Intent;

/// What a container was asked for, told to its workers one after the other. One `watch` channel for all would wake them in
/// random order, and two runs from one seed would differ.
#[derive(Default)]
pub(super) struct Intents(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    now: Intent,
    workers: Vec<watch::Sender<Intent>>,
}

impl Intents {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Intent {
        self.lock().now.clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Intent)) {
        let mut inner = self.lock();
        change(&mut inner.now);
        let Inner { now, workers } = &mut *inner;
        // A worker that has ended listens no more.
        workers.retain(|worker| worker.send(now.clone()).is_ok());
    }

    /// A new worker's end; what is asked for now is news to it.
    pub fn listen(&self) -> watch::Receiver<Intent> {
        let mut inner = self.lock();
        let (sender, mut receiver) = watch::channel(inner.now.clone());
        receiver.mark_changed();
        inner.workers.push(sender);
        receiver
    }
}
