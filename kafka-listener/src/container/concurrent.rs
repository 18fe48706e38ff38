//! A listener's container: its workers, one consumer each, in one group, and their life.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::event::{EventKind, Events, StopReason};
use super::intents::Intents;
use super::properties::{Concurrency, ContainerProperties, Source};
use super::requested::Requested;
use super::state::{ContainerState, Intent, Stop};
use super::worker::{Worker, WorkerParts};
use crate::client::{Admin, Backend, ClientError, Consumer, Subscription, TopicPartition};
use crate::error::{ErrorHandler, RecoverContext};
use crate::handler::{BoxedHandler, DeliveryContext};
use crate::listener::ConsumerHandle;
use crate::listener::link::WorkerLink;

/// What a container is made from.
pub(crate) struct ContainerSeed {
    pub properties: ContainerProperties,
    /// The listener under its layers: built once, cloned for each worker.
    pub service: BoxedHandler,
    pub error_handler: Arc<dyn ErrorHandler>,
    pub backend: Arc<dyn Backend>,
    pub recover: RecoverContext,
    pub states: Arc<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    pub events: Events,
}

/// The consumers of one listener, in one group. Cheap to clone; all clones are the same container.
#[derive(Clone)]
pub struct ConcurrentListenerContainer(Arc<Shared>);

struct Shared {
    properties: Arc<ContainerProperties>,
    service: BoxedHandler,
    error_handler: Arc<dyn ErrorHandler>,
    backend: Arc<dyn Backend>,
    recover: RecoverContext,
    states: Arc<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    events: Events,
    intent: Intents,
    state: watch::Sender<ContainerState>,
    supervisor: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    links: Mutex<Vec<Arc<WorkerLink>>>,
}

/// A container could not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
#[error("listener '{listener_id}': {message}")]
pub struct ContainerError {
    listener_id: Arc<str>,
    message: String,
    #[source]
    source: Option<ClientError>,
}

impl ConcurrentListenerContainer {
    pub(crate) fn new(seed: ContainerSeed) -> Self {
        let ContainerSeed { properties, service, error_handler, backend, recover, states, events } = seed;
        Self(Arc::new(Shared {
            properties: Arc::new(properties),
            service,
            error_handler,
            backend,
            recover,
            states,
            events,
            intent: Intents::default(),
            state: watch::Sender::new(ContainerState::Stopped),
            supervisor: tokio::sync::Mutex::new(None),
            links: Mutex::new(Vec::new()),
        }))
    }

    /// Its id: the name in the registry.
    pub fn id(&self) -> &Arc<str> {
        &self.0.properties.id
    }

    /// What it runs with.
    pub fn properties(&self) -> &ContainerProperties {
        &self.0.properties
    }

    /// Where it is in its life.
    pub fn state(&self) -> ContainerState {
        self.0.state.borrow().clone()
    }

    /// Whether its workers run.
    pub fn is_running(&self) -> bool {
        *self.0.state.borrow() == ContainerState::Running
    }

    /// Whether it was paused as a whole.
    pub fn is_paused(&self) -> bool {
        self.0.intent.now().paused
    }

