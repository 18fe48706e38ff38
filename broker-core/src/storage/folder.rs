//! May this process keep its data in this folder: whose it is, whether it can be written, and whether another process has it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::file::named;

/// The file that says which process holds the lock. The lock itself is on the folder: a refusal leaves no file behind.
pub(super) const LOCK: &str = ".lock";

/// Makes the folder if it is not there, and locks it until what is returned is dropped. Nothing in it is changed.
pub(super) fn lock(root: &Path) -> io::Result<File> {
    match fs::metadata(root) {
        Ok(found) => check(root, &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(root).map_err(|error| named("make folder", root, &error))?;
        }
        Err(error) => return Err(named("open folder", root, &error)),
    }
    let lock = File::open(root).map_err(|error| named("open folder", root, &error))?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = fs::read_to_string(root.join(LOCK)).unwrap_or_default();
        let holder = if holder.trim().is_empty() { "another process".to_owned() } else { format!("process {}", holder.trim()) };
        return Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("{} is in use by {holder}: stop that, or take another folder", root.display()),
        ));
    }
    Ok(lock)
}

/// Says who holds the lock.
pub(super) fn sign(root: &Path) -> io::Result<()> {
    let path = root.join(LOCK);
    fs::write(&path, format!("{}\n", std::process::id())).map_err(|error| named("write", &path, &error))
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
