//! The rules of the house that can be read off its text: who may know whom, what pure code may not do, how large a file may be.
//! Tests and what stands behind a `#[cfg(test)]` are no part of the layers. What reality needs stands in a table, with a reason.

use std::path::{Path, PathBuf};

/// The most lines a file may have.
const LINES_MAX: usize = 800;

/// Pure machines and deterministic IO: no runtime, no clock, no threads, no randomness, no unordered maps.
const QUIET: &[&str] = &[
    "broker-core/src/assignor/",
    "broker-core/src/config.rs",
    "broker-core/src/coordinator/",
    "broker-core/src/error.rs",
    "broker-core/src/id.rs",
    "broker-core/src/log/",
    "broker-core/src/partition/",
    "broker-core/src/record/",
    "broker-core/src/time.rs",
    "broker-core/src/topic_config/",
    "kafka-listener/src/ack/",
    "kafka-listener/src/codec/",
    "kafka-listener/src/container/state.rs",
    "kafka-listener/src/error/attempts.rs",
    "kafka-listener/src/error/back_off.rs",
    "kafka-listener/src/error/classify.rs",
    "kafka-listener/src/registry/endpoint.rs",
];

/// What quiet code does not say.
const LOUD: &[&str] = &["tokio", "Instant::now", "SystemTime", "thread::", "spawn(", "HashMap", "HashSet", "rand::", ".await"];

/// Files that may say one of these nevertheless.
const LOUD_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("broker-core/src/partition/signal.rs", "tokio", "wakes fetches that wait; it decides nothing"),
    ("broker-core/src/partition/signal.rs", ".await", "the same"),
    ("broker-core/src/time.rs", "tokio", "one of the clocks that machines are given: it follows a paused runtime"),
    ("broker-core/src/time.rs", "Instant::now", "the same"),
    ("broker-core/src/time.rs", "SystemTime", "one of the clocks that machines are given: the machine's own"),
];

/// Code of the framework outside `client::embedded` that names the broker.
const BROKER_EXCEPTIONS: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// A file of the workspace: its path from the top, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let test_names = ["tests.rs", "model.rs", "contract.rs"];
        !self.path.contains("/src/") || self.path.contains("/tests/") || test_names.contains(&name) || name.ends_with("_tests.rs")
    }

    /// The lines of code, numbered: neither comments nor what only tests have.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(number, line)| (number + 1, line.split("//").next().unwrap_or(line)))
    }
}

fn walk(directory: &Path, endings: &[&str], found: &mut Vec<File>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let text = std::fs::read_to_string(&path).expect("text");
            let path = path.strip_prefix(root()).expect("below the top").to_string_lossy().replace('\\', "/");
            found.push(File { path, text });
        }
    }
}

fn files(endings: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), endings, &mut found);
    assert!(found.len() > 100 || endings != [".rs"], "{} files are too few: the walk is wrong", found.len());
    found
}

fn sources() -> Vec<File> {
    files(&[".rs"])
}

/// All violations are told together.
fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let wrong: Vec<_> = sources()
        .iter()
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines, at most {LINES_MAX}", file.path))
        .collect();
    none("files that are too long", &wrong);
}

#[test]
fn pure_code_is_quiet() {
    let mut wrong = Vec::new();
    let mut used = vec![false; LOUD_EXCEPTIONS.len()];
    let sources = sources();
    for room in QUIET {
        assert!(sources.iter().any(|file| file.path.starts_with(room)), "{room} is gone: draw the table anew");
    }
    for file in sources.iter().filter(|file| !file.is_test() && QUIET.iter().any(|room| file.path.starts_with(room))) {
        for (number, line) in file.code() {
            for word in LOUD.iter().filter(|word| line.contains(**word)) {
                match LOUD_EXCEPTIONS.iter().position(|(path, allowed, _)| *path == file.path && allowed == word) {
                    Some(exception) => used[exception] = true,
                    None => wrong.push(format!("{}:{number}: {word}", file.path)),
                }
            }
        }
    }
    for ((path, word, _), _) in LOUD_EXCEPTIONS.iter().zip(used).filter(|(_, used)| !used) {
        wrong.push(format!("{path} does not say {word} any more: take the exception out"));
    }
    none("pure code that is not", &wrong);
}

#[test]
fn only_the_embedded_client_names_the_broker() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| file.path.starts_with("kafka-listener/src/") && !file.is_test()) {
        let may = file.path.starts_with("kafka-listener/src/client/embedded/")
            || BROKER_EXCEPTIONS.iter().any(|(path, _)| *path == file.path);
        let named = file.code().filter(|(_, line)| line.contains("broker_core") || line.contains("rdkafka"));
        wrong.extend(named.filter(|_| !may).map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("a broker is reached through the client traits", &wrong);
}

#[test]
fn the_broker_knows_nothing_of_listeners() {
    let words = ["listener", "handler", "container", "ack_mode", "ackmode", "kafka_listener"];
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| file.path.starts_with("broker-core/")) {
        for (number, line) in file.text.lines().enumerate() {
            // The socket's type, and Kafka's word for the addresses of a broker.
            let line = line
                .to_ascii_lowercase()
                .replace("tcplistener", "")
                .replace("advertised.listeners", "")
                .replace("`listeners`", "")
                .replace("\"listeners\"", "");
            wrong.extend(
                words.iter().filter(|word| line.contains(**word)).map(|word| format!("{}:{}: {word}", file.path, number + 1)),
            );
        }
    }
    none("words of the framework in the broker, its comments included", &wrong);
}

