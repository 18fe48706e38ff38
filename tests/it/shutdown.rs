#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use kafka_listener::prelude::*;

use crate::support::*;

/// Says to the test `child` that it is one, and where its directory is.
const DIRECTORY: &str = "IT_CHILD_DIRECTORY";
/// The same for `child_that_starts`, and whether it is told twice.
const STARTS_IN: &str = "IT_CHILD_STARTS_IN";
const TWICE: &str = "IT_CHILD_TWICE";
/// How long one record takes there, in milliseconds.
const RECORD_MS: &str = "IT_CHILD_RECORD_MS";
/// How long anything of the child may take, of real time.
const DEADLINE: Duration = Duration::from_secs(30);

/// Not a test by itself: what the tests below start as a process of its own.
#[test]
fn child() {
    let (Ok(directory), Ok(record)) = (std::env::var(DIRECTORY), std::env::var(RECORD_MS)) else { return };
    let record = Duration::from_millis(record.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let app = app(Path::new(&directory), false, move |offset| async move {
            println!("start {offset}");
            tokio::time::sleep(record).await;
            println!("end {offset}");
        });
        let app = app.start().await.unwrap();
        for _ in 0..6 {
            app.template().send("t", "v".to_owned()).await.unwrap();
        }
        let container = app.registry().get("l").unwrap().clone();
        let waiting = app.wait();
        tokio::pin!(waiting);
        // Signals are the app's business once it waits; before, they would end the process.
        tokio::select! {
            biased;
            ended = &mut waiting => return ended,
            started = container.start() => started.unwrap(),
        }
        tokio::spawn(async move {
            while container.is_running() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            println!("stopping");
        });
        waiting.await
    });
    println!("ended {}", ended.is_ok());
}

/// Not a test by itself either: an app that is told to stop while it starts.
#[test]
fn child_that_starts() {
    let (Ok(directory), Ok(twice)) = (std::env::var(STARTS_IN), std::env::var(TWICE)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let twice = twice == "true";
    // Layers are built while the app starts.
    let told = factory().shutdown_timeout(Duration::from_secs(3600)).layer(tower::layer::layer_fn(
        move |inner: kafka_listener::handler::BoxedHandler| {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
            println!("told");
            if twice {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).unwrap();
                // It goes on starting, and lets nobody in.
                std::thread::park_timeout(DEADLINE);
            }
            inner
        },
    ));
    let listener = Listener::new("l", |_: String| async {}).topic("t").group_id("g").container_factory("f");
    let app = KafkaApp::builder().environment([]).listeners([]).embedded(Embedded::dir(directory)).factory(told);
    let ended = runtime.block_on(app.topic(NewTopic::new("t").partitions(1)).listener(listener).run());
    println!("ended {}", ended.is_ok());
}

/// Records come two by two. Nothing but a second signal may cut a call short.
fn app<F: Future<Output = ()> + Send + 'static>(
    directory: &Path,
    auto_startup: bool,
    take: impl Fn(i64) -> F + Clone + Send + Sync + 'static,
) -> KafkaAppBuilder {
    let listener = Listener::new("l", move |Offset(offset): Offset, _: String| take(offset));
    let long = Duration::from_secs(3600);
    KafkaApp::builder()
        .environment([])
        .listeners([])
        .embedded(Embedded::dir(directory))
        .topic(NewTopic::new("t").partitions(1))
        .property("auto.offset.reset", "earliest")
        .property("max.poll.records", 2)
        .shutdown_timeout(long)
        .factory(factory().shutdown_timeout(long))
        .listener(listener.topic("t").group_id("g").container_factory("f").auto_startup(auto_startup))
}

/// The child and the lines it writes.
struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    fn start(directory: &Path, record_ms: u64) -> Self {
        let directory = directory.to_str().unwrap().to_owned();
        Self::of("shutdown::child", &[(DIRECTORY, directory), (RECORD_MS, record_ms.to_string())])
    }

    /// This test alone, with these variables.
    fn of(test: &str, variables: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line, until the output ends.
    fn line(&mut self, waited_for: &str, deadline: Instant) -> Option<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("after {DEADLINE:?}, still waiting for {waited_for}: {:?}", self.seen),
        }
    }

    fn until(&mut self, wanted: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.line(wanted, deadline) {
                // libtest writes the test's name before the first line, on the same one.
                Some(line) if line.ends_with(wanted) => return,
                Some(_) => {}
                None => panic!("it ended without '{wanted}': {:?}", self.seen),
            }
        }
    }

    fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while self.line("the end", deadline).is_some() {}
        self.child.wait().unwrap()
    }

    fn count(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens the directory again, takes what was not committed, and returns it with what was.
async fn again(directory: &Path) -> (Option<i64>, Vec<String>) {
    let log = Log::default();
    let seen = log.clone();
    let app = app(directory, true, move |offset| {
        seen.push(offset.to_string());
        async {}
    });
    let app = app.handle_signals(false).start().await.unwrap();
    let before = app.committed("g", "t", 0).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while app.committed("g", "t", 0).await.unwrap() != Some(6) {
        assert!(Instant::now() < deadline, "after {DEADLINE:?}, still waiting for the rest: {:?}", log.lines());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.shutdown().await.unwrap();
    (before, log.lines())
}

#[tokio::test]
async fn sigterm_finishes_what_was_polled_commits_and_the_directory_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), 200);
    process.until("start 1");
    process.terminate();
    assert!(process.end().success());
    assert_eq!(process.count("ended true"), 1, "{:?}", process.seen);
    let done = process.count("end ") as i64;
    assert_eq!(done, process.count("start ") as i64, "no call was cut short");
    assert!((2..6).contains(&done), "{:?}", process.seen);
    let (_, rest) = again(dir.path()).await;
    assert_eq!(rest, (done..6).map(|offset| offset.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_the_record_in_hand_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), 3_600_000);
    process.until("start 0");
    process.terminate();
    process.until("stopping");
    let before = Instant::now();
    process.terminate();
    assert!(process.end().success());
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert_eq!(process.count("end "), 0);
    let (_, rest) = again(dir.path()).await;
    assert_eq!(rest, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_committed_or_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), 200);
    process.until("start 3");
    process.child.kill().unwrap();
    assert!(!process.end().success());
    let (_, rest) = again(dir.path()).await;
    let first: i64 = rest[0].parse().unwrap();
    assert!((2..=3).contains(&first), "two were committed: {rest:?}");
    assert_eq!(rest, (first..6).map(|offset| offset.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_signal_that_comes_while_the_app_starts_stops_it_in_order_and_a_second_ends_it() {
    for twice in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().to_str().unwrap().to_owned();
        let mut process = Process::of("shutdown::child_that_starts", &[(STARTS_IN, directory), (TWICE, twice.to_string())]);
        let end = process.end();
        let expected = if twice { (Some(130), 1, 0) } else { (Some(0), 1, 1) };
        assert_eq!((end.code(), process.count("told"), process.count("ended true")), expected, "{:?}", process.seen);
    }
}
