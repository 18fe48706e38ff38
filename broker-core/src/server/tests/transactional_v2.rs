//! Transactions of version 2 (KIP-890) over the wire: partitions and groups join by what is written, and each transaction has an epoch of its
//! own. Facts are those of the conformance list.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use kafka_protocol::messages::{ApiVersionsRequest, EndTxnRequest, GroupId, ProduceRequest, ProducerId, TxnOffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;

use super::records::produce;
use super::transactional::{Producer, id, init, init_as, stable, within};
use super::{Bench, name};
use crate::broker::NewTopic;
use crate::id::TopicPartition;

async fn send(bench: &mut Bench, partition: i32, producer: Producer, sequence: i32) -> i16 {
    let request = produce("t", partition, within(producer, sequence)).with_transactional_id(Some(id("x")));
    bench.ask(12, &request).await.responses[0].partition_responses[0].error_code
}

async fn end(bench: &mut Bench, producer: Producer, committed: bool) -> Result<Producer, i16> {
    let request = EndTxnRequest::default().with_transactional_id(id("x")).with_producer_id(ProducerId(producer.0));
    let answer = bench.ask(5, &request.with_producer_epoch(producer.1).with_committed(committed)).await;
    let next = (answer.producer_id.0, answer.producer_epoch);
    if answer.error_code == 0 {
        return Ok(next);
    }
    assert_eq!(next, (-1, -1), "nothing is given with error {}", answer.error_code);
    Err(answer.error_code)
}

async fn store(bench: &mut Bench, producer: Producer, offset: i64) -> i16 {
    let partition = TxnOffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id("x"))
        .with_group_id(GroupId(StrBytes::from_static_str("g1")))
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_topics(vec![topic]);
    bench.ask(5, &request).await.topics[0].partitions[0].error_code
}

fn offset(bench: &Bench) -> Option<i64> {
    bench.broker.fetch_offsets("g1", Some(&[TopicPartition::new("t", 0)])).remove(0).1.map(|stored| stored.offset)
}

#[tokio::test]
async fn clients_are_told_that_each_transaction_has_an_epoch() {
    let mut bench = Bench::new().await;
    for (version, supported) in [(0, 0), (2, 0), (3, 0), (4, 1)] {
        let me = || StrBytes::from_static_str("me");
        let asked = match version {
            3.. => ApiVersionsRequest::default().with_client_software_name(me()).with_client_software_version(me()),
            _ => ApiVersionsRequest::default(),
        };
        let told = bench.ask(version, &asked).await;
        assert_eq!(told.supported_features.len(), supported, "version {version}: what may be at 0 is told to who knows that");
        let finalized: Vec<_> = (told.finalized_features.iter())
            .map(|one| (one.name.as_str(), one.min_version_level, one.max_version_level))
            .collect();
        let expected = if version < 3 { vec![] } else { vec![("transaction.version", 2, 2)] };
        assert_eq!(finalized, expected, "version {version}");
        assert_eq!(told.finalized_features_epoch, if version < 3 { -1 } else { 0 });
    }
}

#[tokio::test]
async fn fact_57_a_partition_joins_by_what_is_written_to_it() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    for partition in [0, 1] {
        assert_eq!(send(&mut bench, partition, producer, 0).await, 0);
        assert_eq!(stable(&bench, partition), (0, 1), "undecided");
    }
    assert_eq!(send(&mut bench, 1, producer, 1).await, 0, "it is in it already");
    assert_eq!(bench.broker.describe_transaction("x").expect("known").partitions.len(), 2);
    assert_eq!(end(&mut bench, producer, true).await, Ok((producer.0, producer.1 + 1)));
    assert_eq!((stable(&bench, 0), stable(&bench, 1)), ((2, 2), (3, 3)));
}

#[tokio::test]
async fn fact_56_what_comes_late_is_of_no_other_transaction() {
    let mut bench = Bench::new().await;
    let first = init(&mut bench).await;
    assert_eq!(send(&mut bench, 0, first, 0).await, 0);
    let second = end(&mut bench, first, true).await.expect("committed");
    assert_eq!(second, (first.0, first.1 + 1));
    assert_eq!(end(&mut bench, first, true).await, Ok(second), "its answer was lost");
    assert_eq!(end(&mut bench, first, false).await, Err(48), "it was committed");
    assert_eq!(send(&mut bench, 0, first, 1).await, 47, "a batch that comes late");
    assert_eq!(store(&mut bench, first, 5).await, 47, "and an offset");
    assert_eq!(send(&mut bench, 0, second, 0).await, 0);
    assert_eq!(end(&mut bench, first, true).await, Err(90), "an end that comes late");
    assert_eq!(stable(&bench, 0), (2, 3), "ends nothing");
    let third = end(&mut bench, second, false).await.expect("aborted");
    assert_eq!(stable(&bench, 0), (4, 4));
    // One that has written nothing may be aborted, and not committed.
    assert_eq!(end(&mut bench, third, true).await, Err(48));
    assert_eq!(end(&mut bench, third, false).await, Ok((first.0, first.1 + 3)));
    assert_eq!(stable(&bench, 0), (4, 4), "and leaves no marker");
    assert_eq!(init_as(&mut bench, 5, Some(third)).await, Ok((first.0, first.1 + 3)), "who does not know goes on");
    assert_eq!((end(&mut bench, (99, 0), false).await, send(&mut bench, 0, (99, 0), 0).await), (Err(49), 49));
}

