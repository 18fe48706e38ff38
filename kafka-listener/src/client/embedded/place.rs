use std::path::PathBuf;
use std::sync::Arc;

use super::EmbeddedBackend;
use crate::client::Backend;

/// The embedded broker of an app.
#[derive(Debug, Clone, Default)]
pub struct Embedded {
    place: Place,
    config: Option<broker_core::BrokerConfig>,
    virtual_time: Option<i64>,
    seed: Option<u64>,
    #[cfg(feature = "server")]
    server: broker_core::server::ServerConfig,
}

#[derive(Debug, Clone, Default)]
enum Place {
    #[default]
    Memory,
    Dir(PathBuf),
    Shared(broker_core::Broker),
}

impl Embedded {
    /// In memory: nothing outlives the process.
    pub fn memory() -> Self {
        Self::default()
    }

    /// In files below this folder, which is made if it is not there and locked against a second process.
    pub fn dir(dir: impl Into<PathBuf>) -> Self {
        Self { place: Place::Dir(dir.into()), ..Self::default() }
    }

    /// A broker that is open already, shared with others; the app does not close it. Its settings are those that it was opened
    /// with: others given here refuse the start.
    pub fn shared(broker: broker_core::Broker) -> Self {
        Self { place: Place::Shared(broker), ..Self::default() }
    }

    /// The broker's settings.
    pub fn config(mut self, config: broker_core::BrokerConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// The settings of the port that [`listen`](crate::app::KafkaAppBuilder::listen) opens: certificates, rights, limits, what
    /// clients are told to connect to. The protocol and the address are what `listen` is given.
    #[cfg(feature = "server")]
    pub fn server(mut self, config: broker_core::server::ServerConfig) -> Self {
        self.server = config;
        self
    }

    /// Where member ids start; from the system otherwise. Sticky partitions are drawn from a fixed start in any case.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Takes the time from tokio's clock, which a test may pause, starting at this many milliseconds since 1970.
    pub fn virtual_time(mut self, start_ms: i64) -> Self {
        self.virtual_time = Some(start_ms);
        self
    }

    pub(crate) fn open(self) -> Result<Arc<dyn Backend>, broker_core::Error> {
        if matches!(self.place, Place::Shared(_)) {
            let set =
                [("config", self.config.is_some()), ("seed", self.seed.is_some()), ("virtual_time", self.virtual_time.is_some())];
            if let Some((name, _)) = set.iter().find(|(_, set)| *set) {
                let text =
                    format!("Embedded::shared(..).{name}(..): the broker is open already; give it to the builder that opens it");
                return Err(broker_core::Error::new(broker_core::ErrorCode::InvalidConfig, text));
            }
        }
        let mut builder = broker_core::Broker::builder().config(self.config.unwrap_or_default());
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        if let Some(start) = self.virtual_time {
            builder = builder.clock(Arc::new(broker_core::TokioClock::new(start)));
        }
        let (broker, owned) = match self.place {
            Place::Memory => {
                tracing::info!(target: "kafka_listener::app", "embedded broker in memory: nothing outlives the process; keep it with .embedded(Embedded::dir(\"./data\"))");
                (builder.open()?, true)
            }
            Place::Dir(dir) => (builder.dir(dir).open()?, true),
            Place::Shared(broker) => (broker, false),
        };
        let backend = EmbeddedBackend::new(broker, owned);
        #[cfg(feature = "server")]
        let backend = backend.server(self.server);
        Ok(Arc::new(backend))
    }
}
