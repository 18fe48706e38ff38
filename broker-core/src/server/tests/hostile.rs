//! Clients that do not mean well, or are broken; and one that does, and notices nothing.

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DescribeClusterRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest, JoinGroupRequest, MetadataRequest, OffsetFetchRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::records::{batch, fetch, produce};
use super::{Bench, frame, name, versions};
use crate::broker::{Broker, NewTopic};
use crate::config::BrokerConfig;
use crate::error::ErrorCode;
use crate::server::ServerConfig;

/// A healthy client's round trip.
async fn is_well(bench: &mut Bench) {
    assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    let answer = bench.ask(3, &produce("t", 0, batch(b"v"))).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// Sends bytes, says that no more come, and reads until the server closes.
async fn send_and_go(bench: &Bench, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(bench.server.address()).await.expect("connected");
    // The server may close before it has read everything: then writing fails, and that is fine.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn lengths_that_lie_close_the_connection_and_take_no_memory() {
    let mut bench = Bench::new().await;
    for (key, version, body) in [
        // Two thousand million topics, in four bytes; in five, where lengths are compact.
        (3i16, 1i16, &[0x7f, 0xff, 0xff, 0xff][..]),
        (19, 5, &[0xff, 0xff, 0xff, 0xff, 0x07]),
        // A topic whose partitions are that many.
        (2, 1, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0x7f, 0xff, 0xff, 0xff]),
    ] {
        let mut frame = BytesMut::new();
        let tags: &[u8] = if version >= 5 { &[0] } else { &[] };
        frame.put_i32((10 + tags.len() + body.len()) as i32);
        for part in [key, version, 0, 1, -1] {
            frame.put_i16(part);
        }
        frame.put_slice(tags);
        frame.put_slice(body);
        assert!(send_and_go(&bench, &frame).await.is_empty(), "API {key}");
        is_well(&mut bench).await;
    }
}

/// Requests of all kinds and versions, as clients send them.
fn corpus() -> Vec<BytesMut> {
    let mut frames = Vec::new();
    let topic = || MetadataRequestTopic::default().with_name(Some(name("t")));
    for version in versions::<MetadataRequest>() {
        frames.push(frame(version, 1, &MetadataRequest::default().with_topics(Some(vec![topic(), topic()]))));
    }
    for version in versions::<kafka_protocol::messages::ProduceRequest>() {
        frames.push(frame(version, 1, &produce("t", 1, batch(b"some value"))));
    }
    for version in versions::<kafka_protocol::messages::FetchRequest>() {
        frames.push(frame(version, 1, &fetch("t", 0, 0)));
    }
    for version in versions::<CreateTopicsRequest>() {
        let topics = vec![CreatableTopic::default().with_name(name("t")).with_num_partitions(1)];
        frames.push(frame(version, 1, &CreateTopicsRequest::default().with_topics(topics)));
    }
    for version in versions::<FindCoordinatorRequest>() {
        let request = FindCoordinatorRequest::default();
        let id = StrBytes::from_static_str("group");
        frames.push(frame(version, 1, &if version < 4 { request.with_key(id) } else { request.with_coordinator_keys(vec![id]) }));
    }
    for version in versions::<DescribeClusterRequest>() {
        frames.push(frame(version, 1, &DescribeClusterRequest::default()));
    }
    frames.extend(recorded());
    frames
}

/// What real clients sent, as it was recorded for the fuzzer: pieces of two bytes of length and a request.
fn recorded() -> Vec<BytesMut> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/frames");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("seeds").map(|file| file.expect("an entry").path()).collect();
    files.sort();
    let mut frames = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).expect("read");
        let mut rest = &bytes[..];
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (piece, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            let mut frame = BytesMut::new();
            frame.put_i32(piece.len() as i32);
            frame.put_slice(piece);
            frames.push(frame);
            rest = behind;
        }
    }
    assert!(frames.len() > 500, "{} recorded requests", frames.len());
    frames
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn mutate(frame: &mut BytesMut, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(frame.len());
        match random.below(5) {
            0 => frame[at] = random.below(256) as u8,
            1 => frame[at] ^= 1 << random.below(8),
            2 => frame[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            3 => frame.truncate(at.max(4)),
            _ => {
                let rest = frame.split_off(at);
                frame.put_slice(&[0xff; 3][..=random.below(3)]);
                frame.unsplit(rest);
            }
        }
    }
    // Mostly a frame that is whole, so that what is inside is looked at.
    if random.below(4) > 0 {
        let size = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&size.to_be_bytes());
    }
}

