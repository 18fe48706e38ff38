//! The port on which the embedded broker lets clients of other processes in (feature `server`).

use std::net::SocketAddr;

use broker_core::Broker;

use crate::client::ClientError;

/// The port, open or not.
#[derive(Debug, Default)]
pub(super) struct Port {
    #[cfg(feature = "server")]
    config: broker_core::server::ServerConfig,
    #[cfg(feature = "server")]
    serving: std::sync::Mutex<Vec<broker_core::server::Server>>,
}

#[cfg(feature = "server")]
impl Port {
    pub fn new(config: broker_core::server::ServerConfig) -> Self {
        Self { config, serving: std::sync::Mutex::default() }
    }

    /// Serves the broker at this address until [`close`](Self::close).
    pub async fn open(&self, broker: &Broker, address: &str) -> Result<SocketAddr, ClientError> {
        let config = broker_core::server::ServerConfig { listen: address.to_owned(), ..self.config.clone() };
        let server = broker_core::server::Server::start(broker.clone(), config).await.map_err(super::client_error)?;
        let address = server.address();
        self.serving.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(server);
        Ok(address)
    }

    /// Lets the answers in hand end, then closes.
    pub async fn close(&self) {
        let servers = std::mem::take(&mut *self.serving.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for server in servers {
            server.stop().await;
        }
    }
}

#[cfg(not(feature = "server"))]
impl Port {
    // As the one that serves.
    #[allow(clippy::unused_async)]
    pub async fn open(&self, _: &Broker, address: &str) -> Result<SocketAddr, ClientError> {
        let text = format!("this build cannot listen on {address}; enable the feature `server` of kafka-listener");
        Err(ClientError::new(crate::client::ClientErrorKind::Config, text))
    }

    #[allow(clippy::unused_async)]
    pub async fn close(&self) {}
}
