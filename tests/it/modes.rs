use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_listener::prelude::AckMode::{self, *};
use kafka_listener::prelude::*;

use crate::support::*;

/// What the listener does with a delivery, in place of success (in a manual mode, with an acknowledgment).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Do {
    /// Waits these milliseconds first, and looks at the committed offset afterwards.
    Wait(u64),
    /// Fails.
    Fail,
    /// Acknowledges nothing and succeeds.
    NoAck,
    /// Acknowledges, then fails.
    AckThenFail,
    /// Puts the rest back for these milliseconds: from this element on.
    Nack(usize, u64),
    /// Acknowledges a batch up to this element, then fails.
    UpToThenFail(usize),
    /// Acknowledges a batch up to this element and succeeds.
    UpTo(usize),
    /// Fails at this element of a batch.
    FailAt(usize),
}

use Do::*;

/// The offsets of the first delivery that is treated so, once, and how.
type Script = &'static [(i64, Do)];

/// Five records in polls of three; commits after 2 records or a second.
///
/// The result: for each delivery `offset:committed` as the listener sees it on entry (a batch is `first-last:committed`), and
/// `~committed` after a wait. Then the committed offset when the last record has come, two seconds later (a timer), after seven (an empty poll) and
/// after the stop.
async fn play(mode: AckMode, batch: bool, script: Script) -> String {
    let log = Log::default();
    let play = Play { log: log.clone(), script: Arc::new(Mutex::new(script.to_vec())), immediate: mode == ManualImmediate };
    let factory = factory()
        .property("max.poll.records", 3)
        .ack_count(2)
        .ack_time(Duration::from_secs(1))
        .error_handler(DefaultErrorHandler::new(FixedBackOff::new(Duration::ZERO, 3)));
    let app = app(1, factory, play.listener(mode.is_manual(), batch).ack_mode(mode)).start().await.unwrap();
    send(&app, "t", 0, 5).await;
    start(&app, "l").await;
    app.wait_for("the last record", || log.lines().iter().any(|line| line.starts_with("4:") || line.contains("-4:")))
        .await
        .unwrap();
    let mut seen = vec![];
    for seconds in [0, 2, 5] {
        pass(Duration::from_secs(seconds) + Duration::from_millis(20)).await;
        seen.push(committed(&app, 0).await);
    }
    app.registry().get("l").unwrap().stop().await;
    seen.push(committed(&app, 0).await);
    app.shutdown().await.unwrap();
    format!("{} | {}", log.lines().join(" "), seen.join(" "))
}

#[derive(Clone)]
struct Play {
    log: Log,
    script: Arc<Mutex<Vec<(i64, Do)>>>,
    immediate: bool,
}

impl Play {
    fn listener(self, manual: bool, batch: bool) -> Listener {
        let play = self;
        match (manual, batch) {
            (false, false) => Listener::new("l", move |record: ConsumerRecord<(), String>, consumer: ConsumerHandle| {
                play.clone().run(record.offset(), record.offset(), consumer, None)
            }),
            (true, false) => {
                Listener::new("l", move |record: ConsumerRecord<(), String>, consumer: ConsumerHandle, ack: Acknowledgment| {
                    play.clone().run(record.offset(), record.offset(), consumer, Some(ack))
                })
            }
            (false, true) => Listener::new("l", move |rows: Rows, consumer: ConsumerHandle| {
                play.clone().run(rows[0].offset(), rows[rows.len() - 1].offset(), consumer, None)
            }),
            (true, true) => Listener::new("l", move |rows: Rows, consumer: ConsumerHandle, ack: Acknowledgment| {
                play.clone().run(rows[0].offset(), rows[rows.len() - 1].offset(), consumer, Some(ack))
            }),
        }
    }

