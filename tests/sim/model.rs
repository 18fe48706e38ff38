//! The shadow model: what the containers may and may not do, told by their events and their calls, checked at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use broker_core::Broker;
use kafka_listener::client::TopicPartition;
use kafka_listener::container::{ContainerEvent, EventKind, EventStream, PauseReason};
use tokio::time::Instant;

/// The one group of all containers.
pub const GROUP: &str = "g";

type Key = (usize, usize);

/// One partition in the hands of one worker.
#[derive(Debug)]
struct Owned {
    id: u64,
    /// The offset that must come next.
    next: i64,
    /// How often each was delivered since it was assigned.
    calls: BTreeMap<i64, u32>,
    /// Delivered, and not acknowledged yet.
    open: BTreeSet<i64>,
}

/// A record that was sent and acknowledged.
pub type Sent = (Option<Vec<u8>>, Vec<u8>);

#[derive(Default)]
pub struct Model {
    broker: Option<Broker>,
    epoch: Option<Instant>,
    /// Virtual time before this process, in ms.
    passed_ms: u64,
    streams: Vec<(usize, EventStream)>,
    workers: BTreeMap<Key, BTreeMap<TopicPartition, Owned>>,
    /// Why partitions of a worker are paused by request, as its events tell.
    paused: BTreeMap<(Key, TopicPartition), BTreeSet<PauseReason>>,
    /// What was asked for: (app, partition or all), since when.
    intents: BTreeMap<(usize, Option<TopicPartition>), u64>,
    ids: u64,
    pub sent: BTreeMap<TopicPartition, BTreeMap<i64, Sent>>,
    /// Handled, acknowledged or recovered, in whatever assignment.
    pub finished: BTreeMap<TopicPartition, BTreeSet<i64>>,
    pub recovered: BTreeSet<(TopicPartition, i64)>,
    committed: BTreeMap<TopicPartition, i64>,
    /// Ends of a container, by app.
    pub ends: BTreeMap<usize, usize>,
    pub deliveries: usize,
    pub bound: Option<usize>,
    pub is_batch: bool,
    pub trace: Vec<String>,
    pub broken: Vec<String>,
}

/// Shared by the simulation, its handlers and the subscriber of events.
#[derive(Clone, Default)]
pub struct Shadow(Arc<Mutex<Model>>);

/// One record of a call.
pub struct Seen {
    pub partition: TopicPartition,
    pub offset: i64,
    pub attempt: u32,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

/// A call that runs: the assignment of each of its records.
pub struct Call {
    app: usize,
    records: Vec<(TopicPartition, i64, u64)>,
}

impl Call {
    pub fn len(&self) -> usize {
        self.records.len()
    }
}

impl Shadow {
    pub fn lock(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the events until now, unless somebody does so already.
    pub fn catch_up(&self) {
        if let Ok(mut model) = self.0.try_lock() {
            model.drain();
        }
    }
}

impl Model {
    /// A process starts, on this broker.
    pub fn born(&mut self, broker: Broker) {
        self.broker = Some(broker);
        self.epoch = Some(Instant::now());
        self.note("the broker opens");
    }

    /// The process is gone, at an instant of its choice.
    pub fn killed(&mut self) {
        self.drain();
        self.note("killed");
        self.passed_ms = self.now();
        (self.broker, self.epoch) = (None, None);
        self.streams.clear();
        self.workers.clear();
        self.paused.clear();
        self.intents.clear();
    }

    pub fn listen(&mut self, app: usize, events: EventStream) {
        self.drain();
        self.streams.push((app, events));
    }

    /// Virtual milliseconds since the simulation began.
    pub fn now(&self) -> u64 {
        self.passed_ms + self.epoch.map_or(0, |epoch| epoch.elapsed().as_millis() as u64)
    }

    pub fn note(&mut self, what: impl AsRef<str>) {
        let line = format!("{:>8} {}", self.now(), what.as_ref());
        self.trace.push(line);
    }

    pub fn broke(&mut self, what: String) {
        self.note(format!("BROKEN: {what}"));
        self.broken.push(what);
    }

    /// A pause was asked for, or taken back.
    pub fn intend(&mut self, app: usize, partition: Option<TopicPartition>, paused: bool) {
        let now = self.now();
        match paused {
            true => drop(self.intents.entry((app, partition)).or_insert(now)),
            false => drop(self.intents.remove(&(app, partition))),
        }
    }

    pub fn is_paused(&self) -> bool {
        !self.intents.is_empty()
    }

    /// Takes what has happened, and looks at what is committed.
    pub fn drain(&mut self) {
        if self.epoch.is_none() {
            return;
        }
        let mut events = Vec::new();
        for (app, stream) in &mut self.streams {
            loop {
                let next = std::pin::pin!(tokio::task::unconstrained(stream.next()));
                let Poll::Ready(Some(event)) = next.poll(&mut Context::from_waker(Waker::noop())) else { break };
                events.push((*app, event));
            }
        }
        events.into_iter().for_each(|(app, event)| self.happened(app, &event));
        self.look_at_commits();
    }

