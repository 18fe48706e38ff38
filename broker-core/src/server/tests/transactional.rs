//! Producers with transactional ids over the wire, in every version. Facts are those of the conformance list.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest,
    GroupId, InitProducerIdRequest, ListTransactionsRequest, MetadataRequest, ProduceRequest, ProducerId, TransactionalId,
    WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::records::produce;
use super::{Bench, name, versions, versions_of_v1};
use crate::record::BatchBuilder;

pub(super) type Producer = (i64, i16);

pub(super) fn id(text: &'static str) -> TransactionalId {
    TransactionalId(StrBytes::from_static_str(text))
}

pub(super) fn within((id, epoch): Producer, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.producer(id, epoch, sequence);
    builder.transactional();
    builder.append(1000, Some(b"k"), Some(b"v"), &[]);
    builder.build().freeze()
}

pub(super) async fn init_as(bench: &mut Bench, version: i16, had: Option<Producer>) -> Result<Producer, i16> {
    let (had_id, had_epoch) = had.unwrap_or((-1, -1));
    let request = InitProducerIdRequest::default().with_transactional_id(Some(id("x"))).with_transaction_timeout_ms(60_000);
    let request = request.with_producer_id(ProducerId(had_id)).with_producer_epoch(had_epoch);
    let answer = bench.ask(version, &request).await;
    if answer.error_code == 0 { Ok((answer.producer_id.0, answer.producer_epoch)) } else { Err(answer.error_code) }
}

pub(super) async fn init(bench: &mut Bench) -> Producer {
    init_as(bench, 5, None).await.expect("given")
}