#[tokio::test]
async fn fact_57_a_group_joins_by_what_is_stored_for_it() {
    let mut bench = Bench::new().await;
    let first = init(&mut bench).await;
    assert_eq!(store(&mut bench, first, 5).await, 0);
    assert_eq!(offset(&bench), None, "undecided");
    let second = end(&mut bench, first, true).await.expect("committed");
    assert_eq!(offset(&bench), Some(5));
    assert_eq!(store(&mut bench, second, 9).await, 0);
    end(&mut bench, second, false).await.expect("aborted");
    assert_eq!(offset(&bench), Some(5));
}

#[tokio::test]
async fn who_is_fenced_hears_so() {
    let mut bench = Bench::new().await;
    let old = init(&mut bench).await;
    assert_eq!(send(&mut bench, 0, old, 0).await, 0);
    assert_eq!(init_as(&mut bench, 5, None).await, Err(51), "come again: the open one is aborted first");
    for committed in [true, false] {
        assert_eq!(end(&mut bench, old, committed).await, Err(90));
    }
    let new = init(&mut bench).await;
    assert_eq!(new, (old.0, old.1 + 2));
    assert_eq!((send(&mut bench, 0, old, 1).await, store(&mut bench, old, 1).await), (47, 47));
    assert_eq!(send(&mut bench, 0, new, 0).await, 0);
}

#[tokio::test]
async fn what_is_refused_writes_nothing() {
    let mut bench = Bench::new().await;
    let producer = init(&mut bench).await;
    let mut ask = async |topic, partition, transactional_id: Option<&'static str>| {
        let request = produce(topic, partition, within(producer, 0)).with_transactional_id(transactional_id.map(id));
        bench.ask(12, &request).await.responses[0].partition_responses[0].error_code
    };
    assert_eq!(ask("t", 0, None).await, 53, "no transactional id");
    assert_eq!(ask("t", 7, Some("x")).await, 3);
    assert_eq!(ask("__consumer_offsets", 0, Some("x")).await, 17);
    assert_eq!(ask("t", 0, Some("other")).await, 49);
    assert_eq!(bench.broker.describe_transaction("x").expect("known").state.name(), "Empty");
    assert_eq!((stable(&bench, 0), stable(&bench, 1)), ((0, 0), (0, 0)));
}

/// The coordinator writes all that a transaction holds each time that it grows.
#[tokio::test]
async fn all_partitions_of_a_request_join_at_once() {
    let mut bench = Bench::new().await;
    bench.broker.create_topic(&NewTopic::new("wide").partitions(1000)).expect("made");
    let producer = init(&mut bench).await;
    let kept = |bench: &Bench| -> i64 {
        let all = (0..50).filter_map(|number| bench.broker.partition_to_read("__transaction_state", number).expect("there"));
        all.map(|log| log.end_offset()).sum()
    };
    let before = kept(&bench);
    let data = |index| PartitionProduceData::default().with_index(index).with_records(Some(within(producer, 0)));
    let topic = TopicProduceData::default().with_name(name("wide")).with_partition_data((0..1000).map(data).collect());
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_transactional_id(Some(id("x")));
    let told = bench.ask(12, &request.with_topic_data(vec![topic])).await;
    assert!(told.responses[0].partition_responses.iter().all(|one| one.error_code == 0));
    assert_eq!(kept(&bench) - before, 1, "records of the coordinator");
    assert_eq!(bench.broker.describe_transaction("x").expect("known").partitions.len(), 1000);
    // Two producers in one request: each is told for itself.
    let strange = PartitionProduceData::default().with_index(1).with_records(Some(within((producer.0, 7), 0)));
    let own = PartitionProduceData::default().with_index(0).with_records(Some(within(producer, 1)));
    let topic = TopicProduceData::default().with_name(name("wide")).with_partition_data(vec![own, strange]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_transactional_id(Some(id("x")));
    let told = bench.ask(12, &request.with_topic_data(vec![topic])).await;
    let codes: Vec<_> = told.responses[0].partition_responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, 47]);
}
