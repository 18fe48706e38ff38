//! Container factories: named sets of properties, layers and error handling that listeners refer to.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

use crate::ack::AckMode;
use crate::client::Properties;
use crate::container::Concurrency;
use crate::error::{BoxError, DefaultErrorHandler, ErrorHandler};
use crate::handler::{BoxedHandler, Delivery, Outcome};
use crate::layer::{CatchPanicLayer, RecordFilterLayer};

/// The name of the factory that listeners use which name none.
pub const DEFAULT_FACTORY: &str = "default";

/// The shortest time that the ack engine counts.
pub(crate) const LEAST_TIME: Duration = Duration::from_millis(1);

type ErasedLayer = Arc<dyn Fn(BoxedHandler) -> BoxedHandler + Send + Sync>;

/// A named set of container settings. It knows bytes, not types: those live in the listeners' parameters.
///
/// Every option says which default it replaces; what the attribute says wins over the factory.
///
/// ```
/// use std::time::Duration;
/// use kafka_listener::prelude::*;
///
/// let careful = ContainerFactory::named("careful")
///     .property("max.poll.records", 50)
///     .ack_mode(AckMode::Count)
///     .ack_count(100)
///     .error_handler(DefaultErrorHandler::new(FixedBackOff::new(Duration::from_millis(100), 3)));
/// assert_eq!(careful.name(), "careful");
/// ```
#[derive(Clone)]
pub struct ContainerFactory {
    name: Arc<str>,
    pub(crate) properties: Properties,
    pub(crate) settings: FactorySettings,
    pub(crate) error_handler: Option<Arc<dyn ErrorHandler>>,
    layers: Vec<ErasedLayer>,
    /// Whether one of them is a record filter, which would reject every batch.
    pub(crate) filters_records: bool,
}

/// What a factory sets; what it does not set keeps its default.
#[derive(Debug, Clone, Default)]
pub(crate) struct FactorySettings {
    pub ack_mode: Option<AckMode>,
    pub ack_count: Option<u64>,
    pub ack_time: Option<Duration>,
    pub concurrency: Option<Concurrency>,
    pub batch: Option<bool>,
    pub async_acks: Option<bool>,
    pub max_unacked: Option<usize>,
    pub ack_timeout: Option<Duration>,
    pub sync_commits: Option<bool>,
    pub commit_retries: Option<u32>,
    pub sync_commit_timeout: Option<Duration>,
    pub poll_timeout: Option<Duration>,
    pub shutdown_timeout: Option<Duration>,
    pub poll_error_back_off: Option<Duration>,
    pub idle_event_interval: Option<Duration>,
    pub idle_partition_event_interval: Option<Duration>,
    pub lag_event_interval: Option<Duration>,
    pub missing_topics_fatal: Option<bool>,
    pub auto_startup: Option<bool>,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self {
            self.settings.$name = Some($name);
            self
        })*
    };
}

impl ContainerFactory {
    /// A factory of this name. The one named `default` serves all listeners that name none.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            properties: Properties::new(),
            settings: FactorySettings::default(),
            error_handler: None,
            layers: Vec::new(),
            filters_records: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets one of Kafka's consumer settings, for example `max.poll.records`; under the attribute's, over the app's.
    pub fn property(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.properties.set(key, value);
        self
    }

