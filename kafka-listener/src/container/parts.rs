//! The partitions of one worker: what is held for them, and why they are paused (cold).

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::event::PauseReason;
use crate::ack::Slot;
use crate::client::{RawRecord, TopicPartition};

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Part {
    pub topic_partition: TopicPartition,
    pub epoch: u64,
    /// Polled and not yet delivered, in order. At most `max.poll.records`: a partition that holds records is not polled.
    pub held: VecDeque<RawRecord>,
    pauses: u8,
    /// Whether the consumer has been told.
    pub consumer_paused: bool,
    /// When the back-off or nack ends.
    pub wake_at: Option<Instant>,
    /// With async acks: when what is unacknowledged was delivered.
    pub delivered_at: VecDeque<(i64, Instant)>,
    pub ack_missing_told: bool,
    /// When a record last came.
    pub last_record: Instant,
    pub idle_told: Option<Instant>,
    /// How often recovering the record at this offset failed.
    pub recoveries: Option<(i64, u32)>,
}

impl Part {
    pub fn new(topic_partition: TopicPartition, epoch: u64, now: Instant) -> Self {
        Self {
            topic_partition,
            epoch,
            held: VecDeque::new(),
            pauses: 0,
            consumer_paused: false,
            wake_at: None,
            delivered_at: VecDeque::new(),
            ack_missing_told: false,
            last_record: now,
            idle_told: None,
            recoveries: None,
        }
    }

    pub fn is_paused(&self) -> bool {
        self.pauses != 0
    }

    pub fn is_paused_for(&self, reason: PauseReason) -> bool {
        self.pauses & bit(reason) != 0
    }

    /// Adds or removes a reason; true if that changed anything.
    pub fn set_pause(&mut self, reason: PauseReason, paused: bool) -> bool {
        let before = self.pauses;
        if paused {
            self.pauses |= bit(reason);
        } else {
            self.pauses &= !bit(reason);
        }
        before != self.pauses
    }
}

fn bit(reason: PauseReason) -> u8 {
    1 << (reason as u8)
}

/// All of them: slots are dense and reused; the order of delivery is the order of `ready`.
#[derive(Debug, Default)]
pub(super) struct Parts {
    slots: Vec<Option<Part>>,
    by_name: BTreeMap<TopicPartition, Slot>,
    /// Partitions with held records, in the order in which they are delivered; may name some that are paused or empty by now.
    ready: VecDeque<Slot>,
}

impl Parts {
    pub fn insert(&mut self, part: Part) -> Slot {
        let free = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let slot = Slot(free as u32);
        self.by_name.insert(part.topic_partition.clone(), slot);
        self.slots[free] = Some(part);
        slot
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Part> {
        let part = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.by_name.remove(&part.topic_partition);
        self.ready.retain(|ready| *ready != slot);
        Some(part)
    }

    pub fn find(&self, partition: &TopicPartition) -> Option<Slot> {
        self.by_name.get(partition).copied()
    }

    /// The slot, if the partition is still in that assignment.
    pub fn find_at(&self, partition: &TopicPartition, epoch: u64) -> Option<Slot> {
        self.find(partition).filter(|slot| self.get(*slot).is_some_and(|part| part.epoch == epoch))
    }

    pub fn get(&self, slot: Slot) -> Option<&Part> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Part> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    pub fn slots(&self) -> Vec<Slot> {
        self.by_name.values().copied().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Part)> {
        self.slots.iter().enumerate().filter_map(|(index, part)| part.as_ref().map(|part| (Slot(index as u32), part)))
    }

    /// The partition's held records are next in line behind the others.
    pub fn make_ready(&mut self, slot: Slot) {
        if !self.ready.contains(&slot) {
            self.ready.push_back(slot);
        }
    }

    /// The partition's held records are next.
    pub fn make_ready_first(&mut self, slot: Slot) {
        self.ready.retain(|ready| *ready != slot);
        self.ready.push_front(slot);
    }

    /// The next record that may be delivered: partition by partition, in the order of the poll.
    pub fn next_record(&mut self) -> Option<(Slot, RawRecord)> {
        while let Some(slot) = self.ready.front().copied() {
            if let Some(part) = self.get_mut(slot)
                && !part.is_paused()
                && let Some(record) = part.held.pop_front()
            {
                return Some((slot, record));
            }
            self.ready.pop_front();
        }
        None
    }

    /// Everything that may be delivered, partition by partition.
    pub fn next_batch(&mut self) -> Vec<(Slot, VecDeque<RawRecord>)> {
        let ready = std::mem::take(&mut self.ready);
        let mut batch = Vec::new();
        for slot in ready {
            if let Some(part) = self.get_mut(slot)
                && !part.is_paused()
                && !part.held.is_empty()
            {
                batch.push((slot, std::mem::take(&mut part.held)));
            }
        }
        batch
    }

    /// When the first back-off ends.
    pub fn next_wake(&self) -> Option<Instant> {
        self.iter().filter_map(|(_, part)| part.wake_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64) -> RawRecord {
        RawRecord::from_parts(offset, 0, None, None, &[])
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_partition_keeps_its_records_and_the_others_flow() {
        let mut parts = Parts::default();
        let now = Instant::now();
        let first = parts.insert(Part::new(TopicPartition::new("t", 0), 1, now));
        let second = parts.insert(Part::new(TopicPartition::new("t", 1), 1, now));
        for slot in [first, second] {
            parts.get_mut(slot).expect("inserted").held.extend([record(0), record(1)]);
            parts.make_ready(slot);
        }
        assert_eq!(parts.next_record().map(|(slot, record)| (slot, record.offset())), Some((first, 0)));
        parts.get_mut(first).expect("inserted").set_pause(PauseReason::BackOff, true);
        assert_eq!(parts.next_record().map(|(slot, record)| (slot, record.offset())), Some((second, 0)));
        assert_eq!(parts.next_record().map(|(slot, record)| (slot, record.offset())), Some((second, 1)));
        assert!(parts.next_record().is_none());
        parts.get_mut(first).expect("inserted").set_pause(PauseReason::BackOff, false);
        parts.make_ready(first);
        assert_eq!(parts.next_record().map(|(slot, record)| (slot, record.offset())), Some((first, 1)));
    }
}
