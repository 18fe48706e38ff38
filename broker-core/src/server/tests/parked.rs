//! Fetches that wait: for how long, and what they take meanwhile. On streams in memory and a paused clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

use super::limits::Door;
use super::metered::{Meter, MeteredDisk};
use super::records::{batch, fetch};
use super::{ServerConfig, frame};
use crate::broker::{Broker, NewTopic};
use crate::partition::PartitionHandle;

/// A server whose reads are counted, and partition 0 of its topic.
fn metered() -> (Door, PartitionHandle, Arc<Meter>) {
    let disk = MeteredDisk::default();
    let meter = disk.meter.clone();
    let broker = Broker::builder().disk(Arc::new(disk)).open().expect("opened");
    broker.create_topic(&NewTopic::new("t")).expect("a topic");
    let log = broker.partition("t", 0).expect("there");
    (Door::of(broker, ServerConfig::default()), log, meter)
}

/// Waits a minute for so many bytes, and takes up to so many.
fn asks(min_bytes: i32, max_bytes: i32) -> FetchRequest {
    let mut asked = fetch("t", 0, 0).with_max_wait_ms(60_000).with_min_bytes(min_bytes).with_max_bytes(max_bytes);
    asked.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    asked
}

async fn send(stream: &mut DuplexStream, asked: &FetchRequest) {
    stream.write_all(&frame(4, 1, asked)).await.expect("written");
}

async fn receive(stream: &mut DuplexStream) -> FetchResponse {
    let size = stream.read_i32().await.expect("an answer");
    let mut answer = vec![0; size as usize];
    stream.read_exact(&mut answer).await.expect("all of it");
    FetchResponse::decode(&mut &answer[4..], 4).expect("an answer")
}

fn records(answer: &FetchResponse) -> usize {
    answer.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len)
}

#[tokio::test(start_paused = true)]
async fn a_fetch_does_not_wait_for_more_than_it_takes() {
    let (mut door, log, _) = metered();
    for _ in 0..20 {
        log.produce(batch(&[7; 300]).into()).expect("produced");
    }
    // Whole batches never fill it to the last byte.
    for (min_bytes, max_bytes) in [(1 << 20, 1000), (1001, 1000), (1000, 1000)] {
        let mut stream = door.connect();
        let from = Instant::now();
        send(&mut stream, &asks(min_bytes, max_bytes)).await;
        let given = records(&receive(&mut stream).await);
        assert!((300..=1000).contains(&given) && from.elapsed().is_zero(), "{given} bytes after {:?}", from.elapsed());
    }
    // What a partition may give is another bound: others may have more.
    let mut stream = door.connect();
    let from = Instant::now();
    let mut little = asks(2000, 10_000);
    little.topics[0].partitions[0].partition_max_bytes = 1000;
    send(&mut stream, &little).await;
    assert!((300..=1000).contains(&records(&receive(&mut stream).await)));
    assert_eq!(from.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_holds_no_records() {
    let (mut door, log, meter) = metered();
    for _ in 0..20 {
        log.produce(batch(&vec![7; 512 * 1024]).into()).expect("produced");
    }
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = door.connect();
        send(&mut stream, &asks(20 << 20, 50 << 20)).await;
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(meter.held() < 1 << 20, "{} bytes are held by who waits", meter.held());
    // In the end they get what there is.
    for stream in &mut streams {
        assert!(records(&receive(stream).await) > 10 << 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_reads_nothing_again_and_again() {
    let (mut door, log, meter) = metered();
    let mut stream = door.connect();
    send(&mut stream, &asks(400_000, 50 << 20)).await;
    let from = Instant::now();
    let mut sent = 0;
    while sent < 400_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let one = batch(&[7; 1000]);
        sent += one.len();
        log.produce(one.into()).expect("produced");
    }
    let answer = timeout(Duration::from_millis(10), receive(&mut stream)).await.expect("as soon as there is enough");
    assert_eq!(records(&answer), sent);
    assert!(from.elapsed() < Duration::from_secs(1));
    // Once to see that they are there, once to give them; and some at the ends.
    assert!(meter.read() < 4 * sent, "{} bytes are read to give {sent}", meter.read());
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_told_of_once() {
    let (mut door, log, _) = metered();
    log.produce(batch(b"v").into()).expect("produced");
    let mut asked = asks(1, 1 << 20);
    let one = asked.topics[0].partitions[0].clone();
    asked.topics[0].partitions = vec![one; 1000];
    asked.topics.push(asked.topics[0].clone());
    let mut stream = door.connect();
    send(&mut stream, &asked).await;
    let answer = receive(&mut stream).await;
    let told: Vec<usize> = answer.responses.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
    assert!(records(&answer) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_very_many_partitions_makes_room_for_others() {
    let broker = Broker::in_memory();
    broker.create_topic(&NewTopic::new("t").partitions(1000)).expect("a topic");
    let config = ServerConfig { queued_max_request_bytes: 100_000, ..ServerConfig::default() };
    let mut door = Door::of(broker, config);
    let of_all = |max_wait_ms| {
        let mut asked = asks(1, 1 << 20).with_max_wait_ms(max_wait_ms);
        let one = asked.topics[0].partitions[0].clone();
        asked.topics[0].partitions = (0..1000).map(|number| one.clone().with_partition(number)).collect();
        asked
    };
    let (mut waits, mut other, mut small) = (door.connect(), door.connect(), door.connect());
    let from = Instant::now();
    send(&mut waits, &of_all(60_000)).await;
    send(&mut small, &asks(1, 1 << 20)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    send(&mut other, &of_all(0)).await;
    for stream in [&mut waits, &mut other] {
        assert_eq!(receive(stream).await.responses[0].partitions.len(), 1000);
    }
    assert!(from.elapsed() < Duration::from_secs(3), "{:?}", from.elapsed());
    receive(&mut small).await;
    assert_eq!(from.elapsed().as_secs(), 60, "it takes nothing of note");
}
