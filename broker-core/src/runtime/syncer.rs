//! The thread that makes partitions durable: whoever writes meanwhile waits for the next sync, together with everybody else.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use super::upkeep::Bell;
use crate::partition::{Flusher, PartitionHandle};

/// Flushes partitions on a thread of its own, where a disk takes its time; on the spot otherwise. The thread is there once somebody
/// asks, and ends when this is dropped, after all that was asked for.
#[derive(Debug)]
pub(crate) struct Syncer {
    line: Arc<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Who waits in line.
#[derive(Debug)]
struct Line {
    on_thread: bool,
    bell: Arc<Bell>,
    state: Mutex<LineState>,
    changed: Condvar,
    /// Whose thread serves it.
    syncer: Weak<Syncer>,
}

#[derive(Debug, Default)]
struct LineState {
    partitions: Vec<PartitionHandle>,
    over: bool,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        loop {
            let partitions = {
                let mut state = self.state();
                while state.partitions.is_empty() && !state.over {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.partitions.is_empty() {
                    return;
                }
                std::mem::take(&mut state.partitions)
            };
            partitions.iter().for_each(PartitionHandle::flush);
        }
    }
}

impl Flusher for Line {
    fn flush(&self, partition: &PartitionHandle) {
        // Held until the lock is free: whoever lets go of it last closes the line, and takes the lock for that.
        let syncer = self.syncer.upgrade();
        let waits = {
            let mut state = self.state();
            let waits = self.on_thread && !state.over && syncer.as_ref().is_some_and(|syncer| syncer.is_running());
            if waits {
                state.partitions.push(partition.clone());
            }
            waits
        };
        if waits {
            self.changed.notify_one();
        } else {
            partition.flush();
        }
    }

    fn look_again(&self) {
        self.bell.ring();
    }
}

impl Syncer {
    /// `bell` wakes whoever looks after flushes that are due at some time.
    pub fn new(on_thread: bool, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new_cyclic(|syncer| {
            let (state, changed) = (Mutex::default(), Condvar::new());
            let line = Line { on_thread, bell, state, changed, syncer: syncer.clone() };
            Self { line: Arc::new(line), thread: Mutex::new(None) }
        })
    }

    /// What partitions ask.
    pub fn flusher(&self) -> Arc<dyn Flusher> {
        self.line.clone()
    }

    /// Starts the thread if it is not there; false if there can be none.
    fn is_running(&self) -> bool {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let line = self.line.clone();
            match thread::Builder::new().name("broker-sync".to_owned()).spawn(move || line.serve()) {
                Ok(started) => *thread = Some(started),
                Err(error) => {
                    tracing::error!(target: "broker_core::storage", %error, "no thread to sync on: writers sync themselves");
                    return false;
                }
            }
        }
        true
    }

    /// Ends the thread, when it has done what was asked for. Who asks later does it on the spot.
    pub fn close(&self) {
        self.line.state().over = true;
        self.line.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // What is done when somebody's write counts runs on the thread, and may be the last to know the broker.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.close();
    }
}
