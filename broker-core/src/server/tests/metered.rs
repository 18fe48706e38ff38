//! A disk that counts what is read of it, and what of that is still held; and that may stand still.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;

use crate::storage::{Disk, DiskFile, MemoryDisk};

#[derive(Debug, Clone, Default)]
pub struct MeteredDisk {
    files: MemoryDisk,
    pub meter: Arc<Meter>,
}

#[derive(Debug, Default)]
pub struct Meter {
    read: AtomicUsize,
    held: AtomicUsize,
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Meter {
    /// How many bytes were read so far.
    pub fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// How many of them somebody still has.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether syncs wait until they no longer should.
    pub fn stop_syncs(&self, stopped: bool) {
        *self.stopped.lock().expect("sound") = stopped;
        self.changed.notify_all();
    }
}

/// Bytes that are counted until they go.
struct Counted(Bytes, Arc<Meter>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.held.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct MeteredFile(Arc<dyn DiskFile>, Arc<Meter>);

impl DiskFile for MeteredFile {
    fn append(&self, bytes: Bytes) -> io::Result<()> {
        self.0.append(bytes)
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let read = self.0.read(position, length)?;
        self.1.read.fetch_add(read.len(), Ordering::Relaxed);
        self.1.held.fetch_add(read.len(), Ordering::Relaxed);
        Ok(Bytes::from_owner(Counted(read, self.1.clone())))
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        let stopped = self.1.stopped.lock().expect("sound");
        drop(self.1.changed.wait_while(stopped, |stopped| *stopped).expect("sound"));
        self.0.sync()
    }

    fn keep(&self) -> io::Result<()> {
        self.0.keep()
    }
}

impl Disk for MeteredDisk {
    fn describe(&self) -> String {
        self.files.describe()
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        self.files.folders()
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        self.files.files(folder)
    }

    fn size(&self, folder: &str, file: &str) -> io::Result<Option<u64>> {
        self.files.size(folder, file)
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(MeteredFile(self.files.open(folder, file)?, self.meter.clone())))
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        self.files.remove(folder, file)
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(folder, from, to)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.files.sync_folder(folder)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.files.remove_folder(folder)
    }
}
