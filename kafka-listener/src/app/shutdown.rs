//! What asks an app to stop.

/// Ctrl-c and SIGTERM.
pub(super) struct Signals {
    enabled: bool,
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Listens from now on.
    pub fn new(enabled: bool) -> Self {
        #[cfg(unix)]
        let terminate =
            enabled.then(|| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())).and_then(|signal| {
                signal.map_err(|error| tracing::warn!(target: "kafka_listener::app", %error, "SIGTERM is not handled")).ok()
            });
        Self {
            enabled,
            #[cfg(unix)]
            terminate,
        }
    }

    /// Completes at the next signal; never when signals are not handled. Cancel-safe.
    pub async fn next(&mut self) {
        if !self.enabled {
            return std::future::pending().await;
        }
        #[cfg(unix)]
        if let Some(terminate) = &mut self.terminate {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return,
                _ = terminate.recv() => return,
            }
        }
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
