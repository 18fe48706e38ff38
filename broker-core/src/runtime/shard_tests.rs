//! A shard's groups with transactions: whatever is written, and whenever it stops, it is read back as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Shard, ShardConfig};
use crate::config::BrokerConfig;
use crate::coordinator::group::{MemberIdentity, OffsetCommit};
use crate::error::ErrorCode;
use crate::id::TopicPartition;
use crate::log::Opening;
use crate::partition::{Flusher, PartitionHandle, Surroundings, TransactionEnd};
use crate::storage::{Disk, MemoryDisk};
use crate::time::Clock;

const FOLDER: &str = "__consumer_offsets-0";
const GROUPS: [&str; 2] = ["g", "h"];
const TOPIC: &str = "t";

/// It is always the same moment: nothing here may be told by time.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn wall_ms(&self) -> i64 {
        1_700_000_000_000
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
struct OnTheSpot;

impl Flusher for OnTheSpot {
    fn flush(&self, partition: &PartitionHandle) {
        partition.flush();
    }

    fn look_again(&self) {}
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// An offset of a group's partition.
    Plain(usize, i32, i64),
    /// The same of a producer's transaction.
    Within(i64, usize, i32, i64),
    End(i64, bool),
    DeleteOffset(usize, i32),
    DeleteTopic,
    DeleteGroup(usize),
    /// The process is killed and started again.
    Kill,
    /// The log's compaction comes by.
    Compact,
}
use Step::*;

fn open_with(disk: &MemoryDisk, rewrite_bytes: u64) -> Shard {
    let config = BrokerConfig { offsets_topic_segment_bytes: rewrite_bytes, ..BrokerConfig::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let is_there = disk.folders().expect("listed").iter().any(|folder| folder == FOLDER);
    let surroundings = Arc::new(Surroundings { disk, clock: Arc::new(Noon), flusher: Arc::new(OnTheSpot) });
    let id = TopicPartition::new("__consumer_offsets", 0);
    // Compaction leaves gaps, as the broker's checkpoints say.
    let opening = Opening { compacted_to: Some(0), ..Opening::default() };
    let mut shard = Shard::new(ShardConfig::new(surroundings, &config, id, opening));
    if is_there {
        shard.load().expect("read back");
    }
    shard
}

fn open(disk: &MemoryDisk) -> Shard {
    open_with(disk, 600)
}

fn commit(partition: i32, offset: i64) -> OffsetCommit<'static> {
    OffsetCommit { topic: TOPIC, partition, offset, leader_epoch: -1, metadata: "" }
}

fn end(producer_id: i64, committed: bool) -> TransactionEnd {
    TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: 0, committed }
}

/// One step; an error's code if the disk fails.
fn take(disk: &MemoryDisk, shard: &mut Shard, step: Step) -> Result<(), ErrorCode> {
    let nobody = MemberIdentity::administrator();
    let done = match step {
        Plain(group, partition, offset) => shard.commit(GROUPS[group], nobody, &[commit(partition, offset)]),
        Within(producer, group, partition, offset) => {
            let commits = [commit(partition, offset)];
            shard.commit_within(GROUPS[group], nobody, (producer, 0), &commits, false).map(|each| assert!(each[0].is_ok()))
        }
        End(producer, committed) => shard.end_transaction(&end(producer, committed)).map(drop),
        DeleteOffset(group, partition) => shard.delete_offsets(GROUPS[group], &[TopicPartition::new(TOPIC, partition)]).map(drop),
        DeleteTopic => shard.delete_offsets_of(TOPIC),
        DeleteGroup(group) => shard.delete(GROUPS[group]),
        Kill => {
            *shard = open(disk);
            Ok(())
        }
        Compact => match shard.partition() {
            Some(partition) => partition.compact(1 << 20).map(drop),
            None => Ok(()),
        },
    };
    match done.map_err(|error| error.code()) {
        Err(ErrorCode::GroupIdNotFound) => Ok(()),
        other => other,
    }
}

