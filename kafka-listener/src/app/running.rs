use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::shutdown::Signals;
use crate::client::{Admin, Backend, TopicPartition};
use crate::container::{ConcurrentListenerContainer, ContainerState, EventStream, Events, stop_all};
use crate::registry::ListenerRegistry;
use crate::template::KafkaTemplate;

pub(super) struct Parts {
    pub backend: Arc<dyn Backend>,
    pub template: KafkaTemplate,
    pub registry: ListenerRegistry,
    pub events: Events,
    pub states: Arc<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    pub addresses: Vec<SocketAddr>,
    pub shutdown_timeout: Duration,
    pub handle_signals: bool,
}

/// An app whose listeners run. Dropping it without [`shutdown`](Self::shutdown) or [`wait`](Self::wait) stops them, too, after the
/// calls in hand: they commit what is done and leave, and nobody waits for it. The broker is let go then, and not closed in order.
pub struct RunningApp {
    parts: Parts,
    closed: tokio::sync::Mutex<bool>,
}

impl RunningApp {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, closed: tokio::sync::Mutex::new(false) }
    }

    /// The app's template: sends records.
    pub fn template(&self) -> KafkaTemplate {
        self.parts.template.clone()
    }

    /// The containers, by id.
    pub fn registry(&self) -> &ListenerRegistry {
        &self.parts.registry
    }

    /// Where the embedded broker is reached from other processes, in the order of the calls of
    /// [`listen`](super::KafkaAppBuilder::listen).
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.parts.addresses
    }

    /// What happens to the containers from now on.
    pub fn events(&self) -> EventStream {
        self.parts.events.subscribe()
    }

    /// Topics and groups.
    pub fn admin(&self) -> Arc<dyn Admin> {
        self.parts.backend.admin()
    }

    /// The state of type `S`, if the app was given one.
    pub fn try_state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.parts.states.get(&TypeId::of::<S>()).and_then(|state| state.clone().downcast().ok())
    }

    /// What the group has committed for a partition: the next offset to read; `None` before the first commit.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> Result<Option<i64>, Error> {
        let wanted = TopicPartition::new(topic, partition);
        let all = self.parts.backend.admin().group_offsets(group).await?;
        Ok(all.into_iter().find(|(partition, _)| *partition == wanted).map(|(_, stored)| stored.offset))
    }

    /// Runs until ctrl-c or SIGTERM, then shuts down; a second signal ends calls at once. If a container stops by a failure,
    /// the others are stopped too and the error names it.
    pub async fn wait(self) -> Result<(), Error> {
        let signals = Signals::new(self.parts.handle_signals);
        self.wait_for(signals).await
    }

    /// [`wait`](Self::wait), with signals that were listened for before.
    pub(super) async fn wait_for(self, mut signals: Signals) -> Result<(), Error> {
        let failed = tokio::select! {
            biased;
            failed = self.failed() => Some(failed),
            () = signals.next() => None,
        };
        let ended = {
            let shutdown = self.shutdown();
            tokio::pin!(shutdown);
            tokio::select! {
                biased;
                ended = &mut shutdown => ended,
                () = signals.next() => {
                    tracing::warn!(target: "kafka_listener::app", "second signal: calls that run are dropped");
                    for container in self.parts.registry.all() {
                        container.abandon().await;
                    }
                    shutdown.await
                }
            }
        };
        match failed {
            Some(error) => Err(error),
            None => ended,
        }
    }

    /// Completes when a container stops by a failure.
    async fn failed(&self) -> Error {
        let mut watched = JoinSet::new();
        for container in self.parts.registry.all() {
            let container = container.clone();
            watched.spawn(async move {
                loop {
                    if let ContainerState::Failed(reason) = container.next_end().await {
                        return Error::stopped(container.id().clone(), &reason);
                    }
                }
            });
        }
        loop {
            match watched.join_next().await {
                Some(Ok(error)) => return error,
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Stops all containers: they finish what was polled, commit and leave, within the shutdown time-out; then the template is
    /// flushed and the broker closed. Idempotent; one that was dropped is finished by the next. An error names a container that had
    /// stopped by a failure.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let containers: Vec<_> = self.parts.registry.all().cloned().collect();
        containers.iter().for_each(ConcurrentListenerContainer::close);
        stop_all(&containers, Instant::now() + self.parts.shutdown_timeout).await;
        // Who comes second waits for the first, and goes on where it was dropped.
        let mut closed = self.closed.lock().await;
        if *closed {
            return Ok(());
        }
        let flushed = self.parts.template.close().await;
        let ended = self.parts.backend.close().await;
        *closed = true;
        for container in &containers {
            if let ContainerState::Failed(reason) = container.state() {
                return Err(Error::stopped(container.id().clone(), &reason));
            }
        }
        flushed?;
        ended?;
        Ok(())
    }
}

impl Drop for RunningApp {
    /// Nobody is left who could stop them later, and a start that is dropped halfway leaves nobody behind.
    fn drop(&mut self) {
        self.parts.registry.all().for_each(ConcurrentListenerContainer::let_go);
    }
}

impl fmt::Debug for RunningApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningApp").field("registry", &self.parts.registry).finish_non_exhaustive()
    }
}