    options! {
        /// When offsets are committed; `Batch`.
        ack_mode: AckMode;
        /// Done records before a commit: `Count` and `CountTime` need it, from here or from the listener.
        ack_count: u64;
        /// Time between commits: `Time` and `CountTime` need it, from here or from the listener.
        ack_time: Duration;
        /// How many consumers; `Concurrency::Fixed(1)`.
        concurrency: Concurrency;
        /// Whether listeners take batches; decided by their parameters. Setting it the other way is refused at start.
        batch: bool;
        /// Whether acknowledgments may come from other tasks, in any order; false. Manual ack modes only.
        async_acks: bool;
        /// With async acks: unacknowledged records a partition before that partition pauses; 1000.
        max_unacked: usize;
        /// With async acks: how long an acknowledgment may be missing before an event says so; 60 s.
        ack_timeout: Duration;
        /// Whether a commit is awaited before the loop goes on; true.
        sync_commits: bool;
        /// How often a commit is tried again after a passing fault; 3.
        commit_retries: u32;
        /// How long one commit may take; 60 s.
        sync_commit_timeout: Duration;
        /// How long one poll waits for records; 5 s.
        poll_timeout: Duration;
        /// How long a stop waits for what was polled; 10 s.
        shutdown_timeout: Duration;
        /// How long to wait after a failed poll; 1 s.
        poll_error_back_off: Duration;
        /// Raises an idle event each time nothing came for this long; off.
        idle_event_interval: Duration;
        /// The same for each partition; off.
        idle_partition_event_interval: Duration;
        /// Raises an event with the lag of each partition this often; off.
        lag_event_interval: Duration;
        /// Whether a missing topic refuses the start; false.
        missing_topics_fatal: bool;
        /// Whether containers start with the app; true.
        auto_startup: bool;
    }

    /// Decides what happens when a listener fails; nine retries without delay, then log and skip.
    pub fn error_handler(mut self, handler: impl ErrorHandler) -> Self {
        self.error_handler = Some(Arc::new(handler));
        self
    }

    /// Wraps a tower layer around the listeners; the first one added is the outermost. It is built once a container and
    /// shared by its workers, so that a concurrency limit is the container's.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<BoxedHandler> + Send + Sync + 'static,
        L::Service: Service<Delivery, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as Service<Delivery>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<Delivery>>::Future: Send + 'static,
    {
        self.filters_records |= TypeId::of::<L>() == TypeId::of::<RecordFilterLayer>();
        self.layers.push(Arc::new(move |inner| BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into))));
        self
    }

    /// What is wrong with its own settings, whoever uses it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let set = &self.settings;
        let mut found = Vec::new();
        let mut least = |name: &str, wrong: bool, expected: &str| {
            if wrong {
                found.push(format!("factory '{}': {name} must be {expected}", self.name));
            }
        };
        least("concurrency", set.concurrency == Some(Concurrency::Fixed(0)), "at least 1");
        least("ack_count", set.ack_count == Some(0), "at least 1");
        least("ack_time", set.ack_time.is_some_and(|time| time < LEAST_TIME), "at least a millisecond");
        least("max_unacked", set.max_unacked == Some(0), "at least 1: nothing would be delivered after the first record");
        for (name, time) in [
            ("poll_timeout", set.poll_timeout),
            ("poll_error_back_off", set.poll_error_back_off),
            ("idle_event_interval", set.idle_event_interval),
            ("idle_partition_event_interval", set.idle_partition_event_interval),
            ("lag_event_interval", set.lag_event_interval),
        ] {
            least(name, time == Some(Duration::ZERO), "longer than nothing: the worker would never rest");
        }
        if set.async_acks != Some(true) {
            for (name, given) in [("max_unacked", set.max_unacked.is_some()), ("ack_timeout", set.ack_timeout.is_some())] {
                if given {
                    found.push(format!("factory '{}': {name} means nothing without .async_acks(true)", self.name));
                }
            }
        }
        found
    }

    /// Wraps the layers around a handler. Their panics are caught, too.
    pub(crate) fn wrap(&self, handler: BoxedHandler) -> BoxedHandler {
        if self.layers.is_empty() {
            return handler;
        }
        BoxedHandler::new(CatchPanicLayer::new().layer(self.layers.iter().rev().fold(handler, |inner, layer| layer(inner))))
    }

    pub(crate) fn handler(&self) -> Arc<dyn ErrorHandler> {
        self.error_handler.clone().unwrap_or_else(|| Arc::new(DefaultErrorHandler::default()))
    }
}

impl Default for ContainerFactory {
    fn default() -> Self {
        Self::named(DEFAULT_FACTORY)
    }
}

impl fmt::Debug for ContainerFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerFactory")
            .field("name", &self.name)
            .field("properties", &self.properties)
            .field("settings", &self.settings)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}
