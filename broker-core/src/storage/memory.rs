use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::{Disk, DiskFile};

/// Files in memory. What was appended is kept as it came and read back as slices: nothing is copied. Clones share the files.
///
/// For tests it keeps synced and unsynced bytes apart: [`crash`](Self::crash) loses what was not synced, and
/// [`fail_after`](Self::fail_after) makes an operation fail.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Folders>>);

#[derive(Debug, Default)]
struct Folders {
    folders: BTreeMap<String, BTreeMap<String, Arc<Mutex<Content>>>>,
    /// Writing operations left before each one fails.
    fail_after: Option<u64>,
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

    fn lock(&self) -> MutexGuard<'_, Folders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a power cut leaves: of each file, what was synced.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.fail_after = None;
        for content in state.folders.values().flat_map(BTreeMap::values) {
            let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
            let synced = content.synced;
            content.cut(synced);
        }
    }

    /// Lets `operations` more appends, truncations, syncs, removals and renames work; those after them fail.
    pub fn fail_after(&self, operations: u64) {
        self.lock().fail_after = Some(operations);
    }

    fn operate(&self) -> io::Result<()> {
        match &mut self.lock().fail_after {
            None => Ok(()),
            Some(0) => Err(io::Error::other("injected fault")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
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

    fn folders(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().folders.keys().cloned().collect())
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(self.lock().folders.get(folder).map(|files| files.keys().cloned().collect()).unwrap_or_default())
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Box<dyn DiskFile>> {
        let content = self.lock().folders.entry(folder.to_owned()).or_default().entry(file.to_owned()).or_default().clone();
        Ok(Box::new(MemoryFile { disk: self.clone(), content }))
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        self.operate()?;
        if let Some(files) = self.lock().folders.get_mut(folder) {
            files.remove(file);
        }
        Ok(())
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        self.operate()?;
        let mut state = self.lock();
        let files = state.folders.entry(folder.to_owned()).or_default();
        let content = files.remove(from).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{folder}/{from}")))?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.operate()?;
        self.lock().folders.remove(folder);
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
    fn append(&mut self, bytes: Bytes) -> io::Result<()> {
        self.disk.operate()?;
        let mut content = self.content();
        let start = content.size;
        content.size += bytes.len() as u64;
        content.pieces.push((start, bytes));
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let content = self.content();
        let first = content.read(position, length);
        let rest = content.read(position + first.len() as u64, length - first.len());
        // A header torn over two pieces (only after a truncation inside one) must still be readable at once.
        if rest.is_empty() || first.len() >= super::super::record::HEADER_BYTES || first.is_empty() {
            return Ok(first);
        }
        let mut joined = BytesMut::from(&first[..]);
        joined.extend_from_slice(&rest);
        Ok(joined.freeze())
    }

    fn size(&self) -> u64 {
        self.content().size
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.disk.operate()?;
        self.content().cut(size);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.operate()?;
        let mut content = self.content();
        content.synced = content.size;
        Ok(())
    }
}
