//! The producers, and what they do.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use broker_core::{Broker, Error, ErrorCode, MemberIdentity, NewTopic, OffsetCommit, PartitionHandle, Produced};

use crate::ledger::{Fate, Ledger, PARTITIONS, Transaction};
use crate::view::{self, batch, partition};

const IDS: [&str; 3] = ["ann", "bob", "cat"];
const OPERATIONS: usize = 60;
const TIMEOUT_MS: i32 = 3000;

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// An instance of a producer: one that was replaced does not know it.
struct Producer {
    id: &'static str,
    /// Whether its transactions are of version 2: partitions join by themselves, and each has an epoch of its own.
    v2: bool,
    producer: (i64, i16),
    /// The number of its transaction, from its first partition on.
    open: Option<usize>,
    within: Vec<usize>,
    /// By place, where it goes on and what it sent last.
    sequences: BTreeMap<usize, i32>,
    last: Option<Sent>,
}

/// An end that was asked for: the producer that goes on.
type Ending = Pin<Box<dyn Future<Output = Result<(i64, i16), Error>>>>;

#[derive(Clone)]
struct Sent {
    place: usize,
    sequence: i32,
    values: Vec<String>,
    base: i64,
}

pub struct Play {
    broker: Broker,
    ledger: Arc<Mutex<Ledger>>,
    random: Random,
    producers: Vec<Producer>,
    values: usize,
}

/// Whether an end was refused for good: another instance, or the coordinator, has ended it.
fn is_over(error: &Error) -> bool {
    use ErrorCode::{InvalidProducerEpoch, InvalidTxnState, ProducerFenced};
    matches!(error.code(), InvalidProducerEpoch | InvalidTxnState | ProducerFenced)
}

impl Play {
    pub fn new(broker: Broker, ledger: Arc<Mutex<Ledger>>, seed: u64) -> Self {
        Self { broker, ledger, random: Random(seed), producers: Vec::new(), values: 0 }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("sound")
    }

    pub async fn run(mut self) {
        for name in ["cached", "synced"] {
            let mut topic = NewTopic::new(name).partitions(2);
            topic.configs.insert("segment.bytes".to_owned(), "1024".to_owned());
            if name == "synced" {
                topic.configs.insert("flush.messages".to_owned(), "1".to_owned());
            }
            self.broker.create_topic(&topic).expect("made");
        }
        self.ledger().ready = true;
        for number in 0..OPERATIONS {
            self.operation().await.unwrap_or_else(|what| panic!("operation {number}: {what}"));
            let now = self.broker.clock().wall_ms();
            self.ledger().now = now;
            view::while_running(&self.broker, &self.ledger()).unwrap_or_else(|what| panic!("after operation {number}: {what}"));
        }
        view::after_time_outs(&self.broker, &IDS.map(str::to_owned)).await.unwrap_or_else(|what| panic!("in the end: {what}"));
        view::while_running(&self.broker, &self.ledger()).unwrap_or_else(|what| panic!("in the end: {what}"));
    }

    async fn operation(&mut self) -> Result<(), String> {
        let kind = self.random.below(100);
        if self.producers.len() < 2 || kind < 8 {
            return self.come().await;
        }
        let who = self.random.below(self.producers.len() as u64) as usize;
        match kind {
            0..44 => self.write(who).await,
            44..50 => self.store(who).await,
            50..55 => self.again(who).await,
            55..60 => self.write_outside(who),
            60..84 => self.end(who, true).await,
            84..92 => self.end(who, false).await,
            _ => {
                let longest = if kind < 95 { 2 * TIMEOUT_MS as u64 } else { 300 };
                tokio::time::sleep(Duration::from_millis(self.random.below(longest))).await;
                Ok(())
            }
        }
    }

    /// A new instance comes; the one before is not told.
    async fn come(&mut self) -> Result<(), String> {
        let id = IDS[self.random.below(IDS.len() as u64) as usize];
        if !self.ledger().ids.iter().any(|known| known == id) {
            self.ledger().ids.push(id.to_owned());
        }
        // What is open of it, is aborted by this at the latest when it is answered.
        let open: Vec<usize> = self.producers.iter().filter(|one| one.id == id).filter_map(|one| one.open).collect();
        for number in open {
            self.ledger().transactions[number].over = true;
        }
        let producer = view::init(&self.broker, id, TIMEOUT_MS).await?;
        let v2 = self.random.below(2) == 1;
        let fresh = Producer { id, v2, producer, open: None, within: Vec::new(), sequences: BTreeMap::new(), last: None };
        // Of three instances the oldest goes.
        if self.producers.iter().filter(|one| one.id == id).count() > 2
            && let Some(oldest) = self.producers.iter().position(|one| one.id == id)
        {
            self.producers.remove(oldest);
        }
        self.producers.push(fresh);
        Ok(())
    }

    /// What it has open is no more, and it is of no use: it was told so.
    fn fenced(&mut self, who: usize) -> Result<(), String> {
        let one = self.producers.remove(who);
        if let Some(number) = one.open {
            self.ledger().transactions[number].over = true;
        }
        Ok(())
    }

