//! How far a client has come with saying who it is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::accept::Shared;
use super::config::SecurityProtocol;
use super::connection::End;
use crate::error::{Error, ErrorCode};
use crate::security::{Conversation, NO_NAME, ScramMechanism, Step, is_name};

/// Who a client is that need not say it.
pub(super) const ANONYMOUS: &str = "ANONYMOUS";
/// The longest name of a mechanism.
const MECHANISM_MAX: usize = 20;
/// How often one may log in again, as in Kafka: it takes the broker some work.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
    Talking { conversation: Conversation, mechanism: SaslMechanism, bare: bool },
    /// It is this one: until a moment, or for good.
    Known { user: String, until: Option<Instant> },
    /// It failed, and is let go.
    Failed,
}

/// A connection's client, as far as it is known.
#[derive(Debug)]
pub(super) struct Session(Mutex<Login>);

#[derive(Debug)]
struct Login {
    state: State,
    /// When the login began that goes on, or went on last.
    since: Instant,
    /// How it proved who it was the first time, and who that was: each time after it must be the same.
    first: Option<(SaslMechanism, String)>,
    /// When it last began to log in again.
    again: Option<Instant>,
}

/// What comes of a token.
enum Heard {
    /// The login goes on with this answer.
    Goes(Vec<u8>),
    /// It is over, so or so.
    Ends(SaslMechanism, Result<Step, String>),
    /// Whether this is the user's password must be known, by then.
    Password { user: String, password: String, until: Instant },
}

/// How a client stands that asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not said who it is.
    Unknown,
    /// It has.
    Known,
    /// It must say it again.
    Over,
}

impl Session {
    pub fn new(protocol: SecurityProtocol) -> Self {
        let anonymous = State::Known { user: ANONYMOUS.to_owned(), until: None };
        let state = if protocol.is_sasl() { State::Silent } else { anonymous };
        Self(Mutex::new(Login { state, since: Instant::now(), first: None, again: None }))
    }

    /// Its certificate says who it is, or nobody in particular.
    #[cfg(feature = "tls")]
    pub fn is(&self, owner: Option<String>) {
        self.login().state = State::Known { user: owner.unwrap_or_else(|| ANONYMOUS.to_owned()), until: None };
    }

    fn login(&self) -> MutexGuard<'_, Login> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who it is, if it has proved it.
    pub fn user(&self) -> Option<String> {
        match &self.login().state {
            State::Known { user, .. } => Some(user.clone()),
            _ => None,
        }
    }

    pub fn standing(&self) -> Standing {
        match self.login().state {
            State::Known { until: Some(until), .. } if Instant::now() > until => Standing::Over,
            State::Known { .. } => Standing::Known,
            _ => Standing::Unknown,
        }
    }

    /// Since when it has been logging in, if it does.
    pub fn logs_in_since(&self) -> Option<Instant> {
        let login = self.login();
        (!matches!(login.state, State::Known { .. })).then_some(login.since)
    }

    /// Whether the next frame is a token and no request.
    pub fn expects_bare_token(&self) -> bool {
        matches!(self.login().state, State::Agreed { bare: true, .. } | State::Talking { bare: true, .. })
    }

    /// The client says how it will prove itself, the first time or again.
    pub fn agree(&self, mechanism: &str, enabled: &[SaslMechanism], bare: bool) -> Result<(), Error> {
        let mut login = self.login();
        let (now, last) = (Instant::now(), login.again);
        match login.state {
            State::Silent => {}
            State::Known { .. } if last.is_none_or(|last| now - last >= AGAIN_AFTER) => {
                (login.since, login.again) = (now, Some(now));
            }
            State::Known { .. } => {
                return Err(Error::new(ErrorCode::IllegalSaslState, "who is logged in may log in again once a second"));
            }
            State::Agreed { .. } | State::Talking { .. } | State::Failed => {
                return Err(Error::new(ErrorCode::IllegalSaslState, "a handshake that nobody waits for"));
            }
        }
        let Some(mechanism) = enabled.iter().copied().find(|one| one.name() == mechanism) else {
            login.state = State::Failed;
            // What a stranger says goes to the log: no more than what the RFC (4422, section 3.1) takes for a name.
            let known =
                mechanism.len() <= MECHANISM_MAX && mechanism.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            let text = if known { format!("'{mechanism}'") } else { "of no mechanism's name".to_owned() };
            return Err(Error::new(ErrorCode::UnsupportedSaslMechanism, format!("SASL mechanism {text} is not enabled")));
        };
        login.state = State::Agreed { mechanism, bare };
        Ok(())
    }

