//! The plain list, and whether a partition is as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use broker_core::record::batches;
use broker_core::{CommittedOnly, PartitionHandle};
use bytes::Bytes;

#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    /// It only takes the offset of a marker.
    pub is_marker: bool,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = String::from_utf8_lossy(self.value.as_deref().unwrap_or(b"nothing"));
        let (key, time) = (self.key.last().copied().unwrap_or_default(), self.timestamp);
        write!(f, "{} at {time}: k{key}={}", self.offset, value.trim_end_matches(['.', ' ']))
    }
}

/// A batch as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub base: i64,
    pub count: usize,
    pub bytes: usize,
    /// Its producer, and the sequence of its first record.
    pub producer: Option<(u8, i32)>,
    /// The id of the producer whose transaction it is part of.
    pub transaction: Option<i64>,
    /// It is a marker, of this producer's transaction: whether that is committed.
    pub ends: Option<(i64, bool)>,
}

impl Sent {
    pub fn end(&self) -> i64 {
        self.base + self.count as i64
    }
}

/// Everything that was ever sent, in order: the partition holds a prefix of it, without what was taken from the front.
#[derive(Debug, Default)]
pub struct List {
    pub records: Vec<Record>,
    pub batches: Vec<Sent>,
    /// Everything before it was acknowledged; what is behind it may be there after a stop, or not.
    pub acknowledged: i64,
    /// Everything before it must outlive a power cut.
    pub durable: i64,
    /// What was deleted up to, and where the log was last seen to start.
    pub deleted: i64,
    pub start: i64,
}

impl List {
    pub fn end(&self) -> i64 {
        self.records.len() as i64
    }

    /// The transactions that are open at some offset: producer's id and first offset.
    pub fn open(&self, at: i64) -> BTreeMap<i64, i64> {
        let mut open = BTreeMap::new();
        for sent in self.batches.iter().take_while(|sent| sent.base < at) {
            if let Some(producer) = sent.transaction {
                open.entry(producer).or_insert(sent.base);
            }
            if let Some((producer, _)) = sent.ends {
                open.remove(&producer);
            }
        }
        open
    }

    /// The offsets of all records of transactions that were decided so; what is not acknowledged decides nothing.
    fn decided(&self, commits: bool) -> BTreeSet<i64> {
        let (mut open, mut decided): (BTreeMap<i64, Vec<&Sent>>, BTreeSet<i64>) = Default::default();
        for sent in self.batches.iter().take_while(|sent| sent.base < self.acknowledged) {
            if let Some(producer) = sent.transaction {
                open.entry(producer).or_default().push(sent);
            }
            if let Some((producer, found)) = sent.ends {
                let ended = open.remove(&producer).unwrap_or_default().into_iter().filter(|_| found == commits);
                decided.extend(ended.flat_map(|sent| sent.base..sent.end()));
            }
        }
        decided
    }

    /// The records from one offset to another; markers are none.
    fn sent(&self, from: i64, to: i64) -> impl Iterator<Item = &Record> {
        self.records[from as usize..to as usize].iter().filter(|record| !record.is_marker)
    }

    /// A producer's last batch.
    pub fn last_of(&self, producer: u8) -> Option<&Sent> {
        self.batches.iter().rev().find(|sent| sent.producer.is_some_and(|(id, _)| id == producer))
    }

    /// The sequence that a producer's next record has.
    pub fn next_sequence(&self, producer: u8) -> i32 {
        let behind = |sent: &Sent| sent.producer.map_or(0, |(_, sequence)| sequence + sent.count as i32);
        self.last_of(producer).map_or(0, behind)
    }

    /// The log ends here now: what was behind it is lost, and may be.
    pub fn cut(&mut self, end: i64) -> Result<(), String> {
        self.batches.retain(|sent| sent.base < end);
        let whole = self.batches.last().map_or(0, Sent::end);
        if whole != end && end > self.start {
            return Err(format!("it ends at {end}, inside a batch"));
        }
        // What was deleted inside a batch, and lost.
        self.batches.retain(|sent| sent.end() <= end);
        self.records.truncate(end as usize);
        self.acknowledged = end;
        Ok(())
    }

    /// Where the log starts is as it should be.
    pub fn check_start(&mut self, start: i64, retention: Option<i64>, deletes: bool) -> Result<(), String> {
        if start < self.deleted || start < self.start || start > self.acknowledged {
            let (deleted, before) = (self.deleted, self.start);
            return Err(format!("it starts at {start}; {deleted} was deleted to, {before} was the start before"));
        }
        if start > self.start.max(self.deleted) {
            let Some(bytes) = retention.filter(|_| deletes) else {
                return Err(format!("it starts at {start}: nothing asked for that"));
            };
            // Compaction makes them less, so this holds only where there is none; and what is compressed is told as it was sent.
            let left: usize = self.batches.iter().filter(|sent| sent.end() > start).map(|sent| sent.bytes).sum();
            if (left as i64) < bytes {
                return Err(format!("it starts at {start}: {left} bytes are left of {bytes}"));
            }
        }
        self.start = start;
        Ok(())
    }