    /// Which end it has asked for without an answer: it asks for the same again, before it does anything else.
    fn asked_for(&self, who: usize) -> Option<bool> {
        let ledger = self.ledger();
        let one = &ledger.transactions[self.producers[who].open?];
        (one.fate != Fate::Never || one.abort_asked).then_some(one.fate != Fate::Never)
    }

    async fn write(&mut self, who: usize) -> Result<(), String> {
        if let Some(commits) = self.asked_for(who) {
            return self.end(who, commits).await;
        }
        let place = self.random.below(PARTITIONS.len() as u64) as usize;
        let partition = partition(&self.broker, place)?;
        let (id, v2, producer) = (self.producers[who].id, self.producers[who].v2, self.producers[who].producer);
        if !v2 && !self.producers[who].within.contains(&place) {
            let added = self.broker.add_partitions_to_transaction(id, producer, &[partition.topic_partition().clone()]).await;
            match added {
                Ok(()) => {}
                Err(error) if is_over(&error) => return self.fenced(who),
                Err(error) if error.code() == ErrorCode::ConcurrentTransactions => return Ok(()),
                Err(error) => return Err(format!("{id}: {error}")),
            }
            let deadline = self.deadline();
            self.begun(who, deadline);
            self.producers[who].within.push(place);
        }
        let sequence = self.producers[who].sequences.get(&place).copied().unwrap_or(0);
        let count = 1 + self.random.below(4) as usize;
        let values: Vec<String> = (self.values..self.values + count).map(|number| format!("{id} {number}")).collect();
        self.values += count;
        let bytes = batch(&self.broker, producer, sequence, &values);
        let deadline = self.deadline();
        let produced = match produce(&self.broker, v2, id, &partition, bytes).await {
            Ok(produced) => produced,
            // Its time was over.
            Err(error) if is_over(&error) || error.code() == ErrorCode::TransactionAbortable => return self.fenced(who),
            Err(error) if v2 && error.code() == ErrorCode::ConcurrentTransactions => return Ok(()),
            Err(error) => return Err(format!("{id} to {place}: {error}")),
        };
        partition.acknowledged(produced.end_offset).await.map_err(|error| error.to_string())?;
        self.begun(who, deadline);
        let one = &mut self.producers[who];
        one.sequences.insert(place, sequence + count as i32);
        one.last = Some(Sent { place, sequence, values: values.clone(), base: produced.base_offset });
        let number = one.open.expect("it has begun");
        let records = (produced.base_offset..).zip(values).map(|(offset, value)| (place, offset, value));
        self.ledger().transactions[number].records.extend(records);
        Ok(())
    }

    fn deadline(&self) -> i64 {
        self.broker.clock().wall_ms() + i64::from(TIMEOUT_MS)
    }

    /// What is in its transaction: it may have begun just now.
    fn begun(&mut self, who: usize, deadline: i64) -> usize {
        let Producer { id, v2, open, .. } = self.producers[who];
        let number = open.unwrap_or_else(|| {
            let mut ledger = self.ledger();
            ledger.transactions.push(Transaction { deadline, v2, id: id.to_owned(), ..Transaction::default() });
            ledger.transactions.len() - 1
        });
        self.producers[who].open = Some(number);
        number
    }

    /// It stores an offset for the group that is called as its id: a larger one each time.
    async fn store(&mut self, who: usize) -> Result<(), String> {
        if let Some(commits) = self.asked_for(who) {
            return self.end(who, commits).await;
        }
        let (id, v2, producer) = (self.producers[who].id, self.producers[who].v2, self.producers[who].producer);
        let deadline = self.deadline();
        if !v2 {
            match self.broker.add_offsets_to_transaction(id, producer, id).await {
                Ok(()) => {}
                Err(error) if is_over(&error) => return self.fenced(who),
                Err(error) if error.code() == ErrorCode::ConcurrentTransactions => return Ok(()),
                Err(error) => return Err(format!("{id}: {error}")),
            }
            self.begun(who, deadline);
        }
        self.values += 1;
        let offset = self.values as i64;
        let commit = OffsetCommit { topic: PARTITIONS[0].0, partition: PARTITIONS[0].1, offset, leader_epoch: -1, metadata: "" };
        let nobody = MemberIdentity::administrator();
        let stored = if v2 {
            self.broker.txn_offset_commit_v2(id, producer, id, nobody, &[commit]).await
        } else {
            self.broker.txn_offset_commit(id, producer, id, nobody, &[commit]).await
        };
        match stored {
            Ok(stored) => {
                stored.into_iter().collect::<Result<(), _>>().map_err(|error| format!("{id} stores {offset}: {error}"))?
            }
            Err(error) if is_over(&error) || error.code() == ErrorCode::TransactionAbortable => return self.fenced(who),
            Err(error) if v2 && error.code() == ErrorCode::ConcurrentTransactions => return Ok(()),
            Err(error) => return Err(format!("{id} stores {offset}: {error}")),
        }
        let number = self.begun(who, deadline);
        self.ledger().transactions[number].offset = Some(offset);
        Ok(())
    }

