//! What asks an app to stop.

use tokio::task::JoinHandle;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a process ends that ctrl-c ended, as shells tell it.
const ENDED: i32 = 130;

/// Ctrl-c and SIGTERM.
pub(super) struct Signals {
    #[cfg(not(unix))]
    enabled: bool,
    /// What is heard: nothing if signals are not handled.
    #[cfg(unix)]
    heard: Vec<Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on: what comes before [`next`](Self::next) is asked for is not lost.
    pub fn new(enabled: bool) -> Self {
        let kinds = [("SIGINT", SignalKind::interrupt()), ("SIGTERM", SignalKind::terminate())];
        let heard = kinds.into_iter().filter(|_| enabled).filter_map(|(name, kind)| {
            let listens = signal(kind);
            listens.map_err(|error| tracing::warn!(target: "kafka_listener::app", %error, "{name} is not handled")).ok()
        });
        Self { heard: heard.collect() }
    }

    /// Completes at the next signal; never when signals are not handled. Cancel-safe.
    pub async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let any = self.heard.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

impl Signals {
    /// Ends the process at the second signal, until it is aborted: a start that looks through large logs waits for nobody.
    pub fn end_at_second(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            self.next().await;
            tracing::info!(target: "kafka_listener::app", "a signal: the app stops once it has started; a second one ends it at once");
            self.next().await;
            tracing::warn!(target: "kafka_listener::app", "second signal before the app has started: the process ends");
            std::process::exit(ENDED);
        })
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Listens once [`next`](Self::next) is asked for.
    pub fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    /// Completes at the next ctrl-c; never when signals are not handled. Cancel-safe.
    pub async fn next(&mut self) {
        if !self.enabled || tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
