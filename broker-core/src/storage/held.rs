//! For tests: a disk on which a change takes as long as the test wants: a file that takes another one's place, a folder that goes, or
//! whatever comes to a file or, to be made durable, to a folder of a certain name.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Disk, DiskFile, MemoryDisk};

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long who may have to wait for the change gets, of real time, before the change goes on.
const HEAD_START: Duration = Duration::from_millis(300);

/// What is held up next.
#[derive(Debug, Clone, Copy)]
enum Armed {
    Change,
    /// What makes a file whose name holds this, or makes such a folder durable.
    Making(&'static str),
}

type Next = Arc<Mutex<Option<Armed>>>;

fn next(armed: &Next) -> MutexGuard<'_, Option<Armed>> {
    armed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When the test wants it, the next change of these files first tells it, and then waits to be let go.
#[derive(Debug)]
pub(crate) struct HeldDisk {
    files: Arc<dyn Disk>,
    armed: Next,
    gate: Mutex<(Sender<()>, Receiver<()>)>,
}

/// The test's side of it.
#[derive(Debug)]
pub(crate) struct Holder {
    armed: Next,
    reached: Receiver<()>,
    go: Sender<()>,
}

impl HeldDisk {
    pub fn with_holder() -> (Arc<dyn Disk>, Holder) {
        Self::over(Arc::new(MemoryDisk::new()))
    }

    pub fn over(files: Arc<dyn Disk>) -> (Arc<dyn Disk>, Holder) {
        let ((told, reached), (go, let_go)) = (channel(), channel());
        let armed = Next::default();
        let disk = Self { files, armed: armed.clone(), gate: Mutex::new((told, let_go)) };
        (Arc::new(disk), Holder { armed, reached, go })
    }

    fn pass(&self, is_change: bool, makes: Option<&str>) -> io::Result<()> {
        let is_it = |armed: &mut Armed| match *armed {
            Armed::Change => is_change,
            Armed::Making(part) => makes.is_some_and(|name| name.contains(part)),
        };
        let reached = next(&self.armed).take_if(is_it).is_some();
        if reached {
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
        self.beside_armed(Armed::Change, change, meanwhile);
    }

    /// The same, of a change up to where it makes a file whose name holds `part`, or makes such a folder durable.
    pub fn beside_making(&self, part: &'static str, change: impl FnOnce() + Send, meanwhile: impl FnOnce() + Send) {
        self.beside_armed(Armed::Making(part), change, meanwhile);
    }

    fn beside_armed(&self, armed: Armed, change: impl FnOnce() + Send, meanwhile: impl FnOnce() + Send) {
        *next(&self.armed) = Some(armed);
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

    /// Runs `change` up to where it makes a file whose name holds `part`, or makes such a folder durable, then `meanwhile`, which may
    /// have to wait for the change to end: that goes on as soon as `meanwhile` is through, or has had the time for it.
    pub fn across(&self, part: &'static str, change: impl FnOnce() + Send, meanwhile: impl FnOnce() + Send) {
        *next(&self.armed) = Some(Armed::Making(part));
        std::thread::scope(|scope| {
            let changing = scope.spawn(change);
            self.reached.recv_timeout(DEADLINE).expect("the change reaches the disk");
            let (done, is_done) = channel();
            let across = scope.spawn(move || {
                meanwhile();
                let _ = done.send(());
            });
            let _ = is_done.recv_timeout(HEAD_START);
            self.go.send(()).expect("the change waits");
            changing.join().expect("the change is made");
            across.join().expect("what came across it");
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
        self.pass(false, Some(file))?;
        self.files.open(folder, file)
    }

    fn remove(&self, folder: &str, file: &str) -> io::Result<()> {
        self.files.remove(folder, file)
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        self.pass(true, Some(to))?;
        self.files.rename(folder, from, to)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.pass(false, Some(folder))?;
        self.files.sync_folder(folder)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.pass(true, None)?;
        self.files.remove_folder(folder)
    }
}