    /// It sends its last batch once more, as if the answer had been lost.
    async fn again(&mut self, who: usize) -> Result<(), String> {
        let one = &self.producers[who];
        let (Some(sent), Some(_)) = (one.last.clone(), one.open) else { return Ok(()) };
        let partition = partition(&self.broker, sent.place)?;
        let bytes = batch(&self.broker, one.producer, sent.sequence, &sent.values);
        match produce(&self.broker, one.v2, one.id, &partition, bytes).await {
            Ok(produced) if produced.base_offset == sent.base => Ok(()),
            Ok(produced) => Err(format!("sent again: at {} before, now at {}", sent.base, produced.base_offset)),
            Err(error) if is_over(&error) || error.code() == ErrorCode::TransactionAbortable => self.fenced(who),
            Err(error) => Err(format!("sent again: {error}")),
        }
    }

    /// To a partition that is not part of its transaction: nothing is written.
    fn write_outside(&mut self, who: usize) -> Result<(), String> {
        let one = &self.producers[who];
        let Some(place) = (0..PARTITIONS.len()).find(|place| !one.v2 && !one.within.contains(place)) else { return Ok(()) };
        let partition = partition(&self.broker, place)?;
        let (end, sequence) = (partition.end_offset(), one.sequences.get(&place).copied().unwrap_or(0));
        let bytes = batch(&self.broker, one.producer, sequence, &["outside".to_owned()]);
        match self.broker.produce_in_transaction(one.id, &partition, bytes) {
            Ok(produced) => Err(format!("{} wrote outside of its transaction: {produced:?}", one.id)),
            Err(_) if partition.end_offset() == end => Ok(()),
            Err(error) => Err(format!("{} was refused, and wrote: {error}", one.id)),
        }
    }

    async fn end(&mut self, who: usize, commits: bool) -> Result<(), String> {
        let Producer { id, v2, producer, open, .. } = self.producers[who];
        let Some(number) = open else { return self.abort_nothing(who).await };
        let commits = self.asked_for(who).unwrap_or(commits);
        let before = self.ledger().transactions[number].fate;
        if commits {
            self.ledger().transactions[number].fate = before.max_of(Fate::Maybe);
        } else {
            let one = &mut self.ledger().transactions[number];
            (one.over, one.abort_asked) = (true, true);
        }
        let mut end: Ending = if v2 {
            Box::pin(self.broker.end_transaction_v2(id, producer, commits))
        } else {
            let end = self.broker.end_transaction(id, producer, commits);
            Box::pin(async move { end.await.map(|()| producer) })
        };
        let ended = if self.random.below(6) == 0 {
            // Its connection is lost: before anything is told, or on the way.
            if self.random.below(2) == 0 {
                let _ = end.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            return Ok(());
        } else {
            end.await
        };
        let next = match ended {
            Ok(next) => {
                if commits {
                    self.ledger().transactions[number].fate = Fate::Committed;
                }
                next
            }
            Err(error) if error.code() == ErrorCode::ConcurrentTransactions => return Ok(()),
            Err(error) if is_over(&error) => {
                if before == Fate::Never {
                    self.ledger().transactions[number].fate = Fate::Never;
                }
                return self.fenced(who);
            }
            Err(error) => return Err(format!("{id}: {error}")),
        };
        if v2 && next.1 != producer.1 + 1 {
            return Err(format!("{id} ended with {producer:?} and goes on with {next:?}"));
        }
        self.ledger().transactions[number].over = true;
        let one = &mut self.producers[who];
        (one.open, one.last) = (None, None);
        one.within.clear();
        self.goes_on(who, next);
        Ok(())
    }

    /// A transaction that wrote nothing may be aborted, as one of version 2.
    async fn abort_nothing(&mut self, who: usize) -> Result<(), String> {
        let Producer { id, v2, producer, .. } = self.producers[who];
        if !v2 {
            return Ok(());
        }
        match self.broker.end_transaction_v2(id, producer, false).await {
            Ok(next) => self.goes_on(who, next),
            Err(error) if is_over(&error) => return self.fenced(who),
            Err(error) if error.code() == ErrorCode::ConcurrentTransactions => {}
            Err(error) => return Err(format!("{id} aborts nothing: {error}")),
        }
        Ok(())
    }

    fn goes_on(&mut self, who: usize, next: (i64, i16)) {
        let one = &mut self.producers[who];
        if one.producer != next {
            one.sequences.clear();
        }
        one.producer = next;
    }
}

async fn produce(
    broker: &Broker,
    v2: bool,
    id: &str,
    partition: &PartitionHandle,
    batch: bytes::BytesMut,
) -> Result<Produced, Error> {
    if v2 {
        return broker.produce_in_transaction_v2(id, partition, batch).await;
    }
    broker.produce_in_transaction(id, partition, batch)
}

impl Fate {
    fn max_of(self, other: Self) -> Self {
        if self == Self::Committed { self } else { other }
    }
}
