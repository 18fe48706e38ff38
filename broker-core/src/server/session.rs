//! How far a client has come with saying who it is.

use std::sync::Mutex;
use std::sync::{MutexGuard, PoisonError};

use super::config::SecurityProtocol;
use crate::broker::Broker;
use crate::error::{Error, ErrorCode};
use crate::security::{Conversation, ScramMechanism, Step};

/// Who a client is that need not say it.
pub(super) const ANONYMOUS: &str = "ANONYMOUS";

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SaslMechanism {
    /// `PLAIN`: the password is sent as it is. Safe under TLS only.
    Plain,
    /// `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    Scram(ScramMechanism),
}

impl SaslMechanism {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(mechanism) => mechanism.name(),
        }
    }
}

impl std::str::FromStr for SaslMechanism {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "PLAIN" {
            return Ok(Self::Plain);
        }
        let scram = name.parse().map(Self::Scram);
        scram.map_err(|_: String| format!("'{name}' is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"))
    }
}

#[derive(Debug)]
enum State {
    /// It must say first how it proves itself.
    Silent,
    /// A mechanism was agreed on; the tokens come in requests, or (handshake 0) bare.
    Agreed { mechanism: SaslMechanism, bare: bool },
    /// Its proof comes next.
    Talking { conversation: Conversation, bare: bool },
    /// It is this one.
    Known(String),
    /// It failed, and is let go.
    Failed,
}

/// A connection's client, as far as it is known.
#[derive(Debug)]
pub(super) struct Session(Mutex<State>);

impl Session {
    pub fn new(protocol: SecurityProtocol) -> Self {
        let state = if protocol.is_sasl() { State::Silent } else { State::Known(ANONYMOUS.to_owned()) };
        Self(Mutex::new(state))
    }

    /// Its certificate says who it is, or nobody in particular.
    #[cfg(feature = "tls")]
    pub fn is(&self, owner: Option<String>) {
        *self.state() = State::Known(owner.unwrap_or_else(|| ANONYMOUS.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who it is, if it has proved it.
    pub fn user(&self) -> Option<String> {
        match &*self.state() {
            State::Known(user) => Some(user.clone()),
            _ => None,
        }
    }

    pub fn is_known(&self) -> bool {
        matches!(&*self.state(), State::Known(_))
    }

    /// Whether the next frame is a token and no request.
    pub fn expects_bare_token(&self) -> bool {
        matches!(&*self.state(), State::Agreed { bare: true, .. } | State::Talking { bare: true, .. })
    }

    /// The client says how it will prove itself.
    pub fn agree(&self, mechanism: &str, enabled: &[SaslMechanism], bare: bool) -> Result<(), Error> {
        let mut state = self.state();
        if !matches!(&*state, State::Silent) {
            return Err(Error::new(ErrorCode::IllegalSaslState, "a handshake that nobody waits for"));
        }
        let Some(mechanism) = enabled.iter().copied().find(|one| one.name() == mechanism) else {
            *state = State::Failed;
            return Err(Error::new(ErrorCode::UnsupportedSaslMechanism, format!("SASL mechanism '{mechanism}' is not enabled")));
        };
        *state = State::Agreed { mechanism, bare };
        Ok(())
    }

    /// One token from the client, and the answer to it.
    pub fn step(&self, broker: &Broker, token: &[u8]) -> Result<Vec<u8>, Error> {
        let mut state = self.state();
        let users = broker.users();
        let step = match std::mem::replace(&mut *state, State::Failed) {
            State::Agreed { mechanism: SaslMechanism::Plain, .. } => {
                let user = plain(token).and_then(|(user, password)| match users.has_password(&user, &password) {
                    true => Ok(user),
                    false => Err(format!("user '{user}': the password is wrong, or there is no such user")),
                });
                user.map(|user| Step::Done(user, String::new()))
            }
            State::Agreed { mechanism: SaslMechanism::Scram(mechanism), bare } => {
                let begun =
                    Conversation::begin(mechanism, token, &crate::security::nonce()?, |user| users.credential(user, mechanism));
                if let Ok(Step::Continue(conversation, answer)) = begun {
                    *state = State::Talking { conversation, bare };
                    return Ok(answer.into_bytes());
                }
                begun
            }
            State::Talking { conversation, .. } => conversation.prove(token),
            other @ (State::Silent | State::Known(_) | State::Failed) => {
                *state = other;
                return Err(Error::new(ErrorCode::IllegalSaslState, "a token that nobody waits for"));
            }
        };
        match step {
            Ok(Step::Done(user, answer)) => {
                *state = State::Known(user);
                Ok(answer.into_bytes())
            }
            Ok(Step::Continue(..)) => Err(Error::new(ErrorCode::SaslAuthenticationFailed, "the login has no end")),
            Err(cause) => Err(Error::new(ErrorCode::SaslAuthenticationFailed, cause)),
        }
    }
}

/// `authorization NUL user NUL password`; nobody acts for another.
fn plain(token: &[u8]) -> Result<(String, String), String> {
    let text = std::str::from_utf8(token).map_err(|_| "a token that is no text")?;
    let parts: Vec<&str> = text.split('\0').collect();
    match parts[..] {
        [acts_for, user, password] if !user.is_empty() && !password.is_empty() => {
            if acts_for.is_empty() || acts_for == user {
                Ok((user.to_owned(), password.to_owned()))
            } else {
                Err(format!("user '{user}' may act for nobody else"))
            }
        }
        _ => Err("a token of PLAIN is a name, a user and a password".to_owned()),
    }
}
