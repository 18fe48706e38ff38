//! Clients that take memory or time: on streams in memory and a paused clock, so that minutes pass at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::records::{batch, fetch, produce};
use super::{ServerConfig, frame};
use crate::broker::{Broker, NewTopic};
use crate::quota::{Entity, Name};
use crate::server::SecurityProtocol;
use crate::server::accept::Shared;
use crate::server::connection::{Client, serve_stream};

const MIB: usize = 1 << 20;

/// A server without a port.
pub(super) struct Door {
    pub shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    served: JoinSet<()>,
}

impl Door {
    fn new(config: ServerConfig) -> Self {
        let broker = Broker::in_memory();
        broker.create_topic(&NewTopic::new("t")).expect("a topic");
        Self::of(broker, config)
    }

    pub fn of(broker: Broker, config: ServerConfig) -> Self {
        Self { shared: Shared::new(broker, config), stop: watch::channel(false).0, served: JoinSet::new() }
    }

    pub fn connect(&mut self) -> DuplexStream {
        self.connect_to(SecurityProtocol::Plaintext)
    }

    fn connect_to(&mut self, protocol: SecurityProtocol) -> DuplexStream {
        let (client, server) = tokio::io::duplex(16 * 1024);
        let nowhere = ([127, 0, 0, 1], 0).into();
        let known = Client::new(self.shared.clone(), nowhere, nowhere, protocol);
        self.served.spawn(serve_stream(server, known, self.stop.subscribe()));
        client
    }

    /// A healthy client comes, asks and is answered at once.
    async fn is_well(&mut self) {
        let mut stream = self.connect();
        stream.write_all(&frame(0, 7, &ApiVersionsRequest::default())).await.expect("written");
        let answered = timeout(Duration::from_millis(1), stream.read_i32()).await;
        answered.expect("at once").expect("answered");
    }
}

/// Waits until the server closes, and says after how long.
async fn closed_after(stream: &mut DuplexStream, from: Instant) -> Duration {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    from.elapsed()
}