async fn add(bench: &mut Bench, version: i16, producer: Producer, topics: &[(&'static str, &[i32])]) -> Vec<i16> {
    let topic = |(topic, partitions): &(&'static str, &[i32])| {
        AddPartitionsToTxnTopic::default().with_name(name(topic)).with_partitions(partitions.to_vec())
    };
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id("x"))
        .with_v3_and_below_producer_id(ProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(topics.iter().map(topic).collect());
    let answer = bench.ask(version, &request).await;
    let all = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
    all.map(|partition| partition.partition_error_code).collect()
}

async fn end(bench: &mut Bench, version: i16, producer: Producer, committed: bool) -> i16 {
    let request = EndTxnRequest::default().with_transactional_id(id("x")).with_producer_id(ProducerId(producer.0));
    bench.ask(version, &request.with_producer_epoch(producer.1).with_committed(committed)).await.error_code
}

async fn send(bench: &mut Bench, version: i16, transactional_id: Option<&'static str>, partition: i32, batch: Bytes) -> i16 {
    let request = produce("t", partition, batch).with_transactional_id(transactional_id.map(id));
    bench.ask(version, &request).await.responses[0].partition_responses[0].error_code
}

pub(super) fn stable(bench: &Bench, partition: i32) -> (i64, i64) {
    let partition = bench.broker.partition("t", partition).expect("there");
    (partition.stable_offset(), partition.end_offset())
}

#[tokio::test]
async fn fact_43_what_is_committed_counts_in_all_partitions_with_one_marker_in_each() {
    for version in versions_of_v1::<EndTxnRequest>() {
        let mut bench = Bench::new().await;
        let producer = init_as(&mut bench, version, None).await.expect("given");
        assert_eq!(add(&mut bench, version.min(3), producer, &[("t", &[0, 1])]).await, [0, 0]);
        for partition in [0, 1] {
            assert_eq!(send(&mut bench, 3 + version, Some("x"), partition, within(producer, 0)).await, 0);
            assert_eq!(stable(&bench, partition), (0, 1), "undecided");
        }
        assert_eq!(end(&mut bench, version, producer, true).await, 0);
        assert_eq!((stable(&bench, 0), stable(&bench, 1)), ((2, 2), (2, 2)), "version {version}");
        let t = bench.broker.partition("t", 0).expect("there");
        assert!(t.fetch_committed(0, 1 << 20).expect("read").aborted.is_empty());
        // The next one, with the same epoch, is aborted.
        assert_eq!(add(&mut bench, version.min(3), producer, &[("t", &[0])]).await, [0]);
        assert_eq!(send(&mut bench, 3 + version, Some("x"), 0, within(producer, 1)).await, 0);
        assert_eq!(end(&mut bench, version, producer, false).await, 0);
        assert_eq!((stable(&bench, 0), stable(&bench, 1)), ((4, 4), (2, 2)), "it was in one partition");
        assert_eq!(t.fetch_committed(0, 1 << 20).expect("read").aborted.len(), 1);
    }
}

#[tokio::test]
async fn fact_42_who_came_before_is_fenced_and_told_so_as_its_version_knows() {
    let mut bench = Bench::new().await;
    let old = init(&mut bench).await;
    assert_eq!(add(&mut bench, 3, old, &[("t", &[0])]).await, [0]);
    assert_eq!(send(&mut bench, 11, Some("x"), 0, within(old, 0)).await, 0);
    assert_eq!(init_as(&mut bench, 5, None).await, Err(51), "come again: the open one is aborted first");
    assert_eq!(stable(&bench, 0), (2, 2));
    let new = init(&mut bench).await;
    assert_eq!(new, (old.0, old.1 + 2), "1 is nobody's: it fenced");
    for version in versions::<AddPartitionsToTxnRequest>() {
        let code = if version < 2 { 47 } else { 90 };
        assert_eq!(add(&mut bench, version, old, &[("t", &[0])]).await, [code], "version {version}");
        let offsets = AddOffsetsToTxnRequest::default().with_transactional_id(id("x")).with_producer_id(ProducerId(old.0));
        assert_eq!(bench.ask(version, &offsets).await.error_code, code, "version {version}");
        assert_eq!(end(&mut bench, version, old, true).await, code, "version {version}");
    }
    for version in 3..=5 {
        let code = if version < 4 { 47 } else { 90 };
        assert_eq!(init_as(&mut bench, version, Some(old)).await, Err(code), "version {version}");
    }
    for version in versions::<ProduceRequest>() {
        assert_eq!(send(&mut bench, version, Some("x"), 0, within(old, 1)).await, 47, "version {version}");
    }
}

#[tokio::test]
async fn only_what_was_added_to_an_open_transaction_is_written() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    for version in versions_of_v1::<ProduceRequest>() {
        let not_within = if version < 11 { 48 } else { 120 };
        for (transactional_id, producer, code) in [
            (None, producer, 53),
            (Some("x"), producer, not_within),
            (Some("other"), producer, 49),
            (Some("x"), (producer.0 + 1, producer.1), 49),
            (Some("x"), (producer.0, producer.1 + 1), 47),
        ] {
            let found = send(&mut bench, version, transactional_id, 0, within(producer, 0)).await;
            assert_eq!(found, code, "version {version}, id {transactional_id:?}, {producer:?}");
        }
    }
    assert_eq!(add(&mut bench, 3, producer, &[("t", &[0])]).await, [0]);
    assert_eq!(send(&mut bench, 11, Some("x"), 1, within(producer, 0)).await, 120, "another partition");
    assert_eq!(end(&mut bench, 4, producer, false).await, 0);
    assert_eq!(send(&mut bench, 11, Some("x"), 0, within(producer, 0)).await, 120, "it has ended");
    assert_eq!((stable(&bench, 0), stable(&bench, 1)), ((0, 0), (0, 0)), "no marker either, where nothing was written");
    // What is of no transaction needs none.
    assert_eq!(send(&mut bench, 11, Some("x"), 1, super::records::batch(b"v")).await, 0);
}

#[tokio::test]
async fn partitions_are_added_all_or_none() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    for version in versions::<AddPartitionsToTxnRequest>() {
        for (topics, codes) in [
            (&[("t", &[0, 2, 1][..]), ("absent", &[0])][..], &[55, 3, 55, 3][..]),
            (&[("t", &[-1])], &[3]),
            (&[("__consumer_offsets", &[0]), ("t", &[0])], &[17, 55]),
            (&[("__transaction_state", &[0])], &[17]),
            (&[], &[]),
        ] {
            assert_eq!(add(&mut bench, version, producer, topics).await, codes, "version {version}, {topics:?}");
        }
        let told = bench.broker.describe_transaction("x").expect("known");
        assert_eq!((told.state.name(), told.partitions.len()), ("Empty", 0), "version {version}");
    }
    for version in versions::<AddPartitionsToTxnRequest>() {
        assert_eq!(add(&mut bench, version, producer, &[("t", &[0, 0]), ("t", &[0])]).await, [0, 0], "once a topic");
    }
    assert_eq!(bench.broker.describe_transaction("x").expect("known").partitions.len(), 1);
    let wrong = (producer.0 + 7, 0);
    assert_eq!(add(&mut bench, 3, wrong, &[("t", &[0])]).await, [49]);
}

