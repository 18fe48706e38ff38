use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Disk, DiskFile};

/// Files in memory. What was appended is kept as it came and read back as slices: nothing is copied. Clones share the files.
///
/// For tests it keeps synced and unsynced bytes apart: [`crash`](Self::crash) loses what was not synced, and
/// [`fail_after`](Self::fail_after) makes an operation fail.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folders: Mutex<BTreeMap<String, BTreeMap<String, Entry>>>,
    /// Writing operations left before each one fails. Beside the lock, so that appends to different files share nothing that
    /// they write.
    fail_after: AtomicU64,
}

/// No fault was asked for.
const NO_FAULT: u64 = u64::MAX;

impl Default for Shared {
    fn default() -> Self {
        Self { folders: Mutex::default(), fail_after: AtomicU64::new(NO_FAULT) }
    }
}

/// A file in its folder.
#[derive(Debug, Default)]
struct Entry {
    content: Arc<Mutex<Content>>,
    /// Whether the folder was synced since the file came into it.
    durable: bool,
}

#[derive(Debug, Default)]
struct Content {
    /// Pieces and where each starts.
    pieces: Vec<(u64, Bytes)>,
    size: u64,
    synced: u64,
}

impl MemoryDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Entry>>> {
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a power cut leaves: of each file in a synced folder, what was synced. A removal counts as durable at once.
    pub fn crash(&self) {
        self.0.fail_after.store(NO_FAULT, Ordering::Relaxed);
        let mut folders = self.state();
        for files in folders.values_mut() {
            files.retain(|_, entry| entry.durable);
            for entry in files.values() {
                let mut content = entry.content.lock().unwrap_or_else(PoisonError::into_inner);
                let synced = content.synced;
                content.cut(synced);
            }
        }
        folders.retain(|_, files| !files.is_empty());
    }

    /// Lets `operations` more appends, truncations, syncs, removals and renames work; those after them fail.
    pub fn fail_after(&self, operations: u64) {
        self.0.fail_after.store(operations, Ordering::Relaxed);
    }

    /// Takes back [`fail_after`](Self::fail_after).
    pub fn heal(&self) {
        self.fail_after(NO_FAULT);
    }

    fn operate(&self) -> io::Result<()> {
        if self.0.fail_after.load(Ordering::Relaxed) == NO_FAULT {
            return Ok(());
        }
        let count = |left: u64| (left != NO_FAULT).then(|| left.saturating_sub(1));
        match self.0.fail_after.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) {
            Ok(0) => Err(io::Error::other("injected fault")),
            _ => Ok(()),
        }
    }
}

impl Content {
    fn cut(&mut self, size: u64) {
        while let Some((start, piece)) = self.pieces.last_mut() {
            if *start >= size {
                self.pieces.pop();
            } else {
                piece.truncate((size - *start) as usize);
                break;
            }
        }
        self.size = self.size.min(size);
        self.synced = self.synced.min(size);
    }

    fn read(&self, position: u64, length: usize) -> Bytes {
        let length = length.min(self.size.saturating_sub(position) as usize);
        if length == 0 {
            return Bytes::new();
        }
        let index = self.pieces.partition_point(|(start, _)| *start <= position) - 1;
        let (start, piece) = &self.pieces[index];
        let from = (position - start) as usize;
        piece.slice(from..piece.len().min(from + length))
    }
}

impl Disk for MemoryDisk {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        Ok(self.state().keys().filter(|name| *name != super::TOP).cloned().collect())
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(self.state().get(folder).map(|files| files.keys().cloned().collect()).unwrap_or_default())
    }

    fn size(&self, folder: &str, file: &str) -> io::Result<Option<u64>> {
        let content = self.state().get(folder).and_then(|files| files.get(file)).map(|entry| entry.content.clone());
        Ok(content.map(|content| content.lock().unwrap_or_else(PoisonError::into_inner).size))
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut folders = self.state();
        let content = folders.entry(folder.to_owned()).or_default().entry(file.to_owned()).or_default().content.clone();
        Ok(Arc::new(MemoryFile { disk: self.clone(), content }))
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        self.operate()?;
        if let Some(files) = self.state().get_mut(folder) {
            files.remove(file);
        }
        Ok(())
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        self.operate()?;
        let mut folders = self.state();
        let files = folders.entry(folder.to_owned()).or_default();
        let entry = files.remove(from).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{folder}/{from}")))?;
        files.insert(to.to_owned(), entry);
        files.values_mut().for_each(|entry| entry.durable = true);
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.operate()?;
        let mut folders = self.state();
        folders.get_mut(folder).into_iter().flat_map(BTreeMap::values_mut).for_each(|entry| entry.durable = true);
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.operate()?;
        self.state().remove(folder);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    content: Arc<Mutex<Content>>,
}

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for MemoryFile {
    fn append(&self, bytes: Bytes) -> io::Result<()> {
        self.disk.operate()?;
        let mut content = self.content();
        let start = content.size;
        content.size += bytes.len() as u64;
        content.pieces.push((start, bytes));
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let content = self.content();
        Ok(content.read(position, length))
    }

    fn size(&self) -> u64 {
        self.content().size
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.disk.operate()?;
        self.content().cut(size);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate()?;
        let mut content = self.content();
        content.synced = content.size;
        Ok(())
    }

    fn keep(&self) -> io::Result<()> {
        Ok(())
    }
}
