//! Topics with transactions: what is written to them, and what of it a reader of committed records may see. Their coordinator is played
//! by the script.

use std::collections::BTreeMap;

use broker_core::record::{BatchBuilder, batches};
use broker_core::{Broker, CommittedOnly, NewTopic, PartitionHandle, TransactionEnd};

use super::check::{Stop, block_on};
use super::world::Record;

pub struct Plan {
    pub name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// Whether a power cut takes nothing that was acknowledged.
    synced: bool,
    compacted: bool,
}

const COMPACT: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("delete.retention.ms", "2000")];

pub const PLANS: [Plan; 3] = [
    Plan { name: "txn-cached", settings: &[], synced: false, compacted: false },
    Plan { name: "txn-synced", settings: &[("flush.messages", "1")], synced: true, compacted: false },
    Plan {
        name: "txn-keyed",
        settings: &[COMPACT[0], COMPACT[1], COMPACT[2], ("flush.messages", "1")],
        synced: true,
        compacted: true,
    },
];

/// What was told of one of them, in entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub entries: usize,
    pub durable: usize,
}

/// One batch or marker; a log is a row of them, and each is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Of nobody.
    Plain(usize),
    /// So many records of a producer's transaction.
    Within(i64, usize),
    End(i64, bool),
}

/// The two producers.
const A: i64 = 501;
const B: i64 = 502;
/// So that segments are full soon.
const FILLING: &str = "....................................................";

fn entry(number: usize) -> Entry {
    let cycle = number / 9;
    match number % 9 {
        0 => Entry::Within(A, 2),
        1 => Entry::Within(B, 1),
        2 => Entry::Plain(1),
        3 => Entry::Within(A, 1),
        4 => Entry::End(A, cycle % 2 == 1),
        5 => Entry::Plain(2),
        6 => Entry::Within(B, 1),
        7 => Entry::End(B, !cycle.is_multiple_of(3)),
        _ => Entry::End(A, false),
    }
}

fn size(entry: Entry) -> usize {
    match entry {
        Entry::Plain(count) | Entry::Within(_, count) => count,
        Entry::End(..) => 1,
    }
}

fn base_of(number: usize) -> i64 {
    (0..number).map(|before| size(entry(before)) as i64).sum()
}

fn records(number: usize) -> Vec<Record> {
    let base = base_of(number);
    let record = |index: usize| {
        let offset = base + index as i64;
        let value = (number % 5 != 3).then(|| format!("{number}.{index} {FILLING}").into_bytes());
        Record { offset, key: format!("k{}", (number + index) % 4).into_bytes(), value }
    };
    (0..size(entry(number))).map(record).collect()
}

/// Writes an entry; where it ends.
pub fn write(partition: &PartitionHandle, now: i64, number: usize) -> Result<i64, String> {
    let mut builder = BatchBuilder::new();
    match entry(number) {
        Entry::End(producer_id, committed) => {
            let end = TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: 0, committed };
            return partition.end_transaction(&end).map(|ended| ended.end_offset).map_err(|error| error.to_string());
        }
        Entry::Within(producer, _) => {
            let of_it = |before: &usize| matches!(entry(*before), Entry::Within(other, _) if other == producer);
            let sequence: usize = (0..number).filter(of_it).map(|before| size(entry(before))).sum();
            builder.producer(producer, 0, sequence as i32);
            builder.transactional();
        }
        Entry::Plain(_) => {}
    }
    for record in records(number) {
        builder.append(now, Some(&record.key), record.value.as_deref(), &[]);
    }
    partition.produce(builder.build()).map(|produced| produced.end_offset).map_err(|error| error.to_string())
}