    async fn run(self, first: i64, last: i64, consumer: ConsumerHandle, ack: Option<Acknowledgment>) -> ListenerResult {
        let there = look(&consumer).await?;
        let place = if first == last { first.to_string() } else { format!("{first}-{last}") };
        self.log.push(format!("{place}:{there}"));
        let step = {
            let mut script = self.script.lock().unwrap();
            let found = script.iter().position(|(offset, _)| (first..=last).contains(offset));
            found.map(|found| script.remove(found).1)
        };
        match step {
            Some(Wait(milliseconds)) => {
                pass(Duration::from_millis(milliseconds)).await;
                self.log.push(format!("~{}", look(&consumer).await?));
            }
            Some(Fail) => return Err(StoreDown.into()),
            Some(NoAck) => return Ok(()),
            Some(AckThenFail) => {
                self.acknowledge(ack.as_ref()).await?;
                return Err(StoreDown.into());
            }
            Some(Nack(0, milliseconds)) if first == last => {
                return Ok(ack.unwrap().nack(Duration::from_millis(milliseconds))?);
            }
            Some(Nack(index, milliseconds)) => {
                return Ok(ack.unwrap().nack_at(index, Duration::from_millis(milliseconds))?);
            }
            Some(UpToThenFail(index)) => {
                ack.unwrap().acknowledge_up_to(index).await?;
                return Err(StoreDown.into());
            }
            Some(UpTo(index)) => return Ok(ack.unwrap().acknowledge_up_to(index).await?),
            Some(FailAt(index)) => {
                return Err(BatchError::at(index, StoreDown).into());
            }
            None => {}
        }
        self.acknowledge(ack.as_ref()).await
    }

    /// In `ManualImmediate` the receipt is the commit's result: it is there before the listener returns.
    async fn acknowledge(&self, ack: Option<&Acknowledgment>) -> ListenerResult {
        if let Some(ack) = ack {
            ack.acknowledge().await?;
            if self.immediate {
                self.log.push("ok");
            }
        }
        Ok(())
    }
}

async fn look(consumer: &ConsumerHandle) -> Result<String, ListenerError> {
    let stored = consumer.committed(&TopicPartition::new("t", 0)).await?;
    Ok(shown(stored.map(|stored| stored.offset)))
}

