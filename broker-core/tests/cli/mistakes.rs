//! What the program says of the likeliest mistakes: each names the thing, what was expected, and the next step.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use super::{Kafka, program};

/// What a broker says that cannot start.
fn refused(words: &[&str]) -> String {
    let Output { status, stderr, .. } = program().args(words).output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{words:?}: {told}");
    told
}

fn check(told: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(told.contains(part), "'{part}' in: {told}"));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn addresses() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    check(&refused(&["--listen", &taken]), &[&taken, "another process listens there", "name another port"]);
    for wrong in ["127.0.0.1", "9092", "localhost:9092x"] {
        check(&refused(&["--listen", wrong]), &[&format!("'{wrong}'"), "expected host:port, as in 127.0.0.1:9092"]);
    }
    check(&refused(&["--listen", "192.0.2.1:0"]), &["'192.0.2.1:0'", "no address of this machine"]);
    check(&refused(&["topics", "list", "-b", "127.0.0.1:1"]), &["127.0.0.1:1", "no broker listens there", "--bootstrap-server"]);
}

#[test]
fn settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.properties");
    check(&refused(&["--config", path(&file)]), &["--config", path(&file), "No such file"]);
    std::fs::write(
        &file,
        "num.partition=3\nlog.dirs=/data\nlog.retention.hours=1\nprocess.roles=broker\ndelete.topic.enable=true\n",
    )
    .unwrap();
    check(
        &refused(&["--config", path(&file), "--set", "nonsense"]),
        &[
            ":1: num.partition is no setting of this broker: did you mean num.partitions?",
            ":2: log.dirs is no setting of this broker: the folder is --dir",
            ":3: log.retention.hours is no setting of this broker: log.retention.ms is",
            ":4: process.roles is no setting of this broker: take it out",
            ":5: delete.topic.enable is no setting of this broker: take it out",
            "--set nonsense: expected name=value",
        ],
    );
    let missing = folder.path().join("absent.pem");
    let keystore = format!("ssl.keystore.location={}", path(&missing));
    check(
        &refused(&["--listen", "SSL://127.0.0.1:0", "--set", &keystore]),
        &["ssl.keystore.location", path(&missing), "No such file", "a PEM file with the private key and the certificates"],
    );
    check(&refused(&["--listen", "SSL://127.0.0.1:0"]), &["needs ssl.keystore.location: a PEM file with the private key"]);
}

#[test]
fn two_brokers_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = Kafka::with(&["--dir", path(folder.path())]);
    let told = refused(&["--listen", "127.0.0.1:0", "--dir", path(folder.path())]);
    check(&told, &[path(folder.path()), "is in use by process", "stop that, or take another folder"]);
    drop(first);
}

#[test]
fn topics_and_groups_that_are_not_there() {
    let kafka = Kafka::new();
    let topic = kafka.name("absent");
    for words in [&["topics", "describe", &topic][..], &["consume", "-t", &topic], &["topics", "delete", &topic]] {
        check(&kafka.refused(words), &[&format!("'{topic}'"), "UNKNOWN_TOPIC_OR_PARTITION (3)"]);
    }
    check(&kafka.refused(&["consume", "-t", &topic]), &["`broker topics list` names those that there are"]);
}