/// What is stable when so many entries are there, and the committed records before that.
fn expected(count: usize) -> (i64, Vec<Record>) {
    let (mut open, mut undecided): (BTreeMap<i64, i64>, BTreeMap<i64, Vec<Record>>) = Default::default();
    let mut committed = Vec::new();
    for number in 0..count {
        match entry(number) {
            Entry::Plain(_) => committed.extend(records(number)),
            Entry::Within(producer, _) => {
                open.entry(producer).or_insert(base_of(number));
                undecided.entry(producer).or_default().extend(records(number));
            }
            Entry::End(producer, commits) => {
                open.remove(&producer);
                committed.extend(undecided.remove(&producer).unwrap_or_default().into_iter().filter(|_| commits));
            }
        }
    }
    let stable = open.values().min().copied().unwrap_or(base_of(count));
    committed.retain(|record| record.offset < stable);
    committed.sort_by_key(|record| record.offset);
    (stable, committed)
}

fn committed(partition: &PartitionHandle) -> Result<Vec<Record>, String> {
    let (mut all, mut next) = (Vec::new(), partition.log_start());
    while next < partition.stable_offset() {
        let before = next;
        let fetched = partition.fetch_committed(next, 300).map_err(|error| error.to_string())?;
        let mut only = CommittedOnly::new(fetched.aborted);
        for batch in fetched.batches.iter().flat_map(batches) {
            let batch = batch.map_err(|error| error.to_string())?;
            next = batch.last_offset() + 1;
            if !only.leaves_out(&batch) {
                let record = |record: broker_core::record::RecordView<'_>| Record {
                    offset: record.offset,
                    key: record.key().unwrap_or_default().to_vec(),
                    value: record.value().map(<[u8]>::to_vec),
                };
                all.extend(batch.records().map(|found| record(found.expect("sound"))));
            }
        }
        if next == before {
            return Err(format!("nothing is read at {next}"));
        }
    }
    Ok(all)
}

pub fn new_topic(plan: &Plan) -> NewTopic {
    let mut topic = NewTopic::new(plan.name).partitions(1);
    let small = [("segment.bytes", "1024"), ("index.interval.bytes", "150")];
    for (name, value) in small.iter().chain(plan.settings) {
        topic.configs.insert((*name).to_owned(), (*value).to_owned());
    }
    topic
}

/// Whether what was told is there, and is seen as it should be; and whether it goes on.
pub fn check(broker: &Broker, plan: &Plan, told: &Told, stop: Stop) -> Result<(), String> {
    let partition = broker.partition(plan.name, 0).map_err(|error| error.to_string())?;
    let must = if stop == Stop::Kill || plan.synced { told.entries } else { told.durable };
    let there = (must..=told.entries + 1).find(|count| base_of(*count) == partition.end_offset());
    let Some(there) = there else {
        return Err(format!(
            "{} ends at {}, of {} entries {must} were promised",
            plan.name,
            partition.end_offset(),
            told.entries
        ));
    };
    check_view(&partition, plan, there)?;
    for number in there..there + 5 {
        let end = write(&partition, broker.clock().wall_ms(), number)?;
        if end != base_of(number + 1) {
            return Err(format!("{}: entry {number} ends at {end}", plan.name));
        }
    }
    block_on(partition.acknowledged(partition.unacknowledged().unwrap_or(0))).map_err(|error| error.to_string())?;
    check_view(&partition, plan, there + 5)
}

fn check_view(partition: &PartitionHandle, plan: &Plan, count: usize) -> Result<(), String> {
    let (stable, expected) = expected(count);
    let found = committed(partition)?;
    let wrong = |what: String| Err(format!("{}, {count} entries: {what}", plan.name));
    if partition.stable_offset() != stable {
        return wrong(format!("stable is {}, expected {stable}", partition.stable_offset()));
    }
    if !plan.compacted {
        return if found == expected { Ok(()) } else { wrong(format!("{found:?} is committed, expected {expected:?}")) };
    }
    if let Some(strange) = found.iter().find(|record| !expected.contains(record)) {
        return wrong(format!("{strange:?} is not committed"));
    }
    let last: BTreeMap<&[u8], &Record> = expected.iter().map(|record| (&record.key[..], record)).collect();
    match last.values().find(|record| record.value.is_some() && !found.contains(record)) {
        Some(missing) => wrong(format!("{missing:?} is its key's last and not there: {found:?}")),
        None => Ok(()),
    }
}