    /// What its workers own now, all together.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let mut all: Vec<_> = self.links().iter().flat_map(|link| link.assignment()).map(|(partition, _)| partition).collect();
        all.sort();
        all
    }

    fn links(&self) -> MutexGuard<'_, Vec<Arc<WorkerLink>>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts its workers; a running container stays as it is, one that stops is started when it has stopped (which a call of its
    /// own listener must not wait for). An error if a consumer cannot be made, or the app is shut down. Cancel-safe.
    pub async fn start(&self) -> Result<(), ContainerError> {
        if self.0.intent.is_closed() {
            return Err(self.closed());
        }
        let mut supervisor = self.0.supervisor.lock().await;
        if self.is_running() {
            return Ok(());
        }
        if let Some(ended) = supervisor.as_mut() {
            let _ = ended.await;
        }
        *supervisor = None;
        if !self.0.intent.begin() {
            return Err(self.closed());
        }
        let workers = match self.first_workers().await {
            Ok(workers) => workers,
            Err(error) => {
                self.0.events.emit(self.id(), None, EventKind::FailedToStart { error: error.to_string() });
                return Err(error);
            }
        };
        self.0.state.send_replace(ContainerState::Running);
        *supervisor = Some(tokio::spawn(self.clone().supervise(workers)));
        Ok(())
    }

    /// Finishes what was polled, commits, leaves the group. After `shutdown_timeout` calls that still run are dropped at
    /// their next await: their records are delivered again later.
    pub async fn stop(&self) {
        self.stop_as(Stop::Drain, self.0.properties.shutdown_timeout).await;
    }

    /// Finishes the record or batch in hand, commits, leaves the group; what was polled behind it is delivered again later.
    pub async fn stop_immediate(&self) {
        self.stop_as(Stop::Immediate, self.0.properties.shutdown_timeout).await;
    }

    /// Drops the call in hand at its next await, commits what is done, leaves the group.
    pub async fn abandon(&self) {
        self.stop_as(Stop::Abandon, Duration::ZERO).await;
    }

    pub(crate) async fn stop_within(&self, limit: Duration) {
        self.stop_as(Stop::Drain, limit).await;
    }

    async fn stop_as(&self, stop: Stop, limit: Duration) {
        let run = self.ask_to_stop(stop);
        if tokio::time::timeout(limit, self.over(run)).await.is_err() {
            self.0.intent.stop_run(run, Stop::Abandon);
            self.over(run).await;
        }
        let mut supervisor = self.0.supervisor.lock().await;
        if self.0.intent.run() == run
            && let Some(ended) = supervisor.as_mut()
        {
            let _ = ended.await;
            *supervisor = None;
        }
    }

    /// Nothing starts it any more: the app is shut down.
    pub(crate) fn close(&self) {
        self.0.intent.close();
    }

    /// Nothing starts it any more, and it ends after the calls in hand. Waits for nothing.
    pub(crate) fn let_go(&self) {
        self.close();
        self.ask_to_stop(Stop::Immediate);
    }

    /// Tells the workers to stop, and everybody that they do; returns which run it is.
    fn ask_to_stop(&self, stop: Stop) -> u64 {
        let run = self.0.intent.stop(stop);
        self.0.state.send_if_modified(|state| {
            let running = *state == ContainerState::Running && self.0.intent.run() == run;
            if running {
                *state = ContainerState::Stopping;
            }
            running
        });
        run
    }

    /// Completes when that run has ended, or another one has begun since. Cancel-safe.
    async fn over(&self, run: u64) {
        let mut state = self.0.state.subscribe();
        let _ = state.wait_for(|state| !is_active(state) || self.0.intent.run() != run).await;
    }

    /// Completes when no worker runs any more; at once if none does. Cancel-safe.
    pub async fn ended(&self) -> ContainerState {
        let mut state = self.0.state.subscribe();
        let ended = state.wait_for(|state| !is_active(state)).await;
        ended.map_or(ContainerState::Stopped, |state| state.clone())
    }

    /// Completes when the container, running now or started later, ends the next time. Cancel-safe.
    pub(crate) async fn next_end(&self) -> ContainerState {
        let mut state = self.0.state.subscribe();
        if matches!(*state.borrow(), ContainerState::Failed(_)) {
            return state.borrow().clone();
        }
        if state.wait_for(is_active).await.is_err() {
            return std::future::pending().await;
        }
        let ended = state.wait_for(|state| !is_active(state)).await.map(|state| state.clone());
        match ended {
            Ok(state) => state,
            Err(_) => std::future::pending().await,
        }
    }

    /// Delivers nothing more after the records in hand, until [`resume`](Self::resume); members stay in the group. What is
    /// done is committed. Survives rebalances and restarts of the container.
    pub fn pause(&self) -> Requested {
        self.request(|intent| intent.paused = true)
    }

    /// Undoes [`pause`](Self::pause); partitions that were paused by themselves stay so.
    pub fn resume(&self) -> Requested {
        self.request(|intent| intent.paused = false)
    }

    /// Pauses one partition, whoever of the workers owns it, now and later.
    pub fn pause_partition(&self, partition: TopicPartition) -> Requested {
        self.request(|intent| {
            intent.paused_partitions.insert(partition);
        })
    }

    /// Undoes [`pause_partition`](Self::pause_partition).
    pub fn resume_partition(&self, partition: &TopicPartition) -> Requested {
        self.request(|intent| {
            intent.paused_partitions.remove(partition);
        })
    }

    fn request(&self, change: impl FnOnce(&mut Intent)) -> Requested {
        self.0.intent.change(change);
        Requested::new(match self.state() {
            ContainerState::Failed(reason) => Err(ContainerError {
                listener_id: self.id().clone(),
                message: format!("it has stopped by a failure: {reason}"),
                source: None,
            }),
            _ => Ok(()),
        })
    }

    fn closed(&self) -> ContainerError {
        let message = "it does not start, since the app is shut down; start another app".to_owned();
        ContainerError { listener_id: self.id().clone(), message, source: None }
    }

    fn error(&self, what: &str, source: ClientError) -> ContainerError {
        ContainerError { listener_id: self.id().clone(), message: format!("{what}: {source}"), source: Some(source) }
    }

    async fn first_workers(&self) -> Result<Vec<Worker>, ContainerError> {
        self.links().clear();
        let partitions = self.partition_count().await.map_err(|error| self.error("the topics could not be read", error))?;
        let properties = &self.0.properties;
        let explicit = match &properties.source {
            Source::Partitions(all) => Some(all.clone()),
            Source::Subscribed(_) => None,
        };
        let wanted = match properties.concurrency {
            Concurrency::Fixed(workers) => workers.max(1),
            Concurrency::Auto => partitions.unwrap_or(1).max(1),
        };
        let workers = match &explicit {
            Some(all) => wanted.min(all.len().max(1)),
            None => wanted,
        };
        if let Some(partitions) = partitions.filter(|partitions| *partitions < wanted) {
            tracing::warn!(target: "kafka_listener::container", listener = %self.id(), concurrency = wanted, partitions, "more workers than partitions: the rest idle");
        }
        (0..workers)
            .map(|index| {
                let share = explicit.as_ref().map(|all| share(all, workers, index));
                self.worker(index, share)
            })
            .collect()
    }

    /// How many partitions the subscribed topics have, where that can be known.
    async fn partition_count(&self) -> Result<Option<usize>, ClientError> {
        let admin = self.0.backend.admin();
        match &self.0.properties.source {
            Source::Partitions(all) => Ok(Some(all.len())),
            Source::Subscribed(subscription) => count_partitions(admin.as_ref(), subscription).await,
        }
    }

    fn worker(
        &self,
        index: usize,
        share: Option<Vec<(TopicPartition, crate::client::StartOffset)>>,
    ) -> Result<Worker, ContainerError> {
        let shared = &self.0;
        let mut settings = shared.properties.consumer.clone();
        if let Some(prefix) = settings.get("client.id").map(str::to_owned) {
            settings.set("client.id", format!("{prefix}-{index}"));
        }
        // Each worker is a member with a name of its own, as in Spring.
        let alone = matches!(shared.properties.concurrency, Concurrency::Fixed(1));
        if let Some(name) = settings.get("group.instance.id").filter(|_| !alone).map(str::to_owned) {
            settings.set("group.instance.id", format!("{name}-{}", index + 1));
        }
        let mut consumer = shared.backend.consumer(&settings).map_err(|error| self.error("no consumer could be made", error))?;
        let subscribed = match (&shared.properties.source, share) {
            (_, Some(share)) => consumer.assign(share),
            (Source::Subscribed(subscription), None) => consumer.subscribe(subscription.clone()),
            (Source::Partitions(all), None) => consumer.assign(all.clone()),
        };
        subscribed.map_err(|error| self.error("the consumer could not subscribe", error))?;
        Ok(self.worker_on(index, consumer))
    }

    fn worker_on(&self, index: usize, consumer: Box<dyn Consumer>) -> Worker {
        let shared = &self.0;
        let link = WorkerLink::new();
        self.links().push(link.clone());
        let mut context = DeliveryContext::builder()
            .listener_id(self.id().clone())
            .states(shared.states.clone())
            .consumer(ConsumerHandle::new(link.clone()));
        if let Some(group) = &shared.properties.group_id {
            context = context.group_id(group.clone());
        }
        Worker::new(WorkerParts {
            index,
            properties: shared.properties.clone(),
            consumer,
            service: shared.service.clone(),
            context: context.build(),
            link,
            error_handler: shared.error_handler.clone(),
            recover: shared.recover.clone(),
            events: shared.events.clone(),
            intent: shared.intent.listen(),
        })
    }

    /// Owns the workers: waits for each, adds some where `concurrency = "auto"` asks for it, and ends all when one fails.
    async fn supervise(self, workers: Vec<Worker>) {
        let mut count = workers.len();
        let mut running = JoinSet::new();
        workers.into_iter().for_each(|worker| drop(running.spawn(worker.run())));
        let mut reason = StopReason::Normal;
        let admin = self.0.backend.admin();
        let growing =
            self.0.properties.concurrency == Concurrency::Auto && matches!(self.0.properties.source, Source::Subscribed(_));
        let mut seen = 0;
        while !running.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = running.join_next() => {
                    let ended = ended.unwrap_or_else(|error| StopReason::Panicked(error.to_string()));
                    if ended.is_failure() {
                        self.ask_to_stop(Stop::Immediate);
                        reason = ended;
                    }
                }
                now = admin.metadata_changed(seen), if growing && self.0.intent.now().stop == Stop::No => {
                    seen = now;
                    count = self.grow(&mut running, count).await;
                }
            }
        }
        self.0.events.emit(self.id(), None, EventKind::Stopped { reason: reason.clone() });
        let state = if reason.is_failure() { ContainerState::Failed(reason) } else { ContainerState::Stopped };
        self.0.state.send_replace(state);
    }

    async fn grow(&self, running: &mut JoinSet<StopReason>, count: usize) -> usize {
        let wanted = match self.partition_count().await {
            Ok(Some(partitions)) => partitions,
            Ok(None) => return count,
            Err(error) => {
                tracing::warn!(target: "kafka_listener::container", listener = %self.id(), %error, "the topics could not be read; concurrency stays");
                return count;
            }
        };
        for index in count..wanted {
            match self.worker(index, None) {
                Ok(worker) => drop(running.spawn(worker.run())),
                Err(error) => {
                    tracing::warn!(target: "kafka_listener::container", %error, "no worker could be added; concurrency stays");
                    return index;
                }
            }
        }
        count.max(wanted)
    }
}

