//! Files that are opened when they are used, and closed again when too many are open: a broker has more files than a process
//! may have open.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::DiskFile;
use super::file::named;

/// Which files are open, in the order in which they are asked whether they are still used. The file's own slot is never locked
/// under this lock but by trying, nor this lock under a slot's: the two cannot wait for each other.
#[derive(Debug)]
pub(super) struct OpenFiles {
    max: usize,
    queue: Mutex<VecDeque<Weak<OpenFile>>>,
}

#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    /// Locked for reading while the file is used, for writing to open and to close it.
    slot: RwLock<Option<File>>,
    /// Since it was last asked.
    used: AtomicBool,
    /// Its path leads elsewhere from now on: it is not closed, since it could not be opened again.
    kept: AtomicBool,
    /// What was appended whole: a write that failed half-way counts for nothing.
    size: AtomicU64,
    all: Arc<OpenFiles>,
    this: Weak<OpenFile>,
}

impl OpenFiles {
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), queue: Mutex::default() }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Weak<OpenFile>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file was opened: those that nobody used since they were last asked are closed, if there are too many.
    fn add(&self, file: Weak<OpenFile>) {
        let mut queue = self.queue();
        queue.push_back(file);
        // Twice round asks everybody twice: the second time nobody counts as used. One that is being opened is passed over.
        let mut asked = 2 * queue.len();
        while queue.len() > self.max && asked > 0 {
            asked -= 1;
            let Some(oldest) = queue.pop_front() else { return };
            let Some(open) = oldest.upgrade() else { continue };
            if open.used.swap(false, Ordering::Relaxed) || !open.close() {
                queue.push_back(oldest);
            }
        }
    }
}

impl OpenFile {
    /// A file that is there, not opened yet.
    pub fn there(path: PathBuf, size: u64, all: Arc<OpenFiles>) -> Arc<Self> {
        Self::new(path, size, None, all)
    }

    /// Makes a file.
    pub fn make(path: &Path, all: &Arc<OpenFiles>) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(path)?;
        let made = Self::new(path.to_path_buf(), 0, Some(file), all.clone());
        all.add(made.this.clone());
        Ok(made)
    }

    fn new(path: PathBuf, size: u64, file: Option<File>, all: Arc<OpenFiles>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            path,
            slot: RwLock::new(file),
            used: AtomicBool::new(true),
            kept: AtomicBool::new(false),
            size: AtomicU64::new(size),
            all,
            this: this.clone(),
        })
    }

    /// Does something with the file, which is opened first if it is closed.
    fn with<T>(&self, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        loop {
            if let Some(file) = &*self.slot() {
                return act(file);
            }
            // It may be closed again before it is used: then once more.
            self.reopen()?;
        }
    }

    fn slot(&self) -> RwLockReadGuard<'_, Option<File>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(&self) -> io::Result<()> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let opened = OpenOptions::new().read(true).append(true).open(&self.path);
            *slot = Some(opened.map_err(|error| named("open", &self.path, &error))?);
            drop(slot);
            self.all.add(self.this.clone());
        }
        Ok(())
    }

    /// False if it is being used or opened.
    fn close(&self) -> bool {
        let Ok(mut slot) = self.slot.try_write() else { return false };
        if !self.kept.load(Ordering::Acquire) {
            *slot = None;
        }
        true
    }
}

/// As `write_all_at`, but by the system call itself: the C library's wrapper is a point at which a thread may be cancelled, and to
/// say so costs a small write a tenth of its time. With a position, since the kernel then need not lock the file's own one.
fn write_all(file: &File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                position += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// As much as there is, up to `length` bytes.
fn read_some(file: &File, position: u64, length: usize) -> io::Result<Bytes> {
    // Not zeroed first: what is read fills it.
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = position + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes.into())
}

impl DiskFile for OpenFile {
    fn append(&self, bytes: Bytes) -> io::Result<()> {
        let size = self.size();
        self.with(|file| write_all(file, &bytes, size)).map_err(|error| named("append to", &self.path, &error))?;
        // One thread at a time appends: nobody else has changed it.
        self.size.store(size + bytes.len() as u64, Ordering::Release);
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let length = length.min(self.size().saturating_sub(position) as usize);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let read = self.with(|file| read_some(file, position, length));
        read.map_err(|error| named("read", &self.path, &error))
    }

    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.with(|file| file.set_len(size)).map_err(|error| named("truncate", &self.path, &error))?;
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.with(File::sync_data).map_err(|error| named("sync", &self.path, &error))
    }

    fn keep(&self) -> io::Result<()> {
        self.kept.store(true, Ordering::Release);
        self.with(|_| Ok(()))
    }
}