/// Each partition's stored offset, and whether it is decided.
type View = BTreeMap<(usize, i32), (Option<i64>, bool)>;

fn places() -> impl Iterator<Item = (usize, i32)> {
    (0..GROUPS.len()).flat_map(|group| [(group, 0), (group, 1)])
}

fn view(shard: &Shard) -> View {
    let of = |(group, partition)| {
        let asked = [TopicPartition::new(TOPIC, partition)];
        let stored = shard.groups().offsets(GROUPS[group], Some(&asked)).remove(0).1.map(|stored| stored.offset);
        let stable = shard.groups().stable_offsets(GROUPS[group], Some(&asked)).remove(0).1;
        ((group, partition), (stored, stable.is_ok()))
    };
    places().map(of).collect()
}

/// The same, worked out from everything that was ever written: each transaction's offsets count from where they stand, if it was
/// committed and nobody deleted them meanwhile.
fn expected(steps: &[Step]) -> View {
    let of = |(group, partition): (usize, i32)| {
        let mut stored: Option<(usize, i64)> = None;
        let mut open: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            match *step {
                Plain(g, p, offset) if (g, p) == (group, partition) => stored = Some((at, offset)),
                Within(producer, g, p, offset) if (g, p) == (group, partition) => drop(open.insert(producer, (at, offset))),
                End(producer, committed) => {
                    let ended = open.remove(&producer).filter(|_| committed);
                    stored = stored.max(ended);
                }
                DeleteOffset(g, p) if (g, p) == (group, partition) => (stored, open) = (None, BTreeMap::new()),
                DeleteGroup(g) if g == group => (stored, open) = (None, BTreeMap::new()),
                DeleteTopic => (stored, open) = (None, BTreeMap::new()),
                _ => {}
            }
        }
        ((group, partition), (stored.map(|(_, offset)| offset), open.is_empty()))
    };
    places().map(of).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (group, partition, producer) = (0usize..2, 0i32..2, 1i64..4);
    let step = prop_oneof![
        6 => (group.clone(), partition.clone(), 0i64..1000).prop_map(|(group, partition, offset)| Plain(group, partition, offset)),
        6 => (producer.clone(), group.clone(), partition.clone(), 0i64..1000)
            .prop_map(|(producer, group, partition, offset)| Within(producer, group, partition, offset)),
        4 => (producer, any::<bool>()).prop_map(|(producer, committed)| End(producer, committed)),
        1 => (group.clone(), partition).prop_map(|(group, partition)| DeleteOffset(group, partition)),
        1 => group.prop_map(DeleteGroup),
        1 => Just(DeleteTopic),
        2 => Just(Kill),
        2 => Just(Compact),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back_as_it_was(steps in steps()) {
        let disk = MemoryDisk::new();
        let mut shard = open(&disk);
        for (at, step) in steps.iter().enumerate() {
            take(&disk, &mut shard, *step).expect("done");
            prop_assert_eq!(view(&shard), expected(&steps[..=at]), "after {:?}", &steps[..=at]);
            prop_assert_eq!(view(&open(&disk.fork())), view(&shard), "read back after {:?}", &steps[..=at]);
        }
    }
}

/// Three transactions, which overlap, end both ways and meet what is written outside of them; long enough for rewrites.
fn script() -> Vec<Step> {
    let round = |round: i64| {
        let offset = 10 * round;
        [
            Plain(0, 0, offset),
            Within(1, 0, 0, offset + 1),
            Within(2, 1, 0, offset + 2),
            Plain(0, 1, offset + 3),
            End(1, round % 2 == 0),
            Within(1, 0, 1, offset + 4),
            Within(2, 0, 1, offset + 5),
            Plain(1, 0, offset + 6),
            End(2, round % 3 != 0),
            End(1, true),
            if round == 4 { DeleteGroup(0) } else { Plain(1, 1, offset + 7) },
        ]
    };
    (0..9).flat_map(round).collect()
}

