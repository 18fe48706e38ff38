//! In place of the embedded broker when the feature `embedded` is off: the same names, and an error that says so.

use std::path::PathBuf;
use std::sync::Arc;

use crate::client::{Backend, ClientError, ClientErrorKind};

/// The embedded broker of an app: not in this build. An app that starts on it is refused.
#[derive(Debug, Clone, Default)]
pub struct Embedded(());

impl Embedded {
    /// Not in this build.
    pub fn memory() -> Self {
        Self::default()
    }

    /// Not in this build.
    pub fn dir(_: impl Into<PathBuf>) -> Self {
        Self::default()
    }

    /// Not in this build.
    pub fn seed(self, _: u64) -> Self {
        self
    }

    /// Not in this build.
    pub fn virtual_time(self, _: i64) -> Self {
        self
    }

    pub(crate) fn open(self) -> Result<Arc<dyn Backend>, ClientError> {
        Err(ClientError::new(ClientErrorKind::Config, "this build has none; enable the feature `embedded` of kafka-listener"))
    }
}
