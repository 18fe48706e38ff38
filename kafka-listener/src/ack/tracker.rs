//! Which offset of a partition is safe to commit: the end of the gap-free run of done records among those delivered.

use std::collections::VecDeque;

/// The records of one partition and assignment that were delivered and are not yet behind the safe offset.
#[derive(Debug)]
pub(super) struct Tracker {
    safe: i64,
    last_delivered: i64,
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    offset: i64,
    done: bool,
}

impl Tracker {
    pub fn new(position: i64) -> Self {
        Self { safe: position, last_delivered: position - 1, open: VecDeque::new() }
    }

    /// The next offset to read if everything ended now.
    pub fn safe(&self) -> i64 {
        self.safe
    }

    /// Delivered and not done.
    pub fn outstanding(&self) -> usize {
        self.open.iter().filter(|open| !open.done).count()
    }

    /// Delivered and not behind the safe offset: what bounds memory.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The first offset that holds the others up.
    pub fn oldest(&self) -> Option<i64> {
        self.open.front().map(|open| open.offset)
    }

    /// Offsets rise; one that is open or done already is not opened again.
    pub fn delivered(&mut self, offset: i64) {
        if offset > self.last_delivered {
            self.last_delivered = offset;
            self.open.push_back(Open { offset, done: false });
        }
    }

    /// True if it was open until now.
    pub fn done(&mut self, offset: i64) -> bool {
        match self.open.front() {
            // In order, which is the rule.
            Some(first) if first.offset == offset => {
                self.open.pop_front();
                self.advance(offset);
                self.fold();
                true
            }
            Some(_) => {
                let Ok(index) = self.open.binary_search_by_key(&offset, |open| open.offset) else { return false };
                !std::mem::replace(&mut self.open[index].done, true)
            }
            None => false,
        }
    }

    /// Everything up to `offset`; returns how many were open until now.
    pub fn done_up_to(&mut self, offset: i64) -> u64 {
        let mut count = 0;
        while self.open.front().is_some_and(|open| open.offset <= offset) {
            if let Some(open) = self.open.pop_front() {
                count += u64::from(!open.done);
                self.advance(open.offset);
            }
        }
        self.fold();
        count
    }

    fn fold(&mut self) {
        while self.open.front().is_some_and(|open| open.done) {
            if let Some(open) = self.open.pop_front() {
                self.advance(open.offset);
            }
        }
    }

    /// Never back: a record that was done may have been put back, and its end is then reached a second time.
    fn advance(&mut self, offset: i64) {
        self.safe = self.safe.max(offset + 1);
    }

    /// Whether a record was delivered in this assignment.
    pub fn was_delivered(&self, offset: i64) -> bool {
        offset <= self.last_delivered
    }

    /// Records from `from` on are undelivered again.
    pub fn put_back(&mut self, from: i64) {
        while self.open.back().is_some_and(|open| open.offset >= from) {
            self.open.pop_back();
        }
        if self.last_delivered >= from {
            self.last_delivered = from - 1;
        }
    }
}
