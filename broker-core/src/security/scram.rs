use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// How a password is proved without being sent (RFC 5802).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    /// `SCRAM-SHA-256`
    Sha256,
    /// `SCRAM-SHA-512`
    Sha512,
}

impl ScramMechanism {
    /// Both, as Kafka numbers them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Its number in requests.
    pub const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The mechanism of this number.
    pub fn of_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub(crate) fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    pub(crate) fn hmac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        self.keyed(key).of(bytes)
    }

    fn keyed(self, key: &[u8]) -> Keyed {
        let any = "a key of any length will do";
        match self {
            Self::Sha256 => Keyed::Sha256(Hmac::new_from_slice(key).expect(any)),
            Self::Sha512 => Keyed::Sha512(Hmac::new_from_slice(key).expect(any)),
        }
    }

    /// PBKDF2, one block: what the RFC calls `Hi`.
    pub(super) fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let keyed = self.keyed(password);
        let mut last = keyed.of(&[salt, &[0, 0, 0, 1]].concat());
        let mut sum = last.clone();
        for _ in 1..iterations {
            last = keyed.of(&last);
            sum.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        sum
    }

    /// The key that only who knows the password has; its hash is kept.
    pub(super) fn client_key(self, salted: &[u8]) -> Vec<u8> {
        self.hmac(salted, b"Client Key")
    }
}

impl FromStr for ScramMechanism {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| format!("'{name}' is neither SCRAM-SHA-256 nor SCRAM-SHA-512"))
    }
}

/// A key that is set up once and used many times.
enum Keyed {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Keyed {
    fn of(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256(mac) => mac.clone().chain_update(bytes).finalize().into_bytes().to_vec(),
            Self::Sha512(mac) => mac.clone().chain_update(bytes).finalize().into_bytes().to_vec(),
        }
    }
}

/// What is kept of a password: enough to check it, not enough to know or to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
    pub(crate) iterations: u32,
}

impl ScramCredential {
    /// The fewest rounds, and the usual number.
    pub const ITERATIONS_MIN: u32 = 4096;
    /// The most rounds: each guess costs the server as much.
    pub const ITERATIONS_MAX: u32 = 16_384;

    /// Of a password and a salt.
    pub fn new(mechanism: ScramMechanism, password: &str, salt: &[u8], iterations: u32) -> Self {
        Self::of_salted(mechanism, &mechanism.salted(password.as_bytes(), salt, iterations), salt, iterations)
    }

    /// Of what a client has salted itself.
    pub(crate) fn of_salted(mechanism: ScramMechanism, salted: &[u8], salt: &[u8], iterations: u32) -> Self {
        let stored_key = mechanism.hash(&mechanism.client_key(salted));
        Self { salt: salt.to_vec(), stored_key, server_key: mechanism.hmac(salted, b"Server Key"), iterations }
    }

    /// What hides the client's key in its proof; over all messages of the login.
    pub(super) fn client_signature(&self, mechanism: ScramMechanism, all: &str) -> Vec<u8> {
        mechanism.hmac(&self.stored_key, all.as_bytes())
    }

    /// The server's proof; over the same.
    pub(super) fn server_signature(&self, mechanism: ScramMechanism, all: &str) -> Vec<u8> {
        mechanism.hmac(&self.server_key, all.as_bytes())
    }

    /// Whether this is the password.
    pub(crate) fn is(&self, mechanism: ScramMechanism, password: &str) -> bool {
        let other = Self::new(mechanism, password, &self.salt, self.iterations);
        same(&other.stored_key, &self.stored_key)
    }
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// One over the other, of which one is as long as the other.
pub(super) fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

/// Compares in a time that does not tell where they differ.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salting_is_pbkdf2() {
        // RFC 7914, section 11: PBKDF2-HMAC-SHA-256, its first block.
        let salted = ScramMechanism::Sha256.salted(b"passwd", b"salt", 1);
        assert_eq!(salted[..8], [0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f]);
        let salted = ScramMechanism::Sha256.salted(b"Password", b"NaCl", 80_000);
        assert_eq!(salted[..8], [0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21]);
    }

    #[test]
    fn a_credential_knows_its_password_and_does_not_say_it() {
        for mechanism in ScramMechanism::ALL {
            let kept = ScramCredential::new(mechanism, "secret", b"some salt", 4096);
            assert!(kept.is(mechanism, "secret") && !kept.is(mechanism, "Secret"));
            assert_eq!(format!("{kept:?}"), "ScramCredential { iterations: 4096, .. }");
        }
    }
}
