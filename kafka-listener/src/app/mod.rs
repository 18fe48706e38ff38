//! [`KafkaApp`]: listeners, state and a backend become a running application.

mod config;
mod error;
mod preflight;
mod running;
mod shutdown;
mod topics;

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use config::{ConfigError, Settings};
pub use error::{Error, ErrorKind};
pub use running::RunningApp;

pub use crate::client::embedded::Embedded;

use self::shutdown::Signals;
use crate::client::{Backend, NewTopic, Properties};
use crate::container::{ConcurrentListenerContainer, ContainerSeed, Events, FOREVER};
use crate::error::RecoverContext;
use crate::factory::ContainerFactory;
use crate::registry::{Endpoint, ListenerRegistry, OwnedListener, discovered, missing_crates};
use crate::template::KafkaTemplate;

/// The entry: [`KafkaApp::builder`].
#[derive(Debug)]
pub struct KafkaApp(());

impl KafkaApp {
    /// Starts describing an app.
    pub fn builder() -> KafkaAppBuilder {
        KafkaAppBuilder::default()
    }
}

/// Describes an app: what listens, with what state, on which broker.
#[derive(Default)]
pub struct KafkaAppBuilder {
    config_file: Option<PathBuf>,
    code: BTreeMap<String, String>,
    environment: Option<Vec<(String, String)>>,
    kafka: Properties,
    producer: Properties,
    embedded: Option<Embedded>,
    topics: Vec<NewTopic>,
    states: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    factories: BTreeMap<Arc<str>, ContainerFactory>,
    duplicate_factories: Vec<Arc<str>>,
    listeners: Vec<OwnedListener>,
    only: Option<Vec<&'static Endpoint>>,
    default_topic: Option<String>,
    listen: Vec<String>,
    shutdown_timeout: Option<Duration>,
    handle_signals: Option<bool>,
}

/// How long a shutdown waits for calls that run, in all.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

impl KafkaAppBuilder {
    /// Reads settings from a TOML file, below the environment, below what is set in code. Its `[kafka]` table holds Kafka's own
    /// names; the rest is for `${...}`.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    /// Sets a value for `${name}` in code, over environment and file.
    pub fn config(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.code.insert(name.into(), value.to_string());
        self
    }