/// Plays each row; all differences are told together.
async fn check(rows: &[(AckMode, bool, Script, &str)]) {
    let mut wrong = Vec::new();
    for (mode, batch, script, expected) in rows {
        let seen = play(*mode, *batch, script).await;
        if seen != *expected {
            wrong.push(format!("{mode}, batch {batch}, {script:?}:\n  seen     {seen}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const RECORD: bool = false;
const BATCH: bool = true;

#[tokio::test(start_paused = true)]
async fn each_mode_commits_at_its_own_time() {
    check(&[
        (Record, RECORD, &[], "0:- 1:1 2:2 3:3 4:4 | 5 5 5 5"),
        (Batch, RECORD, &[], "0:- 1:- 2:- 3:3 4:3 | 5 5 5 5"),
        (Time, RECORD, &[], "0:- 1:- 2:- 3:- 4:- | - 5 5 5"),
        (Count, RECORD, &[], "0:- 1:- 2:2 3:2 4:4 | 4 4 5 5"),
        (CountTime, RECORD, &[], "0:- 1:- 2:2 3:2 4:4 | 4 5 5 5"),
        (Manual, RECORD, &[], "0:- 1:- 2:- 3:3 4:3 | 5 5 5 5"),
        (ManualImmediate, RECORD, &[], "0:- ok 1:1 ok 2:2 ok 3:3 ok 4:4 ok | 5 5 5 5"),
        (Batch, BATCH, &[], "0-2:- 3-4:3 | 5 5 5 5"),
        (Time, BATCH, &[], "0-2:- 3-4:- | - 5 5 5"),
        (Count, BATCH, &[], "0-2:- 3-4:3 | 5 5 5 5"),
        (CountTime, BATCH, &[], "0-2:- 3-4:3 | 5 5 5 5"),
        (Manual, BATCH, &[], "0-2:- 3-4:3 | 5 5 5 5"),
        (ManualImmediate, BATCH, &[], "0-2:- ok 3-4:3 ok | 5 5 5 5"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_commits_while_the_listener_waits_and_only_then() {
    check(&[
        // What was done before the wait is committed in it, and as much time has passed after it; the other modes know no time.
        (Time, RECORD, &[(1, Wait(3000))], "0:- 1:- ~1 2:2 3:2 4:2 | 2 5 5 5"),
        (CountTime, RECORD, &[(1, Wait(3000))], "0:- 1:- ~1 2:2 3:2 4:4 | 4 5 5 5"),
        (Count, RECORD, &[(1, Wait(3000))], "0:- 1:- ~- 2:2 3:2 4:4 | 4 4 5 5"),
        (Batch, RECORD, &[(1, Wait(3000))], "0:- 1:- ~- 2:- 3:3 4:3 | 5 5 5 5"),
        (Manual, RECORD, &[(1, Wait(3000))], "0:- 1:- ~- 2:- 3:3 4:3 | 5 5 5 5"),
        (Time, BATCH, &[(3, Wait(3000))], "0-2:- 3-4:- ~3 | - 3 5 5"),
        (Batch, BATCH, &[(3, Wait(3000))], "0-2:- 3-4:3 ~3 | 3 3 5 5"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_record_comes_again_and_holds_its_offset_back() {
    check(&[
        (Record, RECORD, &[(1, Fail)], "0:- 1:1 1:1 2:2 3:3 4:4 | 5 5 5 5"),
        // Without a delay it is tried again within its poll.
        (Batch, RECORD, &[(1, Fail)], "0:- 1:- 1:- 2:- 3:3 4:3 | 5 5 5 5"),
        (ManualImmediate, RECORD, &[(1, Fail)], "0:- ok 1:1 1:1 ok 2:2 ok 3:3 ok 4:4 ok | 5 5 5 5"),
        (Batch, BATCH, &[(0, Fail)], "0-2:- 0-2:- 3-4:3 | 5 5 5 5"),
        (Batch, BATCH, &[(0, FailAt(1))], "0-2:- 1-2:1 3-4:3 | 5 5 5 5"),
        (Manual, BATCH, &[(0, FailAt(1))], "0-2:- 1-2:1 3-4:3 | 5 5 5 5"),
        (Count, BATCH, &[(0, FailAt(1))], "0-2:- 1-2:- 3-4:3 | 5 5 5 5"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn success_without_an_acknowledgment_is_not_done() {
    check(&[
        // A higher acknowledgment covers it; the last one of all is covered by none.
        (Manual, RECORD, &[(1, NoAck)], "0:- 1:- 2:- 3:3 4:3 | 5 5 5 5"),
        (Manual, RECORD, &[(4, NoAck)], "0:- 1:- 2:- 3:3 4:3 | 4 4 4 4"),
        (ManualImmediate, RECORD, &[(1, NoAck)], "0:- ok 1:1 2:1 ok 3:3 ok 4:4 ok | 5 5 5 5"),
        (ManualImmediate, RECORD, &[(4, NoAck)], "0:- ok 1:1 ok 2:2 ok 3:3 ok 4:4 | 4 4 4 4"),
        (Manual, BATCH, &[(4, NoAck)], "0-2:- 3-4:3 | 3 3 3 3"),
        (Manual, BATCH, &[(3, UpTo(0))], "0-2:- 3-4:3 | 4 4 4 4"),
        (ManualImmediate, BATCH, &[(3, UpTo(0))], "0-2:- ok 3-4:3 | 4 4 4 4"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_before_the_failure_stays_done() {
    check(&[
        (Manual, RECORD, &[(1, AckThenFail)], "0:- 1:- 2:- 3:3 4:3 | 5 5 5 5"),
        (ManualImmediate, RECORD, &[(1, AckThenFail)], "0:- ok 1:1 ok 2:2 ok 3:3 ok 4:4 ok | 5 5 5 5"),
        (Manual, BATCH, &[(0, UpToThenFail(0))], "0-2:- 1-2:1 3-4:3 | 5 5 5 5"),
        (ManualImmediate, BATCH, &[(0, UpToThenFail(1))], "0-2:- 2:2 ok 3-4:3 ok | 5 5 5 5"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_nack_commits_what_came_before_and_brings_the_rest_again() {
    check(&[
        (Manual, RECORD, &[(1, Nack(0, 500))], "0:- 1:- 1:1 2:1 3:3 4:3 | 5 5 5 5"),
        (ManualImmediate, RECORD, &[(1, Nack(0, 500))], "0:- ok 1:1 1:1 ok 2:2 ok 3:3 ok 4:4 ok | 5 5 5 5"),
        (Manual, BATCH, &[(0, Nack(2, 500))], "0-2:- 2:2 3-4:3 | 5 5 5 5"),
        (ManualImmediate, BATCH, &[(0, Nack(1, 500))], "0-2:- 1-2:1 ok 3-4:3 ok | 5 5 5 5"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn record_mode_for_a_batch_is_refused() {
    let listener = Listener::new("l", |_: Rows| async {}).ack_mode(Record);
    let error = app(1, factory(), listener).start().await.unwrap_err();
    assert!(error.to_string().contains("ack_mode Record cannot serve a batch listener"), "{error}");
}
