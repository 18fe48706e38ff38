//! For tests: a disk on which putting a small file in another one's place takes as long as the test wants.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Disk, DiskFile, MemoryDisk};

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

/// Files in memory, of which each rename first tells the test, and then waits to be let go.
#[derive(Debug)]
pub(crate) struct HeldDisk {
    files: MemoryDisk,
    gate: Mutex<(Sender<()>, Receiver<()>)>,
}

/// The test's side of it.
#[derive(Debug)]
pub(crate) struct Holder {
    reached: Receiver<()>,
    go: Sender<()>,
}

impl HeldDisk {
    pub fn with_holder() -> (Arc<dyn Disk>, Holder) {
        let ((told, reached), (go, let_go)) = (channel(), channel());
        (Arc::new(Self { files: MemoryDisk::new(), gate: Mutex::new((told, let_go)) }), Holder { reached, go })
    }
}

impl Holder {
    /// Runs `change` up to its rename, then `meanwhile` beside it, which must not wait for it; then lets it end.
    pub fn beside(&self, change: impl FnOnce() + Send, meanwhile: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let changing = scope.spawn(change);
            self.reached.recv_timeout(DEADLINE).expect("the change reaches the disk");
            let (done, is_done) = channel();
            let beside = scope.spawn(move || {
                meanwhile();
                let _ = done.send(());
            });
            let ended = is_done.recv_timeout(DEADLINE / 4);
            self.go.send(()).expect("the change waits");
            changing.join().expect("the change is made");
            beside.join().expect("what went on beside it");
            ended.expect("it does not wait for the disk");
        });
    }
}

impl Disk for HeldDisk {
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
        self.files.open(folder, file)
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        self.files.remove(folder, file)
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |_| io::Error::other("the test is over");
        gate.0.send(()).map_err(gone)?;
        gate.1.recv_timeout(DEADLINE).map_err(io::Error::other)?;
        self.files.rename(folder, from, to)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.files.sync_folder(folder)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.files.remove_folder(folder)
    }
}
