//! Quotas: set, described, kept, and obeyed. What was done, in numbers.

use std::time::{Duration, Instant};

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, FetchRequest, ListGroupsRequest, ProduceRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::records::{batch, fetch, produce};
use super::{Bench, versions};

fn set(kind: &'static str, name: Option<&'static str>, key: &'static str, value: Option<f64>) -> AlterClientQuotasRequest {
    let entity = EntityData::default()
        .with_entity_type(StrBytes::from_static_str(kind))
        .with_entity_name(name.map(StrBytes::from_static_str));
    let op = OpData::default()
        .with_key(StrBytes::from_static_str(key))
        .with_value(value.unwrap_or_default())
        .with_remove(value.is_none());
    AlterClientQuotasRequest::default().with_entries(vec![EntryData::default().with_entity(vec![entity]).with_ops(vec![op])])
}

fn asked(kind: &'static str, match_type: i8, name: Option<&'static str>) -> DescribeClientQuotasRequest {
    let part = ComponentData::default()
        .with_entity_type(StrBytes::from_static_str(kind))
        .with_match_type(match_type)
        .with_match(name.map(StrBytes::from_static_str));
    DescribeClientQuotasRequest::default().with_components(vec![part])
}

#[tokio::test]
async fn quotas_are_set_described_and_taken_away() {
    let mut bench = Bench::new().await;
    for version in versions::<AlterClientQuotasRequest>() {
        for name in [Some("bench"), None] {
            let answer = bench.ask(version, &set("client-id", name, "producer_byte_rate", Some(1000.0))).await;
            assert_eq!(answer.entries[0].error_code, 0, "{answer:?}");
        }
        let answer = bench.ask(version, &set("client-id", Some("bench"), "request_percentage", Some(5.0))).await;
        assert_eq!(answer.entries[0].error_code, 42);
        assert!(answer.entries[0].error_message.as_ref().expect("a text").contains("is not built"));
        let answer = bench.ask(version, &set("ip", Some("127.0.0.1"), "connection_creation_rate", Some(5.0))).await;
        assert_eq!(answer.entries[0].error_code, 42);
        for (request, expected) in [
            (asked("client-id", 0, Some("bench")), vec![Some("bench")]),
            (asked("client-id", 1, None), vec![None]),
            (asked("client-id", 2, None), vec![None, Some("bench")]),
            (asked("user", 2, None), vec![]),
            (asked("ip", 2, None), vec![]),
        ] {
            let answer = bench.ask(version, &request).await;
            let entries = answer.entries.expect("entries");
            let names: Vec<_> =
                entries.iter().map(|entry| entry.entity[0].entity_name.as_ref().map(|name| name.as_str())).collect();
            assert_eq!(names, expected, "{request:?}");
            assert!(entries.iter().all(|entry| entry.values[0].key.as_str() == "producer_byte_rate"));
        }
        for wrong in [asked("client-id", 0, None), asked("client-id", 7, None), asked("color", 2, None)] {
            let answer = bench.ask(version, &wrong).await;
            assert!(answer.error_code != 0 && answer.entries.is_none(), "{wrong:?}");
        }
        for name in [Some("bench"), None] {
            bench.ask(version, &set("client-id", name, "producer_byte_rate", None)).await;
        }
        let left = bench.ask(version, &asked("client-id", 2, None)).await;
        assert_eq!(left.entries, Some(Vec::new()));
    }
}

#[tokio::test]
async fn who_is_over_its_quota_is_told_and_waits() {
    let mut bench = Bench::new().await;
    let value = vec![b'x'; 50_500];
    bench.ask(1, &set("client-id", Some("bench"), "producer_byte_rate", Some(10_000.0))).await;
    bench.ask(1, &set("client-id", Some("bench"), "consumer_byte_rate", Some(10_000.0))).await;
    let first = bench.ask(9, &produce("t", 0, batch(&value))).await;
    assert_eq!((first.throttle_time_ms, first.responses[0].partition_responses[0].error_code), (0, 0));
    let begun = Instant::now();
    let second: <ProduceRequest as kafka_protocol::protocol::Request>::Response =
        bench.ask(9, &produce("t", 0, batch(&value))).await;
    // 101,000 bytes and a little, where 100,000 are ten seconds' worth. It is in the log all the same.
    let told = second.throttle_time_ms;
    assert!((100..400).contains(&told), "{told}");
    assert_eq!(second.responses[0].partition_responses[0].error_code, 0);
    bench.ask(4, &ListGroupsRequest::default()).await;
    assert!(begun.elapsed() >= Duration::from_millis(told as u64), "the next request was answered before the time was over");
    // Another client is not slowed down: it has no quota.
    let answer = bench.ask(9, &produce("t", 1, batch(&value[..5000]))).await;
    assert!(answer.throttle_time_ms > 0, "the same client is still over");
    // A reader gets ten seconds' worth at most at once, however much it asks for, and at least one batch.
    let found: <FetchRequest as kafka_protocol::protocol::Request>::Response = bench.ask(11, &fetch("t", 0, 0)).await;
    let bytes = found.responses[0].partitions[0].records.as_ref().map_or(0, bytes::Bytes::len);
    assert!((50_000..100_000).contains(&bytes), "{bytes}");
    let metrics = bench.server.metrics();
    assert!(
        metrics.throttled >= 2 && metrics.throttled_ms >= told as u64,
        "{} times, {} ms",
        metrics.throttled,
        metrics.throttled_ms
    );
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let mut bench = Bench::new().await;
    for _ in 0..3 {
        bench.ask(9, &produce("t", 0, batch(b"v"))).await;
    }
    let metrics = bench.server.metrics();
    let produce = metrics.apis.iter().find(|api| api.name == "Produce").expect("served");
    assert_eq!((produce.requests, produce.latency.count(), produce.refused), (3, 3, 0));
    assert!(produce.request_bytes > 3 * 70 && produce.response_bytes > 3 * 40, "{produce:?}");
    assert_eq!((metrics.connections, metrics.accepted, metrics.turned_away), (1, 1, 0));
    drop(bench.stream);
    tokio::time::timeout(Duration::from_secs(10), async {
        while bench.server.metrics().connections > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the connection's end is counted");
}
