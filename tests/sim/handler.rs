//! The listener under simulation: what it does with a record is drawn from the seed, anew at each call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_listener::error::BatchError;
use kafka_listener::handler::Payload;
use kafka_listener::listener::AckErrorKind;
use kafka_listener::prelude::*;

use super::model::{Call, Model, Seen, Shadow, sleep_ms};
use super::random::Random;

/// Records whose value starts like this always fail.
pub const POISON: &str = "poison";
/// Longer than `max.poll.interval.ms`.
const TOO_LONG_MS: (u64, u64) = (10_500, 25_000);

#[derive(Debug, thiserror::Error)]
#[error("simulated failure")]
pub struct Simulated;

/// What the calls of one app share.
#[derive(Clone)]
pub struct Behaviour {
    pub seed: u64,
    pub app: usize,
    pub shadow: Shadow,
    pub is_manual: bool,
    pub async_acks: bool,
    /// No more failures, except of what always fails.
    pub healthy: Arc<AtomicBool>,
}

enum End {
    Fine,
    Fails,
    Panics,
    Nacks,
    /// Batches: this element failed.
    FailsAt(usize),
    /// Manual batches: this many were acknowledged before it failed.
    AcksThenFails(usize),
}

fn seen(delivery: &Delivery) -> Vec<Seen> {
    let one = |partition: &TopicPartition, record: &kafka_listener::client::RawRecord, attempt| Seen {
        partition: partition.clone(),
        offset: record.offset(),
        attempt,
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().unwrap_or_default().to_vec(),
    };
    match delivery.payload() {
        Payload::Record { topic_partition, record, attempt } => vec![one(topic_partition, record, *attempt)],
        Payload::Batch(batch) => batch.iter().map(|(at, element)| one(at, &element.record, element.attempt)).collect(),
    }
}

impl Behaviour {
    pub async fn call(&self, delivery: &Delivery) -> ListenerResult {
        let records = seen(delivery);
        let poison = records.iter().position(|one| one.value.starts_with(POISON.as_bytes()));
        let count = records.len();
        let owned = delivery.consumer().map(ConsumerHandle::assignment).unwrap_or_default();
        let (call, mut random) = {
            let mut model = self.shadow.lock();
            for stray in records.iter().filter(|one| !owned.contains(&one.partition)) {
                model.broke(format!("{}@{} was delivered to a worker that does not own it", stray.partition, stray.offset));
            }
            // Drawn anew for each call: a record that hung once need not hang for ever.
            let random = Random::new(self.seed, model.deliveries as u64 + 2);
            (model.begin(self.app, records), random)
        };
        let healthy = self.healthy.load(SeqCst);
        let wait = if healthy { 0 } else { wait_ms(&mut random) };
        if wait > 0 {
            sleep_ms(wait).await;
        }
        let is_batch = delivery.batch_records().is_some();
        let end = match poison {
            Some(index) if is_batch => End::FailsAt(index),
            Some(_) => End::Fails,
            None if healthy => End::Fine,
            None => self.end(&mut random, is_batch, count),
        };
        self.finish(delivery, call, end, &mut random).await
    }

    fn end(&self, random: &mut Random, is_batch: bool, count: usize) -> End {
        let index = random.below(count as u64) as usize;
        match random.below(100) {
            0..8 => End::Fails,
            8..12 => End::Panics,
            12..20 if is_batch => End::FailsAt(index),
            20..24 if is_batch && self.is_manual && !self.async_acks => End::AcksThenFails(index),
            24..30 if self.is_manual && !self.async_acks => End::Nacks,
            _ => End::Fine,
        }
    }

    async fn finish(&self, delivery: &Delivery, call: Call, end: End, random: &mut Random) -> ListenerResult {
        let count = delivery.len();
        let acknowledgment = delivery.acknowledgment().filter(|_| self.is_manual);
        match end {
            End::Fine => match acknowledgment {
                None => {
                    self.shadow.lock().finish(&call, 0..count);
                    Ok(())
                }
                Some(acknowledgment) if self.async_acks => {
                    self.acknowledge_later(acknowledgment.clone(), call, random);
                    Ok(())
                }
                Some(acknowledgment) => {
                    let receipt = acknowledge(&mut self.shadow.lock(), acknowledgment, &call, count);
                    // A commit that fails is told by an event; the next one covers it.
                    let _ = receipt.await;
                    Ok(())
                }
            },
            End::Fails => self.fail(&call, 0, Simulated),
            End::Panics => {
                self.shadow.lock().put_back(&call, 0);
                panic!("simulated panic")
            }
            End::FailsAt(index) => {
                self.shadow.lock().finish(&call, 0..index);
                self.fail(&call, index, BatchError::at(index, Simulated))
            }
            End::AcksThenFails(index) => {
                self.shadow.lock().finish(&call, 0..index + 1);
                let done = match acknowledgment.map(|one| one.acknowledge_up_to(index)) {
                    // A commit that failed does not undo the acknowledgment.
                    Some(receipt) => match receipt.await {
                        Err(error) if error.kind() != AckErrorKind::Commit => 0,
                        _ => index + 1,
                    },
                    None => 0,
                };
                self.fail(&call, done, Simulated)
            }
            End::Nacks => {
                let index = random.below(count as u64) as usize;
                let sleep = Duration::from_millis(random.below(800));
                let taken = acknowledgment.map(|one| match delivery.batch_records() {
                    Some(_) => one.nack_at(index, sleep),
                    None => one.nack(sleep),
                });
                let mut model = self.shadow.lock();
                if taken.is_some_and(|taken| taken.is_ok()) {
                    model.finish(&call, 0..index);
                    model.put_back(&call, index);
                }
                Ok(())
            }
        }
    }

    fn fail(&self, call: &Call, from: usize, error: impl Into<ListenerError>) -> ListenerResult {
        self.shadow.lock().put_back(call, from);
        Err(error.into())
    }

    fn acknowledge_later(&self, acknowledgment: Acknowledgment, call: Call, random: &mut Random) {
        let (shadow, wait) = (self.shadow.clone(), random.below(3000));
        let count = call.len();
        // Ends with the runtime at the latest.
        tokio::spawn(async move {
            sleep_ms(wait).await;
            let receipt = acknowledge(&mut shadow.lock(), &acknowledgment, &call, count);
            let _ = receipt.await;
        });
    }
}

/// Acknowledges, and tells the model unless it was refused.
fn acknowledge(
    model: &mut Model,
    acknowledgment: &Acknowledgment,
    call: &Call,
    count: usize,
) -> impl Future<Output = ()> + Send + use<> {
    let mut receipt = Box::pin(acknowledgment.acknowledge());
    let answer = receipt.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    match &answer {
        // Of a batch that was revoked in part, the rest is acknowledged.
        Poll::Ready(Err(_)) => model.finish_owned(call),
        _ => model.finish(call, 0..count),
    }
    async move {
        if answer.is_pending() {
            let _ = receipt.await;
        }
    }
}

fn wait_ms(random: &mut Random) -> u64 {
    match random.below(100) {
        0..60 => 0,
        60..90 => random.within(1, 400),
        90..98 => random.within(400, 4000),
        _ => random.within(TOO_LONG_MS.0, TOO_LONG_MS.1),
    }
}
