//! The transaction coordinator as a pure machine: each request and each time-out is answered with the transaction as it is to
//! be, which whoever runs the machine appends to the log and then applies. Nothing here waits, reads a clock or gives an id.
//! [`Transactions::apply`] is the only place that changes anything, live and when the log is read back alike.
//!
//! A transaction is decided by its Prepare record: from then on it ends that way, whatever happens. Its partitions get their
//! markers, and the Complete record says that they have them.

mod add_partitions;
mod describe;
mod end;
mod expire;
mod init_producer_id;
mod records;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use describe::{TransactionDescription, TransactionListing, TransactionState};
pub(crate) use end::End;
pub(crate) use init_producer_id::Init;
pub(crate) use records::{decode, encode_key, encode_value};

use crate::error::{Error, ErrorCode, Named};
use crate::id::TopicPartition;

/// No epoch, as Kafka says it.
pub(crate) const NO_EPOCH: i16 = -1;
/// No producer, as Kafka says it.
pub(crate) const NO_PRODUCER: i64 = -1;

/// A producer's id and epoch.
pub(crate) type Producer = (i64, i16);

/// What the time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since 1970, as what is stored says it. It may be put, forth and back.
    pub wall_ms: i64,
    /// Since some moment of this run. It is not put.
    pub monotonic_ms: i64,
}

/// The settings that the machine needs.
#[derive(Debug, Clone)]
pub(crate) struct TransactionLimits {
    pub max_timeout_ms: i32,
    pub expiration_ms: i64,
}

/// What is known by a transactional id: its producer, and the transaction that it has open or ended last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// The epoch that the same producer had before it asked for this one: it may ask again. As in Kafka it is not stored.
    pub last_epoch: i16,
    /// The id before this one, whose epochs were exhausted.
    pub previous_producer_id: i64,
    /// The id that its producer goes on with once the transaction that is decided is complete: the epochs of this one are exhausted.
    pub next_producer_id: i64,
    /// Whether the producer ended its last transaction, the one that is decided or complete, as one of version 2: its epoch is over, and
    /// this one is the next transaction's.
    pub ended_v2: bool,
    pub timeout_ms: i32,
    pub state: TransactionState,
    /// By topic, those of `__consumer_offsets` among them.
    pub partitions: BTreeMap<Arc<str>, BTreeSet<i32>>,
    /// When it changed last, and when the transaction began; -1 if there was none yet.
    pub updated_ms: i64,
    pub started_ms: i64,
    /// The same two by the clock that is not put, which counts for time-outs. They are not stored: see [`read_back`](Self::read_back).
    pub updated_at: i64,
    pub started_at: i64,
    /// Whether its decision is durable, so that a power cut may leave it without what came after. Not stored: who reads a decision back
    /// sees to it that nothing came after.
    pub decided_durably: bool,
}

/// The transactions of one shard, by transactional id.
#[derive(Debug)]
pub(crate) struct Transactions {
    limits: TransactionLimits,
    by_id: BTreeMap<String, Transaction>,
}

impl Transaction {
    /// As it is once it was read from the log: what has passed since is what the time of day says, but not less than nothing, and no
    /// more than the time-out.
    pub fn read_back(self, now: Now) -> Self {
        let passed = |since: i64| now.wall_ms.saturating_sub(since).max(0);
        let open_for = passed(self.started_ms).min(i64::from(self.timeout_ms).max(0));
        let (updated_at, started_at) = (now.monotonic_ms.saturating_sub(passed(self.updated_ms)), now.monotonic_ms - open_for);
        Self { updated_at, started_at, ..self }
    }

    /// Changed now.
    fn updated(self, now: Now) -> Self {
        Self { updated_ms: now.wall_ms, updated_at: now.monotonic_ms, ..self }
    }

    fn producer(&self) -> Producer {
        (self.producer_id, self.producer_epoch)
    }

    /// The producer as what it wrote in this transaction says it.
    pub fn writer(&self) -> Producer {
        let epoch = if self.ended_v2 && self.state.is_prepared() { self.last_epoch } else { self.producer_epoch };
        (self.producer_id, epoch)
    }

    /// The producer that goes on once the transaction is complete.
    pub fn next_producer(&self) -> Producer {
        if self.next_producer_id == NO_PRODUCER { self.producer() } else { (self.next_producer_id, 0) }
    }

    pub fn holds(&self, partition: &TopicPartition) -> bool {
        self.partitions.get(&partition.topic).is_some_and(|numbers| numbers.contains(&partition.partition))
    }

    /// Its partitions, by topic and number.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions
            .iter()
            .flat_map(|(topic, numbers)| numbers.iter().map(|number| TopicPartition::new(topic.clone(), *number)))
    }
}

impl Transactions {
    pub fn new(limits: TransactionLimits) -> Self {
        Self { limits, by_id: BTreeMap::new() }
    }

    /// Changes what is known by an id: the only place that does. `None` forgets it.
    pub fn apply(&mut self, id: &str, transaction: Option<Transaction>) {
        match transaction {
            Some(transaction) => drop(self.by_id.insert(id.to_owned(), transaction)),
            None => drop(self.by_id.remove(id)),
        }
    }

    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.by_id.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.by_id.iter().map(|(id, transaction)| (id.as_str(), transaction))
    }

    /// The transaction of a producer that is the id's, and not fenced.
    fn of_producer(&self, id: &str, producer: Producer) -> Result<&Transaction, Error> {
        check_id(id)?;
        let refuse = |code, text: String| Err(Error::new(code, format!("transactional id '{}': {text}", Named(id))));
        let Some(transaction) = self.by_id.get(id) else {
            return refuse(ErrorCode::InvalidProducerIdMapping, "it has no producer".to_owned());
        };
        let ((asks, epoch), (has, current)) = (producer, transaction.producer());
        if asks != has {
            return refuse(ErrorCode::InvalidProducerIdMapping, format!("its producer is {has}, not {asks}"));
        }
        if epoch != current {
            return refuse(ErrorCode::ProducerFenced, format!("producer {asks} has epoch {epoch}, it is at {current}"));
        }
        Ok(transaction)
    }

    /// A producer's transaction, if it may write to a partition within it.
    pub fn check(&self, id: &str, producer: Producer, partition: &TopicPartition) -> Result<&Transaction, Error> {
        let transaction = self.of_producer(id, producer)?;
        if transaction.state == TransactionState::Ongoing && transaction.holds(partition) {
            return Ok(transaction);
        }
        let text = format!("transactional id '{}': {partition} is in no open transaction ({})", Named(id), transaction.state);
        Err(Error::new(ErrorCode::TransactionAbortable, text))
    }
}

/// Whether this can be a transactional id: the log's format has two bytes for its length.
fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > i16::MAX as usize {
        let text = format!("a transactional id of {} bytes: 1 to {}", id.len(), i16::MAX);
        return Err(Error::new(ErrorCode::InvalidRequest, text));
    }
    Ok(())
}

fn busy(id: &str, state: TransactionState) -> Error {
    let text = format!("transactional id '{id}': its transaction is being ended ({state})");
    Error::new(ErrorCode::ConcurrentTransactions, text)
}
