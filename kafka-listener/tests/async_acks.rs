//! Acknowledgments that leave the listener's call: made elsewhere, in any order, late, or never.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test are no test functions")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_listener::container::EventKind;
use kafka_listener::listener::AckErrorKind;
use kafka_listener::prelude::*;
use kafka_listener::testing::{RunningTestApp, TestApp};

/// What was delivered, in order, and the acknowledgments that are still held, by offset.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<State>>);

type State = (Vec<i64>, BTreeMap<i64, Acknowledgment>);

impl Held {
    fn delivered(&self) -> Vec<i64> {
        self.0.lock().unwrap().0.clone()
    }

    fn take(&self, offset: i64) -> Acknowledgment {
        self.0.lock().unwrap().1.remove(&offset).unwrap()
    }

    /// Fails this often on offset 1, else keeps the acknowledgment and returns.
    fn listener(&self, failures: usize, mode: AckMode) -> Listener {
        let held = self.clone();
        let listener = move |_: String, Offset(offset): Offset, acknowledgment: Acknowledgment| {
            let mut state = held.0.lock().unwrap();
            state.0.push(offset);
            let fails = offset == 1 && state.0.iter().filter(|seen| **seen == 1).count() <= failures;
            if !fails {
                state.1.insert(offset, acknowledgment);
            }
            async move { if fails { Err(std::fmt::Error) } else { Ok(()) } }
        };
        Listener::new("l", listener).topic("t").group_id("g").ack_mode(mode).container_factory("f")
    }
}

async fn app(listener: Listener, factory: ContainerFactory) -> RunningTestApp {
    let handler = DefaultErrorHandler::new(FixedBackOff::new(Duration::from_millis(50), 2));
    let factory = factory.async_acks(true).error_handler(handler);
    let app = TestApp::new().topic(NewTopic::new("t").partitions(1)).factory(factory).listener(listener).start().await.unwrap();
    for _ in 0..4 {
        app.template().send("t", "v".to_owned()).await.unwrap();
    }
    app
}

fn factory() -> ContainerFactory {
    ContainerFactory::named("f").shutdown_timeout(Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn acknowledgments_in_reverse_commit_once_without_a_gap() {
    for (mode, failures) in [(AckMode::Manual, 0), (AckMode::Manual, 2), (AckMode::ManualImmediate, 2)] {
        let held = Held::default();
        let app = app(held.listener(failures, mode), factory()).await;
        app.wait_for("all records", || held.delivered().last() == Some(&3)).await.unwrap();
        for offset in [3, 2, 1] {
            held.take(offset).acknowledge().await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), None, "{mode}: offset 0 is open");
        }
        held.take(0).acknowledge().await.unwrap();
        app.committed("g", "t", 0).reaches(4).await.unwrap();
        app.shutdown().await.unwrap();
        assert_eq!(held.delivered().len(), 4 + failures);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_given_up_is_done_and_does_not_hold_the_others_up() {
    let held = Held::default();
    let app = app(held.listener(3, AckMode::Manual), factory()).await;
    app.wait_for("all records", || held.delivered().last() == Some(&3)).await.unwrap();
    for offset in [2, 3, 0] {
        held.take(offset).acknowledge().await.unwrap();
    }
    app.committed("g", "t", 0).reaches(4).await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(held.delivered(), [0, 1, 1, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn open_records_have_a_bound() {
    let held = Held::default();
    let app = app(held.listener(0, AckMode::Manual), factory().max_unacked(2)).await;
    app.wait_for("two records", || held.delivered().len() == 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(held.delivered(), [0, 1]);
    // Behind a gap it is open still.
    held.take(1).acknowledge().await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(held.delivered(), [0, 1]);
    held.take(0).acknowledge().await.unwrap();
    app.wait_for("the others", || held.delivered().len() == 4).await.unwrap();
    app.committed("g", "t", 0).reaches(2).await.unwrap();
    app.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_and_a_late_acknowledgment_are_told_and_the_record_comes_again() {
    let held = Held::default();
    let app = app(held.listener(0, AckMode::Manual), factory().ack_timeout(Duration::from_secs(20))).await;
    let mut events = app.events();
    app.wait_for("all records", || held.delivered().len() == 4).await.unwrap();
    held.take(0).acknowledge().await.unwrap();
    drop(held.take(2));
    let mut told = Vec::new();
    while told.len() < 2 {
        if let EventKind::AckMissing { partition, offset, dropped } = &events.next().await.unwrap().kind {
            told.push(format!("{partition}@{offset} dropped {dropped}"));
        }
    }
    assert_eq!(told, ["t-0@2 dropped true", "t-0@1 dropped false"]);
    let container = app.registry().get("l").unwrap();
    container.stop().await;
    let error = held.take(3).acknowledge().await.unwrap_err();
    assert!(error.kind() == AckErrorKind::Stale && error.to_string().contains("t-0@3"), "{error}");
    container.start().await.unwrap();
    app.wait_for("what was open", || held.delivered().len() == 7).await.unwrap();
    assert_eq!(held.delivered(), [0, 1, 2, 3, 1, 2, 3]);
    assert_eq!(app.committed("g", "t", 0).get().await.unwrap(), Some(1));
    app.shutdown().await.unwrap();
}

/// Found by a simulation: an acknowledgment that came during the call counted the record in hand as open, so that its partition
/// paused; when the call then failed, nothing resumed it.
#[tokio::test(start_paused = true)]
async fn a_record_that_fails_while_another_is_acknowledged_is_retried() {
    let seen: Arc<Mutex<Vec<i32>>> = Arc::default();
    let held: Arc<Mutex<Option<Acknowledgment>>> = Arc::default();
    let (log, kept) = (seen.clone(), held.clone());
    let listener = move |_: String, Partition(partition): Partition, acknowledgment: Acknowledgment| {
        let (first, kept) = {
            let mut log = log.lock().unwrap();
            log.push(partition);
            (log.iter().filter(|seen| **seen == partition).count() == 1, kept.clone())
        };
        async move {
            match (partition, first) {
                (0, _) => drop(kept.lock().unwrap().replace(acknowledgment)),
                (_, true) => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    return Err(std::fmt::Error);
                }
                (_, false) => acknowledgment.acknowledge().await.unwrap(),
            }
            Ok(())
        }
    };
    let listener = Listener::new("l", listener).topic("t").group_id("g").ack_mode(AckMode::Manual).container_factory("f");
    let factory = factory().async_acks(true).max_unacked(1);
    let app = TestApp::new().topic(NewTopic::new("t").partitions(2)).factory(factory).listener(listener).start().await.unwrap();
    app.template().send_to("t", 0, (), "v".to_owned()).await.unwrap();
    app.wait_for("partition 0", || held.lock().unwrap().is_some()).await.unwrap();
    app.template().send_to("t", 1, (), "v".to_owned()).await.unwrap();
    app.wait_for("partition 1", || seen.lock().unwrap().len() == 2).await.unwrap();
    let acknowledgment = held.lock().unwrap().take().unwrap();
    acknowledgment.acknowledge().await.unwrap();
    app.committed("g", "t", 1).reaches(1).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 1]);
    app.shutdown().await.unwrap();
}
