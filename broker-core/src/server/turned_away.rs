//! One line a second, however many are turned away: a flood of connections must not become a flood in the log.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How long nothing is said after something was.
const QUIET: Duration = Duration::from_secs(1);

/// Connections of one port that were closed since there were too many, as far as the log does not know of them.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    unsaid: u64,
    last: Option<SocketAddr>,
    quiet_until: Option<Instant>,
}

impl TurnedAway {
    /// One more, of which the log is told at once, or in a moment.
    pub fn note(&mut self, peer: SocketAddr) {
        self.unsaid += 1;
        self.last = Some(peer);
        if self.quiet_until.is_none_or(|until| until <= Instant::now()) {
            self.say();
        }
    }

    /// When there is something to say; `None` if there is nothing.
    pub fn due(&self) -> Option<Instant> {
        self.quiet_until.filter(|_| self.unsaid > 0)
    }

    /// Says what there is to say.
    pub fn say(&mut self) {
        if let (count @ 1.., Some(peer)) = (std::mem::take(&mut self.unsaid), self.last) {
            tracing::warn!(target: "broker_core::server", count, %peer, "too many connections: closed; the last was from here");
            self.quiet_until = Some(Instant::now() + QUIET);
        }
    }
}
