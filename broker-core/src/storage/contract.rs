//! One suite for both disks.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Disk, Fault, FileDisk, MemoryDisk};

fn check(disk: &dyn Disk) {
    assert!(disk.folders().expect("listed").is_empty());
    let file = disk.open("a-0", "x.log").expect("opened");
    file.append(Bytes::from_static(b"hello ")).expect("appended");
    file.append(Bytes::from_static(b"world")).expect("appended");
    assert_eq!(file.size(), 11);
    let mut all = Vec::new();
    while all.len() < 11 {
        let piece = file.read(all.len() as u64, 100).expect("read");
        assert!(!piece.is_empty(), "a read inside the file brings something");
        all.extend_from_slice(&piece);
    }
    assert_eq!(all, b"hello world");
    assert_eq!(&file.read(2, 3).expect("read")[..], b"llo");
    assert!(file.read(11, 5).expect("read").is_empty());
    file.truncate(8).expect("cut");
    file.sync().expect("synced");
    file.append(Bytes::from_static(b"!")).expect("appended");
    assert_eq!(file.size(), 9);
    drop(file);
    assert_eq!(disk.open("a-0", "x.log").expect("opened").size(), 9);
    disk.open("a-0", "y.log").expect("opened");
    disk.rename("a-0", "y.log", "z.log").expect("renamed");
    assert_eq!(disk.files("a-0").expect("listed"), ["x.log", "z.log"]);
    disk.remove("a-0", "x.log").expect("removed");
    disk.remove("a-0", "x.log").expect("fine if it is not there");
    assert_eq!(disk.folders().expect("listed"), ["a-0"]);
    disk.sync_folder("a-0").expect("synced");
    disk.sync_folder("nowhere").expect("fine if it is not there");
    assert_eq!((disk.size("a-0", "z.log").expect("seen"), disk.size("a-0", "x.log").expect("seen")), (Some(0), None));
    let top = disk.open(super::TOP, "top").expect("opened");
    top.append(Bytes::from_static(b"a")).expect("appended");
    disk.rename(super::TOP, "top", "peak").expect("renamed");
    disk.sync_folder(super::TOP).expect("synced");
    assert_eq!(
        (disk.files(super::TOP).expect("listed"), disk.size(super::TOP, "peak").expect("seen")),
        (vec!["peak".to_owned()], Some(1))
    );
    assert_eq!(disk.folders().expect("listed"), ["a-0"], "the top is no folder of its own");
    disk.remove(super::TOP, "peak").expect("removed");
    disk.remove_folder("a-0").expect("removed");
    assert!(disk.files("a-0").expect("listed").is_empty());
}

#[test]
fn memory() {
    check(&MemoryDisk::new());
}

#[test]
fn files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(&FileDisk::open(dir.path()).expect("opened"));
}

/// A reader goes on with what it holds, although the file is renamed, another one takes its name, and both go.
fn check_that_what_is_held_stays(disk: &dyn Disk) {
    let held = disk.open("a-0", "x.log").expect("opened");
    held.append(Bytes::from_static(b"old")).expect("appended");
    held.keep().expect("kept");
    disk.rename("a-0", "x.log", "x.log.deleted").expect("renamed");
    disk.open("a-0", "x.log").expect("opened").append(Bytes::from_static(b"new")).expect("appended");
    for number in 0..5 {
        disk.open("a-0", &format!("{number}")).expect("opened").append(Bytes::from_static(b"x")).expect("appended");
    }
    disk.remove("a-0", "x.log.deleted").expect("removed");
    assert_eq!(&held.read(0, 3).expect("read")[..], b"old");
    assert_eq!(&disk.open("a-0", "x.log").expect("opened").read(0, 3).expect("read")[..], b"new");
}

#[test]
fn what_is_held_stays() {
    check_that_what_is_held_stays(&MemoryDisk::new());
    let dir = tempfile::tempdir().expect("a temporary folder");
    check_that_what_is_held_stays(&FileDisk::open_with(dir.path(), 2).expect("opened"));
}

/// How many files below `dir` this process has open.
fn open_files(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("listed").flatten();
    entries.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(dir))).count()
}

#[test]
fn more_files_are_used_than_are_open() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let disk = FileDisk::open_with(dir.path(), 8).expect("opened");
    let files: Vec<_> = (0..100).map(|number| disk.open(&format!("t-{number}"), "x").expect("opened")).collect();
    for round in 0..3u8 {
        for (number, file) in files.iter().enumerate() {
            file.append(Bytes::from(vec![number as u8, round])).expect("appended");
            // The lock file is the ninth.
            assert!(open_files(dir.path()) <= 9, "{} open", open_files(dir.path()));
        }
    }
    for (number, file) in files.iter().enumerate() {
        let number = number as u8;
        assert_eq!(&file.read(0, 100).expect("read")[..], [number, 0, number, 1, number, 2]);
        file.sync().expect("synced");
    }
    drop(files);
    assert_eq!(open_files(dir.path()), 1, "only the lock file");
}

