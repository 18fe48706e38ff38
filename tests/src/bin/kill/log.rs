//! A broker alone under writers that keep no record waiting: what its logs hold after each kill.
//!
//! A kill counts only if at that moment some records were acknowledged and not synced, and some were acknowledged and not
//! committed. What was acknowledged is at its offset with its value, unless retention or a deletion took it from the front, and
//! then no more than they may; of compacted topics each key's last value. No offset is ever given twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_core::record::{BatchBuilder, batches};
use broker_core::{Broker, BrokerConfig, MemberIdentity, NewTopic, OffsetCommit, PartitionHandle, TopicPartition};

use super::{random, start, tell};

const GROUP: &str = "readers";
/// Kept of the cached topic at least.
const RETENTION_BYTES: u64 = 2 << 20;
const SEGMENT_BYTES: u64 = 128 << 10;
/// How much of the synced topic the child lets stand.
const KEPT: i64 = 2000;
const KEYS: u64 = 40;

struct Plan {
    name: &'static str,
    partitions: i32,
    settings: &'static [(&'static str, &'static str)],
}

const PLANS: [Plan; 3] = [
    Plan { name: "cached", partitions: 2, settings: &[("segment.bytes", "131072"), ("retention.bytes", "2097152")] },
    Plan { name: "synced", partitions: 2, settings: &[("segment.bytes", "131072"), ("flush.messages", "1")] },
    Plan {
        name: "keyed",
        partitions: 1,
        settings: &[("segment.bytes", "16384"), ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01")],
    },
];

/// `busy`: everything that is done from time to time is done all the time.
fn open(dir: &Path, busy: bool) -> Result<Broker> {
    let few = BrokerConfig { offsets_topic_num_partitions: 2, offsets_topic_segment_bytes: 64 << 10, ..BrokerConfig::default() };
    let config = BrokerConfig {
        log_retention_check_interval_ms: 50,
        log_flush_offset_checkpoint_interval_ms: 30,
        log_cleaner_backoff_ms: 100,
        ..few.clone()
    };
    Ok(Broker::builder().dir(dir).config(if busy { config } else { few }).open()?)
}

/// Writes until it is killed.
pub fn child(dir: &Path) -> Result<()> {
    let broker = open(dir, true)?;
    for plan in PLANS.iter().filter(|plan| broker.topic(plan.name).is_none()) {
        let mut topic = NewTopic::new(plan.name).partitions(plan.partitions);
        let settings = plan.settings.iter().chain(&[("file.delete.delay.ms", "20")]);
        topic.configs.extend(settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        broker.create_topic(&topic)?;
    }
    tell("READY\n");
    std::thread::scope(|scope| {
        for plan in &PLANS {
            // Two writers to each synced partition, so that they share syncs.
            for writer in 0..if plan.name == "synced" { 4 } else { plan.partitions } {
                let broker = &broker;
                scope.spawn(move || {
                    let failed = write(broker, plan.name, writer % plan.partitions, writer);
                    tell(&format!("E {failed:?}\n"));
                });
            }
        }
    });
    Ok(())
}

/// One writer: up to five batches on their way, each told when it is acknowledged.
fn write(broker: &Broker, topic: &str, number: i32, writer: i32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let partition = broker.partition(topic, number)?;
    let (producer, epoch) = broker.init_producer_id()?;
    let (run, mut sequence) = (std::process::id(), 0);
    for round in 0u64.. {
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let mut builder = BatchBuilder::new();
            builder.producer(producer, epoch, sequence);
            let mut values = Vec::new();
            for _ in 0..1 + sequence % 3 {
                let (key, value) = (format!("k{}", sequence as u64 % KEYS), format!("{run}-{writer}-{sequence}"));
                builder.append(broker.clock().wall_ms(), Some(key.as_bytes()), Some(value.as_bytes()), &[]);
                values.push((key, value));
                sequence += 1;
            }
            let produced = partition.produce(builder.build())?;
            waiting.push((produced, values));
        }
        let mut end = 0;
        for (produced, values) in waiting {
            runtime.block_on(partition.acknowledged(produced.end_offset))?;
            let mut lines = String::new();
            for (offset, (key, value)) in (produced.base_offset..).zip(values) {
                let _ = writeln!(lines, "A {topic} {number} {offset} {key} {value}");
            }
            tell(&lines);
            end = produced.end_offset;
        }
        if round % 8 == 7 {
            commit(broker, topic, number, end)?;
        }
        if round % 16 == 15 && topic == "synced" && end > KEPT {
            let start = broker.delete_records(topic, number, end - KEPT)?;
            tell(&format!("X {topic} {number} {start}\n"));
        }
    }
    Ok(())
}

/// Writers of the same partition commit in any order, so each has its own group.
fn commit(broker: &Broker, topic: &str, partition: i32, offset: i64) -> Result<()> {
    let commit = OffsetCommit { topic, partition, offset, leader_epoch: -1, metadata: "" };
    let group = format!("{GROUP}-{:?}", std::thread::current().id());
    broker.commit_offsets(&group, MemberIdentity::administrator(), &[commit])?;
    tell(&format!("C {topic} {partition} {offset} {group}\n"));
    Ok(())
}

/// What the parent knows of a partition, from the children's lines alone.
#[derive(Default)]
struct Known {
    /// By offset: key and value.
    acknowledged: BTreeMap<i64, (String, String)>,
    /// The last record of each key.
    last: BTreeMap<String, i64>,
    deleted_to: i64,
    start: i64,
    committed: BTreeMap<String, i64>,
}

#[derive(Default)]
struct Counts {
    kills: u32,
    uncounted: u32,
    acknowledged: u64,
    unsynced: u64,
    uncommitted: u64,
    unacknowledged: u64,
}

type Partitions = BTreeMap<(String, i32), Known>;

fn take(all: &mut Partitions, lines: impl Iterator<Item = String>, counts: &mut Counts) -> Result<()> {
    for line in lines {
        let parts: Vec<&str> = line.split(' ').collect();
        ensure!(parts[0] != "E", "a writer failed: {line}");
        // The last line may be cut short by the kill only if it was not written at once.
        let [kind, topic, partition, offset, ..] = parts[..] else { continue };
        let known = all.entry((topic.to_owned(), partition.parse()?)).or_default();
        let offset: i64 = offset.parse()?;
        match (kind, &parts[4..]) {
            ("A", [key, value]) => {
                counts.acknowledged += 1;
                let before = known.acknowledged.insert(offset, ((*key).to_owned(), (*value).to_owned()));
                ensure!(before.is_none(), "{topic}-{partition}: offset {offset} was given to '{value}' and to {before:?}");
                let last = known.last.entry((*key).to_owned()).or_default();
                *last = offset.max(*last);
            }
            ("X", []) => known.deleted_to = known.deleted_to.max(offset),
            ("C", [group]) => drop(known.committed.insert((*group).to_owned(), offset)),
            _ => anyhow::bail!("what is '{line}'?"),
        }
    }
    Ok(())
}

/// What a log holds: offsets with key and value.
fn read(partition: &PartitionHandle) -> Result<BTreeMap<i64, (String, String)>> {
    let (mut all, mut next) = (BTreeMap::new(), partition.log_start());
    while next < partition.end_offset() {
        for run in partition.fetch(next, 1 << 20)?.batches {
            for batch in batches(&run) {
                let batch = batch?;
                next = batch.last_offset() + 1;
                // A log may start inside a batch.
                for record in batch.records() {
                    let record = record?;
                    if record.offset < partition.log_start() {
                        continue;
                    }
                    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                    all.insert(record.offset, (text(record.key()), text(record.value())));
                }
            }
        }
    }
    Ok(all)
}

/// Up to where each log is known to be on the disk, as the killed broker kept it.
fn synced(dir: &Path) -> Result<BTreeMap<(String, i32), i64>> {
    let text = std::fs::read_to_string(dir.join("recovery-point-offset-checkpoint")).unwrap_or_default();
    let entries = text.lines().skip(2).map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [topic, partition, offset] = fields[..] else { anyhow::bail!("'{line}' is no recovery point") };
        Ok(((topic.to_owned(), partition.parse()?), offset.parse()?))
    });
    entries.collect()
}

