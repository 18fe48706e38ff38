//! A worker over a consumer that plays a script: what is committed when commits fail, come late, or meet a rebalance.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::event::{EventKind, Events, StopReason};
use super::properties::{ContainerProperties, Source};
use super::state::{Intent, Stop};
use super::worker::{Worker, WorkerParts};
use crate::ack::AckMode;
use crate::client::*;
use crate::error::tests::NoAdmin;
use crate::error::{DefaultErrorHandler, RecoverContext};
use crate::extract::Offset;
use crate::handler::DeliveryContext;
use crate::listener::ConsumerHandle;
use crate::listener::link::WorkerLink;
use crate::registry::{Listener, OwnedListener};

/// What the next poll brings.
#[derive(Debug, Clone)]
enum Step {
    Assigned,
    Records(i64, i64),
    Empty,
    Revoked,
    Lost,
    /// Answers the commit of this number, which waited.
    Answer(usize, Option<ClientErrorKind>),
}

/// How a commit is answered.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Ok,
    Fails(ClientErrorKind),
    Later,
}

type Waiting = Option<oneshot::Sender<Result<(), ClientError>>>;

struct Scripted {
    steps: VecDeque<Step>,
    answers: VecDeque<Answer>,
    waiting: Vec<Waiting>,
    log: Arc<Mutex<Vec<String>>>,
    intent: Arc<watch::Sender<Intent>>,
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn failed(kind: ClientErrorKind) -> ClientError {
    ClientError::new(kind, "as the script says")
}

impl Consumer for Scripted {
    fn subscribe(&mut self, _: Subscription) -> Result<(), ClientError> {
        Ok(())
    }
    fn assign(&mut self, _: Vec<(TopicPartition, StartOffset)>) -> Result<(), ClientError> {
        Ok(())
    }
    fn poll(&mut self, _: Duration) -> BoxFuture<'_, Result<Polled, ClientError>> {
        let Some(step) = self.steps.pop_front() else {
            // The end of the script: everything that waits is left unanswered.
            self.intent.send_modify(|intent| intent.stop = Stop::Drain);
            return Box::pin(std::future::pending());
        };
        let polled = match step {
            Step::Assigned => {
                Polled::Assigned(vec![AssignedPartition { topic_partition: partition(), position: 0, committed: true }])
            }
            Step::Records(from, to) => {
                let records = (from..to).map(|offset| RawRecord::from_parts(offset, 0, None, Some(b"v"), &[])).collect();
                Polled::Records(ConsumerRecords { partitions: vec![PartitionRecords { topic_partition: partition(), records }] })
            }
            Step::Empty => Polled::Records(ConsumerRecords::default()),
            Step::Revoked => Polled::Revoked(vec![partition()]),
            Step::Lost => Polled::Lost(vec![partition()]),
            Step::Answer(index, error) => {
                let waiting = self.waiting[index].take().expect("it waits");
                waiting.send(error.map_or(Ok(()), |kind| Err(failed(kind)))).expect("the worker waits for it");
                Polled::Woken
            }
        };
        Box::pin(std::future::ready(Ok(polled)))
    }
    fn rebalance_pending(&self) -> bool {
        false
    }
    fn rebalance_signal(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
    fn mark_progress(&self) {}
    fn commit(&mut self, offsets: &[CommitOffset]) -> CommitFuture {
        let answer = self.answers.pop_front().unwrap_or(Answer::Ok);
        let text: Vec<String> = offsets.iter().map(|commit| commit.offset.to_string()).collect();
        self.log.lock().expect("no panic").push(format!("commit {}", text.join(" ")));
        let mut waiting = None;
        let future = match answer {
            Answer::Ok => CommitFuture::ready(Ok(())),
            Answer::Fails(kind) => CommitFuture::ready(Err(failed(kind))),
            Answer::Later => {
                let (sender, receiver) = oneshot::channel();
                waiting = Some(sender);
                CommitFuture::waiting(receiver)
            }
        };
        self.waiting.push(waiting);
        future
    }
    fn committed(&mut self, _: &[TopicPartition]) -> BoxFuture<'_, Result<Vec<Option<OffsetAndMetadata>>, ClientError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    fn position(&self, _: &TopicPartition) -> Result<i64, ClientError> {
        Ok(0)
    }
    fn seek(&mut self, _: &TopicPartition, _: SeekTo) -> Result<i64, ClientError> {
        Ok(0)
    }
    fn pause(&mut self, _: &[TopicPartition]) -> Result<(), ClientError> {
        Ok(())
    }
    fn resume(&mut self, _: &[TopicPartition]) -> Result<(), ClientError> {
        Ok(())
    }
    fn assignment(&self) -> Vec<TopicPartition> {
        Vec::new()
    }
    fn end_offset(&self, _: &TopicPartition) -> Option<i64> {
        None
    }
    fn wakeup(&self) -> Arc<dyn Wakeup> {
        struct Nobody;
        impl Wakeup for Nobody {
            fn wake(&self) {}
        }
        Arc::new(Nobody)
    }
    fn leave(&mut self) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClientError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Plays a script; gives back deliveries, commits and failed commits, in order.
async fn play(mode: AckMode, sync: bool, steps: &[Step], answers: &[Answer]) -> String {
    let log = Arc::new(Mutex::new(Vec::new()));
    let delivered = log.clone();
    let listener = Listener::new("l", move |_: String, Offset(offset): Offset| {
        delivered.lock().expect("no panic").push(format!("{offset}"));
        async {}
    });
    let mut properties = ContainerProperties::new("l", Source::Subscribed(Subscription::Topics(vec!["t".into()])));
    properties.group_id = Some("g".into());
    properties.ack_mode = mode;
    properties.ack_count = 2;
    properties.sync_commits = sync;
    properties.sync_commit_timeout = Duration::from_secs(5);
    let (intent, watching) = watch::channel(Intent::default());
    let consumer = Scripted {
        steps: steps.iter().cloned().collect(),
        answers: answers.iter().copied().collect(),
        waiting: Vec::new(),
        log: log.clone(),
        intent: Arc::new(intent),
    };
    let link = WorkerLink::new();
    let events = Events::default();
    let mut told = events.subscribe();
    let context = DeliveryContext::builder().listener_id("l").group_id("g").consumer(ConsumerHandle::new(link.clone()));
    let worker = Worker::new(WorkerParts {
        index: 0,
        properties: Arc::new(properties),
        consumer: Box::new(consumer),
        service: OwnedListener::from(listener).handler.into_service(),
        context: context.build(),
        link,
        error_handler: Arc::new(DefaultErrorHandler::default()),
        recover: RecoverContext::new(None, Arc::new(NoAdmin)),
        events,
        intent: watching,
    });
    assert_eq!(worker.run().await, StopReason::Normal);
    let mut failures = Vec::new();
    while let Some(event) = told.next().await {
        match &event.kind {
            EventKind::CommitFailed { offsets, .. } => {
                failures.extend(offsets.iter().map(|(partition, offset)| format!("failed {partition}@{offset}")));
            }
            EventKind::Stopped { .. } => break,
            _ => {}
        }
    }
    let mut log = std::mem::take(&mut *log.lock().expect("no panic"));
    log.extend(failures);
    log.join(", ")
}

#[tokio::test(start_paused = true)]
async fn commits_that_fail_are_covered_by_the_next_and_run_no_record_again() {
    use Answer::{Fails, Later, Ok};
    use ClientErrorKind::{Fenced, RebalanceInProgress, Retriable};
    use Step::{Answer as Answered, Assigned, Empty, Lost, Records, Revoked};
    let (batch, record, count) = (AckMode::Batch, AckMode::Record, AckMode::Count);
    let retriable = Fails(Retriable);
    type Row<'a> = (&'a str, AckMode, bool, &'a [Step], &'a [Answer], &'a str);
    let rows: &[Row<'_>] = &[
        ("nothing fails", batch, true, &[Assigned, Records(0, 2), Records(2, 3)], &[], "0, 1, commit 2, 2, commit 3"),
        (
            "a passing fault",
            batch,
            true,
            &[Assigned, Records(0, 2)],
            &[retriable, retriable],
            "0, 1, commit 2, commit 2, commit 2",
        ),
        (
            "a fault that stays: four tries, an event, and the next commit covers it",
            record,
            true,
            &[Assigned, Records(0, 2)],
            &[retriable; 4],
            "0, commit 1, commit 1, commit 1, commit 1, 1, commit 2, failed t-0@1",
        ),
        (
            "a rebalance: kept, and no event",
            batch,
            true,
            &[Assigned, Records(0, 2), Empty],
            &[Fails(RebalanceInProgress)],
            "0, 1, commit 2, commit 2",
        ),
        (
            "a rebalance that takes the partition: dropped with it",
            batch,
            true,
            &[Assigned, Records(0, 2), Lost, Empty],
            &[Fails(RebalanceInProgress)],
            "0, 1, commit 2",
        ),
        (
            "fenced: told once",
            record,
            true,
            &[Assigned, Records(0, 2), Lost],
            &[Fails(Fenced), Fails(Fenced), Fails(Fenced)],
            "0, commit 1, 1, commit 2, commit 2, failed t-0@1",
        ),
        (
            "a remainder is flushed on revoke",
            count,
            true,
            &[Assigned, Records(0, 3), Revoked],
            &[],
            "0, 1, commit 2, 2, commit 3",
        ),
        ("and forgotten when lost", count, true, &[Assigned, Records(0, 3), Lost, Empty], &[], "0, 1, commit 2, 2"),
        ("and flushed at the end", count, true, &[Assigned, Records(0, 3)], &[], "0, 1, commit 2, 2, commit 3"),
        (
            "async: a success that comes late lowers nothing",
            record,
            false,
            &[Assigned, Records(0, 2), Answered(1, None), Answered(0, None), Empty],
            &[Later, Later],
            "0, commit 1, 1, commit 2",
        ),
        (
            "async: a failure that a later commit covers is only told",
            record,
            false,
            &[Assigned, Records(0, 2), Answered(0, Some(Retriable)), Answered(1, None), Empty],
            &[Later, Later],
            "0, commit 1, 1, commit 2, failed t-0@1",
        ),
        (
            "async: the last one failed and is sent again",
            record,
            false,
            &[Assigned, Records(0, 1), Answered(0, Some(Retriable)), Empty],
            &[Later, Ok],
            "0, commit 1, commit 1, failed t-0@1",
        ),
        (
            "a commit that is never answered is given up in time, and sent again at the end",
            batch,
            true,
            &[Assigned, Records(0, 1)],
            &[Later, Later, Later, Later],
            "0, commit 1, commit 1, commit 1, commit 1, commit 1, failed t-0@1",
        ),
    ];
    for (name, mode, sync, steps, answers, expected) in rows {
        assert_eq!(play(*mode, *sync, steps, answers).await, *expected, "{name}");
    }
}
