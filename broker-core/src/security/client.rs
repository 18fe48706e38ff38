use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::scram::{ScramCredential, ScramMechanism, same, xor};
use super::users::nonce;
use crate::error::Error;

/// The most rounds that a server may ask for: more would keep the client busy for its sake.
const ITERATIONS_MAX: u32 = 1_000_000;

/// A SCRAM login as the client sees it: its first message, its proof, and the check that the server knows the password too.
///
/// ```
/// use broker_core::{ScramClient, ScramMechanism};
///
/// let client = ScramClient::new(ScramMechanism::Sha512, "ann", "secret")?;
/// assert!(client.first_message().starts_with("n,,n=ann,r="));
/// // Whoever answers without knowing our nonce, or with few rounds, is no server to prove anything to.
/// assert!(client.prove(b"r=another,s=c2FsdA==,i=4096").is_err());
/// # Ok::<(), broker_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ScramClient {
    mechanism: ScramMechanism,
    password: String,
    nonce: String,
    bare: String,
}

/// What the server has to answer to the client's proof.
#[derive(Clone)]
pub struct ScramServerProof(String);

impl ScramClient {
    /// A login of this user. An error if the system gives no random numbers.
    pub fn new(mechanism: ScramMechanism, user: &str, password: &str) -> Result<Self, Error> {
        Ok(Self::with_nonce(mechanism, user, password, &nonce()?))
    }

    fn with_nonce(mechanism: ScramMechanism, user: &str, password: &str, nonce: &str) -> Self {
        let bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
        Self { mechanism, password: password.to_owned(), nonce: nonce.to_owned(), bare }
    }

    /// What is sent first.
    pub fn first_message(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The answer to the server's first message, and what the server must answer to that. An error, in words, if the message is
    /// none, or the server asks for less than 4096 rounds, or for so many that this would take minutes.
    pub fn prove(self, message: &[u8]) -> Result<(String, ScramServerProof), String> {
        let message = std::str::from_utf8(message).map_err(|_| "a first message that is no text".to_owned())?;
        let mut parts = message.split(',');
        let mut part = |name: &str| {
            let found = parts.next().and_then(|part| part.strip_prefix(name));
            found.ok_or_else(|| format!("a first message without '{name}'"))
        };
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err("a nonce that does not go on where ours ends".to_owned());
        }
        let salt = STANDARD.decode(salt).map_err(|_| "a salt that is no base64")?;
        let least = ScramCredential::ITERATIONS_MIN;
        let iterations = iterations.parse().ok().filter(|count| (least..=ITERATIONS_MAX).contains(count)).ok_or_else(|| {
            format!("it wants the password salted with '{iterations}' rounds: {least} to {ITERATIONS_MAX} are fine")
        })?;
        let salted = self.mechanism.salted(self.password.as_bytes(), &salt, iterations);
        let credential = ScramCredential::of_salted(self.mechanism, &salted, &salt, iterations);
        let without_proof = format!("c=biws,r={nonce}");
        let all = format!("{},{message},{without_proof}", self.bare);
        let proof = xor(&self.mechanism.client_key(&salted), &credential.client_signature(self.mechanism, &all));
        let expected = credential.server_signature(self.mechanism, &all);
        Ok((format!("{without_proof},p={}", STANDARD.encode(proof)), ScramServerProof(STANDARD.encode(expected))))
    }
}

impl ScramServerProof {
    /// Whether the server's last message proves that it knows the password. An error, in words, if not.
    pub fn check(&self, message: &[u8]) -> Result<(), String> {
        let message = std::str::from_utf8(message).map_err(|_| "a last message that is no text".to_owned())?;
        if let Some(error) = message.strip_prefix("e=") {
            return Err(format!("the server says '{error}'"));
        }
        let proof = message.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let proof = proof.ok_or("a last message without 'v='")?;
        if same(proof.as_bytes(), self.0.as_bytes()) {
            Ok(())
        } else {
            Err("the server does not know the password: it is not the one that it says it is".to_owned())
        }
    }
}

impl std::fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramClient").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ScramServerProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramServerProof")
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::{Conversation, Step};
    use super::*;

    /// RFC 7677, section 3.
    const SERVER_FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn client() -> ScramClient {
        ScramClient::with_nonce(ScramMechanism::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(client().first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (last, proof) = client().prove(SERVER_FIRST).expect("the RFC's message");
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proof.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        for (wrong, part) in [
            (&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], "does not know the password"),
            (b"v=", "does not know the password"),
            (b"e=other-error", "'other-error'"),
            (b"", "without 'v='"),
            (b"\xff", "no text"),
        ] {
            assert!(proof.check(wrong).is_err_and(|told| told.contains(part)), "{part}");
        }
    }

    #[test]
    fn a_server_that_is_none_is_proved_nothing() {
        let first = std::str::from_utf8(SERVER_FIRST).expect("text");
        for (from, to, part) in [
            ("r=rOpr", "r=rOpz", "where ours ends"),
            ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "", "where ours ends"),
            ("i=4096", "i=4095", "'4095' rounds"),
            ("i=4096", "i=4294967295", "'4294967295' rounds"),
            ("i=4096", "j=4096", "without 'i='"),
            ("gQ==", "gQ=!", "no base64"),
            ("r=rOpr", "m=ext,r=rOpr", "without 'r='"),
        ] {
            let told = client().prove(first.replace(from, to).as_bytes()).map(|_| ()).expect_err("refused");
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn both_sides_of_a_login_agree() {
        for mechanism in ScramMechanism::ALL {
            for (user, password, right) in [("a,b=c", "geheim=,", true), ("ann", "ähm", true), ("ann", "guess", false)] {
                let known = if right { password } else { "secret" };
                let client = ScramClient::new(mechanism, user, password).expect("random numbers");
                let find = |found: &str| {
                    assert_eq!(found, user);
                    ScramCredential::new(mechanism, known, b"some salt", 4096)
                };
                let begun = Conversation::begin(mechanism, client.first_message().as_bytes(), "server", find);
                let Ok(Step::Continue(server, answer)) = begun else { panic!("it goes on: {begun:?}") };
                let (last, proof) = client.prove(answer.as_bytes()).expect("a server's message");
                match server.prove(last.as_bytes()) {
                    Ok(Step::Done(who, answer)) => {
                        assert!(right && who == user && proof.check(answer.as_bytes()).is_ok());
                    }
                    other => assert!(!right && other.is_err(), "{other:?}"),
                }
            }
        }
    }
}
