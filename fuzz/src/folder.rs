//! A partition's folder as one run of bytes, for a fuzzer to change.

use broker_core::storage::{Disk, MemoryDisk, TOP};
use bytes::Bytes;

/// The kinds of files that it may hold, by number.
pub const KINDS: [&str; 13] = [
    "log",
    "index",
    "timeindex",
    "snapshot",
    "log.swap",
    "log.cleaned",
    "index.cleaned",
    "timeindex.cleaned",
    "snapshot.deleted",
    "log.deleted",
    "txnindex",
    "txnindex.cleaned",
    "txnindex.swap",
];

const FOLDER: &str = "t-0";
const PREFIX: usize = 7;

/// A folder and what the checkpoints say of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Folder {
    pub clean: bool,
    /// Whether checksums are made right before it is opened: nearly all that a fuzzer does ends at a wrong one otherwise.
    pub repair: bool,
    pub recovery_point: u16,
    pub log_start: u16,
    pub compacted_to: Option<u16>,
    /// Kind, base offset, bytes.
    pub files: Vec<(usize, u8, Vec<u8>)>,
}

impl Folder {
    /// Anything can be read as a folder.
    pub fn read(data: &[u8]) -> Option<Self> {
        let (prefix, mut rest) = data.split_at_checked(PREFIX)?;
        let flags = prefix[0];
        let number = |at: usize| u16::from_be_bytes([prefix[at], prefix[at + 1]]);
        let mut files = Vec::new();
        while let [kind, base, high, low, behind @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
            let (bytes, behind) = behind.split_at(length);
            files.push((usize::from(*kind) % KINDS.len(), *base, bytes.to_vec()));
            rest = behind;
        }
        Some(Self {
            clean: flags & 1 != 0,
            repair: flags & 2 != 0,
            recovery_point: number(1),
            log_start: number(3),
            compacted_to: (flags & 4 != 0).then(|| number(5)),
            files,
        })
    }

    /// The bytes that it is read from.
    pub fn write(&self) -> Vec<u8> {
        let flags = u8::from(self.clean) | u8::from(self.repair) << 1 | u8::from(self.compacted_to.is_some()) << 2;
        let mut out = vec![flags];
        for number in [self.recovery_point, self.log_start, self.compacted_to.unwrap_or(0)] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for (kind, base, bytes) in &self.files {
            let length = u16::try_from(bytes.len()).expect("a seed's files are small");
            out.extend_from_slice(&[*kind as u8, *base]);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        out
    }

    /// A disk that holds it.
    pub fn disk(&self) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let put = |folder: &str, name: &str, bytes: Vec<u8>| {
            let file = disk.open(folder, name).expect("opened");
            file.truncate(0).expect("cut");
            file.append(Bytes::from(bytes)).expect("written");
        };
        put(TOP, "meta.properties", b"format.version=1\nversion=1\n".to_vec());
        if self.clean {
            put(TOP, ".kafka_cleanshutdown", Vec::new());
        }
        let mut numbers =
            vec![("recovery-point-offset-checkpoint", self.recovery_point), ("log-start-offset-checkpoint", self.log_start)];
        numbers.extend(self.compacted_to.map(|offset| ("cleaner-offset-checkpoint", offset)));
        for (name, offset) in numbers {
            put(TOP, name, format!("0\n1\nt 0 {offset}\n").into_bytes());
        }
        put(FOLDER, "partition.metadata", b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n".to_vec());
        for (kind, base, bytes) in &self.files {
            let mut bytes = bytes.clone();
            if self.repair {
                repair(KINDS[*kind], &mut bytes);
            }
            put(FOLDER, &format!("{base:020}.{}", KINDS[*kind]), bytes);
        }
        disk
    }
}

fn repair(kind: &str, bytes: &mut [u8]) {
    if kind.starts_with("snapshot") {
        if bytes.len() > 6 {
            let crc = crc32c::crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        return;
    }
    let mut at = 0;
    while kind.starts_with("log") && bytes.len() - at >= 61 {
        let length = i32::from_be_bytes([bytes[at + 8], bytes[at + 9], bytes[at + 10], bytes[at + 11]]);
        let end = at.saturating_add(12).saturating_add(usize::try_from(length).unwrap_or(0));
        if length < 49 || end > bytes.len() {
            return;
        }
        let crc = crc32c::crc32c(&bytes[at + 21..end]);
        bytes[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
        at = end;
    }
}
