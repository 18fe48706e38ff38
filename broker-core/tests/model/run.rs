//! Does everything to both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_core::record::{BatchBuilder, Compression};
use broker_core::storage::{Fault, MemoryDisk};
use broker_core::{
    AlterConfig, Broker, BrokerConfig, ConfigChange, Error, NewTopic, PartitionHandle, Produced, TokioClock, TransactionEnd,
};
use bytes::BytesMut;

use super::list::{List, Record, Sent, records_of};
use super::operation::{Failure, Operation, Settings, Stop};

const NOW: i64 = 1_767_225_600_000;

/// What happened, over all cases.
#[derive(Debug, Default)]
pub struct Counts {
    produced: u64,
    refused: u64,
    duplicates: u64,
    /// Transactions, aborted and committed.
    ended: [u64; 2],
    fetched: u64,
    retained: u64,
    compacted: u64,
    /// By how they stop.
    stops: [u64; 4],
    lost_by_power_cuts: u64,
}

impl Counts {
    pub fn all_happened(&self) -> bool {
        let counts = [self.produced, self.refused, self.duplicates, self.fetched, self.retained, self.compacted];
        counts.iter().chain(&self.stops).chain(&self.ended).all(|count| *count > 0) && self.lost_by_power_cuts > 0
    }
}

struct World<'c> {
    settings: Settings,
    counts: &'c mut Counts,
    disk: MemoryDisk,
    broker: Option<Broker>,
    list: List,
    retention: Option<i64>,
    /// When the list was last looked at, by its own clock.
    passed_ms: u64,
    /// Since a write failed.
    poisoned: bool,
    /// Whether the disk may fail.
    failing: bool,
    /// Whether it stopped otherwise than in order: an index may have to be made anew, which a failing disk does not let happen.
    crashed: bool,
    /// Producers are others after a power cut that took what was known of them.
    generation: i64,
    /// Whose transactions may be open although they were ended.
    unsure: BTreeSet<i64>,
}

/// One case, in a runtime of its own.
pub fn run(settings: &Settings, operations: &[Operation], counts: &mut Counts) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut world = World {
            settings: settings.clone(),
            counts,
            disk: MemoryDisk::new(),
            broker: None,
            list: List::default(),
            retention: None,
            passed_ms: 0,
            poisoned: false,
            failing: false,
            crashed: false,
            generation: 0,
            unsure: BTreeSet::new(),
        };
        world.open()?.create_topic(&world.topic()).map_err(|error| error.to_string())?;
        for (number, operation) in operations.iter().enumerate() {
            let done = world.apply(operation).await;
            done.map_err(|what| format!("operation {number}, {operation:?}: {what}"))?;
        }
        world.reopen(Stop::Kill).await
    })
}

