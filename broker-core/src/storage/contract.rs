//! One suite for both disks.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Disk, FileDisk, MemoryDisk};

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