#[tokio::test]
async fn facts_48_and_51_ends_and_time_outs_are_answered_as_kafka_does() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    for version in versions::<EndTxnRequest>() {
        assert_eq!((end(&mut bench, version, producer, true).await, end(&mut bench, version, (99, 0), true).await), (48, 49));
    }
    assert_eq!(add(&mut bench, 0, producer, &[("t", &[0])]).await, [0]);
    for version in versions_of_v1::<EndTxnRequest>() {
        let ends = (end(&mut bench, version, producer, true).await, end(&mut bench, version, producer, false).await);
        assert_eq!(ends, (0, 48), "version {version}");
    }
    for version in versions::<InitProducerIdRequest>() {
        let request = InitProducerIdRequest::default().with_transactional_id(Some(id("x")));
        for (timeout, code) in [(0, 50), (900_001, 50), (900_000, 0)] {
            let request = request.clone().with_transaction_timeout_ms(timeout);
            assert_eq!(bench.ask(version, &request).await.error_code, code, "version {version}, {timeout}");
        }
        let nameless = request.with_transactional_id(Some(id(""))).with_transaction_timeout_ms(1000);
        assert_eq!(bench.ask(version, &nameless).await.error_code, 42, "version {version}");
    }
}

#[tokio::test]
async fn a_producer_goes_on_after_an_error_with_what_it_had() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    for version in 3..=5 {
        let epoch = bench.broker.describe_transaction("x").expect("known").producer_epoch;
        let had = (producer.0, epoch);
        assert_eq!(init_as(&mut bench, version, Some(had)).await, Ok((producer.0, epoch + 1)));
        assert_eq!(init_as(&mut bench, version, Some(had)).await, Ok((producer.0, epoch + 1)), "its answer was lost");
    }
}

#[tokio::test]
async fn transactions_are_listed_and_described() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    assert_eq!(add(&mut bench, 3, producer, &[("t", &[1])]).await, [0]);
    let request = AddOffsetsToTxnRequest::default().with_transactional_id(id("x")).with_producer_id(ProducerId(producer.0));
    let request = request.with_group_id(GroupId(StrBytes::from_static_str("g1")));
    assert_eq!(bench.ask(4, &request).await.error_code, 0);
    bench.broker.init_transactional_producer("y", 1000, None).await.expect("given");
    for version in versions::<ListTransactionsRequest>() {
        for (states, duration, listed, unknown) in [
            (&[][..], -1, &["x", "y"][..], &[][..]),
            (&["Ongoing", "Nonsense"], -1, &["x"], &["Nonsense"]),
            (&["Empty"], -1, &["y"], &[]),
            (&["CompleteCommit"], -1, &[], &[]),
            (&["Ongoing"], 3_600_000, if version == 0 { &["x"] } else { &[] }, &[]),
        ] {
            let states = states.iter().map(|state| StrBytes::from_static_str(state)).collect();
            let request = ListTransactionsRequest::default().with_state_filters(states);
            let request = request.with_duration_filter(if version == 0 { -1 } else { duration });
            let told = bench.ask(version, &request).await;
            let ids: Vec<_> = told.transaction_states.iter().map(|one| one.transactional_id.as_str()).collect();
            assert_eq!((told.error_code, ids.as_slice()), (0, listed), "version {version}");
            assert!(told.unknown_state_filters.iter().map(StrBytes::as_str).eq(unknown.iter().copied()));
        }
        let request = ListTransactionsRequest::default().with_producer_id_filters(vec![ProducerId(producer.0)]);
        let told = bench.ask(version, &request.with_duration_filter(-1)).await;
        assert_eq!((told.transaction_states.len(), told.transaction_states[0].producer_id.0), (1, producer.0));
    }
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id("x"), id("z"), id(""), id("x")]);
    let told = bench.ask(0, &request).await;
    let codes: Vec<_> = told.transaction_states.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, 105, 42], "each once");
    let x = &told.transaction_states[0];
    let topics: Vec<_> = x.topics.iter().map(|topic| (topic.topic.as_str(), topic.partitions.clone())).collect();
    assert_eq!(topics, [("__consumer_offsets", vec![42]), ("t", vec![1])]);
    assert_eq!((&*x.transaction_state, x.transaction_timeout_ms, x.producer_id.0), ("Ongoing", 60_000, producer.0));
    assert!(x.transaction_start_time_ms > 0);
}

