//! Where a log's files are, and what they are called: as Kafka calls them.

use std::io;
use std::sync::Arc;

use crate::storage::{Disk, DiskFile};

/// The kinds of files of a segment: what stands behind the dot.
pub(super) mod kind {
    pub const LOG: &str = "log";
    pub const INDEX: &str = "index";
    pub const TIME_INDEX: &str = "timeindex";
    pub const TXN_INDEX: &str = "txnindex";
    pub const SNAPSHOT: &str = "snapshot";
    /// The log before what is made from it: without a log the others are nobody's.
    pub const ALL: [&str; 5] = [LOG, INDEX, TIME_INDEX, TXN_INDEX, SNAPSHOT];
}

/// A partition's folder.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub disk: Arc<dyn Disk>,
    pub folder: String,
}

/// A file's name, by the first offset that its segment may hold.
pub(super) fn file_name(base: i64, kind: &str) -> String {
    format!("{base:020}.{kind}")
}

/// The base offset that a file's name says, if it is of this kind.
pub(super) fn base_of(name: &str, kind: &str) -> Option<i64> {
    let digits = name.strip_suffix(kind)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

impl Place {
    /// Opens a file, made if it is not there.
    pub fn open(&self, base: i64, kind: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.folder, &file_name(base, kind))
    }

    /// A file's size; 0 if it is not there.
    pub fn size(&self, base: i64, kind: &str) -> io::Result<u64> {
        Ok(self.disk.size(&self.folder, &file_name(base, kind))?.unwrap_or(0))
    }

    pub fn is_there(&self, base: i64, kind: &str) -> io::Result<bool> {
        Ok(self.disk.size(&self.folder, &file_name(base, kind))?.is_some())
    }

    /// Renames, over another file if that is there; the change is durable.
    pub fn rename(&self, base: i64, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.folder, &file_name(base, from), &file_name(base, to))
    }

    pub fn remove(&self, base: i64, kind: &str) -> io::Result<()> {
        self.disk.remove(&self.folder, &file_name(base, kind))
    }
}
