//! When a write counts: page cache, every write, every few, in time; and what a failing disk does to who waits.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::tests::{NOW, with};
use super::{Flusher, PartitionHandle, Surroundings};
use crate::error::Error;
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::record::{BatchBuilder, batches};
use crate::storage::held::{HeldDisk, Holder};
use crate::storage::{Disk, MemoryDisk};
use crate::time::Clock;
use crate::topic_config::TopicConfig;

/// Keeps what it is asked, until the test lets it happen.
#[derive(Debug, Default)]
struct Asked {
    flushes: AtomicUsize,
    looks: AtomicUsize,
    time: AtomicI64,
}

impl Flusher for Asked {
    fn flush(&self, _: &PartitionHandle) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    fn look_again(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clock for Asked {
    fn wall_ms(&self) -> i64 {
        NOW
    }

    fn monotonic_ms(&self) -> u64 {
        self.time.load(Ordering::Relaxed) as u64
    }
}

/// Who was told: the end that was waited for, and the error.
type Told = (i64, Option<String>);

struct World {
    disk: MemoryDisk,
    asked: Arc<Asked>,
    partition: PartitionHandle,
    told: Arc<Mutex<Vec<Told>>>,
}

fn open(disk: &MemoryDisk, asked: &Arc<Asked>, topic: TopicConfig) -> PartitionHandle {
    open_on(Arc::new(disk.clone()), asked, topic)
}

fn open_on(disk: Arc<dyn Disk>, asked: &Arc<Asked>, topic: TopicConfig) -> PartitionHandle {
    let surroundings = Surroundings { disk, clock: asked.clone(), flusher: asked.clone() };
    PartitionHandle::open(Arc::new(surroundings), TopicPartition::new("t", 0), with(topic), Opening::default()).expect("opened")
}

impl World {
    fn new(topic: TopicConfig) -> Self {
        let (disk, asked) = (MemoryDisk::new(), Arc::new(Asked::default()));
        let partition = open(&disk, &asked, topic);
        Self { disk, asked, partition, told: Arc::default() }
    }

    /// On a disk that stands still when the test wants it.
    fn held(topic: TopicConfig) -> (Self, Holder) {
        let (disk, asked) = (MemoryDisk::new(), Arc::new(Asked::default()));
        let (held, holder) = HeldDisk::over(Arc::new(disk.clone()));
        let partition = open_on(held, &asked, topic);
        (Self { disk, asked, partition, told: Arc::default() }, holder)
    }

    /// Writes batches of one record and waits for each.
    fn produce(&self, count: usize) {
        for _ in 0..count {
            let end = self.try_produce().expect("produced");
            let told = self.told.clone();
            let note = move |result: Result<(), Error>| {
                told.lock().expect("sound").push((end, result.err().map(|error| error.to_string())));
            };
            self.partition.when_acknowledged(end, note);
        }
    }

    fn try_produce(&self) -> Result<i64, Error> {
        let mut builder = BatchBuilder::new();
        builder.append(NOW, None, Some(&[7; 100]), &[]);
        self.partition.produce(builder.build()).map(|produced| produced.end_offset)
    }

    fn told(&self) -> Vec<i64> {
        let told = self.told.lock().expect("sound");
        assert!(told.iter().all(|(_, error)| error.is_none()), "{told:?}");
        told.iter().map(|(end, _)| *end).collect()
    }

    fn readable(&self) -> i64 {
        let fetched = self.partition.fetch(0, usize::MAX).expect("fetched");
        let count = fetched.batches.iter().flat_map(batches).count() as i64;
        assert_eq!((count, fetched.high_watermark), (self.partition.end_offset(), self.partition.end_offset()));
        count
    }

    fn asks(&self) -> usize {
        self.asked.flushes.load(Ordering::Relaxed)
    }

    /// What a power cut leaves.
    fn after_a_power_cut(&self) -> i64 {
        self.disk.crash();
        open(&self.disk, &self.asked, TopicConfig::default()).end_offset()
    }
}

#[test]
fn the_page_cache_is_good_enough_by_default() {
    let world = World::new(TopicConfig::default());
    world.produce(3);
    assert_eq!((world.readable(), world.told(), world.asks()), (3, vec![1, 2, 3], 0));
    assert_eq!(world.after_a_power_cut(), 0, "until somebody syncs");
}

#[test]
fn with_every_write_synced_nothing_counts_before_and_one_sync_serves_all_who_wait() {
    let world = World::new(TopicConfig { flush_messages: 1, ..TopicConfig::default() });
    world.produce(5);
    assert_eq!((world.readable(), world.told(), world.asks()), (0, vec![], 1));
    assert_eq!(world.partition.offset_for_timestamp(0).expect("found"), None, "nor is it found");
    assert_eq!(world.partition.unacknowledged(), Some(5));
    world.partition.flush();
    assert_eq!((world.readable(), world.told()), (5, vec![1, 2, 3, 4, 5]));
    world.produce(1);
    assert_eq!((world.readable(), world.told().len(), world.asks()), (5, 5, 2), "the next one waits again");
    assert_eq!(world.after_a_power_cut(), 5, "what was acknowledged is there, and no more");
}

#[test]
fn with_every_third_write_synced_two_count_at_once() {
    let world = World::new(TopicConfig { flush_messages: 3, ..TopicConfig::default() });
    world.produce(2);
    assert_eq!((world.readable(), world.told(), world.asks()), (2, vec![1, 2], 0));
    world.produce(2);
    assert_eq!((world.readable(), world.told(), world.asks()), (2, vec![1, 2], 1), "order holds: the fourth waits for the third");
    world.partition.flush();
    assert_eq!((world.readable(), world.told()), (4, vec![1, 2, 3, 4]));
    world.produce(2);
    assert_eq!((world.readable(), world.asks()), (6, 1));
}

#[test]
fn in_time_everything_is_durable_and_nobody_waits() {
    let world = World::new(TopicConfig { flush_ms: 50, ..TopicConfig::default() });
    assert_eq!(world.partition.flush_in_time(), None);
    world.produce(3);
    assert_eq!((world.readable(), world.told(), world.asks()), (3, vec![1, 2, 3], 0));
    assert_eq!(world.asked.looks.load(Ordering::Relaxed), 1, "once for all three");
    assert_eq!(world.partition.flush_in_time(), Some(50));
    world.asked.time.store(50, Ordering::Relaxed);
    assert_eq!(world.partition.flush_in_time(), None);
    assert_eq!(world.after_a_power_cut(), 3);
}

#[test]
fn what_was_written_before_a_kill_or_before_the_setting_is_durable_in_time_too() {
    let world = World::new(TopicConfig::default());
    world.produce(3);
    let timed = || TopicConfig { flush_ms: 50, ..TopicConfig::default() };
    let again = open(&world.disk.fork(), &world.asked, timed());
    assert_eq!(again.flush_in_time(), Some(50));
    world.partition.reconfigure(with(timed()).into());
    assert_eq!((world.partition.flush_in_time(), world.asked.looks.load(Ordering::Relaxed)), (Some(50), 1));
    world.asked.time.store(50, Ordering::Relaxed);
    for partition in [&again, &world.partition] {
        assert_eq!((partition.flush_in_time(), partition.recovery_point()), (None, 3));
    }
    assert_eq!(world.after_a_power_cut(), 3);
}

#[test]
fn a_segment_that_is_full_is_made_durable_behind_everybodys_back() {
    let world = World::new(TopicConfig { segment_bytes: 400, ..TopicConfig::default() });
    world.produce(7);
    assert_eq!((world.readable(), world.asks()), (7, 1));
    world.partition.flush();
    assert_eq!(world.partition.recovery_point(), 6);
    assert_eq!(world.after_a_power_cut(), 6);
}

#[test]
fn a_failed_sync_fails_who_waits_refuses_who_comes_and_reads_go_on() {
    let world = World::new(TopicConfig { flush_messages: 1, ..TopicConfig::default() });
    world.produce(2);
    world.partition.flush();
    world.produce(2);
    world.disk.fail_after(0);
    world.partition.flush();
    world.disk.heal();
    let told = world.told.lock().expect("sound").clone();
    assert_eq!((told[0].clone(), told[1].clone(), told.len()), ((1, None), (2, None), 4));
    for (end, error) in &told[2..] {
        let error = error.as_deref().expect("it is not durable");
        assert!(error.contains("t-0 takes no writes") && error.contains("injected fault"), "{end}: {error}");
    }
    let error = world.try_produce().expect_err("refused").to_string();
    assert!(error.contains("injected fault"), "{error}");
    world.partition.flush();
    assert_eq!(world.readable(), 2, "what counted can be read; what failed never counts, whatever a later sync says");
    let told = Arc::new(Mutex::new(None));
    let note = told.clone();
    world.partition.when_acknowledged(3, move |result| *note.lock().expect("sound") = Some(result.is_err()));
    assert_eq!(*told.lock().expect("sound"), Some(true), "who asks later is told at once");
}

/// Of two syncs, the one that began later must not say that what the other has yet to do is done.
#[test]
fn a_sync_says_what_is_durable_while_another_one_waits_for_the_disk() {
    let later: [fn(&PartitionHandle); 3] =
        [|one| one.sync().expect("synced"), PartitionHandle::flush, |one| one.close().expect("closed")];
    for later in later {
        let (world, holder) = World::held(TopicConfig { flush_messages: 1, ..TopicConfig::default() });
        world.produce(1);
        let left = Mutex::new(None);
        let meanwhile = || {
            world.produce(1);
            later(&world.partition);
            let (told, disk) = (world.told().contains(&2), world.disk.fork());
            disk.crash();
            *left.lock().expect("sound") = Some((told, disk));
        };
        // The file is synced by then, its name is not.
        holder.across("t-0", || world.partition.flush(), meanwhile);
        let (told, disk) = left.into_inner().expect("sound").expect("left");
        assert_eq!((told, open(&disk, &world.asked, TopicConfig::default()).end_offset()), (true, 2));
        assert_eq!(world.told().len(), 2);
    }
}

#[test]
fn what_was_deleted_is_left_alone_by_a_sync_that_was_asked_for() {
    let (world, holder) = World::held(TopicConfig { flush_messages: 1, ..TopicConfig::default() });
    world.produce(1);
    let folder_goes = || {
        world.partition.delete();
        world.disk.remove_folder("t-0").expect("removed");
        world.disk.fail_after(0);
    };
    holder.across("t-0", || world.partition.flush(), folder_goes);
    world.partition.flush();
    world.partition.sync().expect("nothing to do");
    let told = world.told.lock().expect("sound").clone();
    assert!(told[0].1.as_deref().expect("an error").contains("t-0 was deleted"), "{told:?}");
    assert_eq!(world.disk.folders().expect("listed"), [""; 0]);
}

#[test]
fn who_waits_on_a_deleted_partition_is_told() {
    let world = World::new(TopicConfig { flush_messages: 1, ..TopicConfig::default() });
    world.produce(1);
    world.partition.delete();
    let told = world.told.lock().expect("sound").clone();
    assert!(told[0].1.as_deref().expect("an error").contains("t-0 was deleted"), "{told:?}");
}

#[tokio::test]
async fn waiting_is_a_future_too() {
    let world = World::new(TopicConfig { flush_messages: 1, ..TopicConfig::default() });
    world.produce(1);
    let partition = world.partition.clone();
    let (waited, ()) = tokio::join!(partition.acknowledged(1), async { partition.flush() });
    waited.expect("durable");
    partition.acknowledged(1).await.expect("at once");
}