/// Plays the script until the disk fails after so many operations; how many steps were done.
fn play(disk: &MemoryDisk, shard: &mut Shard, after: u64) -> usize {
    disk.fail_after(after);
    let script = script();
    for (at, step) in script.iter().enumerate() {
        let before = view(shard);
        if take(disk, shard, *step).is_err() {
            assert_eq!(view(shard), before, "fault {after}: what failed changes nothing");
            return at;
        }
        assert_eq!(view(shard), expected(&script[..=at]));
    }
    script.len()
}

/// What a step writes is there or not: a stop between its write and what it changes in memory is one of those where it is there.
#[test]
fn a_stop_at_any_operation_leaves_what_was_told() {
    let (script, mut after) = (script(), 0);
    loop {
        let disk = MemoryDisk::new();
        let done = play(&disk, &mut open(&disk), after);
        disk.heal();
        for _ in 0..2 {
            assert_eq!(view(&open(&disk)), expected(&script[..done]), "fault {after}, after {done} steps");
        }
        // It goes on from there: whoever does not know asks again.
        let mut shard = open(&disk);
        for step in &script[done.saturating_sub(1)..] {
            take(&disk, &mut shard, *step).expect("done");
        }
        assert_eq!(view(&shard), expected(&script), "fault {after}");
        if done == script.len() {
            break;
        }
        after += 1;
    }
    assert!(after > 150, "{after} operations");
}

#[test]
fn a_power_cut_goes_back_to_what_was_at_some_time() {
    let script = script();
    let all: BTreeSet<View> = (0..=script.len()).map(|count| expected(&script[..count])).collect();
    for after in 0..250 {
        for seed in 0..3 {
            let disk = MemoryDisk::new();
            play(&disk, &mut open(&disk), after);
            if seed == 0 {
                disk.crash()
            } else {
                disk.crash_by_chance(after * 10 + seed)
            }
            let left = view(&open(&disk));
            assert!(all.contains(&left), "fault {after}, seed {seed}: {left:?} was never told");
        }
    }
}

fn size(disk: &MemoryDisk) -> u64 {
    let files = disk.files(FOLDER).expect("listed").into_iter().filter(|name| name.ends_with(".log"));
    files.map(|name| disk.open(FOLDER, &name).expect("opened").size()).sum()
}

#[test]
fn with_one_transaction_after_the_other_the_log_stays_small() {
    let disk = MemoryDisk::new();
    let mut shard = open_with(&disk, 2000);
    for offset in 0..1000 {
        take(&disk, &mut shard, Within(1, 0, 0, offset)).expect("done");
        take(&disk, &mut shard, End(1, offset % 2 == 0)).expect("done");
        assert!(size(&disk) < 3000, "{} bytes at {offset}", size(&disk));
    }
    assert_eq!(view(&open(&disk))[&(0, 0)], (Some(998), true));
}

#[test]
fn while_a_transaction_is_open_compaction_keeps_the_log_small() {
    let disk = MemoryDisk::new();
    let mut shard = open_with(&disk, 2000);
    for offset in 0..3000 {
        // There is always one of two.
        let producer = offset % 2 + 1;
        take(&disk, &mut shard, Within(producer, 0, 0, offset)).expect("done");
        take(&disk, &mut shard, End(3 - producer, true)).expect("done");
        assert!(shard.groups().has_transactions());
        if offset % 20 == 0 {
            shard.partition().expect("there").compact(1 << 20).expect("compacted");
        }
        assert!(size(&disk) < 12_000, "{} bytes at {offset}", size(&disk));
    }
    assert_eq!(view(&shard)[&(0, 0)], (Some(2998), false));
    assert_eq!(view(&open(&disk)), view(&shard));
    take(&disk, &mut shard, End(1, true)).expect("done");
    take(&disk, &mut shard, End(2, true)).expect("done");
    take(&disk, &mut shard, Plain(1, 0, 5)).expect("done");
    assert!(size(&disk) < 1000, "{} bytes once there was a moment without", size(&disk));
    assert_eq!(view(&open(&disk)), view(&shard));
}

