use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::link::{AckPlace, LinkMessage, Nack, WorkerLink};
use crate::client::{ClientError, TopicPartition};
use crate::handler::BatchRecords;

/// Acknowledges a record or a batch by hand, in the ack modes `Manual` and `ManualImmediate`.
///
/// [`acknowledge`](Self::acknowledge) takes effect when it is called; awaiting its receipt reports misuse or, in
/// `ManualImmediate`, the commit's result. It may be moved to another task. Without async acks it covers everything lower in
/// its partition. Dropping it unused acknowledges nothing: the record comes again after the next assignment.
#[derive(Clone)]
pub struct Acknowledgment(Arc<Inner>);

struct Inner {
    link: Arc<WorkerLink>,
    target: Target,
    mode: Mode,
    progress: Mutex<Progress>,
}

enum Target {
    Record(AckPlace),
    /// The records, and the epoch of each of their partitions.
    Batch {
        records: Arc<BatchRecords>,
        epochs: Vec<(TopicPartition, u64)>,
    },
}

/// How acknowledgments take effect in this container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    pub immediate: bool,
    pub async_acks: bool,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many elements, from the first, are acknowledged.
    acked: usize,
    nack: Option<Nack>,
    /// The listener has returned: too late for a nack.
    returned: bool,
    /// The record was settled otherwise (recovered, filtered, retried, discarded): dropping the acknowledgment is no event.
    settled: bool,
}

impl Acknowledgment {
    pub(crate) fn for_record(link: Arc<WorkerLink>, mode: Mode, place: AckPlace) -> Self {
        Self(Arc::new(Inner { link, target: Target::Record(place), mode, progress: Mutex::default() }))
    }

    pub(crate) fn for_batch(
        link: Arc<WorkerLink>,
        mode: Mode,
        records: Arc<BatchRecords>,
        epochs: Vec<(TopicPartition, u64)>,
    ) -> Self {
        Self(Arc::new(Inner { link, target: Target::Batch { records, epochs }, mode, progress: Mutex::default() }))
    }

    /// An acknowledgment that belongs to no container, for tests of handlers: it accepts every call.
    pub fn detached() -> Self {
        let place = AckPlace { topic_partition: TopicPartition::new("detached", 0), epoch: 0, offset: 0 };
        let link = WorkerLink::new();
        link.assigned(place.topic_partition.clone(), super::link::LivePartition { epoch: 0, position: 0, paused: false });
        Self::for_record(link, Mode { immediate: false, async_acks: false }, place)
    }

    /// Acknowledges the record, or all of the batch that is not acknowledged yet. Takes effect now; idempotent.
    pub fn acknowledge(&self) -> AckReceipt {
        self.acknowledge_to(self.0.len(), "acknowledge")
    }

    /// Acknowledges a batch up to and including element `index`; indexes rise from call to call.
    pub fn acknowledge_up_to(&self, index: usize) -> AckReceipt {
        if matches!(self.0.target, Target::Record(_)) {
            return AckReceipt::failed(AckError::new(AckErrorKind::Misuse, "acknowledge_up_to needs a batch; use acknowledge()"));
        }
        if index >= self.0.len() {
            return AckReceipt::failed(self.0.out_of_range(index));
        }
        let acked = self.0.lock().acked;
        if index < acked {
            let text = format!("index {index} is acknowledged already (up to {}); indexes must rise", acked.saturating_sub(1));
            return AckReceipt::failed(AckError::new(AckErrorKind::Misuse, text));
        }
        self.acknowledge_to(index + 1, "acknowledge_up_to")
    }

    /// Delivers the record again after `sleep`: only its partition pauses, the consumer keeps polling. Takes effect when the
    /// listener returns; what it returns is then ignored unless it is an error.
    pub fn nack(&self, sleep: Duration) -> Result<(), AckError> {
        match self.0.target {
            Target::Record(_) => self.put_back(0, sleep),
            Target::Batch { .. } => {
                Err(AckError::new(AckErrorKind::Misuse, "nack needs the index of an element in a batch listener; use nack_at"))
            }
        }
    }

    /// Acknowledges what comes before element `index` and delivers the rest again after `sleep`.
    pub fn nack_at(&self, index: usize, sleep: Duration) -> Result<(), AckError> {
        match self.0.target {
            Target::Record(_) => Err(AckError::new(AckErrorKind::Misuse, "nack_at needs a batch; use nack")),
            Target::Batch { .. } if index >= self.0.len() => Err(self.0.out_of_range(index)),
            Target::Batch { .. } => self.put_back(index, sleep),
        }
    }