#[tokio::test]
async fn an_administrator_ends_one_that_hangs() {
    let mut bench = Bench::new().await;
    let t = bench.broker.partition("t", 0).expect("there");
    t.produce(bytes::BytesMut::from(&within((77, 3), 0)[..])).expect("beside any coordinator");
    let write = |epoch, coordinator: i32, topic| {
        let topic = WritableTxnMarkerTopic::default().with_name(name(topic)).with_partition_indexes(vec![0, 7]);
        let marker = WritableTxnMarker::default().with_producer_id(ProducerId(77)).with_producer_epoch(epoch);
        WriteTxnMarkersRequest::default().with_markers(vec![marker.with_coordinator_epoch(coordinator).with_topics(vec![topic])])
    };
    for (epoch, coordinator, topic, codes) in
        [(2, 5, "t", [47, 3]), (3, 5, "t", [0, 3]), (3, 4, "t", [52, 3]), (3, 5, "__transaction_state", [17, 17])]
    {
        let told = bench.ask(1, &write(epoch, coordinator, topic)).await;
        let found: Vec<_> = told.markers[0].topics[0].partitions.iter().map(|one| one.error_code).collect();
        assert_eq!(found, codes, "epoch {epoch}, coordinator {coordinator}, {topic}");
    }
    assert_eq!(stable(&bench, 0), (2, 2));
    let topic = WritableTxnMarkerTopic::default().with_name(name("__consumer_offsets")).with_partition_indexes(vec![50, -1]);
    let marker = WritableTxnMarker::default().with_producer_id(ProducerId(77)).with_topics(vec![topic]);
    let told = bench.ask(1, &WriteTxnMarkersRequest::default().with_markers(vec![marker])).await;
    let found: Vec<_> = told.markers[0].topics[0].partitions.iter().map(|one| one.error_code).collect();
    assert_eq!(found, [3, 3], "there are 50 of the groups' partitions");
}

#[tokio::test]
async fn the_topic_of_transactions_is_there_once_it_is_used_and_nobodys() {
    let mut bench = Bench::new().await;
    async fn listed(bench: &mut Bench) -> Vec<(String, bool, usize)> {
        let all = bench.ask(12, &MetadataRequest::default().with_topics(None)).await.topics;
        all.iter().map(|one| (one.name.as_ref().expect("named").to_string(), one.is_internal, one.partitions.len())).collect()
    }
    assert_eq!(listed(&mut bench).await.len(), 2);
    init(&mut bench).await;
    assert_eq!(listed(&mut bench).await[1], ("__transaction_state".to_owned(), true, 50));
    let found = bench.broker.topic("__transaction_state").expect("there");
    assert_eq!(bench.broker.topic_by_id(found.id).as_ref(), Some(&found));
    let request = produce("__transaction_state", 20, super::records::batch(b"v"));
    assert_eq!(bench.ask(11, &request).await.responses[0].partition_responses[0].error_code, 17);
    let told = bench.broker.describe_configs("__transaction_state").expect("described");
    let value = |name: &str| told.iter().find(|entry| entry.name == name).map(|entry| entry.value.clone());
    assert_eq!((value("cleanup.policy").as_deref(), value("segment.bytes").as_deref()), (Some("compact"), Some("104857600")));
    for refused in [
        bench.broker.delete_topic("__transaction_state").expect_err("stays"),
        bench.broker.create_partitions("__transaction_state", 60).expect_err("stays as it is"),
        bench.broker.delete_records("__transaction_state", 0, -1).expect_err("its records stay"),
        bench.broker.create_topic(&crate::broker::NewTopic::new("__transaction_state")).expect_err("there"),
    ] {
        assert!(refused.to_string().contains("internal"), "{refused}");
    }
    let written: Vec<i32> = (0..50)
        .filter(|n| {
            bench.broker.partition_to_read("__transaction_state", *n).expect("there").is_some_and(|log| log.end_offset() > 0)
        })
        .collect();
    assert_eq!(written.len(), 1, "that of the one id");
    let coordinator =
        FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![StrBytes::from_static_str("x")]);
    assert_eq!(bench.ask(5, &coordinator).await.coordinators[0].error_code, 0);
}

