//! For users' own tests: [`TestApp`] runs the listeners it is given, in memory, under a paused clock.
//!
//! Use it with `#[tokio::test(start_paused = true)]`: time then passes by itself whenever everybody waits, so that a test with
//! a back-off of five minutes takes milliseconds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::app::{Embedded, Error, KafkaApp, KafkaAppBuilder, RunningApp};
use crate::client::{Admin, NewTopic};
use crate::container::EventStream;
use crate::factory::ContainerFactory;
use crate::registry::{Endpoint, ListenerRegistry, OwnedListener};
use crate::template::KafkaTemplate;

/// Where a test's clock starts: 2026-01-01T00:00:00Z, in milliseconds since 1970.
const START_MS: i64 = 1_767_225_600_000;
/// How long a wait may take, of the test's own time.
const DEADLINE: Duration = Duration::from_secs(60);

/// Describes an app under test: only the listeners named, on a broker in memory, reading from the earliest record.
pub struct TestApp(KafkaAppBuilder);

impl Default for TestApp {
    fn default() -> Self {
        Self::new()
    }
}

impl TestApp {
    /// An app without listeners, which starts groups at the earliest record.
    pub fn new() -> Self {
        let builder = KafkaApp::builder()
            .environment([])
            .embedded(Embedded::memory().virtual_time(START_MS).seed(1))
            .property("auto.offset.reset", "earliest")
            .handle_signals(false)
            .listeners([]);
        Self(builder)
    }

    /// Runs these annotated listeners: `listeners![bill]`.
    pub fn listeners(self, listeners: impl IntoIterator<Item = &'static Endpoint>) -> Self {
        Self(self.0.listeners(listeners))
    }

    /// Runs a listener made without the attribute.
    pub fn listener(self, listener: impl Into<OwnedListener>) -> Self {
        Self(self.0.listener(listener))
    }

    /// Adds a container factory.
    pub fn factory(self, factory: ContainerFactory) -> Self {
        Self(self.0.factory(factory))
    }

    /// Makes a topic.
    pub fn topic(self, topic: NewTopic) -> Self {
        Self(self.0.topic(topic))
    }

    /// Gives the app a state.
    pub fn state<S: Send + Sync + 'static>(self, state: S) -> Self {
        Self(self.0.state(state))
    }

    /// Sets a value for `${name}`.
    pub fn config(self, name: impl Into<String>, value: impl ToString) -> Self {
        Self(self.0.config(name, value))
    }

    /// Sets one of Kafka's consumer settings for all listeners.
    pub fn property(self, key: impl Into<String>, value: impl ToString) -> Self {
        Self(self.0.property(key, value))
    }

    /// Another broker than a fresh one in memory.
    pub fn embedded(self, embedded: Embedded) -> Self {
        Self(self.0.embedded(embedded))
    }

    /// Changes anything else of the app.
    pub fn with(self, change: impl FnOnce(KafkaAppBuilder) -> KafkaAppBuilder) -> Self {
        Self(change(self.0))
    }

    /// Starts it; the error lists every start-up problem.
    pub async fn start(self) -> Result<RunningTestApp, Error> {
        Ok(RunningTestApp(self.0.start().await?))
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").finish_non_exhaustive()
    }
}

/// A running app under test.
#[derive(Debug)]
pub struct RunningTestApp(RunningApp);

impl RunningTestApp {
    /// Sends records.
    pub fn template(&self) -> KafkaTemplate {
        self.0.template()
    }

    /// The containers, by id.
    pub fn registry(&self) -> &ListenerRegistry {
        self.0.registry()
    }

    /// What happens to the containers from now on.
    pub fn events(&self) -> EventStream {
        self.0.events()
    }

    /// Topics and groups.
    pub fn admin(&self) -> Arc<dyn Admin> {
        self.0.admin()
    }

    /// The state of type `S`. Panics if the app was given none.
    pub fn state<S: Send + Sync + 'static>(&self) -> Arc<S> {
        self.0.try_state().unwrap_or_else(|| panic!("the app was given no state of type {}", std::any::type_name::<S>()))
    }

    /// What a group has committed for a partition: to look at, or to wait for.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Committed<'_> {
        Committed { app: self, group: group.to_owned(), topic: topic.to_owned(), partition }
    }

    /// Waits until `check` says yes; the error of a missed deadline says `what` was waited for. A minute of the test's time.
    pub async fn wait_for(&self, what: &str, mut check: impl FnMut() -> bool) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !check() {
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::other(format!("after {DEADLINE:?}, still waiting for {what}")));
            }
            pause().await;
        }
        Ok(())
    }

    /// Stops it: what was polled is finished and committed.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.0.shutdown().await
    }
}

/// A committed offset.
#[derive(Debug)]
pub struct Committed<'a> {
    app: &'a RunningTestApp,
    group: String,
    topic: String,
    partition: i32,
}

impl Committed<'_> {
    /// The next offset to read; `None` before the first commit.
    pub async fn get(&self) -> Result<Option<i64>, Error> {
        self.app.0.committed(&self.group, &self.topic, self.partition).await
    }

    /// Waits until it is at least this; the error of a missed deadline says what was waited for and what is there.
    pub async fn reaches(&self, offset: i64) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let now = self.get().await?;
            if now.is_some_and(|now| now >= offset) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                let Self { group, topic, partition, .. } = self;
                let now = now.map_or_else(|| "nothing".to_owned(), |now| now.to_string());
                return Err(Error::other(format!(
                    "after {DEADLINE:?}, still waiting for group '{group}' to commit {topic}-{partition} up to {offset}: it has {now}"
                )));
            }
            pause().await;
        }
    }
}

/// Lets the others run: under a paused clock this passes as soon as everybody waits.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
