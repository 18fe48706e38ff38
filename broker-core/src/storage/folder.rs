//! May this process keep its data in this folder: whose it is, whether it can be written, and whether another process has it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::file::named;

/// The lock file's name; it holds the owner's process id.
pub(super) const LOCK: &str = ".lock";

/// Makes the folder if it is not there, and locks it until the file is dropped. A refusal changes nothing.
pub(super) fn lock(root: &Path) -> io::Result<File> {
    match fs::metadata(root) {
        Ok(found) => check(root, &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(root).map_err(|error| named("make folder", root, &error))?;
        }
        Err(error) => return Err(named("open folder", root, &error)),
    }
    let path = root.join(LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = opened.map_err(|error| named("open lock file", &path, &error))?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = lock.read_to_string(&mut holder);
        let holder = if holder.trim().is_empty() { "another process".to_owned() } else { format!("process {}", holder.trim()) };
        return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{} is in use by {holder}", root.display())));
    }
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

/// Permissions are looked at, not only tried: the superuser would write where nobody is meant to.
fn check(root: &Path, found: &fs::Metadata) -> io::Result<()> {
    if !found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is a file, not a folder", root.display())));
    }
    if found.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is read-only", root.display())));
    }
    let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        let text = format!("{} belongs to user {owner}, this process runs as user {own}", root.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}