#[test]
fn an_older_producer_is_fenced_also_after_a_rewrite_and_a_restart() {
    let disk = MemoryDisk::new();
    let mut shard = open(&disk);
    let within = |shard: &mut Shard, epoch| {
        let stored = shard.commit_within("g", MemberIdentity::administrator(), (1, epoch), &[commit(0, i64::from(epoch))], false);
        stored.map(drop).map_err(|error| error.code())
    };
    let end = |shard: &mut Shard, producer_epoch| {
        let end = TransactionEnd { producer_epoch, ..end(1, true) };
        shard.end_transaction(&end).map(drop).map_err(|error| error.code())
    };
    assert_eq!(within(&mut shard, 3), Ok(()));
    assert_eq!(within(&mut shard, 2), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(end(&mut shard, 2), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(view(&shard)[&(0, 0)], (None, false), "neither stored nor ended");
    // Who ends it may be a newer one.
    assert_eq!(end(&mut shard, 4), Ok(()));
    assert_eq!(view(&shard)[&(0, 0)], (Some(3), true));
    let start = shard.partition().expect("there").log_start();
    for offset in 0..20 {
        take(&disk, &mut shard, Plain(1, 0, offset)).expect("done");
    }
    assert!(shard.partition().expect("there").log_start() > start, "it was rewritten");
    for _ in 0..2 {
        assert_eq!(within(&mut shard, 3), Err(ErrorCode::InvalidProducerEpoch));
        shard = open(&disk);
    }
    assert_eq!(within(&mut shard, 4), Ok(()));
}

#[test]
fn one_offset_that_is_refused_does_not_keep_the_others() {
    let disk = MemoryDisk::new();
    let mut shard = open(&disk);
    let long = "m".repeat(5000);
    let commits = [OffsetCommit { metadata: &long, ..commit(0, 1) }, commit(1, 2)];
    let stored = shard.commit_within("g", MemberIdentity::administrator(), (1, 0), &commits, false).expect("some");
    let codes: Vec<_> = stored.iter().map(|one| one.as_ref().map_err(|error| error.code()).err()).collect();
    assert_eq!(codes, [Some(ErrorCode::OffsetMetadataTooLarge), None]);
    assert_eq!(view(&shard)[&(0, 0)], (None, true));
    assert_eq!(view(&shard)[&(0, 1)], (None, false));
    // Of nothing nothing is written.
    let before = shard.partition().expect("there").end_offset();
    assert!(shard.commit_within("g", MemberIdentity::administrator(), (1, 0), &commits[..1], false).expect("none")[0].is_err());
    assert_eq!(shard.partition().expect("there").end_offset(), before);
    let refused = shard.commit_within("g", MemberIdentity::of(1, "who"), (1, 0), &commits, false).map_err(|error| error.code());
    assert_eq!(refused.map(drop), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_small_commit_is_not_written_a_thousand_times_as_large() {
    let disk = MemoryDisk::new();
    let mut shard = open(&disk);
    let group = "g".repeat(i16::MAX as usize);
    let commits = vec![commit(0, 7); 2_000];
    let told = [
        shard.commit(&group, MemberIdentity::administrator(), &commits),
        shard.commit_each(&group, MemberIdentity::administrator(), &commits).map(drop),
        shard.commit_within(&group, MemberIdentity::administrator(), (1, 0), &commits, false).map(drop),
    ];
    for refused in told {
        let error = refused.expect_err("65 MB of names");
        assert_eq!(error.code(), ErrorCode::InvalidCommitOffsetSize);
        assert!(error.to_string().contains("at most 16777216"), "{error}");
    }
    assert!(shard.partition().is_none(), "nothing was written");
    assert!(shard.groups().list().is_empty());
    shard.commit(&group, MemberIdentity::administrator(), &commits[..500]).expect("16 MB");
}