fn check(dir: &Path, all: &mut Partitions, counts: &mut Counts) -> Result<()> {
    let synced = synced(dir)?;
    let broker = open(dir, false)?;
    let (mut unsynced, mut uncommitted) = (0, 0);
    for ((topic, number), known) in all.iter_mut() {
        let id = format!("{topic}-{number}");
        let partition = broker.partition(topic, *number)?;
        check_log(dir, &partition, topic == "keyed", known, counts).with_context(|| id.clone())?;
        let point = synced.get(&(topic.clone(), *number)).copied().unwrap_or(0);
        if topic == "cached" {
            unsynced += known.acknowledged.range(point..).count() as u64;
        }
        let asked = [TopicPartition::new(topic.as_str(), *number)];
        let mut behind = 0;
        for (group, told) in &known.committed {
            let found = broker.fetch_offsets(group, Some(&asked)).remove(0).1.map_or(0, |stored| stored.offset);
            ensure!(found >= *told, "{id}: group {group} committed {told}, {found} is left");
            behind = behind.max(found);
        }
        uncommitted += known.acknowledged.range(behind..).count() as u64;
    }
    let counted = unsynced > 0 && uncommitted > 0;
    counts.unsynced += unsynced;
    counts.uncommitted += uncommitted;
    *(if counted { &mut counts.kills } else { &mut counts.uncounted }) += 1;
    Ok(())
}

