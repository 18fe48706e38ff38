//! The files beside the partitions' folders: whose folder it is, in which format, how it was left, and the checkpoints.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::open::partition_of;
use super::producer_ids;
use crate::error::{Error, ErrorCode};
use crate::id::TopicPartition;
use crate::log::{COMPACTED, LOG_STARTS, Offsets, Opening, RECOVERY_POINTS, read_checkpoint, write_checkpoint};
use crate::storage::{Disk, FRESH, TOP, read_whole, replace};

/// Says in which format the folder is. The name is Kafka's.
const META: &str = "meta.properties";
/// The format of everything in the folder.
const FORMAT: u32 = 1;
/// There only after a stop in order. The name is Kafka's.
const CLEAN: &str = ".kafka_cleanshutdown";
/// Users of the port: there whether this program has a port or not.
const USERS: &str = "scram-users";
/// What the port tells of users that do not exist is made of it.
const SECRET: &str = "scram-secret";
/// Quotas of the port's clients.
const QUOTAS: &str = "client-quotas";
/// Rules about what the port's clients may do.
const ACLS: &str = "acls";
/// All files that belong beside the partitions' folders.
const FILES: &[&str] = &[META, CLEAN, RECOVERY_POINTS, LOG_STARTS, COMPACTED, producer_ids::FILE, USERS, SECRET, QUOTAS, ACLS];
/// What file systems themselves put at their top.
const NOBODYS: &[&str] = &["lost+found"];

/// What was found in a folder before anything in it was changed.
#[derive(Debug)]
pub(super) struct Found {
    clean: bool,
    points: Offsets,
    starts: Offsets,
    compacted: Offsets,
    has_meta: bool,
}

/// What is kept of all logs.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub points: Offsets,
    pub starts: Offsets,
    pub compacted: Offsets,
}

/// The folder's own files, while the broker runs.
#[derive(Debug)]
pub(super) struct DataFolder {
    disk: Arc<dyn Disk>,
    /// One checkpoint is written at a time. Whether the last one failed: it may speak of partitions that are gone.
    failed: Mutex<bool>,
}

fn storage(disk: &dyn Disk, error: io::Error) -> Error {
    Error::with_source(ErrorCode::KafkaStorageError, format!("{} cannot be opened", disk.describe()), error)
}

fn refused(disk: &dyn Disk, text: &str) -> Error {
    Error::new(ErrorCode::KafkaStorageError, format!("{}: {text}; nothing was changed", disk.describe()))
}

impl Found {
    /// Looks whether the folder may be used. Changes nothing.
    pub fn look(disk: &dyn Disk) -> Result<Self, Error> {
        let failed = |error| storage(disk, error);
        let files = disk.files(TOP).map_err(failed)?;
        let own = |name: &String| FILES.contains(&name.strip_suffix(FRESH).unwrap_or(name));
        let mut foreign: Vec<String> = files.iter().filter(|name| !own(name)).cloned().collect();
        let folders = disk.folders().map_err(failed)?;
        foreign.extend(folders.into_iter().filter(|name| partition_of(name).is_none() && !NOBODYS.contains(&name.as_str())));
        let meta = read_whole(disk, TOP, META).map_err(failed)?;
        if let Some(meta) = &meta {
            check_format(disk, &String::from_utf8_lossy(meta))?;
        }
        if !foreign.is_empty() {
            let text = format!("it holds what is no broker's: {}", foreign.join(", "));
            return Err(refused(disk, &text));
        }
        let points = read_checkpoint(disk, RECOVERY_POINTS).unwrap_or_else(|error| {
            tracing::warn!(target: "broker_core::recovery", %error, "all logs are looked through");
            Offsets::new()
        });
        let starts = read_checkpoint(disk, LOG_STARTS).map_err(failed)?;
        let compacted = read_checkpoint(disk, COMPACTED).map_err(failed)?;
        let clean = files.iter().any(|name| name == CLEAN);
        Ok(Self { clean, points, starts, compacted, has_meta: meta.is_some() })
    }

    /// Takes the folder over: from now on it counts as not stopped in order.
    pub fn take_over(&self, disk: &Arc<dyn Disk>) -> Result<DataFolder, Error> {
        let write = || {
            if !self.has_meta {
                let text = format!("# whose folder this is, and in which format\nformat.version={FORMAT}\nversion=1\n");
                replace(disk.as_ref(), TOP, META, Bytes::from(text))?;
            }
            if self.clean {
                disk.remove(TOP, CLEAN)?;
                disk.sync_folder(TOP)?;
            }
            Ok(())
        };
        write().map_err(|error| storage(disk.as_ref(), error))?;
        Ok(DataFolder { disk: disk.clone(), failed: Mutex::default() })
    }

    /// Whether the broker was stopped in order.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// What is known of a partition's log.
    pub fn opening(&self, id: &TopicPartition) -> Opening {
        let of = |offsets: &Offsets| offsets.get(id).copied().unwrap_or(0);
        let compacted_to = self.compacted.get(id).copied();
        Opening { clean: self.clean, recovery_point: of(&self.points), log_start: of(&self.starts), compacted_to }
    }

    /// Whether a checkpoint speaks of a partition that is not there: one of that name that is made later must not inherit it.
    pub fn speaks_of_others(&self, there: impl Fn(&TopicPartition) -> bool) -> bool {
        self.points.keys().chain(self.starts.keys()).chain(self.compacted.keys()).any(|id| !there(id))
    }
}

/// Kafka's own folders have no `format.version`.
fn check_format(disk: &dyn Disk, meta: &str) -> Result<(), Error> {
    let value = |key: &str| meta.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim);
    match value("format.version").map(str::parse::<u32>) {
        None => Err(refused(disk, &format!("{META} has no format.version: the folder is another broker's"))),
        Some(Err(_)) => Err(refused(disk, &format!("{META} is damaged: format.version is no number"))),
        Some(Ok(format)) if format > FORMAT => {
            Err(refused(disk, &format!("its format is {format}, this version knows none newer than {FORMAT}")))
        }
        Some(Ok(_)) => Ok(()),
    }
}

impl DataFolder {
    /// In words.
    pub fn describe(&self) -> String {
        self.disk.describe()
    }

    /// Keeps up to where each log is durable, where it starts, and up to where it is compacted. `look` tells, when nobody else
    /// writes: who looked before somebody must not write after them.
    pub fn checkpoint(&self, look: impl FnOnce() -> Checkpoints) -> io::Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = true;
        let Checkpoints { points, starts, compacted } = &look();
        write_checkpoint(self.disk.as_ref(), RECOVERY_POINTS, points)?;
        write_checkpoint(self.disk.as_ref(), LOG_STARTS, starts)?;
        write_checkpoint(self.disk.as_ref(), COMPACTED, compacted)?;
        *failed = false;
        Ok(())
    }

    /// Whether what is kept may speak of partitions that are gone: a new one of that name must not inherit it.
    pub fn is_behind(&self) -> bool {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the broker was stopped in order.
    pub fn mark_clean(&self) -> io::Result<()> {
        self.disk.open(TOP, CLEAN)?.sync()?;
        self.disk.sync_folder(TOP)
    }
}