#[tokio::test]
async fn damaged_requests_harm_nobody_else() {
    let seed = std::env::var("WIRE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let runs = std::env::var("WIRE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2000);
    let (mut random, corpus) = (Random(seed), corpus());
    let mut bench = Bench::with(ServerConfig { socket_request_max_bytes: 1 << 20, ..ServerConfig::default() }).await;
    for run in 0..runs {
        let mut frame = corpus[random.below(corpus.len())].clone();
        mutate(&mut frame, &mut random);
        let gone = tokio::time::timeout(Duration::from_secs(30), send_and_go(&bench, &frame)).await;
        assert!(gone.is_ok(), "seed {seed}, run {run}: the server neither answers nor closes: {frame:?}");
        if run % 100 == 0 {
            is_well(&mut bench).await;
        }
    }
    is_well(&mut bench).await;
}

#[tokio::test]
async fn silent_and_slow_clients_are_let_go() {
    let idle = Duration::from_millis(200);
    let mut bench = Bench::with(ServerConfig { connections_max_idle: idle, ..ServerConfig::default() }).await;
    // One says nothing, one half a frame, one never reads its answers.
    let mut silent = TcpStream::connect(bench.server.address()).await.expect("connected");
    let mut half = TcpStream::connect(bench.server.address()).await.expect("connected");
    half.write_all(&[0, 0, 1, 0, 7]).await.expect("written");
    let mut deaf = TcpStream::connect(bench.server.address()).await.expect("connected");
    let ask = frame(1, 1, &MetadataRequest::default().with_topics(None));
    let deafened = async {
        // Until the server no longer reads, since nobody reads what it writes, and closes.
        while deaf.write_all(&ask).await.is_ok() {}
    };
    let all = async {
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert_eq!(half.read(&mut [0; 1]).await.unwrap_or(0), 0);
        deafened.await;
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("they are closed");
    // Its own connection was idle as well.
    bench.stream = TcpStream::connect(bench.server.address()).await.expect("connected");
    is_well(&mut bench).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_parked_fetch_along() {
    let mut bench = Bench::with(ServerConfig { max_connections_per_ip: 2, ..ServerConfig::default() }).await;
    is_well(&mut bench).await;
    let mut waits = TcpStream::connect(bench.server.address()).await.expect("connected");
    waits.write_all(&frame(4, 1, &fetch("t", 1, 0).with_max_wait_ms(3_600_000))).await.expect("written");
    drop(waits);
    // Its place is free long before its hour is over.
    let again = async {
        loop {
            let mut next = TcpStream::connect(bench.server.address()).await.expect("connected");
            let _ = next.write_all(&frame(0, 1, &ApiVersionsRequest::default())).await;
            if next.read_i32().await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("a free place");
    is_well(&mut bench).await;
}

/// How long a request of very many small things may take, in a debug build on a busy machine. What grows with their square takes
/// ten times as long.
const MANY: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_request_of_very_many_topics_is_answered_soon() {
    let mut bench = Bench::new().await;
    let topics: Vec<_> = (0..60_000)
        .map(|number| TopicName(format!("{number}").into()))
        .map(|called| CreatableTopic::default().with_name(called).with_num_partitions(1).with_replication_factor(1))
        .collect();
    let from = std::time::Instant::now();
    let answer = bench.ask(2, &CreateTopicsRequest::default().with_topics(topics)).await;
    assert!(from.elapsed() < MANY, "{:?}", from.elapsed());
    // As Kafka says it to more than 10,000 partitions in one request.
    assert!(answer.topics.iter().all(|topic| topic.error_code == 44));
    is_well(&mut bench).await;
}

#[tokio::test]
async fn more_partitions_than_a_request_may_make() {
    let mut bench = Bench::new().await;
    let topics = ["one", "two"]
        .map(|called| CreatableTopic::default().with_name(name(called)).with_num_partitions(5001).with_replication_factor(1));
    let answer = bench.ask(2, &CreateTopicsRequest::default().with_topics(topics.to_vec())).await;
    assert_eq!(answer.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [44, 44]);
    let grow = CreatePartitionsTopic::default().with_name(name("t")).with_count(10_003).with_assignments(None);
    let answer = bench.ask(0, &CreatePartitionsRequest::default().with_topics(vec![grow])).await;
    assert_eq!(answer.results[0].error_code, 44);
    is_well(&mut bench).await;
}

#[tokio::test]
async fn members_with_very_many_protocols_join_soon() {
    let mut bench = Bench::new().await;
    let protocols = |prefix: &str| -> Vec<_> {
        let names = (0..50_000).map(|number| format!("{prefix}{number}")).chain(["both".to_owned()]);
        names.map(|name| JoinGroupRequestProtocol::default().with_name(name.into())).collect()
    };
    let join = |prefix| {
        JoinGroupRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str("g")))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(1)
            .with_protocol_type(StrBytes::from_static_str("p"))
            .with_protocols(protocols(prefix))
    };
    let from = std::time::Instant::now();
    let first = bench.ask(1, &join("a")).await;
    assert_eq!((first.error_code, first.protocol_name.as_deref()), (0, Some("a0")));
    let second = bench.ask(1, &join("b")).await;
    assert_eq!((second.error_code, second.protocol_name.as_deref()), (0, Some("b0")), "the first did not come back in time");
    assert!(from.elapsed() < MANY, "{:?}", from.elapsed());
}

#[tokio::test]
async fn what_is_asked_for_again_and_again_is_told_once() {
    let mut bench = Bench::new().await;
    bench.broker.create_topic(&NewTopic::new("wide").partitions(1000)).expect("made");
    let topic = || MetadataRequestTopic::default().with_name(Some(name("wide")));
    let metadata = bench.ask(9, &MetadataRequest::default().with_topics(Some((0..50_000).map(|_| topic()).collect()))).await;
    assert_eq!(metadata.topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [1000]);
    let group = |called| GroupId(StrBytes::from_static_str(called));
    let asked = DescribeGroupsRequest::default().with_groups(vec![group("a"), group("b"), group("a")]);
    let told = bench.ask(5, &asked).await;
    assert_eq!(told.groups.iter().map(|group| group.group_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let all_of = |called| OffsetFetchRequestGroup::default().with_group_id(group(called)).with_topics(None);
    let asked = OffsetFetchRequest::default().with_groups(vec![all_of("a"), all_of("b"), all_of("a")]);
    assert_eq!(bench.ask(8, &asked).await.groups.len(), 2);
}

/// By its id a topic is named whatever name stands beside it.
#[tokio::test]
async fn a_topic_is_told_of_once_by_its_id() {
    let mut bench = Bench::new().await;
    bench.broker.create_topic(&NewTopic::new("wide").partitions(1000)).expect("made");
    let by_name = MetadataRequestTopic::default().with_name(Some(name("wide")));
    let id = bench.ask(10, &MetadataRequest::default().with_topics(Some(vec![by_name]))).await.topics[0].topic_id;
    let beside = |number: i32| Some(TopicName(StrBytes::from_string(number.to_string())));
    let topics = (0..1000).map(|number| MetadataRequestTopic::default().with_name(beside(number)).with_topic_id(id)).collect();
    let told = bench.ask(12, &MetadataRequest::default().with_topics(Some(topics))).await;
    assert_eq!(told.topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [1000]);
}

#[tokio::test]
async fn a_stored_offset_is_told_once() {
    let mut bench = Bench::new().await;
    let topic = |indexes| OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(indexes);
    let asked = OffsetFetchRequest::default().with_group_id(GroupId(StrBytes::from_static_str("g")));
    let asked = asked.with_topics(Some(vec![topic(vec![0; 10_000]), topic(vec![0, 1])]));
    let told = bench.ask(5, &asked).await;
    let told: Vec<Vec<i32>> =
        told.topics.iter().map(|topic| topic.partitions.iter().map(|one| one.partition_index).collect()).collect();
    assert_eq!(told, [[0, 1]]);
}

/// Each of them is held against all others, but not one by one.
#[tokio::test]
async fn settings_of_what_is_named_very_often_are_refused_soon() {
    let mut bench = Bench::new().await;
    let from = Instant::now();
    let resource = || AlterConfigsResource::default().with_resource_type(2).with_resource_name(StrBytes::from_static_str("t"));
    let request = IncrementalAlterConfigsRequest::default().with_resources((0..100_000).map(|_| resource()).collect());
    let told = bench.ask(0, &request).await;
    assert_eq!((told.responses.len(), told.responses[99_999].error_code), (100_000, ErrorCode::InvalidRequest.code()));
    assert!(from.elapsed() < MANY, "{:?}", from.elapsed());
}

#[tokio::test]
async fn partitions_of_all_topics_have_a_bound() {
    let config = BrokerConfig { partitions_max: 5, ..BrokerConfig::default() };
    let broker = Broker::builder().config(config).open().expect("a broker");
    broker.create_topic(&NewTopic::new("t").partitions(3)).expect("three of five");
    for (topic, count) in [("three", 3), ("many", 100_000)] {
        let refused = broker.create_topic(&NewTopic::new(topic).partitions(count)).expect_err("more than five");
        assert_eq!(refused.code(), ErrorCode::PolicyViolation, "{refused}");
    }
    assert_eq!(broker.create_partitions("t", 6).map_err(|error| error.code()), Err(ErrorCode::PolicyViolation));
    broker.create_partitions("t", 4).expect("four of five");
    broker.topic_or_create("auto").expect("five of five");
    assert_eq!(broker.topic_or_create("more").map_err(|error| error.code()), Err(ErrorCode::PolicyViolation));
    broker.delete_topic("t").expect("deleted");
    broker.create_topic(&NewTopic::new("four").partitions(4)).expect("there is room again");
}
