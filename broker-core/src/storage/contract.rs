//! One suite for both disks.

use bytes::Bytes;

use super::{Disk, FileDisk, MemoryDisk};

fn check(disk: &dyn Disk) {
    assert!(disk.folders().expect("listed").is_empty());
    let mut file = disk.open("a-0", "x.log").expect("opened");
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
    let mut file = disk.open("a", "x").expect("opened");
    file.append(Bytes::from_static(b"kept")).expect("appended");
    file.sync().expect("synced");
    file.append(Bytes::from_static(b"lost")).expect("appended");
    disk.crash();
    assert_eq!(disk.open("a", "x").expect("opened").size(), 4);
}