fn check_log(dir: &Path, partition: &PartitionHandle, compacted: bool, known: &mut Known, counts: &mut Counts) -> Result<()> {
    let (start, end, log) = (partition.log_start(), partition.end_offset(), read(partition)?);
    ensure!(start >= known.deleted_to, "it starts at {start}, although everything before {} was deleted", known.deleted_to);
    ensure!(start >= known.start, "its start went back from {} to {start}", known.start);
    known.start = start;
    if compacted {
        for (key, offset) in &known.last {
            let found = log.iter().rev().find(|(_, (other, _))| other == key).map(|(offset, _)| *offset);
            ensure!(found >= Some(*offset), "key {key} was written at {offset}, the last that is left is at {found:?}");
        }
    } else {
        let missing = (start..end).find(|offset| !log.contains_key(offset));
        ensure!(missing.is_none(), "it goes from {start} to {end}, but {missing:?} is not there");
        let whole = partition.topic_partition().topic.starts_with("cached") && start > 0;
        let bytes = if whole { bytes_of(&dir.join(partition.topic_partition().to_string()))? } else { RETENTION_BYTES };
        ensure!(bytes + SEGMENT_BYTES > RETENTION_BYTES, "retention left {bytes} bytes of {RETENTION_BYTES}");
    }
    known.acknowledged.retain(|offset, _| *offset >= start);
    for (offset, record) in &known.acknowledged {
        let found = log.get(offset);
        ensure!(
            found == Some(record) || compacted && found.is_none(),
            "{record:?} was acknowledged at {offset}, there is {found:?}"
        );
    }
    let told = known.acknowledged.last_key_value().map_or(start, |(offset, _)| offset + 1);
    counts.unacknowledged += u64::try_from(end - told).unwrap_or(0);
    ensure!(end >= told, "it ends at {end}, {told} were acknowledged");
    // What is there and was never acknowledged keeps its offset, too: it may be given to nobody else.
    for (offset, record) in log.range(told..) {
        known.acknowledged.insert(*offset, record.clone());
    }
    Ok(())
}

fn bytes_of(folder: &Path) -> Result<u64> {
    let files = std::fs::read_dir(folder)?.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
    files.map(|entry| Ok(entry.metadata()?.len())).sum()
}

/// Kills children until so many kills count.
pub fn parent(times: u32, mut seed: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut known, mut counts) = (Partitions::new(), Counts::default());
    while counts.kills < times {
        ensure!(counts.uncounted < times + 10, "too many kills came at moments that do not count: {}", counts.uncounted);
        let mut running = start(&["--writers"], dir.path())?;
        std::thread::sleep(Duration::from_micros(20_000 + random(&mut seed) % 100_000));
        running.child.kill()?;
        running.child.wait()?;
        take(&mut known, running.lines.iter(), &mut counts)?;
        check(dir.path(), &mut known, &mut counts).with_context(|| format!("after {} kills", counts.kills + counts.uncounted))?;
    }
    let mean = |total: u64| total / u64::from(counts.kills + counts.uncounted);
    println!(
        "log: {} kills counted ({} more at moments that do not count): {} records acknowledged, 0 lost, 0 offsets given twice; at a kill, on average, {} acknowledged records were not synced, {} not committed, and {} were there that nobody had been told of",
        counts.kills,
        counts.uncounted,
        counts.acknowledged,
        mean(counts.unsynced),
        mean(counts.uncommitted),
        mean(counts.unacknowledged),
    );
    Ok(())
}
