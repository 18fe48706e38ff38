//! Operations that fail when asked to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every operation that changes something: appends, truncations, syncs, new files, removals, renames. Nothing is changed.
    Everything,
    /// Syncs, of files and folders; nothing becomes durable by one that fails.
    Syncs,
    /// Appends, of which half is written.
    TornAppends,
    /// Keeping what is about to be renamed or removed, as it does where no more files may be opened.
    Keeps,
}

/// An operation that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Append(usize),
    Sync,
    Keep,
    Other,
}

/// Which faults are to come. Beside the files' lock, so that appends to different files share nothing that they write.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: AtomicBool,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    /// What fails, and how many of its operations work before.
    fault: Option<(Fault, u64)>,
    /// How many bytes may be appended.
    room: Option<u64>,
}

/// An append that fails: so much of it is written.
#[derive(Debug)]
pub(super) struct Failed {
    pub written: usize,
    pub error: io::Error,
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl Faults {
    fn change(&self, change: impl FnOnce(&mut Plan)) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut plan);
        self.armed.store(plan.fault.is_some() || plan.room.is_some(), Ordering::Release);
    }

    pub fn inject(&self, fault: Fault, after: u64) {
        self.change(|plan| plan.fault = Some((fault, after)));
    }

    pub fn fill_after(&self, bytes: u64) {
        self.change(|plan| plan.room = Some(bytes));
    }

    pub fn heal(&self) {
        self.change(|plan| *plan = Plan::default());
    }

    /// Whether the operation works.
    pub fn check(&self, operation: Operation) -> Result<(), Failed> {
        if !self.armed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.count(operation)?;
        plan.take_room(operation)
    }
}

impl Plan {
    fn count(&mut self, operation: Operation) -> Result<(), Failed> {
        let Some((fault, left)) = &mut self.fault else { return Ok(()) };
        let written = match (*fault, operation) {
            (Fault::Everything, Operation::Keep) => return Ok(()),
            (Fault::Everything, _) | (Fault::Syncs, Operation::Sync) | (Fault::Keeps, Operation::Keep) => 0,
            (Fault::TornAppends, Operation::Append(size)) => size / 2,
            _ => return Ok(()),
        };
        if *left == 0 {
            return Err(Failed { written, error: io::Error::other("injected fault") });
        }
        *left -= 1;
        Ok(())
    }

    fn take_room(&mut self, operation: Operation) -> Result<(), Failed> {
        let (Some(room), Operation::Append(size)) = (&mut self.room, operation) else { return Ok(()) };
        let written = size.min(*room as usize);
        *room -= written as u64;
        if written < size {
            let error = io::Error::new(io::ErrorKind::StorageFull, "no room is left (injected)");
            return Err(Failed { written, error });
        }
        Ok(())
    }
}