    /// What is read from the start to the end is what is on the list.
    pub fn check(&self, partition: &PartitionHandle, compacted: bool) -> Result<(), String> {
        let (start, end) = (partition.log_start(), partition.end_offset());
        if end != self.acknowledged {
            return Err(format!("it ends at {end}, not at {}", self.acknowledged));
        }
        self.check_committed(partition, compacted)?;
        let (mut found, mut next) = (Vec::new(), start);
        while next < end {
            let fetched = partition.fetch(next, 700).map_err(|error| error.to_string())?;
            let (records, behind) = records_of(&fetched.batches)?;
            if behind <= next {
                return Err(format!("nothing is read at {next}, the end is {end}"));
            }
            next = behind;
            found.extend(records.into_iter().filter(|record| record.offset >= start));
        }
        self.check_records(&found, start, end, compacted)
    }

    /// A reader of committed records sees these and no other.
    fn check_committed(&self, partition: &PartitionHandle, compacted: bool) -> Result<(), String> {
        let (start, end, stable) = (partition.log_start(), self.acknowledged, partition.stable_offset());
        let open = self.open(end);
        let lower = open.values().map(|first| (*first).max(start)).min().unwrap_or(end).min(end);
        // Of a transaction whose first batches were deleted it may be known only where its next one begins, or nothing.
        let remaining = |producer: i64| {
            let of_it = |sent: &&Sent| sent.transaction == Some(producer) && sent.base >= start.max(open[&producer]);
            self.batches.iter().find(of_it).map(|sent| sent.base)
        };
        let upper = open.keys().filter_map(|producer| remaining(*producer)).min().unwrap_or(end).min(end);
        if !(lower..=upper).contains(&stable) {
            return Err(format!("stable is {stable}, not between {lower} and {upper}; open are {open:?}"));
        }
        let (mut found, mut next) = (Vec::new(), start);
        while next < stable {
            let fetched = partition.fetch_committed(next, 700).map_err(|error| error.to_string())?;
            let mut only = CommittedOnly::new(fetched.aborted);
            let before = next;
            for batch in fetched.batches.iter().flat_map(batches) {
                let batch = batch.map_err(|error| error.to_string())?;
                next = batch.last_offset() + 1;
                if !only.leaves_out(&batch) {
                    found.extend(records_of(&[batch.bytes().clone()])?.0);
                }
            }
            if next == before {
                return Err(format!("nothing committed is read at {next}, stable is {stable}"));
            }
        }
        found.retain(|record| record.offset >= start);
        let aborted = self.decided(false);
        let expected: Vec<&Record> = self.sent(start, stable).filter(|record| !aborted.contains(&record.offset)).collect();
        if !compacted {
            let same = found.iter().eq(expected.iter().copied());
            return if same { Ok(()) } else { Err(format!("{found:?} is committed, expected {expected:?}")) };
        }
        if let Some(strange) = found.iter().find(|record| !expected.contains(record)) {
            return Err(format!("{strange:?} is not committed"));
        }
        let last: BTreeMap<&[u8], &Record> = expected.iter().map(|record| (&record.key[..], *record)).collect();
        match last.values().find(|record| !found.contains(record)) {
            Some(missing) => Err(format!("{missing:?} is its key's last that is committed and is not there: {found:?}")),
            None => Ok(()),
        }
    }

    /// The records from one offset to another are these; where it was compacted, each key's last one is there.
    pub fn check_records(&self, found: &[Record], from: i64, to: i64, compacted: bool) -> Result<(), String> {
        if !compacted {
            let expected: Vec<&Record> = self.sent(from, to).collect();
            let same = found.iter().eq(expected.iter().copied());
            return if same { Ok(()) } else { Err(format!("from {from}: {found:?}, expected {expected:?}")) };
        }
        if let Some(strange) = found.iter().find(|record| self.records.get(record.offset as usize) != Some(record)) {
            return Err(format!("{strange:?} was never sent"));
        }
        if found.windows(2).any(|pair| pair[0].offset >= pair[1].offset) {
            return Err("not in order".to_owned());
        }
        if to < self.end() {
            // A part of the log: the last ones may be behind it.
            return Ok(());
        }
        let aborted = self.decided(false);
        let kept = self.sent(from, to).filter(|record| !aborted.contains(&record.offset));
        let last: BTreeMap<&[u8], &Record> = kept.map(|record| (&record.key[..], record)).collect();
        match last.values().find(|record| !found.contains(record)) {
            Some(missing) => Err(format!("{missing:?} is its key's last and is not there: {found:?}")),
            None => Ok(()),
        }
    }
}

/// The records of what was fetched, markers left out, and the offset behind it.
pub fn records_of(runs: &[Bytes]) -> Result<(Vec<Record>, i64), String> {
    let (mut all, mut behind) = (Vec::new(), -1);
    for batch in runs.iter().flat_map(batches) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        behind = batch.last_offset() + 1;
        if batch.is_control() {
            continue;
        }
        let plain = batch.decompressed(1 << 20).map_err(|error| error.to_string())?;
        for record in plain.records() {
            let record = record.map_err(|error| error.to_string())?;
            all.push(Record {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key().unwrap_or_default().to_vec(),
                value: record.value().map(<[u8]>::to_vec),
                is_marker: false,
            });
        }
    }
    Ok((all, behind))
}
