use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::state::{Intent, Stop};

/// What a container was asked for, told to its workers one after the other. One `watch` channel for all would wake them in
/// random order, and two runs from one seed would differ.
#[derive(Default)]
pub(super) struct Intents(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    now: Intent,
    /// Which run of the container this is: a stop is asked of one run, and the next one knows nothing of it.
    run: u64,
    /// There is no next run.
    closed: bool,
    workers: Vec<watch::Sender<Intent>>,
}

impl Intents {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Intent {
        self.lock().now.clone()
    }

    pub fn run(&self) -> u64 {
        self.lock().run
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// No run begins any more.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Another run begins, which is not asked to stop; false if none may.
    pub fn begin(&self) -> bool {
        let mut inner = self.lock();
        if inner.closed {
            return false;
        }
        inner.run += 1;
        inner.now.stop = Stop::No;
        true
    }

    /// Asks the run that is under way to stop, and tells which that is.
    pub fn stop(&self, stop: Stop) -> u64 {
        let mut inner = self.lock();
        inner.stop(stop);
        inner.run
    }

    /// Asks a run to stop, unless it is another one by now.
    pub fn stop_run(&self, run: u64, stop: Stop) {
        let mut inner = self.lock();
        if inner.run == run {
            inner.stop(stop);
        }
    }

    pub fn change(&self, change: impl FnOnce(&mut Intent)) {
        let mut inner = self.lock();
        change(&mut inner.now);
        inner.tell();
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

impl Inner {
    fn stop(&mut self, stop: Stop) {
        self.now.stop = self.now.stop.max(stop);
        self.tell();
    }

    fn tell(&mut self) {
        let Self { now, workers, .. } = self;
        // A worker that has ended listens no more.
        workers.retain(|worker| worker.send(now.clone()).is_ok());
    }
}
