use super::AckMode;
use super::tracker::Tracker;

/// An assigned partition, by number: dense, reused only after it was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub u32);

/// What decides when to commit.
#[derive(Debug, Clone)]
pub(crate) struct AckProperties {
    pub mode: AckMode,
    /// For `Count` and `CountTime`.
    pub ack_count: u64,
    /// For `Time` and `CountTime`.
    pub ack_time_ms: u64,
    /// Acknowledgments may come in any order.
    pub async_acks: bool,
    /// The consumer commits by itself: the engine never does.
    pub auto_commit: bool,
    /// Open records a partition, with async acks.
    pub max_unacked: usize,
}

/// What to do at a decision point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Hold,
    /// Take the commits and send them in one request.
    Commit,
}

/// An acknowledgment that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AckRefusal {
    #[error("the record was not delivered in this assignment")]
    NotDelivered,
}

#[derive(Debug)]
struct Partition {
    tracker: Tracker,
    /// What the group is known to have stored.
    committed: i64,
    /// What was asked to be stored.
    requested: i64,
}

/// Decides when to commit and what. Times are milliseconds since some fixed moment.
#[derive(Debug)]
pub(crate) struct AckEngine {
    properties: AckProperties,
    partitions: Vec<Option<Partition>>,
    /// Records done since the last commit.
    count: u64,
    last_commit: u64,
    now: u64,
}

impl AckEngine {
    pub fn new(properties: AckProperties, now: u64) -> Self {
        Self { properties, partitions: Vec::new(), count: 0, last_commit: now, now }
    }

    fn at(&mut self, slot: Slot) -> Option<&mut Partition> {
        self.partitions.get_mut(slot.0 as usize)?.as_mut()
    }

    fn look(&self, slot: Slot) -> Option<&Partition> {
        self.partitions.get(slot.0 as usize)?.as_ref()
    }

    /// A fresh tracker: a new assignment, or an explicit seek, after which commits may go back.
    pub fn assign(&mut self, slot: Slot, position: i64) {
        let index = slot.0 as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.partitions[index] = Some(Partition { tracker: Tracker::new(position), committed: position, requested: position });
    }

    /// The partition is gone: nothing of it is committed any more.
    pub fn lose(&mut self, slot: Slot) {
        if let Some(partition) = self.partitions.get_mut(slot.0 as usize) {
            *partition = None;
        }
    }

    /// A record was handed to the listener. Offsets rise; gaps between them do not count.
    pub fn delivered(&mut self, slot: Slot, offset: i64) {
        if let Some(partition) = self.at(slot) {
            partition.tracker.delivered(offset);
        }
    }

    /// A record has ended: handled, skipped, recovered or filtered.
    pub fn done(&mut self, slot: Slot, offset: i64) {
        if self.at(slot).is_some_and(|partition| partition.tracker.done(offset)) {
            self.count += 1;
        }
    }

    /// The listener acknowledged a record. Without async acks it covers everything lower.
    pub fn acked(&mut self, slot: Slot, offset: i64) -> Result<(), AckRefusal> {
        let async_acks = self.properties.async_acks;
        let Some(partition) = self.at(slot) else { return Err(AckRefusal::NotDelivered) };
        if !partition.tracker.was_delivered(offset) {
            return Err(AckRefusal::NotDelivered);
        }
        let done = if async_acks { u64::from(partition.tracker.done(offset)) } else { partition.tracker.done_up_to(offset) };
        self.count += done;
        Ok(())
    }

    /// Records from `from` on will be delivered again.
    pub fn put_back(&mut self, slot: Slot, from: i64) {
        if let Some(partition) = self.at(slot) {
            partition.tracker.put_back(from);
        }
    }

    fn due(&self, now: u64) -> bool {
        let counted =
            matches!(self.properties.mode, AckMode::Count | AckMode::CountTime) && self.count >= self.properties.ack_count;
        let timed = matches!(self.properties.mode, AckMode::Time | AckMode::CountTime)
            && now.saturating_sub(self.last_commit) >= self.properties.ack_time_ms;
        counted || timed
    }

    fn decide(&mut self, now: u64, wanted: bool) -> Decision {
        self.now = self.now.max(now);
        if wanted && self.pending() { Decision::Commit } else { Decision::Hold }
    }

    /// Behind each record of a record listener.
    pub fn after_record(&mut self, now: u64) -> Decision {
        let wanted = match self.properties.mode {
            // With `ManualImmediate`: what the error handler settled.
            AckMode::Record | AckMode::ManualImmediate => true,
            AckMode::Count | AckMode::Time | AckMode::CountTime => self.due(now),
            AckMode::Batch | AckMode::Manual => false,
        };
        self.decide(now, wanted)
    }

