use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The app's one error: what kind of thing failed, in words that name it. Its `Debug` text is for people too: `main` shows an error
/// that it returns by that.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of thing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The app may not start: every problem that was found, one text each.
    Preflight(Vec<String>),
    /// A container stopped by a failure.
    ListenerStopped(Arc<str>),
    /// Anything else, for example a send or a registry call.
    Other,
}

impl Error {
    pub(crate) fn preflight(problems: Vec<String>) -> Self {
        let mut message =
            format!("the app cannot start: {} problem{}", problems.len(), if problems.len() == 1 { "" } else { "s" });
        for (number, problem) in problems.iter().enumerate() {
            message.push_str(&format!("\n  {}. {problem}", number + 1));
        }
        Self { kind: ErrorKind::Preflight(problems), message, source: None }
    }

    pub(crate) fn stopped(listener: Arc<str>, reason: &dyn fmt::Display) -> Self {
        Self {
            message: format!("listener '{listener}' stopped: {reason}"),
            kind: ErrorKind::ListenerStopped(listener),
            source: None,
        }
    }

    /// An error of the caller's own.
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = error.into();
        Self { kind: ErrorKind::Other, message: source.to_string(), source: Some(source) }
    }

    /// What kind of thing failed.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The start-up problems, one text each; empty for other errors.
    pub fn problems(&self) -> &[String] {
        match &self.kind {
            ErrorKind::Preflight(problems) => problems,
            _ => &[],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The type's name stands alone on its line: dead letters name an error by the first word of this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka_listener::Error\n{self}")?;
        let (mut told, mut cause) = (self.to_string(), self.source());
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors tell their cause themselves.
            if !told.contains(&text) {
                write!(f, "\ncaused by: {text}")?;
                told = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().and_then(|source| source.source())
    }
}

macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::other(error)
            }
        })*
    };
}

from!(
    crate::client::ClientError,
    crate::container::ContainerError,
    crate::registry::UnknownListener,
    crate::template::SendError,
    super::config::ConfigError
);

#[cfg(test)]
mod tests {
    use super::*;

    /// `main` shows an error that it returns by `Debug`.
    #[test]
    fn what_main_returns_is_readable() {
        let error = Error::preflight(vec!["listener 'a': no topic".to_owned(), "port 1 is taken".to_owned()]);
        let shown = "kafka_listener::Error\nthe app cannot start: 2 problems\n  1. listener 'a': no topic\n  2. port 1 is taken";
        assert_eq!(format!("{error:?}"), shown);
        let inner = Error::other(std::io::Error::other("the disk is full"));
        let outer = Error::other(Wrapped(inner));
        assert_eq!(format!("{outer:?}"), "kafka_listener::Error\nit did not work\ncaused by: the disk is full");
        let twice = crate::client::ClientError::new(crate::client::ClientErrorKind::Config, "no such setting");
        let twice = Error::other(Told(twice));
        assert_eq!(format!("{twice:?}"), "kafka_listener::Error\nit failed: no such setting");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("it failed: {0}")]
    struct Told(#[source] crate::client::ClientError);

    #[derive(Debug, thiserror::Error)]
    #[error("it did not work")]
    struct Wrapped(#[source] Error);
}