/// How long a request of very many small things may take, in a debug build on a busy machine.
const MANY: std::time::Duration = std::time::Duration::from_secs(15);

#[tokio::test]
async fn transactions_of_very_many_partitions_are_answered_soon() {
    let mut bench = Bench::new().await;
    bench.broker.create_topic(&crate::broker::NewTopic::new("wide").partitions(5000)).expect("made");
    let producer = init(&mut bench).await;
    let from = std::time::Instant::now();
    let often = add(&mut bench, 3, producer, &[("t", &[0; 200_000])]).await;
    assert_eq!(often, [0]);
    let numbers: Vec<i32> = (2..200_002).collect();
    let absent = add(&mut bench, 3, producer, &[("t", &numbers)]).await;
    assert!(absent.len() == 200_000 && absent.iter().all(|code| *code == 3));
    let all: Vec<i32> = (0..5000).collect();
    assert!(add(&mut bench, 3, producer, &[("wide", &all)]).await.iter().all(|code| *code == 0));
    let wide = |number| bench.broker.partition("wide", number).expect("there");
    for number in all {
        let batch = bytes::BytesMut::from(&within(producer, 0)[..]);
        bench.broker.produce_in_transaction("x", &wide(number), batch).expect("produced");
    }
    let last = wide(4999);
    assert_eq!(end(&mut bench, 4, producer, true).await, 0);
    let again = DescribeTransactionsRequest::default().with_transactional_ids((0..100_000).map(|_| id("x")).collect());
    assert_eq!(bench.ask(0, &again).await.transaction_states.len(), 1);
    let states = (0..100_000).map(|_| StrBytes::from_static_str("Ongoing")).collect();
    let listed = bench.ask(0, &ListTransactionsRequest::default().with_state_filters(states)).await;
    assert!(listed.transaction_states.is_empty());
    assert!(from.elapsed() < MANY, "{:?}", from.elapsed());
    assert_eq!((last.end_offset(), last.stable_offset()), (2, 2), "its marker");
}

#[tokio::test]
async fn very_many_markers_leave_others_their_turn() {
    let mut bench = Bench::new().await;
    let topic = WritableTxnMarkerTopic::default().with_name(name("t")).with_partition_indexes(vec![0; 50_000]);
    let marker = WritableTxnMarker::default().with_producer_id(ProducerId(7)).with_topics(vec![topic]);
    let sent = bench.send(1, &WriteTxnMarkersRequest::default().with_markers(vec![marker])).await;
    let mut other = tokio::net::TcpStream::connect(bench.server.address()).await.expect("connected");
    let listing = ListTransactionsRequest::default().with_duration_filter(-1);
    tokio::io::AsyncWriteExt::write_all(&mut other, &super::frame(0, 1, &listing)).await.expect("written");
    tokio::io::AsyncReadExt::read_i32(&mut other).await.expect("an answer");
    let t = bench.broker.partition("t", 0).expect("there");
    assert!(t.end_offset() < 50_000, "answered while they are written: {}", t.end_offset());
    let told = bench.receive::<WriteTxnMarkersRequest>(1, sent).await;
    assert!(told.markers[0].topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    assert_eq!(t.end_offset(), 50_000);
}
