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
/// How one is seen where there is nobody to look like.
const ALONE: Kind = Kind { iterations: ScramCredential::ITERATIONS_MIN, salt: Salt::Bytes(32) };

/// What is seen of a credential before anything is proved, but for the salt itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    iterations: u32,
    salt: Salt,
}

/// What a salt looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Salt {
    /// As Kafka's own tools make them: a number of 130 bits, written in base 36.
    Number,
    /// Digits and small letters, this many.
    Letters(usize),
    /// Any bytes, this many.
    Bytes(usize),
}

impl Kind {
    pub fn of(credential: &ScramCredential) -> Self {
        let is_text = credential.salt.iter().all(|byte| DIGITS.contains(byte));
        let salt = match credential.salt.len() {
            20..=26 if is_text => Salt::Number,
            length if is_text => Salt::Letters(length),
            length => Salt::Bytes(length),
        };
        Self { iterations: credential.iterations, salt }
    }
}

impl Salt {
    /// One made of as many bytes as it takes.
    fn made(self, bytes: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        match self {
            Self::Number => {
                let mut number = bytes(17);
                number[0] &= 0b11;
                in_base_36(number)
            }
            Self::Letters(length) => bytes(length).iter().map(|byte| DIGITS[usize::from(byte % 36)]).collect(),
            Self::Bytes(length) => bytes(length),
        }
    }
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A number, its highest byte first, without zeros in front.
fn in_base_36(mut number: Vec<u8>) -> Vec<u8> {
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut number {
            let all = rest << 8 | usize::from(*byte);
            // Less than 256: the rest before was less than 36.
            *byte = (all / 36) as u8;
            rest = all % 36;
        }
        digits.push(DIGITS[rest]);
    }
    digits.reverse();
    digits
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
        let chosen = kinds.iter().max_by_key(|kind| (made(&format!("{kind:?}")), **kind));
        let Kind { iterations, salt } = chosen.copied().unwrap_or(ALONE);
        let bytes = |wanted: usize| {
            let mut bytes = Vec::with_capacity(wanted);
            let mut part = 0;
            while bytes.len() < wanted {
                bytes.extend(made(&format!("salt:{part}")));
                part += 1;
            }
            bytes.truncate(wanted);
            bytes
        };
        let salt = salt.made(bytes);
        ScramCredential { salt, stored_key: made("stored"), server_key: made("server"), iterations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_look_like_those_of_kafkas_tools() {
        // The largest one, as Java's `BigInteger.toString(36)` writes it, and small ones.
        let largest = [&[0b11][..], &[0xff; 16]].concat();
        assert_eq!(in_base_36(largest), b"1omfro7zwmumr3umxudzyj6scf");
        for (number, written) in [(vec![0, 35], "z"), (vec![0, 36], "10"), (vec![5, 15], "zz"), (vec![0], "")] {
            assert_eq!(in_base_36(number), written.as_bytes());
        }
        let of = |salt: &[u8]| Kind::of(&ScramCredential::of_salted(ScramMechanism::Sha256, b"salted", salt, 4096)).salt;
        assert_eq!(of(b"svukf7sf08qumwzpk1vkr88kw"), Salt::Number);
        assert_eq!(of(b"1fg5gsienkk2sb61e680mjn3zi"), Salt::Number);
        assert_eq!(of(b"salt"), Salt::Letters(4));
        assert_eq!((of(b"Salt"), of(&[7; 26])), (Salt::Bytes(4), Salt::Bytes(26)));
    }
}
