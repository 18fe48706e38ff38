//! A disk that keeps what it looked like before each operation that changes it, and what had been promised by then.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_core::storage::{Disk, DiskFile, FileDisk, MemoryDisk};
use bytes::Bytes;

/// A moment at which the machine may stop.
pub struct Moment<P> {
    pub disk: MemoryDisk,
    pub promised: P,
    /// The operation that was about to be made; or half of it was, if it could be torn.
    pub before: String,
}

/// Writes to memory, and to files too if there are any: both must look the same all the time.
pub struct Tape<P>(Arc<Inner<P>>);

struct Inner<P> {
    memory: MemoryDisk,
    files: Option<FileDisk>,
    slow: bool,
    /// Held during each operation, so that moments are in order.
    moments: Mutex<Vec<Moment<P>>>,
    promised: Arc<Mutex<P>>,
}

impl<P> Clone for Tape<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> Debug for Tape<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("memory", &self.0.memory).finish_non_exhaustive()
    }
}

impl<P: Clone + Send + Debug + 'static> Tape<P> {
    /// `slow`: whether the broker works on it with threads.
    pub fn new(promised: &Arc<Mutex<P>>, files: Option<FileDisk>, slow: bool) -> Self {
        let (memory, moments, promised) = (MemoryDisk::new(), Mutex::default(), promised.clone());
        Self(Arc::new(Inner { memory, files, slow, moments, promised }))
    }

    /// All moments until now.
    pub fn take(&self) -> Vec<Moment<P>> {
        std::mem::take(&mut self.0.moments.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it looks like now.
    pub fn memory(&self) -> &MemoryDisk {
        &self.0.memory
    }

    fn note(&self, before: String) -> MutexGuard<'_, Vec<Moment<P>>> {
        let mut moments = self.0.moments.lock().unwrap_or_else(PoisonError::into_inner);
        // First what was promised: it must be kept by what the disk looks like at any later time.
        let promised = self.0.promised.lock().expect("sound").clone();
        moments.push(Moment { disk: self.0.memory.fork(), promised, before });
        moments
    }

    fn on_both<T: PartialEq + Debug>(&self, act: impl Fn(&dyn Disk) -> io::Result<T>) -> io::Result<T> {
        let done = act(&self.0.memory)?;
        if let Some(files) = &self.0.files {
            assert_eq!(act(files)?, done, "the two disks differ");
        }
        Ok(done)
    }
}

impl<P: Clone + Send + Debug + 'static> Disk for Tape<P> {
    fn describe(&self) -> String {
        "tape".to_owned()
    }

    fn is_slow(&self) -> bool {
        self.0.slow
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        self.on_both(|disk| disk.folders())
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        self.on_both(|disk| disk.files(folder))
    }

    fn size(&self, folder: &str, file: &str) -> io::Result<Option<u64>> {
        self.on_both(|disk| disk.size(folder, file))
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>> {
        let _held = match self.size(folder, file)? {
            None => Some(self.note(format!("make {folder}/{file}"))),
            Some(_) => None,
        };
        let memory = self.0.memory.open(folder, file)?;
        let real = self.0.files.as_ref().map(|disk| disk.open(folder, file)).transpose()?;
        Ok(Arc::new(TapeFile { tape: self.clone(), name: (folder.to_owned(), file.to_owned()), memory, real }))
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        if self.size(folder, file)?.is_none() {
            return Ok(());
        }
        let _held = self.note(format!("remove {folder}/{file}"));
        self.on_both(|disk| disk.remove(folder, file))
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let _held = self.note(format!("rename {folder}/{from} to {to}"));
        self.on_both(|disk| disk.rename(folder, from, to))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let _held = self.note(format!("sync folder {folder}"));
        self.on_both(|disk| disk.sync_folder(folder))
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let _held = self.note(format!("remove folder {folder}"));
        self.on_both(|disk| disk.remove_folder(folder))
    }
}

#[derive(Debug)]
struct TapeFile<P> {
    tape: Tape<P>,
    name: (String, String),
    memory: Arc<dyn DiskFile>,
    real: Option<Arc<dyn DiskFile>>,
}

impl<P: Clone + Send + Debug + 'static> TapeFile<P> {
    fn on_both<T: PartialEq + Debug>(&self, act: impl Fn(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        let done = act(self.memory.as_ref())?;
        if let Some(real) = &self.real {
            assert_eq!(act(real.as_ref())?, done, "{:?}: the two disks differ", self.name);
        }
        Ok(done)
    }

    fn note(&self, what: &str) -> MutexGuard<'_, Vec<Moment<P>>> {
        self.tape.note(format!("{what} {}/{}", self.name.0, self.name.1))
    }
}

impl<P: Clone + Send + Debug + 'static> DiskFile for TapeFile<P> {
    fn append(&self, bytes: Bytes) -> io::Result<()> {
        let mut moments = self.note("append to");
        let last = moments.last().expect("noted");
        let (torn, promised) = (last.disk.fork(), last.promised.clone());
        torn.open(&self.name.0, &self.name.1)?.append(bytes.slice(..bytes.len() / 2))?;
        let before = format!("half of {}", last.before);
        moments.push(Moment { disk: torn, promised, before });
        self.on_both(|file| file.append(bytes.clone()))
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        // In memory a read may bring less.
        let read = self.memory.read(position, length)?;
        if let Some(real) = &self.real {
            assert_eq!(real.read(position, read.len())?, read, "{:?} at {position}: the two disks differ", self.name);
        }
        Ok(read)
    }

    fn size(&self) -> u64 {
        let size = self.memory.size();
        assert!(self.real.as_ref().is_none_or(|real| real.size() == size), "{:?}: the two disks differ", self.name);
        size
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let _held = self.note("truncate");
        self.on_both(|file| file.truncate(size))
    }

    fn sync(&self) -> io::Result<()> {
        let _held = self.note("sync");
        self.on_both(|file| file.sync())
    }

    fn keep(&self) -> io::Result<()> {
        self.on_both(|file| file.keep())
    }
}

/// All files of a disk and what they hold.
pub fn everything(disk: &dyn Disk) -> BTreeMap<(String, String), Vec<u8>> {
    let mut all = BTreeMap::new();
    let top = std::iter::once(broker_core::storage::TOP.to_owned());
    for folder in top.chain(disk.folders().expect("listed")) {
        for name in disk.files(&folder).expect("listed") {
            let file = disk.open(&folder, &name).expect("opened");
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < file.size() {
                bytes.extend_from_slice(&file.read(bytes.len() as u64, 1 << 20).expect("read"));
            }
            all.insert((folder.clone(), name), bytes);
        }
    }
    all
}

/// Puts what a disk holds into a folder.
pub fn write_out(disk: &MemoryDisk, dir: &Path) {
    for ((folder, name), bytes) in everything(disk) {
        let folder = dir.join(folder);
        if !folder.exists() {
            std::fs::create_dir_all(&folder).expect("made");
        }
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}