    fn happened(&mut self, app: usize, event: &ContainerEvent) {
        let worker = event.worker.map_or("container".to_owned(), |worker| format!("worker {worker}"));
        self.note(format!("app {app} {worker}: {:?}", event.kind));
        let Some(worker) = event.worker else {
            if matches!(event.kind, EventKind::Stopped { .. }) {
                *self.ends.entry(app).or_default() += 1;
            }
            return;
        };
        let key = (app, worker);
        match &event.kind {
            EventKind::Assigned { partitions } => partitions.iter().for_each(|one| self.assigned(key, one)),
            EventKind::Revoked { partitions } | EventKind::Lost { partitions } => {
                partitions.iter().for_each(|one| self.gone(key, one))
            }
            EventKind::NonResponsive { .. } | EventKind::Stopped { .. } => {
                let all: Vec<_> = self.workers.remove(&key).into_iter().flatten().map(|(partition, _)| partition).collect();
                all.iter().for_each(|one| self.gone(key, one));
            }
            EventKind::Recovered { partition, offset } => self.was_recovered(key, partition, *offset),
            EventKind::Paused { partitions, reason } => {
                let of = |one: &TopicPartition| (key, one.clone());
                for one in partitions {
                    self.paused.entry(of(one)).or_default().insert(*reason);
                }
            }
            EventKind::Resumed { partitions, reason } => partitions.iter().for_each(|one| {
                self.paused.entry((key, one.clone())).or_default().remove(reason);
            }),
            _ => {}
        }
    }

    fn assigned(&mut self, key: Key, partition: &TopicPartition) {
        let others: Vec<Key> =
            self.workers.iter().filter(|(_, owned)| owned.contains_key(partition)).map(|(key, _)| *key).collect();
        for other in others {
            // A member that was put out learns so later; until then it must not call its listener.
            self.note(format!("{partition} goes from {other:?}, which was put out, to {key:?}"));
            if let Some(owned) = self.workers.get_mut(&other) {
                owned.remove(partition);
            }
        }
        self.ids += 1;
        let next = self.stored(partition).unwrap_or(0);
        let owned = Owned { id: self.ids, next, calls: BTreeMap::new(), open: BTreeSet::new() };
        self.workers.entry(key).or_default().insert(partition.clone(), owned);
    }

    fn gone(&mut self, key: Key, partition: &TopicPartition) {
        if let Some(owned) = self.workers.get_mut(&key) {
            owned.remove(partition);
        }
        self.paused.remove(&(key, partition.clone()));
    }

    fn was_recovered(&mut self, key: Key, partition: &TopicPartition, offset: i64) {
        self.recovered.insert((partition.clone(), offset));
        self.finished.entry(partition.clone()).or_default().insert(offset);
        if let Some(owned) = self.workers.get_mut(&key).and_then(|owned| owned.get_mut(partition)) {
            owned.open.remove(&offset);
            owned.next = owned.next.max(offset + 1);
        }
    }

    fn stored(&self, partition: &TopicPartition) -> Option<i64> {
        let wanted = broker_core::TopicPartition { topic: partition.topic.clone(), partition: partition.partition };
        let stored = self.broker.as_ref()?.fetch_offsets(GROUP, Some(&[wanted]));
        stored.into_iter().next().and_then(|(_, stored)| stored).map(|stored| stored.offset)
    }

    /// Commits never go back, and never pass what is not finished.
    fn look_at_commits(&mut self) {
        let Some(broker) = &self.broker else { return };
        for (partition, stored) in broker.fetch_offsets(GROUP, None) {
            let partition = TopicPartition::new(partition.topic, partition.partition);
            let offset = stored.map_or(-1, |stored| stored.offset);
            let before = self.committed.insert(partition.clone(), offset);
            if before == Some(offset) {
                continue;
            }
            self.note(format!("committed {partition} {offset}"));
            if before.is_some_and(|before| before > offset) {
                self.broke(format!("the commit of {partition} went back from {before:?} to {offset}"));
            }
            let finished = self.finished.get(&partition);
            if let Some(open) = (0..offset).find(|one| finished.is_none_or(|finished| !finished.contains(one))) {
                self.broke(format!("{partition} is committed up to {offset}, but {open} is not finished"));
            }
        }
        let lost: Vec<_> = self.committed.iter().filter(|(one, at)| **at > 0 && self.stored(one).is_none()).collect();
        if !lost.is_empty() {
            let lost = format!("committed offsets are gone: {lost:?}");
            self.broke(lost);
        }
    }

    /// A call of a listener begins.
    pub fn begin(&mut self, app: usize, records: Vec<Seen>) -> Call {
        self.drain();
        self.deliveries += records.len();
        let places: Vec<_> = records.iter().map(|one| format!("{}@{}#{}", one.partition, one.offset, one.attempt)).collect();
        self.note(format!("app {app} delivers {}", places.join(" ")));
        let records = records.iter().map(|one| (one.partition.clone(), one.offset, self.delivered(app, one))).collect();
        Call { app, records }
    }