#[test]
fn files_are_shared_by_threads_although_few_are_open() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let disk = FileDisk::open_with(dir.path(), 2).expect("opened");
    let files: Vec<_> = (0..6).map(|number| disk.open("t-0", &format!("{number}")).expect("opened")).collect();
    std::thread::scope(|scope| {
        for own in &files {
            let files = &files;
            scope.spawn(move || {
                for round in 0..300u64 {
                    own.append(Bytes::copy_from_slice(&round.to_be_bytes())).expect("appended");
                    for file in files {
                        let last = file.size().saturating_sub(8);
                        let piece = file.read(last, 8).expect("read");
                        assert!(piece.is_empty() || piece[..] == (last / 8).to_be_bytes(), "{piece:?} at {last}");
                    }
                }
            });
        }
    });
}

/// Refused, with this text, and nothing in the folder changed.
fn check_refused(path: &std::path::Path, text: &str) {
    let listed = || std::fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
    let before = listed().ok();
    let error = FileDisk::open(path).expect_err("refused").to_string();
    assert!(error.contains(text) && error.contains(&path.display().to_string()), "{error}");
    assert_eq!(listed().ok(), before);
}

#[test]
fn a_read_only_folder_and_one_of_somebody_else_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).expect("set");
    check_refused(dir.path(), "is read-only");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let own = rustix::process::geteuid();
    if own.is_root() {
        std::os::unix::fs::chown(dir.path(), Some(12345), None).expect("given away");
        check_refused(dir.path(), "belongs to user 12345, this process runs as user 0");
    } else {
        // Nobody can give a folder away, but the top one is somebody else's.
        check_refused(std::path::Path::new("/"), &format!("belongs to user 0, this process runs as user {}", own.as_raw()));
    }
}

#[test]
fn a_folder_in_use_names_its_holder() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let _held = FileDisk::open(dir.path()).expect("opened");
    let error = FileDisk::open(dir.path()).expect_err("locked").to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("f");
    std::fs::write(&path, "x").expect("written");
    assert!(FileDisk::open(&path).expect_err("a file").to_string().contains("is a file"));
    assert_eq!(std::fs::read(&path).expect("read"), b"x");
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    file.append(Bytes::from_static(b"kept")).expect("appended");
    file.sync().expect("synced");
    disk.sync_folder("a").expect("synced");
    file.append(Bytes::from_static(b"lost")).expect("appended");
    disk.open("a", "unlisted").expect("opened").sync().expect("synced");
    disk.open("b", "x").expect("opened");
    disk.crash();
    assert_eq!(disk.open("a", "x").expect("opened").size(), 4);
    assert_eq!(disk.files("a").expect("listed"), ["x"], "a synced file in a folder that was not synced is gone");
    assert_eq!(disk.folders().expect("listed"), ["a"]);
}

#[test]
fn faults_come_when_asked_for_and_change_nothing() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    disk.fail_after(2);
    file.append(Bytes::from_static(b"one")).expect("appended");
    file.sync().expect("synced");
    for _ in 0..3 {
        assert_eq!(file.append(Bytes::from_static(b"two")).expect_err("a fault").to_string(), "injected fault");
        file.truncate(0).expect_err("a fault");
        file.sync().expect_err("a fault");
        disk.sync_folder("a").expect_err("a fault");
        disk.rename("a", "x", "y").expect_err("a fault");
        disk.remove("a", "x").expect_err("a fault");
        disk.remove_folder("a").expect_err("a fault");
    }
    assert_eq!((&file.read(0, 10).expect("read")[..], disk.files("a").expect("listed")), (&b"one"[..], vec!["x".to_owned()]));
    disk.heal();
    file.append(Bytes::from_static(b"two")).expect("appended");
}

#[test]
fn a_failed_sync_makes_nothing_durable() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    disk.sync_folder("a").expect("synced");
    disk.inject(Fault::Syncs, 0);
    file.append(Bytes::from_static(b"lost")).expect("appends work");
    file.sync().expect_err("a fault");
    disk.sync_folder("a").expect_err("a fault");
    disk.crash();
    assert_eq!(disk.size("a", "x").expect("seen"), Some(0));
    disk.open("a", "x").expect("opened").sync().expect("a crash heals");
}

#[test]
fn a_torn_append_leaves_half_of_it_behind_what_is_counted() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    disk.inject(Fault::TornAppends, 1);
    file.append(Bytes::from_static(b"whole")).expect("appended");
    file.append(Bytes::from_static(b"torn")).expect_err("a fault");
    assert_eq!((file.size(), &file.read(0, 100).expect("read")[..]), (5, &b"whole"[..]), "who has it open does not see it");
    file.sync().expect("syncs work");
    disk.heal();
    let again = disk.open("a", "x").expect("opened");
    assert_eq!((again.size(), disk.size("a", "x").expect("seen")), (7, Some(7)));
    assert_eq!(&again.read(5, 100).expect("read")[..], b"to");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    disk.fill_after(8);
    file.append(Bytes::from_static(b"whole")).expect("appended");
    for _ in 0..2 {
        assert_eq!(file.append(Bytes::from_static(b"torn")).expect_err("full").kind(), std::io::ErrorKind::StorageFull);
    }
    file.sync().expect("syncs work");
    assert_eq!(disk.size("a", "x").expect("seen"), Some(8));
}

