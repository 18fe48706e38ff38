//! The program `broker` and its subcommands, as processes. With `CLI_BOOTSTRAP=host:port` the subcommands are run against the
//! Kafka that serves there, in place of a broker of our own.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

mod mistakes;
mod security;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(60);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_broker"))
}

/// A cluster to talk to.
struct Kafka {
    bootstrap: String,
    /// A name that no other run of these tests has, where topics outlive the test.
    run: String,
    broker: Option<Child>,
}

impl Kafka {
    fn new() -> Self {
        let run = format!("{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], "");
        if let Ok(bootstrap) = std::env::var("CLI_BOOTSTRAP") {
            return Self { bootstrap, run, broker: None };
        }
        let mut kafka = Self::with(&["--set", "group.initial.rebalance.delay.ms=0"]);
        kafka.run = run;
        kafka
    }

    /// A broker of our own, started with these.
    fn with(words: &[&str]) -> Self {
        let mut broker =
            program().args(["--listen", "127.0.0.1:0"]).args(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(broker.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let bootstrap = ready.strip_prefix("ready at ").unwrap().split(' ').next().unwrap().to_owned();
        Self { bootstrap, run: String::new(), broker: Some(broker) }
    }

    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.run)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command.args(words).args(["--bootstrap-server", &self.bootstrap]);
        // A broker of our own is in the clear, whatever the other one asks for.
        if self.broker.is_none()
            && let Ok(file) = std::env::var("CLI_COMMAND_CONFIG")
        {
            command.args(["--command-config", &file]);
        }
        command
    }

    fn run_with(&self, words: &[&str], input: &str) -> Output {
        let mut child = self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whoever refuses its arguments reads no input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Its standard output; an error is the test's.
    fn ok(&self, words: &[&str], input: &str) -> String {
        let output = self.run_with(words, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its error.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.run_with(words, "");
        assert!(!output.status.success(), "{words:?} went well");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Repeats until the output is what `enough` wants.
    fn until(&self, what: &str, words: &[&str], enough: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let found = self.ok(words, "");
            if enough(&found) {
                return found;
            }
            assert!(begun.elapsed() < DEADLINE, "after {DEADLINE:?}, still waiting for {what}: {found}");
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(broker) = &mut self.broker {
            let _ = broker.kill();
            let _ = broker.wait();
        }
    }
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("key{number}:value{number}\n")).collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn topics_are_made_changed_and_deleted() {
    let kafka = Kafka::new();
    let topic = kafka.name("topics");
    kafka.ok(&["topics", "create", &topic, "--partitions", "2", "--config", "retention.ms=3600000"], "");
    assert!(kafka.ok(&["topics", "list"], "").lines().any(|name| name == topic));
    let twice = kafka.refused(&["topics", "create", &topic]);
    assert!(twice.contains(&topic) && twice.contains("TOPIC_ALREADY_EXISTS (36)"), "{twice}");
    kafka.ok(&["topics", "alter", &topic, "--partitions", "3", "--config", "cleanup.policy=compact"], "");
    let told = kafka.until("three partitions", &["topics", "describe", &topic], |told| told.lines().count() == 5);
    let head = told.lines().next().unwrap();
    assert!(head.contains("retention.ms=3600000") && head.contains("cleanup.policy=compact"), "{told}");
    kafka.ok(&["topics", "alter", &topic, "--delete-config", "retention.ms"], "");
    let told = kafka.ok(&["topics", "describe", &topic], "");
    assert!(!told.contains("retention.ms"), "{told}");
    let fewer = kafka.refused(&["topics", "alter", &topic, "--partitions", "1"]);
    assert!(fewer.contains("INVALID_PARTITIONS (37)"), "{fewer}");
    let unknown = kafka.refused(&["topics", "alter", &topic, "--config", "retention.mss=1"]);
    assert!(unknown.contains("INVALID_CONFIG (40)") && unknown.contains("retention.mss"), "{unknown}");
    kafka.ok(&["topics", "delete", &topic], "");
    kafka.until("the topic's end", &["topics", "list"], |names| names.lines().all(|name| name != topic));
    let gone = kafka.refused(&["topics", "describe", &topic]);
    assert!(gone.contains(&topic) && gone.contains("UNKNOWN_TOPIC_OR_PARTITION (3)"), "{gone}");
}

#[test]
fn what_is_produced_is_consumed() {
    let kafka = Kafka::new();
    let topic = kafka.name("records");
    kafka.ok(&["topics", "create", &topic, "--partitions", "3"], "");
    for (number, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let input = lines(number * 100..number * 100 + 100);
        let words = ["produce", "-t", &topic, "-K", ":", "-H", "from=here", "--compression-type", codec];
        kafka.ok(&words, &input);
    }
    let words = ["consume", "-t", &topic, "--from-beginning", "-e", "--print-key", "--separator", ":", "--print-headers"];
    let all = lines(0..500);
    let expected: Vec<String> = sorted(&all).iter().map(|line| format!("from=here:{line}")).collect();
    assert_eq!(sorted(&kafka.ok(&words, "")), expected);
    // One key, one partition, as every client does it: murmur2 of "key7" modulo 3.
    let words = ["consume", "-t", &topic, "--from-beginning", "-e", "--json"];
    let found = kafka.ok(&words, "");
    let one = found.lines().find(|line| line.contains("\"value7\"")).unwrap();
    assert!(
        one.contains(&format!("\"topic\":\"{topic}\",\"partition\":")) && one.contains("\"headers\":[[\"from\",\"here\"]]"),
        "{one}"
    );
    // Tombstones; the end of the line as Windows writes it.
    kafka.ok(&["produce", "-t", &topic, "-p", "1", "-K", ":", "--null-marker", "gone"], "a:gone\r\n");
    let last = kafka.ok(&["consume", "-t", &topic, "-p", "1", "-o", "-1", "-n", "1", "--json"], "");
    assert!(last.contains("\"key\":\"a\",\"value\":null,\"headers\":[]"), "{last}");
    let nowhere = kafka.refused(&["consume", "-t", &topic, "-p", "1", "-o", "100000", "-n", "1"]);
    assert!(nowhere.contains("has offsets 0 to ") && nowhere.contains("not 100000"), "{nowhere}");
    let keyless = kafka.run_with(&["produce", "-t", &topic, "-K", "|"], "a|1\nb2\n");
    assert!(String::from_utf8_lossy(&keyless.stderr).contains("line 2: no '|' between key and value"));
    let found = kafka.ok(&["consume", "-t", &topic, "--from-beginning", "-e", "--print-key", "--separator", "|"], "");
    assert!(found.lines().any(|line| line == "a|1"), "what stood before the bad line is sent");
    let partition = kafka.refused(&["consume", "-t", &topic, "-p", "9"]);
    assert!(partition.contains("partitions 0 to 2, not 9"), "{partition}");
}

/// A consumer in a group, line by line.
struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn new(kafka: &Kafka, words: &[&str]) -> Self {
        let mut child = kafka.command(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Ctrl-c: it commits and leaves.
    fn interrupt(mut self) {
        let interrupted = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn groups_read_commit_and_are_moved() {
    let kafka = Kafka::new();
    let (topic, group) = (kafka.name("read"), kafka.name("readers"));
    kafka.ok(&["topics", "create", &topic, "--partitions", "2"], "");
    for partition in ["0", "1"] {
        kafka.ok(&["produce", "-t", &topic, "-p", partition], "a\nb\nc\n");
    }
    let words = ["consume", "-t", &topic, "-g", &group, "--from-beginning"];
    assert_eq!(kafka.ok(&[&words[..], &["-n", "4"]].concat(), "").lines().count(), 4);
    assert_eq!(kafka.ok(&[&words[..], &["-n", "2"]].concat(), "").lines().count(), 2, "it goes on where it was");
    let described = |all: &dyn Fn(&str) -> bool| {
        kafka.until("the group", &["groups", "describe", &group, "--json"], |told| {
            told.lines().filter(|line| all(line)).count() == 2
        })
    };
    described(&|line| line.contains("\"committed\":3,\"end\":3,\"lag\":0,\"member\":null"));
    // Two members share two partitions.
    let mut one = Running::new(&kafka, &words);
    let mut other = Running::new(&kafka, &words);
    let members = kafka.until("two members", &["groups", "describe", &group], |told| {
        let readers: std::collections::BTreeSet<_> =
            told.lines().skip(2).filter_map(|line| line.split_whitespace().nth(5)).collect();
        told.contains("Stable, 2 members, assignor range") && readers.len() == 2
    });
    assert!(
        kafka.ok(&["groups", "list"], "").lines().any(|line| line.starts_with(&group) && line.contains("Stable")),
        "{members}"
    );
    for partition in ["0", "1"] {
        kafka.ok(&["produce", "-t", &topic, "-p", partition], "d\n");
    }
    assert_eq!((one.line(), other.line()), ("d".to_owned(), "d".to_owned()));
    let moved = ["groups", "reset-offsets", &group, "--topic", &topic, "--to-offset", "1"];
    let busy = kafka.refused(&[&moved[..], &["--execute"]].concat());
    assert!(busy.contains("while it has no members"), "{busy}");
    one.interrupt();
    other.interrupt();
    described(&|line| line.contains("\"committed\":4,\"end\":4,\"lag\":0,\"member\":null"));
    // Moved, once it is empty; first only shown.
    let plan = kafka.ok(&moved, "");
    assert!(plan.contains("nothing was changed"), "{plan}");
    described(&|line| line.contains("\"committed\":4"));
    kafka.ok(&[&moved[..], &["--execute"]].concat(), "");
    described(&|line| line.contains("\"committed\":1,\"end\":4,\"lag\":3"));
    kafka.ok(&["groups", "reset-offsets", &group, "--topic", &topic, "--shift-by", "-1", "--partition", "0", "--execute"], "");
    let told = kafka.ok(&["groups", "describe", &group, "--json"], "");
    assert!(told.contains("\"partition\":0,\"committed\":0") && told.contains("\"partition\":1,\"committed\":1"), "{told}");
    for (to, committed) in [("--to-latest", 4), ("--to-earliest", 0), ("--to-datetime=2020-01-01T00:00:00Z", 0)] {
        kafka.ok(&["groups", "reset-offsets", &group, "--topic", &topic, to, "--execute"], "");
        described(&|line| line.contains(&format!("\"committed\":{committed},")));
    }
    kafka.ok(&["groups", "delete-offsets", &group, "--topic", &topic], "");
    let _ = kafka.run_with(&["groups", "delete", &group], "");
    let gone = kafka.refused(&["groups", "describe", &group]);
    assert!(gone.contains(&format!("group '{group}' does not exist")) || gone.contains("GROUP_ID_NOT_FOUND (69)"), "{gone}");
}

#[test]
fn who_waits_for_records_waits_from_when_the_group_gave_partitions() {
    let kafka = Kafka::with(&["--set", "group.initial.rebalance.delay.ms=1500"]);
    kafka.ok(&["produce", "-t", "t"], "one\n");
    let printed = kafka.ok(&["consume", "-t", "t", "-g", "g", "--from-beginning", "--timeout-ms", "1000"], "");
    assert_eq!(printed, "one\n");
}

#[test]
fn speed_is_measured() {
    let kafka = Kafka::new();
    let topic = kafka.name("perf");
    kafka.ok(&["topics", "create", &topic, "--partitions", "1"], "");
    let words = ["perf", "produce", "-t", &topic, "--num-records", "20000", "--compression-type", "lz4", "--json"];
    let told = kafka.ok(&words, "");
    assert!(told.starts_with("{\"perf\":\"produce\",\"records\":20000,\"records_per_s\":"), "{told}");
    let slow = kafka.ok(&["perf", "produce", "-t", &topic, "--num-records", "100", "--throughput", "200"], "");
    assert!(slow.starts_with("100 records acknowledged, ") && slow.contains("p99.9"), "{slow}");
    let rate: f64 = slow.split(", ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(rate < 210.0, "no faster than asked: {slow}");
    let told = kafka.ok(&["perf", "consume", "-t", &topic, "--num-records", "20100"], "");
    assert!(told.starts_with("20100 records read, "), "{told}");
    let few = kafka.refused(&["perf", "consume", "-t", &topic, "--num-records", "20101", "--timeout-ms", "1"]);
    assert!(few.contains("20100 of 20101 records came, then nothing"), "{few}");
}

#[test]
fn numbers_are_told_over_http() {
    let mut broker = program()
        .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(broker.stderr.take().unwrap()).lines();
    let told = lines.find_map(|line| line.unwrap().strip_prefix("metrics at http://").map(str::to_owned)).unwrap();
    let (address, path) = told.split_once('/').unwrap();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    };
    let numbers = get(path);
    assert!(numbers.starts_with("HTTP/1.1 200 OK\r\n") && numbers.contains("\nkafka_server_connections 0\n"), "{numbers}");
    assert!(get("other").starts_with("HTTP/1.1 404 "));
    broker.kill().unwrap();
    broker.wait().unwrap();
}

#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let mut broker = program();
    broker.args(["--listen", "127.0.0.1:0"]).env_remove("NO_COLOR").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut broker = broker.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(broker.stderr.take().unwrap()).read_line(&mut line).unwrap();
    broker.kill().unwrap();
    broker.wait().unwrap();
    assert!(line.contains("serving") && !line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn what_cannot_be_is_said() {
    // Nobody serves there.
    let nobody = program().args(["topics", "list", "-b", "127.0.0.1:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("cannot connect to 127.0.0.1:1"));
    for (words, told) in [
        (&["produce"][..], "--topic"),
        (&["produce", "-t", "t", "--acks", "2"], "0, 1 or all"),
        (&["produce", "-t", "t", "--compression-type", "zip"], "none, gzip, snappy, lz4 or zstd"),
        (&["consume", "-t", "t", "-g", "g", "-o", "4"], "cannot be used with"),
        (&["groups", "reset-offsets", "g", "--topic", "t"], "--to-earliest"),
        (&["topics", "create", "t", "--config", "retention.ms"], "expected NAME=VALUE"),
        (&["--dir", "/nowhere", "topics", "list"], "cannot be used with"),
    ] {
        let output = program().args(words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(told), "{words:?}: {errors}");
    }
}
