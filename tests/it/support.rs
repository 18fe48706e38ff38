//! What the suites share: a log that handlers write, one app, waits that say what they waited for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_listener::container::{EventKind, EventStream, StopReason};
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

/// The batch that the suites' batch listeners take.
pub type Rows = Batch<ConsumerRecord<(), String>>;

/// How long a wait for an event may take, of the test's own time.
const EVENT_DEADLINE: Duration = Duration::from_secs(600);

/// What handlers wrote down, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How often the line is there.
    pub fn count(&self, line: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|other| *other == line).count()
    }
}

/// A failure that may pass.
#[derive(Debug, thiserror::Error)]
#[error("the store is down")]
pub struct StoreDown;

/// An app with topic `t`, whose listener `l` (group `g`, factory `f`) starts when the test says so.
pub fn app(partitions: i32, factory: ContainerFactory, listener: Listener) -> TestApp {
    TestApp::new().topic(NewTopic::new("t").partitions(partitions)).factory(factory).listener(held(listener.topic("t")))
}

/// In group `g`, by factory `f`, not started with the app.
pub fn held(listener: Listener) -> Listener {
    listener.group_id("g").container_factory("f").auto_startup(false)
}

pub fn factory() -> ContainerFactory {
    ContainerFactory::named("f")
}

/// A listener of records that writes down `partition:offset`.
pub fn logging(id: &str, log: &Log) -> Listener {
    let log = log.clone();
    Listener::new(id, move |record: ConsumerRecord<(), String>| {
        log.push(format!("{}:{}", record.partition(), record.offset()));
        async {}
    })
}

/// The same for a batch: a line for each of its records.
pub fn logging_batches(id: &str, log: &Log) -> Listener {
    let log = log.clone();
    Listener::new(id, move |rows: Rows| {
        rows.iter().for_each(|row| log.push(format!("{}:{}", row.partition(), row.offset())));
        async {}
    })
}

pub async fn send(app: &RunningTestApp, topic: &str, partition: i32, count: usize) {
    for _ in 0..count {
        app.template().send_to(topic, partition, (), "v".to_owned()).await.unwrap();
    }
}

pub async fn start(app: &RunningTestApp, id: &str) {
    app.registry().get(id).unwrap().start().await.unwrap();
}

/// Lets this much of the test's time pass.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The committed offset of `t` in group `g`, or `-`.
pub async fn committed(app: &RunningTestApp, partition: i32) -> String {
    shown(app.committed("g", "t", partition).get().await.unwrap())
}

pub fn shown(offset: Option<i64>) -> String {
    offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string())
}

/// The next event that `pick` takes.
pub async fn event<T>(events: &mut EventStream, what: &str, mut pick: impl FnMut(&str, &EventKind) -> Option<T>) -> T {
    let found = tokio::time::timeout(EVENT_DEADLINE, async {
        loop {
            let event = events.next().await.expect("the app runs");
            if let Some(found) = pick(&event.listener_id, &event.kind) {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("after {EVENT_DEADLINE:?}, still waiting for {what}"))
}

/// The reason with which the container `id` ends.
pub async fn stopped(events: &mut EventStream, id: &str) -> StopReason {
    event(events, "the container's end", |listener, kind| match kind {
        EventKind::Stopped { reason } if listener == id => Some(reason.clone()),
        _ => None,
    })
    .await
}