#[test]
fn the_packages_depend_one_way() {
    for (package, never) in [
        ("broker-core", &["kafka-listener", "kafka-listener-macros"][..]),
        ("kafka-listener-macros", &["kafka-listener", "broker-core"]),
    ] {
        let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).expect("a manifest");
        for line in manifest.lines() {
            let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
            assert!(!never.contains(&key), "{package} depends on {key}");
        }
    }
}

#[test]
fn the_brokers_rooms_know_only_what_is_below_them() {
    let rooms = [
        ("assignor", &["broker", "runtime", "coordinator", "partition", "log", "record", "storage"][..]),
        ("coordinator", &["broker", "runtime", "partition", "log", "storage"]),
        ("storage", &["broker", "runtime", "coordinator", "assignor", "partition", "log"]),
        ("record", &["broker", "runtime", "coordinator", "assignor", "partition", "log", "storage"]),
        ("log", &["broker", "runtime", "coordinator", "assignor", "partition"]),
        ("partition", &["broker", "runtime", "coordinator", "assignor"]),
        ("runtime", &["broker"]),
    ];
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| !file.is_test()) {
        for (room, above) in rooms {
            if !file.path.starts_with(&format!("broker-core/src/{room}/")) {
                continue;
            }
            for (number, line) in file.code() {
                let named = above.iter().filter(|one| line.contains(&format!("crate::{one}::")));
                wrong.extend(named.map(|one| format!("{}:{number}: {room} names {one}", file.path)));
            }
        }
    }
    none("rooms that look up", &wrong);
}

#[test]
fn every_select_says_its_order() {
    let mut wrong = Vec::new();
    let simulated = ["broker-core/src/", "kafka-listener/src/"];
    for file in sources().iter().filter(|file| !file.is_test() && simulated.iter().any(|room| file.path.starts_with(room))) {
        let lines: Vec<_> = file.code().collect();
        for (index, (number, line)) in lines.iter().enumerate().filter(|(_, (_, line))| line.contains("select! {")) {
            let next = lines.get(index + 1).map_or("", |(_, next)| next.trim());
            if next != "biased;" {
                wrong.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none("a select! without `biased;`: a simulation would not run twice alike", &wrong);
}

#[test]
fn library_code_does_not_unwrap() {
    let mut wrong = Vec::new();
    let libraries = ["broker-core/src/", "kafka-listener/src/", "kafka-listener-macros/src/"];
    for file in sources().iter().filter(|file| !file.is_test() && libraries.iter().any(|room| file.path.starts_with(room))) {
        let found = file.code().filter(|(_, line)| line.contains(".unwrap()") || line.contains("todo!("));
        wrong.extend(found.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("an error is returned, or an `expect` says why it cannot be", &wrong);
}

#[test]
fn generated_code_names_only_the_private_module() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| file.path.starts_with("kafka-listener-macros/src/") && !file.is_test()) {
        for (number, line) in file.code() {
            let paths = line.match_indices("::kafka_listener").map(|(at, name)| &line[at + name.len()..]);
            // A message may name the crate alone.
            let strange = paths.filter(|rest| !rest.starts_with("::private") && !rest.starts_with(['"', '`']));
            wrong.extend(strange.map(|rest| format!("{}:{number}: ::kafka_listener{rest}", file.path)));
        }
    }
    none("generated code", &wrong);
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    // Put together here, so that this file does not name them.
    let places = ["root", "home", "work", "Users", "mnt"].map(|name| format!("/{name}/"));
    let mut wrong = Vec::new();
    for file in files(&[".rs", ".toml", ".md", ".stderr", ".sh", ".yml"]) {
        for (number, line) in file.text.lines().enumerate() {
            // An address holds such a word behind its host's name.
            let named = places.iter().any(|place| {
                line.match_indices(place.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|before| !before.is_ascii_alphanumeric() && !matches!(before, '.' | '_' | '-' | '/'))
                })
            });
            if named {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none("absolute places", &wrong);
}

#[test]
fn a_page_names_only_files_that_exist() {
    let mut wrong = Vec::new();
    for page in files(&[".md"]).iter().filter(|file| file.path.starts_with("docs/") || file.path == "README.md") {
        for named in page.text.split('`').skip(1).step_by(2).filter(|text| text.ends_with(".rs") && !text.contains([' ', '*'])) {
            let there =
                [String::new(), "kafka-listener/src/".to_owned()].iter().any(|below| root().join(below).join(named).exists());
            if !there {
                wrong.push(format!("{}: {named}", page.path));
            }
        }
    }
    none("pages name files that are not there", &wrong);
}
