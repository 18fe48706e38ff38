//! Allocations of sending and of polling grow with batches, not with records. An allocator counts them, so that everything
//! here runs one after the other, in one test.

use std::alloc::System;
use std::time::Duration;

use broker_core::record::batches;
use broker_core::{Broker, BrokerBuilder, NewTopic};
use kafka_listener::client::embedded::EmbeddedBackend;
use kafka_listener::client::{Backend, Consumer, Polled, Properties, SeekTo, StartOffset, TopicPartition};
use kafka_listener::template::{KafkaTemplate, ProducerRecord};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPIC: &str = "counted";
/// So many batches are filled in each run, with few large records each or with many small ones.
const BATCHES: usize = 100;
const BATCH_BYTES: usize = 16 * 1024;
/// What one batch may cost: its bytes, its sends' shared result, its place in the log and in the indexes.
const PER_BATCH: usize = 4;
/// The value sizes, large and small.
const VALUES: [usize; 2] = [1600, 16];
/// How often the memory of a growing table may be moved, in a whole run.
const TABLES: usize = 40;

/// What a run cost.
#[derive(Debug)]
struct Cost {
    records: usize,
    /// Batches written or read, and polls.
    batches: usize,
    allocations: usize,
}

impl Cost {
    /// Within the bound, and the bound would not allow one allocation a record.
    fn grows_with_batches(&self) -> bool {
        self.allocations <= self.batches * PER_BATCH + TABLES
    }
}

fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let region = Region::new(ALLOCATOR);
    let done = work();
    let change = region.change();
    (change.allocations + change.reallocations, done)
}

fn run(future: impl Future<Output = ()>) {
    // No thread of its own: nothing else allocates meanwhile.
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

fn backend(builder: BrokerBuilder) -> (EmbeddedBackend, Broker) {
    let broker = builder.open().expect("opened");
    broker.create_topic(&NewTopic::new(TOPIC).partitions(1)).expect("made");
    (EmbeddedBackend::new(broker.clone(), true), broker)
}

fn template(backend: &EmbeddedBackend) -> KafkaTemplate {
    let mut settings = Properties::new();
    settings.set("batch.size", BATCH_BYTES);
    KafkaTemplate::new(backend.producer(&settings).expect("made"), None)
}

/// How many batches lie in the topic from this offset on.
fn batches_from(broker: &Broker, mut offset: i64) -> usize {
    let partition = broker.partition(TOPIC, 0).expect("there");
    let mut count = 0;
    while offset < partition.end_offset() {
        for run in partition.fetch(offset, usize::MAX).expect("fetched").batches {
            for batch in batches(&run) {
                offset = batch.expect("sound").last_offset() + 1;
                count += 1;
            }
        }
    }
    count
}

/// Sends as many records as fill the batches; `send` sends one.
async fn produce(template: &KafkaTemplate, broker: &Broker, value: usize, send: impl Fn(&[u8])) -> Cost {
    let start = broker.partition(TOPIC, 0).expect("there").end_offset();
    let value = vec![b'v'; value];
    let records = BATCHES * BATCH_BYTES / value.len();
    let (count, ()) = allocations(|| (0..records).for_each(|_| send(&value)));
    template.flush().await.expect("flushed");
    Cost { records, batches: batches_from(broker, start), allocations: count }
}

/// Polls everything from this offset on.
async fn fetch(consumer: &mut dyn Consumer, broker: &Broker, start: i64) -> Cost {
    let partition = TopicPartition::new(TOPIC, 0);
    consumer.seek(&partition, SeekTo::Offset(start)).expect("assigned");
    let expected = broker.partition(TOPIC, 0).expect("there").end_offset() - start;
    let mut cost = Cost { records: 0, batches: batches_from(broker, start), allocations: 0 };
    let region = Region::new(ALLOCATOR);
    while (cost.records as i64) < expected {
        cost.batches += 1;
        match consumer.poll(Duration::ZERO).await.expect("polled") {
            Polled::Records(records) => cost.records += records.count(),
            other => panic!("{other:?} in place of records"),
        }
    }
    let change = region.change();
    cost.allocations = change.allocations + change.reallocations;
    cost
}

/// Sends and polls on one broker: records of each size, first to warm up, then counted.
async fn sends_and_polls(name: &str, builder: BrokerBuilder) {
    let (backend, broker) = backend(builder);
    let template = template(&backend);
    let mut consumer = backend.consumer(&Properties::new()).expect("made");
    let start = StartOffset::At(SeekTo::Beginning);
    consumer.assign(vec![(TopicPartition::new(TOPIC, 0), start)]).expect("assigned");
    let first = consumer.poll(Duration::ZERO).await.expect("polled");
    assert!(matches!(first, Polled::Assigned(_)), "{first:?}");
    for value in VALUES {
        let send = |value: &[u8]| drop(template.send(TOPIC, value));
        produce(&template, &broker, value, send).await;
        let start = broker.partition(TOPIC, 0).expect("there").end_offset();
        let sent = produce(&template, &broker, value, send).await;
        assert!(sent.grows_with_batches(), "{name}, sending values of {value} bytes: {sent:?}");
        fetch(consumer.as_mut(), &broker, 0).await;
        let polled = fetch(consumer.as_mut(), &broker, start).await;
        assert_eq!(polled.records, sent.records);
        assert!(polled.grows_with_batches(), "{name}, polling values of {value} bytes: {polled:?}");
        println!("{name}, values of {value} bytes: sending {sent:?}, polling {polled:?}");
    }
    // The bound can be missed: a record that owns its topic's name costs an allocation, and this is seen.
    let small = VALUES[1];
    let owned = |value: &[u8]| drop(template.send_record(ProducerRecord::new(TOPIC, value)));
    let sent = produce(&template, &broker, small, owned).await;
    assert!(
        sent.allocations >= sent.records && !sent.grows_with_batches(),
        "{name}: one allocation a record goes unseen: {sent:?}"
    );
    consumer.close().await.expect("closed");
    backend.close().await.expect("closed");
}

#[test]
fn allocations_of_produce_and_fetch_grow_with_batches_not_with_records() {
    let dir = tempfile::tempdir().expect("a folder");
    run(sends_and_polls("in memory", Broker::builder()));
    run(sends_and_polls("on files", Broker::builder().dir(dir.path())));
}
