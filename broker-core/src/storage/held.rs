//! For tests: a disk on which a change takes as long as the test wants: a file that takes another one's place, or a folder that goes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Disk, DiskFile, MemoryDisk};

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

/// Files in memory. When the test wants it, the next change first tells it, and then waits to be let go.
#[derive(Debug)]
pub(crate) struct HeldDisk {
    files: MemoryDisk,
    armed: Arc<AtomicBool>,
    gate: Mutex<(Sender<()>, Receiver<()>)>,
}

/// The test's side of it.
#[derive(Debug)]
pub(crate) struct Holder {
    armed: Arc<AtomicBool>,
    reached: Receiver<()>,
    go: Sender<()>,
}

impl HeldDisk {
    pub fn with_holder() -> (Arc<dyn Disk>, Holder) {
        let ((told, reached), (go, let_go)) = (channel(), channel());
        let armed = Arc::new(AtomicBool::new(false));
        let disk = Self { files: MemoryDisk::new(), armed: armed.clone(), gate: Mutex::new((told, let_go)) };
        (Arc::new(disk), Holder { armed, reached, go })
    }

    fn pass(&self) -> io::Result<()> {
        if self.armed.swap(false, Ordering::AcqRel) {
            let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.0.send(()).map_err(|_| io::Error::other("the test is over"))?;
            gate.1.recv_timeout(DEADLINE).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Holder {
    /// Runs `change` up to the disk, then `meanwhile` beside it, which must not wait for it; then lets it end.
    pub fn beside(&self, change: impl FnOnce() + Send, meanwhile: impl FnOnce() + Send) {
        self.armed.store(true, Ordering::Release);
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
            ended.expect("what goes on beside a change does not wait for the disk");
            changing.join().expect("the change is made");
            beside.join().expect("what went on beside it");
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
        self.pass()?;
        self.files.rename(folder, from, to)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.files.sync_folder(folder)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.pass()?;
        self.files.remove_folder(folder)
    }
}