/// Whether workers run.
fn is_active(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Running | ContainerState::Stopping)
}

/// How many partitions a subscription has now; `None` if none of its topics is there yet.
async fn count_partitions(admin: &dyn Admin, subscription: &Subscription) -> Result<Option<usize>, ClientError> {
    let mut count = 0;
    match subscription {
        Subscription::Topics(topics) => {
            for topic in topics {
                count += admin.topic(topic).await?.map_or(0, |topic| topic.partitions);
            }
        }
        Subscription::Pattern(pattern) => {
            if let Ok(pattern) = regex::Regex::new(&format!("^(?:{pattern})$")) {
                let topics = admin.topics().await?;
                count = topics
                    .iter()
                    .filter(|topic| !topic.internal && pattern.is_match(&topic.name))
                    .map(|topic| topic.partitions)
                    .sum();
            }
        }
    }
    Ok(usize::try_from(count).ok().filter(|count| *count > 0))
}

/// Worker `index`'s share of explicit partitions: as even as can be, the first ones get one more.
fn share<T: Clone>(all: &[T], workers: usize, index: usize) -> Vec<T> {
    let (each, more) = (all.len() / workers, all.len() % workers);
    let start = index * each + index.min(more);
    all[start..start + each + usize::from(index < more)].to_vec()
}

impl fmt::Debug for ConcurrentListenerContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrentListenerContainer").field("id", self.id()).field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Waits for all containers' stop, together at most until `deadline`.
pub(crate) async fn stop_all(containers: &[ConcurrentListenerContainer], deadline: Instant) {
    let mut stops = JoinSet::new();
    for container in containers {
        let container = container.clone();
        stops.spawn(async move { container.stop_within(deadline.saturating_duration_since(Instant::now())).await });
    }
    while stops.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn explicit_partitions_are_shared_evenly() {
        let all: Vec<i32> = (0..5).collect();
        let shares: Vec<_> = (0..3).map(|index| share(&all, 3, index)).collect();
        assert_eq!(shares, [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
