use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open_file::{OpenFile, OpenFiles};
use super::{Disk, DiskFile, folder};

/// A folder of the file system, locked against a second process.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    open: Arc<OpenFiles>,
    _lock: File,
}

impl FileDisk {
    /// Files kept open at a time, unless another number is given.
    pub const OPEN_FILES_MAX: usize = 500;

    /// Makes the folder if it is not there, and locks it. The error of a locked one names the process that holds it.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(root, Self::OPEN_FILES_MAX)
    }

    /// The same, with at most so many files kept open: more are used all the same, each opened again when it is needed.
    pub fn open_with(root: impl AsRef<Path>, open_files_max: usize) -> io::Result<Self> {
        let disk = Self::lock(root, open_files_max)?;
        disk.sign()?;
        Ok(disk)
    }

    /// Locks the folder, but changes nothing in it: who finds that it is somebody else's drops it again.
    pub(crate) fn lock(root: impl AsRef<Path>, open_files_max: usize) -> io::Result<Self> {
        let root = root.as_ref().to_path_buf();
        let lock = folder::lock(&root)?;
        Ok(Self { root, open: Arc::new(OpenFiles::new(open_files_max)), _lock: lock })
    }

    /// Leaves this process's id for whoever finds the folder locked.
    pub(crate) fn sign(&self) -> io::Result<()> {
        folder::sign(&self.root)
    }

    fn path(&self, folder: &str, file: &str) -> PathBuf {
        self.root.join(folder).join(file)
    }
}

pub(super) fn named(what: &str, path: &Path, error: &io::Error) -> io::Error {
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

    fn is_slow(&self) -> bool {
        true
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        names(&self.root, true)
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = names(&self.root.join(folder), false)?;
        if folder == super::TOP {
            names.retain(|name| name != folder::LOCK);
        }
        Ok(names)
    }

    fn size(&self, folder: &str, file: &str) -> io::Result<Option<u64>> {
        let path = self.path(folder, file);
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named("look at", &path, &error)),
        }
    }

    fn open(&self, folder: &str, file: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(folder, file);
        if let Some(size) = self.size(folder, file)? {
            return Ok(OpenFile::there(path, size, self.open.clone()));
        }
        match OpenFile::make(&path, &self.open) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.root.join(folder)).map_err(|error| named("make folder", &path, &error))?;
                OpenFile::make(&path, &self.open).map_err(|error| named("make", &path, &error)).map(|file| file as _)
            }
            made => made.map_err(|error| named("make", &path, &error)).map(|file| file as _),
        }
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
