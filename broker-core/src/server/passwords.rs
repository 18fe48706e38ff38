//! Passwords that clients send are hashed beside the runtime: each takes milliseconds, which connections would have to wait for.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use crate::broker::Broker;
use crate::error::{Error, ErrorCode};

/// Hashes as many at a time as half the processors can, and one at least: those who are logged in have the others. With a single
/// processor it is shared, by turns that the system gives.
#[derive(Debug)]
pub(super) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Passwords {
    /// Whether a user has this password, once it is its turn. Cancel-safe: a hash that has begun ends, and counts until then.
    pub async fn fits(&self, broker: &Broker, user: String, password: String) -> Result<bool, Error> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::with_source(ErrorCode::UnknownServerError, "a password could not be looked at", error.to_string())
        };
        let turn = self.0.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let broker = broker.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let fits = broker.users().has_password(&user, &password);
            drop(turn);
            fits
        });
        hashed.await.map_err(|error| failed(&error))
    }

    /// All turns: nobody's password is looked at while they are held.
    #[cfg(test)]
    pub async fn all_turns(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(self.0.available_permits()).expect("few");
        self.0.clone().acquire_many_owned(all).await.expect("never closed")
    }
}
