//! How often which record failed: counted here and nowhere else.

use std::collections::BTreeMap;

use crate::ack::Slot;

/// One record a partition: the one that failed last and was not settled since.
#[derive(Debug, Default)]
pub(crate) struct Attempts(BTreeMap<Slot, Failed>);

#[derive(Debug)]
struct Failed {
    offset: i64,
    failures: u32,
    kind: String,
}

impl Attempts {
    /// How often the record failed so far.
    pub fn failures(&self, slot: Slot, offset: i64) -> u32 {
        if self.0.is_empty() {
            return 0;
        }
        self.0.get(&slot).filter(|failed| failed.offset == offset).map_or(0, |failed| failed.failures)
    }

    /// It failed once more; returns how often in all. Another kind of error than before starts the count again.
    pub fn failed(&mut self, slot: Slot, offset: i64, error: &(dyn std::error::Error + 'static)) -> u32 {
        let kind = kind_of(error);
        let failed = self.0.entry(slot).or_insert_with(|| Failed { offset, failures: 0, kind: kind.clone() });
        if failed.offset != offset || failed.kind != kind {
            *failed = Failed { offset, failures: 0, kind };
        }
        failed.failures += 1;
        failed.failures
    }

    /// Its count was kept elsewhere until now.
    pub fn set(&mut self, slot: Slot, offset: i64, failures: u32, error: &(dyn std::error::Error + 'static)) {
        self.0.insert(slot, Failed { offset, failures, kind: kind_of(error) });
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

/// What tells kinds of errors apart.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> String {
    super::listener_error::debug_name(error)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(attempts.failed(slot, 5, &std::fmt::Error), 1);
        assert_eq!(attempts.failed(slot, 6, &Down(1)), 1);
        attempts.succeeded(slot, 6);
        assert_eq!(attempts.failures(slot, 6), 0);
    }
}