impl World<'_> {
    fn open(&mut self) -> Result<Broker, String> {
        let config = BrokerConfig {
            offsets_topic_num_partitions: 1,
            log_retention_check_interval_ms: 150,
            log_flush_offset_checkpoint_interval_ms: 250,
            log_cleaner_backoff_ms: 200,
            ..BrokerConfig::default()
        };
        let clock = Arc::new(TokioClock::new(NOW + self.passed_ms as i64));
        let opened = Broker::builder().disk(Arc::new(self.disk.clone())).clock(clock).config(config).seed(1).open();
        let broker = opened.map_err(|error| format!("not opened: {error}"))?;
        self.broker = Some(broker.clone());
        Ok(broker)
    }

    fn topic(&self) -> NewTopic {
        let policy = match (self.settings.delete, self.settings.compact) {
            (true, true) => "compact,delete",
            (false, true) => "compact",
            _ => "delete",
        };
        let mut topic = NewTopic::new("t");
        let mut set = |name: &str, value: String| drop(topic.configs.insert(name.to_owned(), value));
        set("cleanup.policy", policy.to_owned());
        set("segment.bytes", "1024".to_owned());
        set("index.interval.bytes", "200".to_owned());
        set("min.cleanable.dirty.ratio", "0.01".to_owned());
        set("file.delete.delay.ms", "100".to_owned());
        for (name, value) in [
            ("flush.messages", self.settings.flush_messages),
            ("flush.ms", self.settings.flush_ms),
            ("segment.ms", self.settings.segment_ms),
        ] {
            if let Some(value) = value {
                set(name, value.to_string());
            }
        }
        topic
    }

    fn partition(&self) -> Result<PartitionHandle, String> {
        let broker = self.broker.as_ref().ok_or("no broker")?;
        broker.partition("t", 0).map_err(|error| error.to_string())
    }

    async fn apply(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Produce { records, producer, within, late, bytes } => {
                self.produce(records, (*producer, *within), *late, *bytes).await
            }
            Operation::End { which, commits } => self.end(usize::from(*which), *commits).await,
            Operation::Again(producer) => self.produce_again(*producer),
            Operation::Fetch { at, max_bytes } => self.fetch(*at, usize::from(*max_bytes)),
            Operation::Find { at } => self.find(*at),
            Operation::DeleteRecords { at } => self.delete_records(*at),
            Operation::Pass(ms) => self.pass(u64::from(*ms)).await,
            Operation::Retention { bytes } => self.set_retention(bytes.map(i64::from)),
            Operation::Fail { fault, after } => {
                let after = u64::from(*after);
                match fault {
                    Failure::Everything => self.disk.inject(Fault::Everything, after),
                    Failure::Syncs => self.disk.inject(Fault::Syncs, after),
                    Failure::TornAppends => self.disk.inject(Fault::TornAppends, after),
                    Failure::Full => self.disk.fill_after(after * 100),
                }
                self.failing = true;
                Ok(())
            }
            Operation::Reopen(stop) => self.reopen(*stop).await,
        }
    }

    fn id_of(&self, producer: u8) -> i64 {
        i64::from(producer) + 100 + 10 * self.generation
    }

    fn build(&self, records: &[Record], producer: Option<(u8, i32)>, transaction: Option<i64>) -> BytesMut {
        let compression = Compression::new(self.settings.codec).unwrap_or(Compression::NONE);
        let mut builder = BatchBuilder::new().compression(compression);
        if let Some((id, sequence)) = producer {
            builder.producer(self.id_of(id), 0, sequence);
        }
        if transaction.is_some() {
            builder.transactional();
        }
        for record in records {
            builder.append(record.timestamp, Some(&record.key), record.value.as_deref(), &[]);
        }
        builder.build()
    }

    async fn produce(
        &mut self,
        keys: &[(u8, bool)],
        (producer, within): (Option<u8>, bool),
        late: u8,
        bytes: u8,
    ) -> Result<(), String> {
        let partition = self.partition()?;
        let base = self.list.end();
        let record = |(index, (key, tombstone)): (usize, &(u8, bool))| {
            let offset = base + index as i64;
            let value = format!("{offset} {}", ".".repeat(usize::from(bytes)));
            // Mostly later than the one before, not always.
            let timestamp = NOW + self.passed_ms as i64 + offset * 10 - i64::from(late);
            Record { offset, timestamp, key: vec![b'k', *key], value: (!tombstone).then(|| value.into_bytes()), is_marker: false }
        };
        let records: Vec<Record> = keys.iter().enumerate().map(record).collect();
        // What was refused is on the list, but not with the broker: it would miss that sequence first.
        let producer = producer.filter(|_| !self.poisoned).map(|id| (id, self.list.next_sequence(id)));
        let open = self.list.open(i64::MAX);
        let transaction = producer.map(|(id, _)| self.id_of(id)).filter(|id| within || open.contains_key(id));
        let batch = self.build(&records, producer, transaction);
        let sent = Sent { base, count: records.len(), bytes: batch.len(), producer, transaction, ends: None };
        let produced = partition.produce(batch);
        self.written(&partition, produced, records, sent).await
    }

    /// One of the open transactions ends.
    async fn end(&mut self, which: usize, committed: bool) -> Result<(), String> {
        let (partition, open) = (self.partition()?, self.list.open(i64::MAX));
        let Some(producer_id) = open.keys().nth(which % open.len().max(1)).copied() else { return Ok(()) };
        self.end_of(&partition, producer_id, committed).await
    }

    async fn end_of(&mut self, partition: &PartitionHandle, producer_id: i64, committed: bool) -> Result<(), String> {
        let base = self.list.end();
        let end = TransactionEnd { producer_id, producer_epoch: 0, coordinator_epoch: 0, committed };
        let marker = Record { offset: base, timestamp: -1, key: Vec::new(), value: None, is_marker: true };
        let sent = Sent { base, count: 1, bytes: 78, producer: None, transaction: None, ends: Some((producer_id, committed)) };
        let produced = partition.end_transaction(&end);
        self.counts.ended[usize::from(committed)] += u64::from(produced.is_ok());
        self.written(partition, produced, vec![marker], sent).await
    }

    /// What came of a write.
    async fn written(
        &mut self,
        partition: &PartitionHandle,
        produced: Result<Produced, Error>,
        records: Vec<Record>,
        sent: Sent,
    ) -> Result<(), String> {
        let base = sent.base;
        let produced = match produced {
            Ok(produced) => produced,
            Err(error) if self.failing || self.poisoned => {
                if !error.to_string().contains("t-0 takes no writes") {
                    return Err(format!("refused otherwise: {error}"));
                }
                self.counts.refused += 1;
                if !self.poisoned {
                    // A part of it may be there, or all of it.
                    self.remember(records, sent);
                }
                self.poisoned = true;
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        if self.poisoned || produced.base_offset != base || produced.duplicate {
            return Err(format!("{produced:?}, poisoned {}, expected base {base}", self.poisoned));
        }
        self.remember(records, sent);
        match partition.acknowledged(produced.end_offset).await {
            Ok(()) => {
                self.list.acknowledged = self.list.end();
                let unsafe_records = self.settings.flush_messages.map_or(i64::MAX, |messages| messages - 1);
                self.list.durable = self.list.durable.max(self.list.end().saturating_sub(unsafe_records));
                self.counts.produced += 1;
                Ok(())
            }
            Err(_) if self.failing => {
                self.poisoned = true;
                self.counts.refused += 1;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn remember(&mut self, records: Vec<Record>, sent: Sent) {
        self.list.records.extend(records);
        self.list.batches.push(sent);
    }

    fn produce_again(&mut self, producer: u8) -> Result<(), String> {
        let partition = self.partition()?;
        let Some(last) = self.list.last_of(producer).cloned() else { return Ok(()) };
        if self.poisoned || last.end() <= partition.log_start() {
            return Ok(());
        }
        let records = &self.list.records[last.base as usize..last.end() as usize];
        let batch = self.build(records, last.producer, last.transaction);
        match partition.produce(batch) {
            Ok(produced) if produced.duplicate && produced.base_offset == last.base => {
                self.counts.duplicates += 1;
                Ok(())
            }
            other => Err(format!("{other:?}, expected the duplicate of {last:?}")),
        }
    }

    fn fetch(&mut self, at: u16, max_bytes: usize) -> Result<(), String> {
        let partition = self.partition()?;
        let (start, end) = (partition.log_start(), self.list.acknowledged);
        let from = start + i64::from(at) % (end - start + 1);
        let fetched = match partition.fetch(from, max_bytes) {
            Ok(fetched) => fetched,
            Err(_) if self.failing && self.crashed => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        if from == end {
            return if fetched.batches.is_empty() { Ok(()) } else { Err("something behind the end".to_owned()) };
        }
        let (records, behind) = records_of(&fetched.batches)?;
        let bytes: usize = fetched.batches.iter().map(bytes::Bytes::len).sum();
        let count = fetched.batches.iter().flat_map(broker_core::record::batches).count();
        if behind <= from || behind > end || count > 1 && bytes > max_bytes {
            return Err(format!("{count} batches of {bytes} bytes to {behind}"));
        }
        let first = fetched.batches.iter().flat_map(broker_core::record::batches).next();
        let first =
            first.map_or(Ok(behind), |batch| batch.map(|batch| batch.base_offset())).map_err(|error| error.to_string())?;
        self.counts.fetched += 1;
        if self.settings.compact {
            return self.list.check_records(&records, first, behind.min(end - 1).max(first), true).or_else(|what| {
                // The last offset may be one that was asked for.
                if behind == end { Ok(()) } else { Err(what) }
            });
        }
        let whole = self.list.batches.iter().find(|sent| sent.end() > from).map(|sent| sent.base);
        if whole != Some(first) {
            return Err(format!("the first batch starts at {first}, not at {whole:?}"));
        }
        self.list.check_records(&records, first, behind, false)
    }

    fn find(&mut self, at: u16) -> Result<(), String> {
        let partition = self.partition()?;
        let start = partition.log_start() as usize;
        let readable = self.list.records[start..self.list.acknowledged as usize].iter().filter(|record| !record.is_marker);
        let readable: Vec<&Record> = readable.collect();
        if readable.is_empty() || self.settings.compact {
            return Ok(());
        }
        let timestamp = readable[usize::from(at) % readable.len()].timestamp - i64::from(at % 3);
        let expected = readable.iter().find(|record| record.timestamp >= timestamp);
        let expected = expected.map(|record| (record.offset, record.timestamp));
        let found = match partition.offset_for_timestamp(timestamp) {
            Ok(found) => found,
            Err(_) if self.failing && self.crashed => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
    }

    fn delete_records(&mut self, at: u16) -> Result<(), String> {
        let (start, end) = (self.partition()?.log_start(), self.list.acknowledged);
        let before = start + i64::from(at) % (end - start + 1);
        let broker = self.broker.as_ref().ok_or("no broker")?;
        match broker.delete_records("t", 0, before) {
            Ok(found) if found == before && self.settings.delete => {
                (self.list.deleted, self.list.start) = (before, self.list.start.max(before));
                Ok(())
            }
            Ok(found) => Err(format!("the start is {found}, not {before}")),
            Err(_) if !self.settings.delete => Ok(()),
            Err(_) if self.failing || self.poisoned => {
                // It may be kept, or not.
                self.list.start = self.partition()?.log_start();
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn pass(&mut self, ms: u64) -> Result<(), String> {
        let unreadable = self.failing && self.crashed;
        let before = if unreadable { 0 } else { self.count()? };
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.passed_ms += ms;
        let partition = self.partition()?;
        self.counts.retained += u64::from(partition.log_start() > self.list.start);
        let retention =
            self.retention.filter(|_| !self.settings.compact || partition.log_start() == 0).or(self.retention.map(|_| 0));
        self.list.check_start(partition.log_start(), retention, self.settings.delete)?;
        if unreadable {
            return Ok(());
        }
        self.counts.compacted += u64::from(self.settings.compact && self.count()? < before);
        if ms > 200 && self.settings.flush_ms.is_some() && !self.failing && !self.poisoned {
            self.list.durable = self.list.acknowledged;
        }
        self.list.check(&partition, self.settings.compact)
    }

    /// How many records there are.
    fn count(&self) -> Result<usize, String> {
        let partition = self.partition()?;
        let fetched = partition.fetch(partition.log_start(), usize::MAX).map_err(|error| error.to_string())?;
        Ok(records_of(&fetched.batches)?.0.len())
    }

    fn set_retention(&mut self, bytes: Option<i64>) -> Result<(), String> {
        let change = bytes.map_or(AlterConfig::Delete, |bytes| AlterConfig::Set(bytes.to_string()));
        let broker = self.broker.as_ref().ok_or("no broker")?;
        match broker.alter_configs("t", &[ConfigChange::new("retention.bytes", change)], false) {
            Ok(()) => self.retention = bytes,
            // Whether it is kept is not known: the next start tells.
            Err(_) if self.failing => self.retention = self.retention.or(bytes).map(|_| 0),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    async fn reopen(&mut self, stop: Stop) -> Result<(), String> {
        let broker = self.broker.take().ok_or("no broker")?;
        let end = self.list.acknowledged;
        let mut must = end;
        match stop {
            Stop::Order => {
                match broker.close().await {
                    Ok(()) => self.list.durable = end,
                    Err(_) if self.failing || self.poisoned => {}
                    Err(error) => return Err(format!("not closed: {error}")),
                }
                self.counts.stops[0] += 1;
            }
            Stop::Kill => self.counts.stops[1] += 1,
            Stop::PowerCut => self.counts.stops[2] += 1,
            Stop::Chance(_) => self.counts.stops[3] += 1,
        }
        drop(broker);
        self.disk.heal();
        match stop {
            Stop::PowerCut => self.disk.crash(),
            Stop::Chance(seed) => self.disk.crash_by_chance(seed),
            Stop::Order | Stop::Kill => {}
        }
        let power_cut = matches!(stop, Stop::PowerCut | Stop::Chance(_));
        if power_cut {
            must = self.list.durable;
        }
        (self.failing, self.poisoned) = (false, false);
        self.crashed |= stop != Stop::Order;
        self.open()?;
        let partition = self.partition()?;
        let (start, end_now) = (partition.log_start(), partition.end_offset());
        if end_now < must || end_now > self.list.end() {
            return Err(format!("it ends at {end_now}, must be {must} to {}", self.list.end()));
        }
        self.counts.lost_by_power_cuts += u64::from(end_now < end);
        // What retention took and nobody made durable may be there again.
        self.list.start = self.list.start.min(start).max(self.list.deleted);
        self.list.cut(end_now)?;
        self.list.check_start(start, self.retention.map(|_| 0), self.settings.delete)?;
        if power_cut && (self.settings.compact || start == end_now) {
            // A batch that was deleted, or compacted since a later one was there, and the later one is lost.
            self.generation += 1;
            self.list.batches.iter_mut().for_each(|sent| sent.producer = None);
        }
        self.list.durable = if power_cut { end_now } else { self.list.durable.min(end_now) };
        if power_cut && start == end_now {
            // Markers may have been deleted, and lost before they were durable.
            self.unsure.extend(self.list.batches.iter().filter_map(|sent| sent.transaction));
        }
        if power_cut {
            // Their coordinator, asked again, says how they ended. None of these producers writes any more.
            for producer in self.unsure.clone() {
                self.end_of(&partition, producer, false).await?;
            }
        }
        self.list.check(&partition, self.settings.compact)
    }
}
