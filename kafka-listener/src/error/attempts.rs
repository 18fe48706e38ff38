//! How often which record failed: counted here and nowhere else.

use std::collections::BTreeMap;

use super::BatchError;
use super::listener_error::{debug_name, own};
use crate::ack::Slot;

/// One record a partition: the one that failed last and was not settled since.
#[derive(Debug, Default)]
pub(crate) struct Attempts(BTreeMap<Slot, Failed>);

#[derive(Debug)]
struct Failed {
    offset: i64,
    failures: u32,
    /// The kinds of errors that it failed with, each once.
    kinds: Vec<String>,
}

/// After this many kinds of errors a further one does not start the count anew.
const KINDS_MAX: usize = 8;

impl Attempts {
    /// How often the record failed so far.
    pub fn failures(&self, slot: Slot, offset: i64) -> u32 {
        if self.0.is_empty() {
            return 0;
        }
        self.0.get(&slot).filter(|failed| failed.offset == offset).map_or(0, |failed| failed.failures)
    }

    /// It failed once more; returns how often in all. A kind of error that it did not fail with before starts the count again;
    /// one that comes back does not, so that errors that take turns end too.
    pub fn failed(&mut self, slot: Slot, offset: i64, error: &(dyn std::error::Error + 'static)) -> u32 {
        let kind = kind_of(error);
        let failed = self.0.entry(slot).or_insert_with(|| Failed { offset, failures: 0, kinds: Vec::new() });
        if failed.offset != offset {
            *failed = Failed { offset, failures: 0, kinds: Vec::new() };
        }
        if !failed.kinds.contains(&kind) && failed.kinds.len() < KINDS_MAX {
            failed.kinds.push(kind);
            failed.failures = 0;
        }
        failed.failures += 1;
        failed.failures
    }

    /// Its count was kept elsewhere until now.
    pub fn set(&mut self, slot: Slot, offset: i64, failures: u32, error: &(dyn std::error::Error + 'static)) {
        self.0.insert(slot, Failed { offset, failures, kinds: vec![kind_of(error)] });
    }

    /// It was settled.
    pub fn succeeded(&mut self, slot: Slot, offset: i64) {
        if !self.0.is_empty() && self.0.get(&slot).is_some_and(|failed| failed.offset == offset) {
            self.0.remove(&slot);
        }
    }

    /// The partition is gone, or starts anew.
    pub fn forget(&mut self, slot: Slot) {
        self.0.remove(&slot);
    }
}

/// What tells kinds of errors apart: types, as far as they can be seen. Errors that are only a text are of one kind, whatever it
/// says.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = own(error);
    if let Some(inner) = error.downcast_ref::<BatchError>().and_then(std::error::Error::source) {
        error = inner;
    }
    debug_name(error)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use super::*;
    use crate::error::{ListenerError, SharedError};

    #[derive(Debug, thiserror::Error)]
    #[error("down")]
    struct Down(#[allow(dead_code, reason = "a detail that must not matter")] u32);

    #[test]
    fn counts_belong_to_a_record_and_a_kind_of_error() {
        let mut attempts = Attempts::default();
        let slot = Slot(0);
        assert_eq!(attempts.failed(slot, 5, &Down(1)), 1);
        assert_eq!(attempts.failed(slot, 5, &Down(2)), 2);
        assert_eq!((attempts.failures(slot, 5), attempts.failures(slot, 6), attempts.failures(Slot(1), 5)), (2, 0, 0));
        assert_eq!(attempts.failed(slot, 5, &fmt::Error), 1);
        assert_eq!(attempts.failed(slot, 6, &Down(1)), 1);
        attempts.succeeded(slot, 6);
        assert_eq!(attempts.failures(slot, 6), 0);
        attempts.failed(slot, 7, &Down(1));
        attempts.failed(Slot(1), 7, &Down(1));
        attempts.succeeded(slot, 6);
        attempts.forget(Slot(1));
        assert_eq!((attempts.failures(slot, 7), attempts.failures(Slot(1), 7)), (1, 0));
    }

    #[test]
    fn kinds_that_take_turns_end() {
        let mut attempts = Attempts::default();
        let counts: Vec<u32> =
            (0..8)
                .map(|turn| {
                    if turn % 2 == 0 {
                        attempts.failed(Slot(0), 0, &Down(turn))
                    } else {
                        attempts.failed(Slot(0), 0, &fmt::Error)
                    }
                })
                .collect();
        assert_eq!(counts, [1, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn texts_are_one_kind() {
        let mut attempts = Attempts::default();
        for (index, text) in ["17 of 20", "order-4 failed", "at 12:04:11"].into_iter().enumerate() {
            assert_eq!(attempts.failed(Slot(0), 0, ListenerError::msg(text).as_error()), index as u32 + 1);
        }
    }

    #[test]
    fn what_the_container_puts_around_an_error_does_not_change_its_kind() {
        let mut attempts = Attempts::default();
        attempts.set(Slot(0), 3, 9, &Down(1));
        assert_eq!(attempts.failed(Slot(0), 3, &SharedError(Arc::new(Down(1)))), 10);
        assert_eq!(attempts.failed(Slot(0), 3, &BatchError::at(0, Down(1))), 11);
    }
}
