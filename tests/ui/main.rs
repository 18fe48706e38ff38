//! The compiler as a test subject: one mistake a case, and exactly one error, at the token that is wrong, with the form that
//! works. The expected texts are those of the pinned toolchain. Write them anew with `TRYBUILD=overwrite cargo test -p ui-tests`.
//!
//! The cases compile in a folder of their own, with all that this package depends on: it is a package of its own because that is
//! little, and what must compile is a test of its own because then the rest is checked only.

use std::path::Path;

fn errors(directory: &str) -> Vec<(String, usize)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut counts = Vec::new();
    for entry in std::fs::read_dir(&directory).expect("the directory is part of the package") {
        let path = entry.expect("the directory can be listed").path();
        if path.extension().is_some_and(|extension| extension == "stderr") {
            let text = std::fs::read_to_string(&path).expect("the file can be read");
            let count = text.lines().filter(|line| line.starts_with("error")).count();
            let warnings = text.lines().filter(|line| line.starts_with("warning")).count();
            counts.push((path.display().to_string(), count + warnings));
        }
    }
    counts.sort();
    counts
}

/// The compiler whose words the expected texts are.
const PINNED: &str = "rustc 1.95.";

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = std::process::Command::new(rustc).arg("--version").output().expect("the compiler that built this runs");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn wrong_listeners_are_told_once() {
    let compiler = compiler();
    if !compiler.starts_with(PINNED) {
        eprintln!("left out: the texts are those of {PINNED}x, this is {compiler}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("fail/*.rs");
    cases.compile_fail("many/*.rs");
}

#[test]
fn each_wrong_listener_has_exactly_one_error() {
    let counts = errors("fail");
    assert!(counts.len() >= 25, "{} cases", counts.len());
    let wrong: Vec<_> = counts.iter().filter(|(_, count)| *count != 1).collect();
    assert!(wrong.is_empty(), "not exactly one message: {wrong:#?}");
}

#[test]
fn several_mistakes_are_told_together() {
    for (case, count) in errors("many") {
        assert!(count > 1, "{case} has {count} messages");
    }
}
