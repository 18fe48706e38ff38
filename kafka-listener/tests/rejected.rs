//! Elements of a batch that do not decode, where recovering them fails, on the embedded broker under a paused clock.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_listener::client::BoxFuture;
use kafka_listener::container::EventKind;
use kafka_listener::error::{BoxError, Failure, RecoverContext, Recoverer};
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

type Rows = Batch<ConsumerRecord<(), Json<u64>>>;
type Log = Arc<Mutex<Vec<String>>>;

/// Fails so often with each record.
struct Failing {
    log: Log,
    times: u32,
    failed: Mutex<BTreeMap<(i32, i64), u32>>,
}

impl Recoverer for Failing {
    fn recover<'a>(&'a self, _: &'a RecoverContext, failure: &'a Failure<'a>) -> BoxFuture<'a, Result<(), BoxError>> {
        let place = (failure.topic_partition.partition, failure.record.offset());
        let mut failed = self.failed.lock().unwrap();
        let failed = failed.entry(place).or_default();
        let result = if *failed < self.times { Err("not now".into()) } else { Ok(()) };
        *failed += 1;
        let what = if result.is_ok() { "recovered" } else { "failed" };
        self.log.lock().unwrap().push(format!("{}:{} {what}", place.0, place.1));
        Box::pin(std::future::ready(result))
    }
}

/// An app whose listener `l` starts when all records are there, so that they come as one batch.
async fn app(log: &Log, partitions: i32, times: u32, values: &[(i32, &str)]) -> RunningTestApp {
    let seen = log.clone();
    let listener = Listener::new("l", move |rows: Rows| {
        seen.lock().unwrap().extend(rows.iter().map(|row| format!("{}:{}", row.partition(), row.offset())));
        async {}
    });
    let handler = DefaultErrorHandler::default()
        .recoverer(Failing { log: log.clone(), times, failed: Mutex::default() })
        .recovery_attempts(3);
    let app = TestApp::new()
        .topic(NewTopic::new("t").partitions(partitions))
        .factory(ContainerFactory::named("f").error_handler(handler))
        .listener(listener.topic("t").group_id("g").auto_startup(false).container_factory("f"))
        .start()
        .await
        .unwrap();
    for (partition, value) in values {
        app.template().send_to("t", *partition, (), (*value).to_owned()).await.unwrap();
    }
    app
}

async fn start(app: &RunningTestApp) {
    app.registry().get("l").unwrap().start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn elements_that_cannot_be_recovered_keep_their_order() {
    let log = Log::default();
    let app = app(&log, 1, 1, &[(0, "1"), (0, "bad"), (0, "worse"), (0, "2")]).await;
    start(&app).await;
    app.committed("g", "t", 0).reaches(4).await.unwrap();
    app.shutdown().await.unwrap();
    let expected = ["0:1 failed", "0:0", "0:1 recovered", "0:2 failed", "0:2 recovered", "0:3"];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_element_that_cannot_be_recovered_waits_in_each_partition() {
    let log = Log::default();
    let values: Vec<_> = (0..3).flat_map(|partition| [(partition, "bad"), (partition, "1"), (partition, "2")]).collect();
    let app = app(&log, 3, 1, &values).await;
    start(&app).await;
    for partition in 0..3 {
        app.committed("g", "t", partition).reaches(3).await.unwrap();
    }
    app.shutdown().await.unwrap();
    let log = log.lock().unwrap();
    for partition in 0..3 {
        let of = log.iter().filter_map(|line| line.strip_prefix(&format!("{partition}:"))).collect::<Vec<_>>();
        assert_eq!(of, ["0 failed", "0 recovered", "1", "2"], "partition {partition}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_elements_that_cannot_be_recovered_use_up_the_budget() {
    let log = Log::default();
    let app = app(&log, 1, u32::MAX, &[(0, "bad"), (0, "worse")]).await;
    let mut events = app.events();
    start(&app).await;
    let stopped = async {
        loop {
            if let EventKind::Stopped { reason } = &events.next().await.expect("the app runs").kind {
                return format!("{reason:?}");
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(60), stopped).await.expect("the budget of three is used up");
    assert!(reason.contains("t-0@0: recovering failed 3 times"), "{reason}");
    assert_eq!(*log.lock().unwrap(), ["0:0 failed"; 3]);
}