    /// One token from the client, and the answer to it. A login holds for `connections.max.reauth.ms`; for good if that is zero.
    /// If this is dropped, or takes longer than a login may, the client has failed.
    pub async fn step(&self, shared: &Shared, token: &[u8]) -> Result<Vec<u8>, Error> {
        let (mechanism, step) = match self.heard(shared, token)? {
            Heard::Goes(answer) => return Ok(answer),
            Heard::Ends(mechanism, step) => (mechanism, step),
            Heard::Password { user, password, until } => {
                let fits = timeout_at(until, shared.passwords.fits(&shared.broker, user.clone(), password)).await;
                let late = |_| Error::new(ErrorCode::RequestTimedOut, End::Unknown.to_string());
                let step = match fits.map_err(late)?? {
                    true => Ok(Step::Done(user, String::new())),
                    false => Err(format!("user '{user}': the password is wrong, or there is no such user")),
                };
                (SaslMechanism::Plain, step)
            }
        };
        self.end(mechanism, step, shared.config.connections_max_reauth)
    }

    /// What a token comes to. Until the login has ended or goes on, it has failed.
    fn heard(&self, shared: &Shared, token: &[u8]) -> Result<Heard, Error> {
        let mut login = self.login();
        let Login { state, first, since, .. } = &mut *login;
        Ok(match std::mem::replace(state, State::Failed) {
            State::Agreed { mechanism, .. } if first.as_ref().is_some_and(|first| first.0 != mechanism) => {
                Heard::Ends(mechanism, Err(format!("{} where the login before was by another mechanism", mechanism.name())))
            }
            State::Agreed { mechanism: SaslMechanism::Plain, .. } => match plain(token) {
                Ok((user, password)) => {
                    Heard::Password { user, password, until: *since + shared.config.connections_authentication_max }
                }
                Err(cause) => Heard::Ends(SaslMechanism::Plain, Err(cause)),
            },
            State::Agreed { mechanism: mechanism @ SaslMechanism::Scram(scram), bare } => {
                let users = shared.broker.users();
                let begun = Conversation::begin(scram, token, &crate::security::nonce()?, |user| users.credential(user, scram));
                if let Ok(Step::Continue(conversation, answer)) = begun {
                    *state = State::Talking { conversation, mechanism, bare };
                    return Ok(Heard::Goes(answer.into_bytes()));
                }
                Heard::Ends(mechanism, begun)
            }
            State::Talking { conversation, mechanism, .. } => Heard::Ends(mechanism, conversation.prove(token)),
            other @ (State::Silent | State::Known { .. } | State::Failed) => {
                *state = other;
                return Err(Error::new(ErrorCode::IllegalSaslState, "a token that nobody waits for"));
            }
        })
    }

    fn end(&self, mechanism: SaslMechanism, step: Result<Step, String>, lifetime: Duration) -> Result<Vec<u8>, Error> {
        let failed = |cause: String| Err(Error::new(ErrorCode::SaslAuthenticationFailed, cause));
        let mut login = self.login();
        match step {
            Ok(Step::Done(user, answer)) => {
                let (_, owner) = login.first.get_or_insert_with(|| (mechanism, user.clone()));
                if *owner != user {
                    return failed(format!("user '{user}' on a connection of user '{owner}'"));
                }
                let until = if lifetime.is_zero() { None } else { Instant::now().checked_add(lifetime) };
                login.state = State::Known { user, until };
                Ok(answer.into_bytes())
            }
            Ok(Step::Continue(..)) => failed("the login has no end".to_owned()),
            Err(cause) => failed(cause),
        }
    }
}

/// `authorization NUL user NUL password`; nobody acts for another.
fn plain(token: &[u8]) -> Result<(String, String), String> {
    let text = std::str::from_utf8(token).map_err(|_| "a token that is no text")?;
    let parts: Vec<&str> = text.split('\0').collect();
    match parts[..] {
        [_, user, password] if !password.is_empty() && !is_name(user) => Err(NO_NAME.to_owned()),
        [acts_for, user, password] if !password.is_empty() => {
            if acts_for.is_empty() || acts_for == user {
                Ok((user.to_owned(), password.to_owned()))
            } else {
                Err(format!("user '{user}' may act for nobody else"))
            }
        }
        _ => Err("a token of PLAIN is a name, a user and a password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_no_line_in_the_log() {
        let long = "x".repeat(100_000);
        for name in ["a\nb", "a\u{1b}[2Jb", &long] {
            for acts_for in ["", "other"] {
                let told = plain(format!("{acts_for}\0{name}\0secret").as_bytes()).expect_err("no user's name");
                assert!(told.len() < 200 && !told.chars().any(char::is_control), "{told:?}");
            }
            let session = Session::new(SecurityProtocol::SaslPlaintext);
            let told = session.agree(name, &[], false).expect_err("no mechanism").to_string();
            assert!(told.len() < 200 && !told.chars().any(char::is_control), "{told:?}");
        }
        assert_eq!(plain("\0ann with ünï\0secret".as_bytes()), Ok(("ann with ünï".to_owned(), "secret".to_owned())));
    }
}