    fn put_back(&self, index: usize, sleep: Duration) -> Result<(), AckError> {
        let inner = &self.0;
        if inner.mode.async_acks {
            return Err(AckError::new(
                AckErrorKind::Misuse,
                format!("{}: nack cannot be used with async acks", inner.name(index)),
            ));
        }
        inner.check_live()?;
        let mut progress = inner.lock();
        if progress.returned {
            let text = format!("{}: nack after the listener returned", inner.name(index));
            return Err(AckError::new(AckErrorKind::Misuse, text));
        }
        if index < progress.acked {
            let text = format!("{}: nack of a record that is acknowledged already", inner.name(index));
            return Err(AckError::new(AckErrorKind::Misuse, text));
        }
        progress.nack = Some(Nack { index, sleep });
        Ok(())
    }

    fn acknowledge_to(&self, to: usize, call: &str) -> AckReceipt {
        let inner = &self.0;
        {
            let progress = inner.lock();
            if let Some(nack) = progress.nack
                && to > nack.index
            {
                let text = format!("{}: {call} after nack", inner.name(nack.index));
                return AckReceipt::failed(AckError::new(AckErrorKind::Misuse, text));
            }
            if progress.acked >= to && !inner.mode.immediate {
                return AckReceipt::done();
            }
        }
        let (reply, receipt) = if inner.mode.immediate {
            let (sender, receiver) = oneshot::channel();
            (Some(sender), AckReceipt(ReceiptState::Waiting { receiver, name: inner.name(to.saturating_sub(1)) }))
        } else {
            (None, AckReceipt::done())
        };
        match inner.send(to, reply) {
            Ok(()) => receipt,
            Err(error) => AckReceipt::failed(error),
        }
    }

    /// Takes the nack, if there was one; from now on a nack comes too late. For the worker, when the listener has returned.
    pub(crate) fn listener_returned(&self) -> Option<Nack> {
        let mut progress = self.0.lock();
        progress.returned = true;
        progress.nack.take()
    }

    /// How many elements, from the first, were acknowledged by hand.
    pub(crate) fn acked_elements(&self) -> usize {
        self.0.lock().acked
    }

    /// The worker settled the delivery itself: dropping the acknowledgment raises nothing.
    pub(crate) fn settle(&self) {
        self.0.lock().settled = true;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        match &self.target {
            Target::Record(_) => 1,
            Target::Batch { records, .. } => records.len(),
        }
    }

    /// The record's place, for messages.
    fn name(&self, index: usize) -> String {
        match &self.target {
            Target::Record(place) => format!("{}@{}", place.topic_partition, place.offset),
            Target::Batch { records, .. } => match records.get(index) {
                Some((partition, element)) => format!("{partition}@{} (element {index})", element.record.offset()),
                None => format!("element {index}"),
            },
        }
    }

    fn out_of_range(&self, index: usize) -> AckError {
        let last = match &self.target {
            Target::Batch { records, .. } => records.get(records.len().saturating_sub(1)),
            Target::Record(_) => None,
        };
        let end = last
            .map_or_else(String::new, |(partition, element)| format!(", the last is {partition}@{}", element.record.offset()));
        AckError::new(AckErrorKind::Misuse, format!("index {index} is out of range: the batch has {} elements{end}", self.len()))
    }

    fn check_live(&self) -> Result<(), AckError> {
        self.link.read(|live| match &self.target {
            Target::Record(place) => holds(live, place),
            Target::Batch { records, epochs } => {
                for (partition, epoch) in epochs {
                    if !live.holds(partition, *epoch) {
                        return Err(stale(partition, first_offset(records, partition)));
                    }
                }
                Ok(())
            }
        })
    }

