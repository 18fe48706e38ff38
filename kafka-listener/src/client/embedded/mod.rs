//! The client traits over the broker in this process: the only room that names broker-core.

mod admin;
mod consumer;
mod fetch;
mod membership;
mod partitioner;
mod place;
mod port;
mod producer;
mod queue;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use broker_core::record::{Codec, Compression};
use broker_core::{Broker, ErrorCode};

pub use place::Embedded;

use super::config::{CompressionType, ConsumerConfig, ProducerConfig};
use super::{Admin, Backend, BoxFuture, ClientError, ClientErrorKind, Consumer, Producer, Properties, TopicPartition};

/// The broker in this process.
#[derive(Debug)]
pub struct EmbeddedBackend {
    broker: Broker,
    owned: bool,
    port: port::Port,
}

impl EmbeddedBackend {
    /// Clients of this broker; `owned` says whether closing the backend closes it.
    pub fn new(broker: Broker, owned: bool) -> Self {
        Self { broker, owned, port: port::Port::default() }
    }

    /// How a port is served that [`Backend::listen`] opens.
    #[cfg(feature = "server")]
    pub fn server(mut self, config: broker_core::server::ServerConfig) -> Self {
        self.port = port::Port::new(config);
        self
    }

    /// Reads consumer settings, within this broker's limits too: every problem, or the settings.
    fn consumer_config(&self, properties: &Properties) -> Result<ConsumerConfig, Vec<ClientError>> {
        let config = ConsumerConfig::parse(properties)?;
        let limits = self.broker.config();
        let (least, most) = (limits.group_min_session_timeout_ms, limits.group_max_session_timeout_ms);
        let session = config.session_timeout.as_millis();
        if config.group_id.is_some() && !(u128::from(least)..=u128::from(most)).contains(&session) {
            let text = format!("session.timeout.ms = {session}: this broker allows {least} to {most}");
            return Err(vec![ClientError::new(ClientErrorKind::Config, text)]);
        }
        Ok(config)
    }
}

impl Backend for EmbeddedBackend {
    fn describe(&self) -> String {
        format!("embedded broker, {}", self.broker.describe())
    }

    fn check_consumer(&self, properties: &Properties) -> Vec<ClientError> {
        self.consumer_config(properties).err().unwrap_or_default()
    }

    fn consumer(&self, properties: &Properties) -> Result<Box<dyn Consumer>, ClientError> {
        let config = self.consumer_config(properties).map_err(joined)?;
        Ok(Box::new(consumer::EmbeddedConsumer::new(self.broker.clone(), config)))
    }

    fn producer(&self, properties: &Properties) -> Result<Arc<dyn Producer>, ClientError> {
        let config = ProducerConfig::parse(properties).map_err(joined)?;
        let compression = compression(&config)?;
        Ok(Arc::new(producer::EmbeddedProducer::new(self.broker.clone(), config, compression)))
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<SocketAddr, ClientError>> {
        Box::pin(self.port.open(&self.broker, address))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(admin::EmbeddedAdmin::new(self.broker.clone()))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(async {
            self.port.close().await;
            if self.owned {
                self.broker.close().await.map_err(client_error)?;
            }
            Ok(())
        })
    }
}

fn joined(problems: Vec<ClientError>) -> ClientError {
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ClientError::new(ClientErrorKind::Config, text.join("; "))
}

/// What this build packs batches with; an error names the codec's feature, or the level that it does not have.
fn compression(config: &ProducerConfig) -> Result<Compression, ClientError> {
    let codec = match config.compression {
        CompressionType::None => Codec::None,
        CompressionType::Gzip => Codec::Gzip,
        CompressionType::Snappy => Codec::Snappy,
        CompressionType::Lz4 => Codec::Lz4,
        CompressionType::Zstd => Codec::Zstd,
    };
    let made = Compression::new(codec).and_then(|made| config.compression_level.map_or(Ok(made), |level| made.with_level(level)));
    made.map_err(|error| ClientError::new(ClientErrorKind::Config, format!("compression.type = {codec}: {error}")))
}

/// A broker's error in the clients' terms.
fn client_error(error: broker_core::Error) -> ClientError {
    let kind = match error.code() {
        ErrorCode::OffsetOutOfRange => ClientErrorKind::OffsetOutOfRange,
        ErrorCode::UnknownTopicOrPartition => ClientErrorKind::UnknownTopicOrPartition,
        ErrorCode::TopicAlreadyExists => ClientErrorKind::TopicExists,
        ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => ClientErrorKind::Fenced,
        ErrorCode::RebalanceInProgress => ClientErrorKind::RebalanceInProgress,
        ErrorCode::RequestTimedOut => ClientErrorKind::Timeout,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ClientErrorKind::RecordTooLarge,
        ErrorCode::CorruptMessage => ClientErrorKind::Corrupt,
        ErrorCode::CoordinatorNotAvailable => ClientErrorKind::Retriable,
        ErrorCode::InvalidConfig => ClientErrorKind::Config,
        _ => ClientErrorKind::Broker,
    };
    let text = error.to_string();
    ClientError::with_source(kind, text, error)
}

fn to_broker(partition: &TopicPartition) -> broker_core::TopicPartition {
    broker_core::TopicPartition { topic: partition.topic.clone(), partition: partition.partition }
}

fn from_broker(partition: broker_core::TopicPartition) -> TopicPartition {
    TopicPartition { topic: partition.topic, partition: partition.partition }
}
