//! Credentials of users that do not exist: they look like those of others, and nothing fits them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::scram::{ScramCredential, ScramMechanism};
use super::table::Table;
use super::users::random;
use crate::error::Error;
use crate::storage::Disk;

/// Where the secret is kept; `broker::data_folder` knows the name too.
pub(super) const FILE: &str = "scram-secret";
/// The rounds, and the salt's length, where there is nobody to look like.
const ALONE: Kind = Kind { iterations: ScramCredential::ITERATIONS_MIN, salt_bytes: 32 };

/// What is seen of a credential before anything is proved, but for the salt itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub iterations: u32,
    pub salt_bytes: usize,
}

/// What credentials of users that do not exist are made of.
#[derive(Debug)]
pub(super) struct Nobody {
    table: Table,
    secret: [u8; 32],
    is_kept: AtomicBool,
}

impl Nobody {
    /// The secret of before, or a new one.
    pub fn load(disk: &Arc<dyn Disk>) -> Result<Self, Error> {
        let table = Table::new(disk.clone(), FILE);
        let found = table.load(|line| STANDARD.decode(line).ok()?.try_into().ok())?.pop();
        let is_kept = AtomicBool::new(found.is_some());
        Ok(Self { table, secret: found.map_or_else(random, Ok)?, is_kept })
    }

    /// Keeps the secret: where there are users, who is none must look the same after a restart.
    pub fn keep(&self) -> Result<(), Error> {
        if !self.is_kept.load(Ordering::Acquire) {
            self.table.store(std::iter::once(STANDARD.encode(self.secret)))?;
            self.is_kept.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// A user's credential, of one of these kinds: always the same one for as long as there is that kind.
    pub fn credential(&self, user: &str, mechanism: ScramMechanism, kinds: &BTreeSet<Kind>) -> ScramCredential {
        let made = |what: &str| mechanism.hmac(&self.secret, format!("{what}:{}:{user}", mechanism.name()).as_bytes());
        let chosen = kinds.iter().max_by_key(|kind| (made(&format!("kind:{}:{}", kind.iterations, kind.salt_bytes)), **kind));
        let Kind { iterations, salt_bytes } = chosen.copied().unwrap_or(ALONE);
        let mut salt = Vec::with_capacity(salt_bytes);
        for part in 0.. {
            if salt.len() >= salt_bytes {
                break;
            }
            salt.extend(made(&format!("salt:{part}")));
        }
        salt.truncate(salt_bytes);
        ScramCredential { salt, stored_key: made("stored"), server_key: made("server"), iterations }
    }
}