    fn send(&self, to: usize, reply: Option<oneshot::Sender<Result<(), AckError>>>) -> Result<(), AckError> {
        match &self.target {
            Target::Record(place) => {
                let message = LinkMessage::Ack { place: place.clone(), reply };
                self.link.send(|live| holds(live, place).map(|()| message))?;
                self.lock().acked = 1;
            }
            Target::Batch { records, epochs } => {
                let from = self.lock().acked;
                if from >= to {
                    self.check_live()?;
                }
                let places = self.places(records, epochs, from..to);
                // What is still owned is acknowledged whatever else was revoked: it would hold its partition up for ever.
                let mut gone = None;
                self.link.send(|live| {
                    let is_owned = |place: &AckPlace| match holds(live, place) {
                        Ok(()) => true,
                        Err(error) => {
                            gone.get_or_insert(error);
                            false
                        }
                    };
                    let owned: Vec<AckPlace> = places.into_iter().filter(is_owned).collect();
                    match &gone {
                        Some(error) if owned.is_empty() => Err(error.clone()),
                        _ => Ok(LinkMessage::AckMany { places: owned, reply }),
                    }
                })?;
                let mut progress = self.lock();
                progress.acked = progress.acked.max(to);
                drop(progress);
                if let Some(error) = gone {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Without async acks the highest place of each partition stands for all of them.
    fn places(&self, records: &BatchRecords, epochs: &[(TopicPartition, u64)], range: std::ops::Range<usize>) -> Vec<AckPlace> {
        let epoch =
            |partition: &TopicPartition| epochs.iter().find(|(other, _)| other == partition).map_or(0, |(_, epoch)| *epoch);
        let mut places: Vec<AckPlace> = Vec::new();
        for index in range {
            let Some((partition, element)) = records.get(index) else { break };
            let offset = element.record.offset();
            match places.last_mut() {
                Some(last) if !self.mode.async_acks && last.topic_partition == *partition => {
                    last.offset = last.offset.max(offset)
                }
                _ => places.push(AckPlace { topic_partition: partition.clone(), epoch: epoch(partition), offset }),
            }
        }
        places
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.mode.async_acks {
            return;
        }
        let progress = std::mem::take(self.progress.get_mut().unwrap_or_else(PoisonError::into_inner));
        if progress.settled || progress.acked >= self.len() {
            return;
        }
        let places = match &self.target {
            Target::Record(place) => vec![place.clone()],
            Target::Batch { records, epochs } => self.places(records, epochs, progress.acked..records.len()),
        };
        // Nobody is left to tell about a stale one.
        let _ = self.link.send(|live| {
            if places.iter().any(|place| live.holds(&place.topic_partition, place.epoch)) {
                Ok(LinkMessage::Dropped { places })
            } else {
                Err(())
            }
        });
    }
}

fn holds(live: &super::link::Live<'_>, place: &AckPlace) -> Result<(), AckError> {
    if live.holds(&place.topic_partition, place.epoch) { Ok(()) } else { Err(stale(&place.topic_partition, place.offset)) }
}

fn first_offset(records: &BatchRecords, partition: &TopicPartition) -> i64 {
    records.iter().find(|(other, _)| *other == partition).map_or(-1, |(_, element)| element.record.offset())
}

pub(crate) fn stale(partition: &TopicPartition, offset: i64) -> AckError {
    AckError::new(
        AckErrorKind::Stale,
        format!(
            "{partition}@{offset}: the acknowledgment is from an earlier assignment of the partition; the record is delivered again by its owner"
        ),
    )
}

impl fmt::Debug for Acknowledgment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acknowledgment({})", self.0.name(0))
    }
}

/// What an acknowledgment came to: a future that need not be awaited. Dropping it does not undo the acknowledgment.
#[derive(Debug)]
pub struct AckReceipt(ReceiptState);

#[derive(Debug)]
enum ReceiptState {
    Ready(Result<(), AckError>),
    Waiting { receiver: oneshot::Receiver<Result<(), AckError>>, name: String },
}

impl AckReceipt {
    fn done() -> Self {
        Self(ReceiptState::Ready(Ok(())))
    }

    fn failed(error: AckError) -> Self {
        Self(ReceiptState::Ready(Err(error)))
    }
}

impl Future for AckReceipt {
    type Output = Result<(), AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            ReceiptState::Ready(result) => Poll::Ready(result.clone()),
            ReceiptState::Waiting { receiver, name } => Pin::new(receiver).poll(cx).map(|answer| {
                answer.unwrap_or_else(|_| {
                    Err(AckError::new(AckErrorKind::Stale, format!("{name}: the container stopped before the commit was sent")))
                })
            }),
        }
    }
}

/// What an acknowledgment failed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckErrorKind {
    /// The partition was revoked or lost, or the container stopped.
    Stale,
    /// The call does not fit: wrong shape, index out of range, after a nack.
    Misuse,
    /// The commit failed (`ManualImmediate`).
    Commit,
}

/// An acknowledgment's failure; names the topic, partition and offset.
#[derive(Debug, Clone)]
pub struct AckError {
    kind: AckErrorKind,
    message: String,
    source: Option<ClientError>,
}

impl AckError {
    pub(crate) fn new(kind: AckErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn commit(message: impl Into<String>, source: ClientError) -> Self {
        Self { kind: AckErrorKind::Commit, message: message.into(), source: Some(source) }
    }

    /// What it failed for.
    pub fn kind(&self) -> AckErrorKind {
        self.kind
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
