use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::super::{Disk, DiskFile, TOP};
use super::content;
use super::fault::{Fault, Faults, Operation};

/// Files in memory. What was appended is kept as it came and read back as slices: nothing is copied. Clones share the files.
///
/// For tests it keeps synced and unsynced bytes apart: [`crash`](Self::crash) loses what was not synced, and
/// [`inject`](Self::inject) makes operations fail.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    folders: Mutex<Folders>,
    faults: Faults,
}

pub(super) type Folders = BTreeMap<String, Folder>;

#[derive(Debug, Default)]
pub(super) struct Folder {
    pub files: BTreeMap<String, Entry>,
    /// Durable files that were removed since the folder was synced, the last one at the end.
    pub removed: Vec<(String, Entry)>,
    /// How many files ever came into it.
    made: u64,
}

/// A file in its folder.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub content: content::Shared,
    /// Whether the folder was synced since the file came into it.
    pub durable: bool,
    /// Which of the folder's files it was.
    pub made: u64,
}

impl Folder {
    fn make(&mut self, file: &str) -> content::Shared {
        self.made += 1;
        let entry = Entry { made: self.made, ..Entry::default() };
        self.files.entry(file.to_owned()).or_insert(entry).content.clone()
    }

    fn remove(&mut self, file: &str) {
        if let Some((name, entry)) = self.files.remove_entry(file)
            && entry.durable
        {
            self.removed.push((name, entry));
        }
    }

    fn sync(&mut self) {
        self.removed.clear();
        self.files.values_mut().for_each(|entry| entry.durable = true);
    }

    /// A folder that was removed, or of which nothing is there yet, is not there.
    fn is_there(&self) -> bool {
        !self.files.is_empty()
    }
}

/// Makes durable what is in a folder, and which folders there are.
fn sync(folders: &mut Folders, name: &str) {
    let found = folders.get_mut(name).filter(|folder| folder.is_there());
    if found.map(Folder::sync).is_some() || name == TOP {
        folders.retain(|_, folder| folder.is_there());
    }
}

impl MemoryDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn folders_mut(&self) -> MutexGuard<'_, Folders> {
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same files, which go their own way from now on. Faults are not taken along.
    pub fn fork(&self) -> Self {
        let entry = |entry: &Entry| Entry { content: entry.content.fork(), ..*entry };
        let folder = |folder: &Folder| Folder {
            files: folder.files.iter().map(|(name, file)| (name.clone(), entry(file))).collect(),
            removed: folder.removed.iter().map(|(name, file)| (name.clone(), entry(file))).collect(),
            made: folder.made,
        };
        let fork = Self::new();
        *fork.folders_mut() = self.folders_mut().iter().map(|(name, found)| (name.clone(), folder(found))).collect();
        fork
    }

    /// Lets `after` more of the operations that the fault is about work; those after them fail.
    pub fn inject(&self, fault: Fault, after: u64) {
        self.0.faults.inject(fault, after);
    }

    /// Lets `operations` more operations work that change something; those after them fail.
    pub fn fail_after(&self, operations: u64) {
        self.inject(Fault::Everything, operations);
    }

    /// There is room for so many bytes more: the append that needs others writes what fits, and fails, as do those after it.
    pub fn fill_after(&self, bytes: u64) {
        self.0.faults.fill_after(bytes);
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        self.0.faults.heal();
    }

    /// Flips a bit of a file, as a failing disk does.
    pub fn flip(&self, folder: &str, file: &str, position: u64, bit: u32) {
        if let Some(entry) = self.folders_mut().get(folder).and_then(|folder| folder.files.get(file)) {
            entry.content.lock().change(position, |byte| *byte ^= 1 << (bit % 8));
        }
    }

    fn operate(&self) -> io::Result<()> {
        Ok(self.0.faults.check(Operation::Other)?)
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
        let folders = self.folders_mut();
        Ok(folders.iter().filter(|(name, folder)| *name != TOP && folder.is_there()).map(|(name, _)| name.clone()).collect())
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(self.folders_mut().get(folder).map(|folder| folder.files.keys().cloned().collect()).unwrap_or_default())
    }

    fn size(&self, folder: &str, file: &str) -> io::Result<Option<u64>> {
        let content = self.folders_mut().get(folder).and_then(|folder| folder.files.get(file)).map(|entry| entry.content.clone());
        Ok(content.map(|content| content.lock().size))
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut folders = self.folders_mut();
        let there = folders.get(folder).and_then(|folder| folder.files.get(file));
        let content = match there {
            Some(entry) => {
                entry.content.lock().torn = 0;
                entry.content.clone()
            }
            None => {
                self.operate()?;
                folders.entry(folder.to_owned()).or_default().make(file)
            }
        };
        Ok(Arc::new(MemoryFile { disk: self.clone(), content }))
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        let mut folders = self.folders_mut();
        let Some(folder) = folders.get_mut(folder).filter(|folder| folder.files.contains_key(file)) else { return Ok(()) };
        self.operate()?;
        folder.remove(file);
        Ok(())
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        self.operate()?;
        let mut folders = self.folders_mut();
        let entry = folders.get_mut(folder).and_then(|folder| folder.files.remove(from));
        let entry = entry.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{folder}/{from}")))?;
        folders.entry(folder.to_owned()).or_default().files.insert(to.to_owned(), entry);
        sync(&mut folders, folder);
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.faults.check(Operation::Sync)?;
        sync(&mut self.folders_mut(), folder);
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let mut folders = self.folders_mut();
        let Some(folder) = folders.get_mut(folder).filter(|folder| folder.is_there()) else { return Ok(()) };
        self.operate()?;
        let names: Vec<String> = folder.files.keys().cloned().collect();
        names.iter().for_each(|name| folder.remove(name));
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    content: content::Shared,
}

impl DiskFile for MemoryFile {
    fn append(&self, bytes: Bytes) -> io::Result<()> {
        if let Err(failed) = self.disk.0.faults.check(Operation::Append(bytes.len())) {
            if failed.written > 0 {
                self.content.lock().tear(bytes.slice(..failed.written));
            }
            return Err(failed.into());
        }
        self.content.lock().append(bytes);
        Ok(())
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        Ok(self.content.lock().read(position, length))
    }

    fn size(&self) -> u64 {
        self.content.lock().whole()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.disk.operate()?;
        self.content.lock().cut(size);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.0.faults.check(Operation::Sync)?;
        let mut content = self.content.lock();
        content.synced = content.size;
        Ok(())
    }

    fn keep(&self) -> io::Result<()> {
        Ok(self.disk.0.faults.check(Operation::Keep)?)
    }
}