    /// Takes these in place of the process's environment: for tests.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = Some(variables.into_iter().collect());
        self
    }

    /// Sets one of Kafka's client settings: a consumer's (`auto.offset.reset`) for all listeners, a producer's (`linger.ms`) for
    /// the app's template, one of both for both.
    pub fn property(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.kafka.set(key, value);
        self
    }

    /// Sets one of Kafka's producer settings for the app's template only, over [`property`](Self::property).
    pub fn producer_property(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.producer.set(key, value);
        self
    }

    /// The embedded broker: where it keeps its data. In memory by default.
    pub fn embedded(mut self, embedded: Embedded) -> Self {
        self.embedded = Some(embedded);
        self
    }

    /// Makes a topic if it is not there. One that is there keeps its partitions and settings; a difference is said.
    pub fn topic(mut self, topic: NewTopic) -> Self {
        self.topics.push(topic);
        self
    }

    /// Lets Kafka clients of other processes reach the embedded broker at `host:port` while the app runs; needs the feature
    /// `server`. Port 0 is one that the system chooses: [`RunningApp::addresses`] tells it. `${name:default}` is replaced as in
    /// listeners. The port opens once topics are made and before listeners start, and closes after they have stopped. There is
    /// no encryption or password unless the address says so (`SASL_SSL://127.0.0.1:9093`, with the certificate in
    /// [`Embedded::server`]): stay on loopback.
    ///
    /// ```no_run
    /// # #[cfg(feature = "server")] #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), kafka_listener::Error> {
    /// # use kafka_listener::prelude::*;
    /// KafkaApp::builder().listen("127.0.0.1:${broker.port:9092}").run().await // now: kcat -b 127.0.0.1:9092 -L
    /// # }
    /// # #[cfg(not(feature = "server"))] fn main() {}
    /// ```
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Gives the app a state, one of each type, for `State<S>` parameters.
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.insert(TypeId::of::<S>(), Arc::new(state));
        self
    }

    /// Adds a container factory. Two of one name are refused at start.
    pub fn factory(mut self, factory: ContainerFactory) -> Self {
        let name: Arc<str> = Arc::from(factory.name());
        if self.factories.insert(name.clone(), factory).is_some() {
            self.duplicate_factories.push(name);
        }
        self
    }

    /// Adds a listener that was made without the attribute.
    pub fn listener(mut self, listener: impl Into<OwnedListener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Runs only these annotated listeners, in place of all that are linked in: `listeners![a, b]`.
    pub fn listeners(mut self, listeners: impl IntoIterator<Item = &'static Endpoint>) -> Self {
        self.only.get_or_insert_with(Vec::new).extend(listeners);
        self
    }

    /// The topic of `send_default`.
    pub fn default_topic(mut self, topic: impl Into<String>) -> Self {
        self.default_topic = Some(topic.into());
        self
    }

    /// How long a shutdown waits for calls that run, in all; 30 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = Some(timeout);
        self
    }

    /// Whether ctrl-c and SIGTERM end [`RunningApp::wait`]; true.
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.handle_signals = Some(handle);
        self
    }

    /// [`start`](Self::start), then [`RunningApp::wait`]. A signal that comes while it starts stops it in order once it has started,
    /// a second one ends the process at once (on a runtime of one thread, as soon as the start lets it). Between `start` and
    /// `wait`, called by oneself, the process ends as it does without an app.
    pub async fn run(self) -> Result<(), Error> {
        let enabled = self.handle_signals.unwrap_or(true);
        let signals = Signals::new(enabled);
        let second = Signals::new(enabled).end_at_second();
        let started = self.start().await;
        second.abort();
        started?.wait_for(signals).await
    }

    /// Checks everything, reports every problem in one error, then starts. Annotated listeners are found by linking.
    pub async fn start(mut self) -> Result<RunningApp, Error> {
        let mut problems = Vec::new();
        let settings = self.settings(&mut problems);
        let kafka = settings.kafka(&self.kafka);
        problems.extend(kafka.unknown);
        for variable in &kafka.foreign {
            tracing::warn!(target: "kafka_listener::app", variable, "this variable of the environment names no setting of a consumer or producer; it is left alone");
        }
        let backend = self.backend(kafka.bootstrap_servers.as_deref(), &mut problems)?;
        let app_wide: Vec<String> = backend.check_consumer(&kafka.consumer).iter().map(ToString::to_string).collect();
        problems.extend_from_slice(&app_wide);
        let template = self.template(backend.as_ref(), &self.producer.over(&kafka.producer), &mut problems);
        self.states.insert(TypeId::of::<KafkaTemplate>(), Arc::new(template.clone()));
        for name in &self.duplicate_factories {
            problems.push(format!("two container factories are named '{name}': give each a name of its own"));
        }
        let listeners = self.take_listeners(&mut problems);
        let types: BTreeSet<TypeId> = self.states.keys().copied().collect();
        let looked = preflight::Preflight {
            settings: &settings,
            factories: &self.factories,
            states: &types,
            kafka: &kafka.consumer,
            told: &app_wide,
            backend: backend.as_ref(),
        };
        let (ready, found) = preflight::check(&looked, listeners);
        problems.extend(found);
        problems.extend(preflight::missing_topics(backend.admin().as_ref(), &ready, &self.topics).await);
        let listen = self.resolved_addresses(&settings, &mut problems);
        let mut addresses = Vec::new();
        if problems.is_empty() {
            topics::make(backend.admin().as_ref(), &self.topics, &mut problems).await;
            for address in &listen {
                match backend.listen(address).await {
                    Ok(address) => addresses.push(address),
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
        if !problems.is_empty() {
            let _ = backend.close().await;
            return Err(Error::preflight(problems));
        }
        self.launch(backend, template, ready, addresses).await
    }

    fn resolved_addresses(&self, settings: &Settings, problems: &mut Vec<String>) -> Vec<String> {
        let read =
            |text: &String| settings.resolve(text).map_err(|error| problems.push(format!("listen(\"{text}\"): {error}"))).ok();
        self.listen.iter().filter_map(read).collect()
    }

    fn settings(&mut self, problems: &mut Vec<String>) -> Settings {
        let environment = self.environment.take().unwrap_or_else(config::environment);
        let settings = Settings::in_code(std::mem::take(&mut self.code)).with_environment(environment);
        match &self.config_file {
            None => settings,
            Some(path) => settings.clone().with_file(path).unwrap_or_else(|error| {
                problems.push(error.to_string());
                settings
            }),
        }
    }

    fn backend(&mut self, servers: Option<&str>, problems: &mut Vec<String>) -> Result<Arc<dyn Backend>, Error> {
        if let Some(servers) = servers {
            problems.push(format!(
                "bootstrap.servers = \"{servers}\" means Apache Kafka, which this version cannot reach yet; unset it to use the embedded broker"
            ));
        }
        self.embedded.take().unwrap_or_default().open().map_err(|error| {
            problems.push(format!("the embedded broker cannot be opened: {error}"));
            Error::preflight(std::mem::take(problems))
        })
    }

    fn template(&self, backend: &dyn Backend, settings: &Properties, problems: &mut Vec<String>) -> KafkaTemplate {
        let producer = backend.producer(settings).or_else(|error| {
            problems.push(format!("producer settings: {error}"));
            backend.producer(&Properties::new())
        });
        match producer {
            Ok(producer) => KafkaTemplate::new(producer, self.default_topic.as_deref()),
            Err(error) => {
                problems.push(format!("no producer can be made: {error}"));
                KafkaTemplate::disconnected()
            }
        }
    }

    fn take_listeners(&mut self, problems: &mut Vec<String>) -> Vec<OwnedListener> {
        let annotated = self.only.take().unwrap_or_else(|| {
            problems.extend(missing_crates());
            discovered()
        });
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        annotated.iter().for_each(|endpoint| *counts.entry(endpoint.spec.package).or_default() += 1);
        tracing::info!(target: "kafka_listener::app", ?counts, by_hand = self.listeners.len(), "listeners found");
        let mut all: Vec<OwnedListener> = annotated.into_iter().map(OwnedListener::from).collect();
        all.append(&mut self.listeners);
        all
    }

    async fn launch(
        self,
        backend: Arc<dyn Backend>,
        template: KafkaTemplate,
        ready: Vec<preflight::Ready>,
        addresses: Vec<SocketAddr>,
    ) -> Result<RunningApp, Error> {
        let events = Events::default();
        let states = Arc::new(self.states);
        let recover = RecoverContext::new(template.producer().cloned(), backend.admin());
        tell_start(backend.as_ref(), &ready);
        let containers: Vec<_> = ready
            .into_iter()
            .map(|one| {
                let service = one.factory.wrap(one.listener.handler.into_service());
                ConcurrentListenerContainer::new(ContainerSeed {
                    properties: one.properties,
                    service,
                    error_handler: one.factory.handler(),
                    backend: backend.clone(),
                    recover: recover.clone(),
                    states: states.clone(),
                    events: events.clone(),
                })
            })
            .collect();
        let app = RunningApp::new(running::Parts {
            backend,
            template,
            registry: ListenerRegistry::new(containers.clone()),
            events,
            states,
            addresses,
            shutdown_timeout: self.shutdown_timeout.unwrap_or(DEFAULT_SHUTDOWN_TIMEOUT).min(FOREVER),
            handle_signals: self.handle_signals.unwrap_or(true),
        });
        for container in &containers {
            if container.properties().auto_startup
                && let Err(error) = container.start().await
            {
                let _ = app.shutdown().await;
                return Err(error.into());
            }
        }
        Ok(app)
    }
}

/// The start-up table: one line a listener.
fn tell_start(backend: &dyn Backend, ready: &[preflight::Ready]) {
    for one in ready {
        let properties = &one.properties;
        tracing::info!(target: "kafka_listener::app",
            listener = %properties.id, source = ?properties.source, group = ?properties.group_id, ack_mode = %properties.ack_mode,
            batch = properties.batch, concurrency = ?properties.concurrency, factory = one.factory.name(),
            reset = properties.consumer.get("auto.offset.reset").unwrap_or("latest"), backend = %backend.describe(), "listener");
    }
}