/// So much of a request that says it is larger.
fn begun(says: usize, sent: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_i32(says as i32);
    bytes.resize(sent, 0);
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_request_that_trickles_in_is_given_up() {
    let mut door = Door::new(ServerConfig { socket_request_max: Duration::from_secs(30), ..ServerConfig::default() });
    let mut stream = door.connect();
    let from = Instant::now();
    stream.write_all(&begun(100, 10)).await.expect("written");
    // A byte a second is not idle.
    let trickle = async {
        while stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        from.elapsed().as_secs()
    };
    let after = timeout(Duration::from_secs(80), trickle).await.expect("given up before the request is whole");
    assert!((30..=32).contains(&after), "after {after} seconds");
    door.is_well().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_arrive_share_a_bound() {
    let config = ServerConfig { queued_max_request_bytes: 8 * MIB, ..ServerConfig::default() };
    let mut door = Door::new(config);
    let from = Instant::now();
    let mut held = JoinSet::new();
    for _ in 0..40 {
        let mut stream = door.connect();
        held.spawn(async move {
            // Each would take 4 MiB, and then says nothing.
            let _ = stream.write_all(&begun(50 * MIB, 4 * MIB)).await;
            closed_after(&mut stream, from).await.as_secs()
        });
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let taken = door.shared.requests.taken() as usize;
    assert!((6 * MIB..=16 * MIB).contains(&taken), "{taken} bytes");
    door.is_well().await;
    while let Some(after) = held.join_next().await {
        let after = after.expect("ended");
        assert!(after <= 125, "held for {after} seconds");
    }
    while door.served.join_next().await.is_some() {}
    assert_eq!(door.shared.requests.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_announced_size_alone_takes_nothing() {
    let mut door = Door::new(ServerConfig { queued_max_request_bytes: 8 * MIB, ..ServerConfig::default() });
    let mut held: Vec<_> = (0..100).map(|_| door.connect()).collect();
    for stream in &mut held {
        stream.write_all(&begun(100 * MIB, 4)).await.expect("written");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(door.shared.requests.taken() < 10_000, "{} bytes", door.shared.requests.taken());
    // Behind them, a large request still arrives.
    let mut large = door.connect();
    let arrives = timeout(Duration::from_secs(1), large.write_all(&begun(3 * MIB, 3 * MIB + 4))).await;
    arrives.expect("at once").expect("written");
    door.is_well().await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_share_a_bound() {
    let config = ServerConfig { queued_max_response_bytes: 8 * MIB, ..ServerConfig::default() };
    let mut door = Door::new(config);
    let value = vec![7; MIB / 2];
    let log = door.shared.broker.partition("t", 0).expect("there");
    for _ in 0..20 {
        log.produce(batch(&value).into()).expect("produced");
    }
    let from = Instant::now();
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = door.connect();
        let mut asked = fetch("t", 0, 0).with_max_bytes(100 << 20);
        asked.topics[0].partitions[0].partition_max_bytes = 100 << 20;
        stream.write_all(&frame(4, 1, &asked)).await.expect("written");
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Shares become smaller, down to one batch each.
    let taken = door.shared.answers.taken() as usize;
    assert!((6 * MIB..=20 * MIB).contains(&taken), "{taken} bytes");
    door.is_well().await;
    // A reader that reads gets its records, even now.
    let mut reads = door.connect();
    reads.write_all(&frame(4, 1, &fetch("t", 0, 0))).await.expect("written");
    let size = timeout(Duration::from_secs(1), reads.read_i32()).await.expect("at once").expect("an answer");
    assert!(size as usize > MIB / 2);
    drop(reads);
    // Those that do not are let go, and what they held is free.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let taken = door.shared.answers.taken() as usize;
    assert!(taken < 7 * MIB, "{taken} bytes");
    for stream in &mut held {
        let after = closed_after(stream, from).await;
        assert!(after < Duration::from_secs(700), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_served_while_memory_is_not_short() {
    let mut door = Door::new(ServerConfig::default());
    let log = door.shared.broker.partition("t", 0).expect("there");
    log.produce(batch(&vec![7; MIB / 2]).into()).expect("produced");
    let mut stream = door.connect();
    stream.write_all(&frame(4, 1, &fetch("t", 0, 0))).await.expect("written");
    let size = stream.read_i32().await.expect("an answer");
    // At a kilobyte a minute it would be idle otherwise.
    let mut left = size as usize;
    while left > 0 {
        let part = left.min(32 * 1024);
        stream.read_exact(&mut vec![0; part]).await.expect("more");
        left -= part;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(door.served.try_join_next().is_none(), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_client_that_goes_is_gone() {
    let mut door = Door::new(ServerConfig::default());
    let bench = Entity { user: None, client: Some(Name::Of("bench".to_owned())) };
    let quota = [("producer_byte_rate".to_owned(), Some(1.0))];
    door.shared.broker.quotas().alter(&bench, &quota, false).expect("a quota");
    let mut stream = door.connect();
    stream.write_all(&frame(9, 1, &produce("t", 0, batch(&vec![7; MIB])))).await.expect("written");
    stream.read_i32().await.expect("an answer");
    // It would have to wait for days.
    drop(stream);
    let ended = timeout(Duration::from_secs(60), door.served.join_next()).await;
    ended.expect("its connection ends").expect("one").expect("no panic");
}

/// Without acks a client takes for sent what it has written, and may close behind it.
#[tokio::test(start_paused = true)]
async fn what_a_client_sent_before_it_closed_is_served() {
    let produced = |size| frame(9, 1, &produce("t", 0, batch(&vec![7; size])).with_acks(0));
    let waits = frame(4, 2, &fetch("t", 0, 1).with_max_wait_ms(60_000));
    for (what, first) in [("a client that must wait for its quota", None), ("a fetch that waits", Some(waits))] {
        let mut door = Door::new(ServerConfig::default());
        let bench = Entity { user: None, client: Some(Name::Of("bench".to_owned())) };
        let quota = [("producer_byte_rate".to_owned(), Some(1000.0))];
        door.shared.broker.quotas().alter(&bench, &quota, false).expect("a quota");
        let log = door.shared.broker.partition("t", 0).expect("there");
        let mut stream = door.connect();
        let large = if first.is_none() { 12_000 } else { 1 };
        stream.write_all(&produced(large)).await.expect("written");
        if let Some(first) = first {
            stream.write_all(&first).await.expect("written");
        }
        stream.write_all(&[produced(1), produced(2)].concat()).await.expect("written");
        drop(stream);
        let ended = timeout(Duration::from_secs(1), door.served.join_next()).await;
        ended.expect("its connection ends").expect("one").expect("no panic");
        assert_eq!(log.end_offset(), 3, "{what}");
    }
}

/// In real time: under a paused clock it never passes while there is something to do.
#[tokio::test]
async fn who_asks_and_asks_and_does_not_log_in_is_let_go() {
    let config = ServerConfig { connections_authentication_max: Duration::from_millis(100), ..ServerConfig::default() };
    let mut door = Door::new(config);
    let stream = door.connect_to(SecurityProtocol::SaslPlaintext);
    let (mut reads, mut writes) = tokio::io::split(stream);
    let asked = frame(0, 7, &ApiVersionsRequest::default());
    let asks = async { while writes.write_all(&asked).await.is_ok() {} };
    let is_answered = async { while reads.read_u8().await.is_ok() {} };
    let both = async { tokio::join!(asks, is_answered) };
    timeout(Duration::from_secs(5), both).await.expect("let go");
}

#[tokio::test]
async fn many_requests_at_once_leave_others_their_turn() {
    let mut door = Door::new(ServerConfig::default());
    let log = door.shared.broker.partition("t", 0).expect("there");
    let mut stream = door.connect();
    // Without answers: nothing else lets others run in between.
    let one = frame(9, 1, &produce("t", 0, batch(b"v")).with_acks(0));
    const MANY: i64 = 5_000;
    let sends = tokio::spawn(async move {
        stream.write_all(&one.repeat(MANY as usize)).await.expect("written");
        stream
    });
    let (mut before, mut largest) = (0, 0);
    while log.end_offset() < MANY {
        tokio::task::yield_now().await;
        largest = largest.max(log.end_offset() - before);
        before = log.end_offset();
    }
    drop(sends.await);
    assert!(largest < 150, "{largest} of {MANY} in one turn");
}
