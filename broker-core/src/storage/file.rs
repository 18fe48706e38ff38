use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::{Disk, DiskFile};

/// The lock file's name; it holds the owner's process id.
const LOCK: &str = ".lock";

/// A folder of the file system, locked against a second process.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    _lock: File,
}

impl FileDisk {
    /// Makes the folder if it is not there, and locks it. The error of a locked one names the process that holds it.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref().to_path_buf();
        if root.exists() && !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is a file, not a folder", root.display())));
        }
        fs::create_dir_all(&root).map_err(|error| named("make folder", &root, &error))?;
        let path = root.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| named("open lock file", &path, &error))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let holder =
                if holder.trim().is_empty() { "another process".to_owned() } else { format!("process {}", holder.trim()) };
            return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{} is in use by {holder}", root.display())));
        }
        lock.set_len(0)?;
        lock.seek(SeekFrom::Start(0))?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { root, _lock: lock })
    }

    fn path(&self, folder: &str, file: &str) -> PathBuf {
        self.root.join(folder).join(file)
    }
}

fn named(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
}

fn names(dir: &Path, folders: bool) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named("list", dir, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() == folders
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl Disk for FileDisk {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        names(&self.root, true)
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        names(&self.root.join(folder), false)
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(folder, file);
        let open = || OpenOptions::new().read(true).append(true).create(true).open(&path);
        let opened = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.root.join(folder)).map_err(|error| named("make folder", &path, &error))?;
                open()
            }
            other => other,
        };
        let file = opened.map_err(|error| named("open", &path, &error))?;
        let size = file.metadata()?.len();
        Ok(Arc::new(OpenFile { file, path, size: AtomicU64::new(size) }))
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        let path = self.path(folder, file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let path = self.path(folder, from);
        fs::rename(&path, self.path(folder, to)).map_err(|error| named("rename", &path, &error))?;
        sync_dir(&self.root.join(folder))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.root.join(folder);
        match sync_dir(&path).and_then(|()| sync_dir(&self.root)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named("sync", &path, &error)),
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.root.join(folder);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named("remove", &path, &error)),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    /// What was appended whole: a write that failed half-way counts for nothing.
    size: AtomicU64,
}

impl DiskFile for OpenFile {
    fn append(&self, bytes: Bytes) -> io::Result<()> {
        (&self.file).write_all(&bytes).map_err(|error| named("append to", &self.path, &error))?;
        self.size.fetch_add(bytes.len() as u64, Ordering::Release);
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let length = length.min(self.size().saturating_sub(position) as usize);
        let mut bytes = BytesMut::zeroed(length);
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut bytes[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(named("read", &self.path, &error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.freeze())
    }

    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size).map_err(|error| named("truncate", &self.path, &error))?;
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| named("sync", &self.path, &error))
    }
}