    /// Behind each call of a batch listener.
    pub fn after_batch(&mut self, now: u64) -> Decision {
        let wanted = match self.properties.mode {
            AckMode::Record | AckMode::Batch | AckMode::Manual | AckMode::ManualImmediate => true,
            AckMode::Count | AckMode::Time | AckMode::CountTime => self.due(now),
        };
        self.decide(now, wanted)
    }

    /// Every record of the poll is done, waits for its acknowledgment, or was put back: before the next poll.
    pub fn settled(&mut self, now: u64) -> Decision {
        self.after_batch(now)
    }

    /// A poll brought nothing: what a count has not reached yet is not kept waiting.
    pub fn empty_poll(&mut self, now: u64) -> Decision {
        let counting = matches!(self.properties.mode, AckMode::Count | AckMode::CountTime);
        let timing = self.properties.mode == AckMode::Time;
        let wanted = counting || !timing || self.due(now);
        self.decide(now, wanted)
    }

    /// Acknowledgments came in: `ManualImmediate` commits them now, `Manual` when the poll is settled.
    pub fn acks_arrived(&mut self, now: u64) -> Decision {
        self.decide(now, self.properties.mode == AckMode::ManualImmediate)
    }

    /// `next_deadline` has come.
    pub fn timer(&mut self, now: u64) -> Decision {
        let timed = matches!(self.properties.mode, AckMode::Time | AckMode::CountTime);
        let wanted = timed && self.due(now);
        self.decide(now, wanted)
    }

    /// Before partitions are given up, on pause and on stop: whatever the threshold.
    pub fn flush(&mut self) -> Decision {
        self.decide(self.now, true)
    }

    /// When `timer` has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let timed = matches!(self.properties.mode, AckMode::Time | AckMode::CountTime);
        (timed && self.pending()).then(|| self.last_commit + self.properties.ack_time_ms)
    }

    /// Whether there is anything to commit that was not asked for yet.
    pub fn pending(&self) -> bool {
        !self.properties.auto_commit
            && self.partitions.iter().flatten().any(|partition| partition.tracker.safe() > partition.requested)
    }

    /// Everything committable that was not asked for yet; counters start again.
    pub fn take_commits(&mut self, out: &mut Vec<(Slot, i64)>) {
        if self.properties.auto_commit {
            return;
        }
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let Some(partition) = partition else { continue };
            let safe = partition.tracker.safe();
            if safe > partition.requested {
                partition.requested = safe;
                out.push((Slot(index as u32), safe));
            }
        }
        if !out.is_empty() {
            self.count = 0;
            self.last_commit = self.now;
        }
    }

    /// The group has stored an offset. A late answer never lowers what is known.
    pub fn commit_succeeded(&mut self, slot: Slot, offset: i64) {
        if let Some(partition) = self.at(slot) {
            partition.committed = partition.committed.max(offset);
        }
    }

    /// The group has not stored an offset: the next commit covers it, unless a later one is under way.
    pub fn commit_failed(&mut self, slot: Slot, offset: i64) {
        if let Some(partition) = self.at(slot)
            && partition.requested <= offset
        {
            partition.requested = partition.committed;
        }
    }

    /// What the group is known to have stored.
    pub fn committed(&self, slot: Slot) -> i64 {
        self.look(slot).map_or(0, |partition| partition.committed)
    }

    /// Delivered and not done.
    pub fn outstanding(&self, slot: Slot) -> usize {
        self.look(slot).map_or(0, |partition| partition.tracker.outstanding())
    }

    /// The first record that holds the others up.
    pub fn oldest_unacked(&self, slot: Slot) -> Option<i64> {
        self.look(slot).and_then(|partition| partition.tracker.oldest())
    }

    /// Whether the partition must not be handed more records for now.
    pub fn at_max_unacked(&self, slot: Slot) -> bool {
        self.properties.async_acks
            && self.look(slot).is_some_and(|partition| partition.tracker.open() >= self.properties.max_unacked)
    }

    #[cfg(test)]
    pub fn committable(&self, slot: Slot) -> i64 {
        self.look(slot).map_or(0, |partition| partition.tracker.safe())
    }

    #[cfg(test)]
    pub fn properties_mut(&mut self) -> &mut AckProperties {
        &mut self.properties
    }
}
