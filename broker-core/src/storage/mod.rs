//! The seam to the disk: files, not logs, so that crash recovery is the same code in memory and on disk.

mod file;
mod folder;
mod memory;
mod open_file;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod held;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use file::FileDisk;
pub use memory::{Fault, MemoryDisk};

/// The name of the folder that holds the others: its files belong to no partition.
pub const TOP: &str = "";

/// A folder of folders of files. Names are `folder/file` with plain names; [`TOP`] for files beside the folders.
pub trait Disk: Send + Sync + fmt::Debug {
    /// In words, for messages.
    fn describe(&self) -> String;
    /// Whether writes and syncs take their time, so that they are done where nobody waits.
    fn is_slow(&self) -> bool;
    /// The folders, by name.
    fn folders(&self) -> io::Result<Vec<String>>;
    /// The files of a folder, by name; none if it is not there.
    fn files(&self, folder: &str) -> io::Result<Vec<String>>;
    /// A file's size; `None` if it is not there.
    fn size(&self, folder: &str, file: &str) -> io::Result<Option<u64>>;
    /// Opens a file for appending and reading; makes it and its folder if they are not there.
    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file; fine if it is not there.
    fn remove(&self, folder: &str, file: &str) -> io::Result<()>;
    /// Renames a file within its folder, over another if that is there, and makes the change durable.
    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()>;
    /// Makes durable which files a folder holds, and that it is there; fine if it is not. What a file holds is its own
    /// [`sync`](DiskFile::sync)'s matter.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Removes a folder and its files; fine if it is not there.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
}

/// Puts a small file in the place of another one: after a crash there is the old one or the new one, whole.
pub(crate) fn replace(disk: &dyn Disk, folder: &str, file: &str, bytes: Bytes) -> io::Result<()> {
    let fresh = format!("{file}{FRESH}");
    disk.remove(folder, &fresh)?;
    let written = disk.open(folder, &fresh)?;
    written.append(bytes)?;
    written.sync()?;
    written.keep()?;
    disk.rename(folder, &fresh, file)
}

/// All of a small file; `None` if it is not there.
pub(crate) fn read_whole(disk: &dyn Disk, folder: &str, file: &str) -> io::Result<Option<Vec<u8>>> {
    if disk.size(folder, file)?.is_none() {
        return Ok(None);
    }
    let file = disk.open(folder, file)?;
    let mut all = Vec::new();
    while (all.len() as u64) < file.size() {
        let piece = file.read(all.len() as u64, file.size() as usize)?;
        if piece.is_empty() {
            break;
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all))
}

/// Ends the name of a file that is to take another one's place.
pub(crate) const FRESH: &str = ".new";

/// One open file: appended at its end, read anywhere. One thread at a time appends and truncates, which whoever owns the log
/// sees to; others may read meanwhile.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Appends all of it. After an error the file's end is unknown: whoever owns the log stops writing.
    fn append(&self, bytes: Bytes) -> io::Result<()>;
    /// Up to `length` bytes from `position`: fewer at the end, or where memory holds them in pieces; empty only at the end.
    fn read(&self, position: u64, length: usize) -> io::Result<Bytes>;
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Cuts it to this size.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Makes what was appended durable.
    fn sync(&self) -> io::Result<()>;
    /// To be called before it is renamed or removed: who holds it reads it nevertheless.
    fn keep(&self) -> io::Result<()>;
}