    fn delivered(&mut self, app: usize, seen: &Seen) -> u64 {
        let (partition, offset) = (&seen.partition, seen.offset);
        let mut broken = Vec::new();
        let now = self.now();
        for place in [None, Some(partition.clone())] {
            if self.intents.get(&(app, place)).is_some_and(|since| *since < now) {
                broken.push(format!("{partition}@{offset} was delivered, but it is paused"));
            }
        }
        if let Some(sent) = self.sent.get(partition).and_then(|sent| sent.get(&offset))
            && (&sent.0, &sent.1) != (&seen.key, &seen.value)
        {
            broken.push(format!("{partition}@{offset} is not what was sent there"));
        }
        let bound = self.bound.map(|bound| if self.is_batch { bound + MAX_POLL_RECORDS } else { bound });
        let mut owners = self.workers.iter_mut().filter(|((of, _), _)| *of == app);
        let id = match owners.find_map(|(_, owned)| owned.get_mut(partition)) {
            None => {
                broken.push(format!("{partition}@{offset} was delivered, but no worker of app {app} owns it"));
                0
            }
            Some(owned) => {
                if owned.next != offset {
                    broken.push(format!("{partition}@{offset} was delivered, but {} is next", owned.next));
                }
                owned.next = offset + 1;
                let calls = owned.calls.entry(offset).or_default();
                *calls += 1;
                if seen.attempt > *calls {
                    broken.push(format!("{partition}@{offset}: attempt {} is call {calls} of this assignment", seen.attempt));
                }
                owned.open.insert(offset);
                if bound.is_some_and(|bound| owned.open.len() > bound) {
                    broken.push(format!("{partition}: {} records are in flight", owned.open.len()));
                }
                owned.id
            }
        };
        broken.into_iter().for_each(|what| self.broke(what));
        id
    }

    fn owned(&mut self, app: usize, record: &(TopicPartition, i64, u64)) -> Option<&mut Owned> {
        let mut owners = self.workers.iter_mut().filter(|((of, _), _)| *of == app);
        owners.find_map(|(_, owned)| owned.get_mut(&record.0).filter(|owned| owned.id == record.2))
    }

    /// Records of a call, from the first to `to`, are done.
    pub fn finish(&mut self, call: &Call, range: std::ops::Range<usize>) {
        for record in &call.records[range] {
            self.finished.entry(record.0.clone()).or_default().insert(record.1);
            if let Some(owned) = self.owned(call.app, record) {
                owned.open.remove(&record.1);
            }
        }
    }

    /// The records of a call that still belong to the assignment in which they were delivered are done.
    pub fn finish_owned(&mut self, call: &Call) {
        self.drain();
        for (index, record) in call.records.iter().enumerate() {
            if self.owned(call.app, record).is_some() {
                self.finish(call, index..index + 1);
            }
        }
    }

    /// A call ended such that its records from `from` on come again, or go to the error handler.
    pub fn put_back(&mut self, call: &Call, from: usize) {
        for record in call.records[from..].iter().rev() {
            if let Some(owned) = self.owned(call.app, record) {
                owned.next = record.1;
                owned.open.remove(&record.1);
            }
        }
    }

    /// When everything is quiet: pauses are what was asked for.
    pub fn check_pauses(&mut self) {
        self.drain();
        let mut broken = Vec::new();
        for (key, owned) in &self.workers {
            for partition in owned.keys() {
                let told = self.paused.get(&(*key, partition.clone())).cloned().unwrap_or_default();
                let wanted = |reason, place| {
                    let asked = self.intents.contains_key(&(key.0, place));
                    (asked != told.contains(&reason)).then(|| format!("{partition} of {key:?}: {reason:?} asked for: {asked}"))
                };
                broken.extend(wanted(PauseReason::Container, None));
                broken.extend(wanted(PauseReason::Partition, Some(partition.clone())));
            }
        }
        broken.into_iter().for_each(|what| self.broke(what));
    }

    /// Partitions that hold records which nobody has finished and committed.
    pub fn unfinished(&mut self) -> Vec<String> {
        self.drain();
        let Some(broker) = &self.broker else { return Vec::new() };
        let mut open = Vec::new();
        for topic in broker.topics().iter().filter(|topic| !topic.internal && !topic.name.ends_with("-dlt")) {
            for index in 0..topic.partitions {
                let Ok(handle) = broker.partition(&topic.name, index) else { continue };
                let partition = TopicPartition::new(topic.name.clone(), index);
                let (end, stored) = (handle.end_offset(), self.stored(&partition).unwrap_or(0));
                if stored < end {
                    open.push(format!("{partition}: committed {stored} of {end}"));
                }
            }
        }
        open
    }

    /// Everything that was acknowledged was handled.
    pub fn check_all_handled(&mut self) {
        let sent: Vec<_> = self.sent.iter().flat_map(|(one, sent)| sent.keys().map(move |at| (one.clone(), *at))).collect();
        for (partition, offset) in sent {
            if self.finished.get(&partition).is_none_or(|finished| !finished.contains(&offset)) {
                self.broke(format!("{partition}@{offset} was acknowledged to its sender and never handled"));
            }
        }
    }
}

/// The largest `max.poll.records` of a simulation.
pub const MAX_POLL_RECORDS: usize = 8;

/// Waits a little, of the virtual time.
pub async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