#[test]
fn a_flipped_bit_changes_only_what_is_read_later() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    file.append(Bytes::from_static(b"ab")).expect("appended");
    let before = file.read(0, 2).expect("read");
    disk.flip("a", "x", 1, 0);
    assert_eq!((&before[..], &file.read(0, 2).expect("read")[..]), (&b"ab"[..], &b"ac"[..]));
}

#[test]
fn a_fork_goes_its_own_way() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    file.append(Bytes::from_static(b"both")).expect("appended");
    let fork = disk.fork();
    file.append(Bytes::from_static(b"one")).expect("appended");
    fork.open("a", "y").expect("opened");
    assert_eq!((disk.files("a").expect("listed").len(), fork.files("a").expect("listed").len()), (1, 2));
    fork.crash();
    assert_eq!((disk.size("a", "x").expect("seen"), fork.size("a", "x").expect("seen")), (Some(7), None));
}

/// Everything that a power cut may leave comes up, and never less than what was durable.
#[test]
fn chance_leaves_some_of_what_was_not_durable() {
    let (mut sizes, mut listed, mut damaged) = (std::collections::BTreeSet::new(), [0; 3], 0);
    for seed in 0..300 {
        let disk = MemoryDisk::new();
        let file = disk.open("a", "x").expect("opened");
        file.append(Bytes::from_static(b"kept")).expect("appended");
        file.sync().expect("synced");
        for name in ["first", "second"] {
            disk.open("a", name).expect("opened");
        }
        disk.sync_folder("a").expect("synced");
        file.append(Bytes::from_static(b"perhaps")).expect("appended");
        disk.open("a", "new").expect("opened");
        disk.remove("a", "first").expect("removed");
        disk.remove("a", "second").expect("removed");
        disk.crash_by_chance(seed);
        let read = super::read_whole(&disk, "a", "x").expect("read").expect("there");
        assert!(read.starts_with(b"kept"), "{read:?}");
        damaged += usize::from(!b"keptperhaps".starts_with(&read));
        sizes.insert(read.len());
        let there = |name| disk.size("a", name).expect("seen").is_some();
        assert!(there("second") || !there("first"), "the last removal is undone first");
        for (count, name) in listed.iter_mut().zip(["new", "first", "second"]) {
            *count += usize::from(there(name));
        }
    }
    assert_eq!(sizes, (4..=11).collect());
    assert!(listed.iter().all(|count| (50..250).contains(count)) && (50..150).contains(&damaged), "{listed:?} {damaged}");
}

#[test]
fn memory_keeps_what_was_appended_without_copying() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", "x").expect("opened");
    let bytes = Bytes::from(vec![7; 1000]);
    file.append(bytes.clone()).expect("appended");
    let read = file.read(10, 20).expect("read");
    assert_eq!(read.as_ptr(), bytes[10..].as_ptr());
}

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<u8>),
    Truncate(u8),
    Read(u8, u8),
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Operation::Append),
        1 => any::<u8>().prop_map(Operation::Truncate),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(from, length)| Operation::Read(from, length)),
        1 => Just(Operation::Reopen),
    ]
}

/// A file is as a vector of bytes: what is read is what was appended and not cut, in as many pieces as it likes.
fn check_against_a_vector(disk: &dyn Disk, operations: &[Operation]) {
    let mut model: Vec<u8> = Vec::new();
    let mut file = disk.open("m", "f").expect("opened");
    file.truncate(0).expect("cut");
    for operation in operations {
        match operation {
            Operation::Append(bytes) => {
                file.append(Bytes::copy_from_slice(bytes)).expect("appended");
                model.extend_from_slice(bytes);
            }
            Operation::Truncate(size) => {
                let size = usize::from(*size).min(model.len());
                file.truncate(size as u64).expect("cut");
                model.truncate(size);
            }
            Operation::Read(from, length) => {
                let (from, length) = (usize::from(*from), usize::from(*length));
                let piece = file.read(from as u64, length).expect("read");
                let there = model.get(from..).unwrap_or_default();
                assert!(piece.len() <= length && there.starts_with(&piece), "{from} {length}: {piece:?} of {there:?}");
                assert_eq!(piece.is_empty(), there.is_empty() || length == 0, "empty only at the end");
            }
            Operation::Reopen => file = disk.open("m", "f").expect("opened"),
        }
        assert_eq!(file.size(), model.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_is_as_a_vector(operations in proptest::collection::vec(operation(), 0..40)) {
        check_against_a_vector(&MemoryDisk::new(), &operations);
        let dir = tempfile::tempdir().expect("a temporary folder");
        check_against_a_vector(&FileDisk::open(dir.path()).expect("opened"), &operations);
    }
}
