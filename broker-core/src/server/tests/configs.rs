//! Settings described and changed.

use kafka_protocol::messages::alter_configs_request as legacy;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Bench, versions};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

/// Describes one resource: all settings, or some.
async fn describe(
    bench: &mut Bench,
    version: i16,
    kind: i8,
    name: &'static str,
    keys: Option<&[&'static str]>,
) -> DescribeConfigsResult {
    let keys = keys.map(|keys| keys.iter().copied().map(text).collect());
    let resource = DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource.with_configuration_keys(keys)])
        .with_include_synonyms(true);
    bench.ask(version, &request).await.results.remove(0)
}

fn value<'a>(result: &'a DescribeConfigsResult, name: &str) -> &'a DescribeConfigsResourceResult {
    result.configs.iter().find(|config| config.name.as_str() == name).unwrap_or_else(|| panic!("{name} in {result:?}"))
}

/// Changes settings of one topic, each `(operation, name, value)`; the error, and whether a text says why.
async fn alter(
    bench: &mut Bench,
    version: i16,
    topic: &'static str,
    changes: &[(i8, &'static str, Option<&'static str>)],
    validate_only: bool,
) -> i16 {
    let one = |(operation, name, value): &(i8, &'static str, Option<&'static str>)| {
        let config = incremental::AlterableConfig::default().with_name(text(name)).with_config_operation(*operation);
        config.with_value(value.map(text))
    };
    let resource = incremental::AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(topic));
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource.with_configs(changes.iter().map(one).collect())])
        .with_validate_only(validate_only);
    let answer = bench.ask(version, &request).await.responses.remove(0);
    assert_eq!(answer.error_message.is_some(), answer.error_code != 0, "{answer:?}");
    answer.error_code
}

#[tokio::test]
async fn fact_91_a_setting_is_set_then_deleted_and_described() {
    let mut bench = Bench::new().await;
    for version in versions::<DescribeConfigsRequest>() {
        let change = version.min(1);
        assert_eq!(alter(&mut bench, change, "t", &[(0, "retention.ms", Some("1000"))], true).await, 0);
        let before = describe(&mut bench, version, TOPIC, "t", None).await;
        assert_eq!((before.error_code, value(&before, "retention.ms").config_source), (0, 5), "only checked");
        assert_eq!(alter(&mut bench, change, "t", &[(0, "retention.ms", Some("1000"))], false).await, 0);
        let set = describe(&mut bench, version, TOPIC, "t", Some(&["retention.ms", "no.such"])).await;
        assert_eq!(set.configs.len(), 1);
        let found = value(&set, "retention.ms");
        assert_eq!((found.value.as_deref(), found.config_source, found.read_only), (Some("1000"), 1, false));
        let synonyms: Vec<_> = found.synonyms.iter().map(|one| (one.name.as_str(), one.source)).collect();
        assert_eq!(synonyms, [("retention.ms", 1), ("log.retention.ms", 5)]);
        assert!(version < 3 || found.config_type == 5);
        assert_eq!(alter(&mut bench, change, "t", &[(1, "retention.ms", None)], false).await, 0);
        let gone = describe(&mut bench, version, TOPIC, "t", Some(&[])).await;
        assert_eq!((value(&gone, "retention.ms").config_source, gone.configs.len()), (5, before.configs.len()));
    }
}

#[tokio::test]
async fn fact_91_the_old_call_replaces_all_settings() {
    let mut bench = Bench::new().await;
    for version in versions::<AlterConfigsRequest>() {
        assert_eq!(alter(&mut bench, 0, "t", &[(0, "retention.ms", Some("1000"))], false).await, 0);
        let config = |name, value: Option<&'static str>| {
            legacy::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
        };
        let request = |configs| {
            let resource = legacy::AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text("t"));
            AlterConfigsRequest::default().with_resources(vec![resource.with_configs(configs)])
        };
        let fine = request(vec![config("max.message.bytes", Some("500"))]);
        assert_eq!(bench.ask(version, &fine.clone().with_validate_only(true)).await.responses[0].error_code, 0);
        assert_eq!(value(&describe(&mut bench, 1, TOPIC, "t", None).await, "retention.ms").config_source, 1);
        assert_eq!(bench.ask(version, &fine).await.responses[0].error_code, 0);
        let now = describe(&mut bench, 1, TOPIC, "t", None).await;
        assert_eq!((value(&now, "retention.ms").config_source, value(&now, "max.message.bytes").config_source), (5, 1));
        for (configs, error) in [
            (vec![config("max.message.bytes", None)], 42),
            (vec![config("max.message.bytes", Some("5000")), config("max.message.bytes", Some("5000"))], 42),
            (vec![config("max.message.bytes", Some("none"))], 40),
        ] {
            let answer = bench.ask(version, &request(configs)).await;
            assert_eq!((answer.responses[0].error_code, answer.responses[0].error_message.is_some()), (error, true));
        }
        let after = describe(&mut bench, 1, TOPIC, "t", None).await;
        assert_eq!(value(&after, "max.message.bytes").value.as_deref(), Some("500"));
    }
}

#[tokio::test]
async fn lists_grow_and_shrink() {
    let mut bench = Bench::new().await;
    for (operation, part, expected) in
        [(2, "compact", "delete,compact"), (3, "delete", "compact"), (2, "compact", "compact"), (3, "compact", "")]
    {
        assert_eq!(alter(&mut bench, 1, "t", &[(operation, "cleanup.policy", Some(part))], false).await, 0);
        let now = describe(&mut bench, 4, TOPIC, "t", Some(&["cleanup.policy"])).await;
        let mut parts: Vec<_> = now.configs[0].value.as_deref().expect("a value").split(',').collect();
        let mut wanted: Vec<_> = expected.split(',').collect();
        parts.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(parts, wanted, "operation {operation} {part}");
    }
}

#[tokio::test]
async fn changes_that_cannot_be() {
    let mut bench = Bench::new().await;
    for (topic, changes, error) in [
        ("absent", &[(0, "retention.ms", Some("1"))][..], 3),
        ("__consumer_offsets", &[(0, "retention.ms", Some("1"))], 17),
        ("t", &[(0, "no.such.setting", Some("1"))], 40),
        ("t", &[(0, "retention.ms", Some("soon"))], 40),
        ("t", &[(0, "retention.ms", None)], 42),
        ("t", &[(9, "retention.ms", Some("1"))], 42),
        ("t", &[(2, "retention.ms", Some("1"))], 40),
        ("t", &[(0, "retention.ms", Some("1")), (1, "retention.ms", None)], 42),
        ("t", &[(0, "retention.ms", Some("1")), (0, "segment.ms", Some("0"))], 40),
    ] {
        for version in versions::<IncrementalAlterConfigsRequest>() {
            assert_eq!(alter(&mut bench, version, topic, changes, false).await, error, "{topic} {changes:?}");
        }
    }
    assert_eq!(value(&describe(&mut bench, 1, TOPIC, "t", None).await, "retention.ms").config_source, 5, "all or nothing");
    let resource =
        |kind, name| incremental::AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(name));
    let resources = vec![resource(TOPIC, "t"), resource(TOPIC, "t"), resource(BROKER, "0"), resource(8, "0")];
    let answer = bench.ask(1, &IncrementalAlterConfigsRequest::default().with_resources(resources)).await;
    assert_eq!(answer.responses.iter().map(|one| one.error_code).collect::<Vec<_>>(), [42, 42, 42, 42]);
}

#[tokio::test]
async fn the_brokers_settings_are_told_and_stay() {
    let mut bench = Bench::new().await;
    let told = describe(&mut bench, 4, BROKER, "0", None).await;
    for (name, expected) in [
        ("allow.everyone.if.no.acl.found", "false"),
        ("authorizer.class.name", ""),
        ("auto.create.topics.enable", "true"),
        ("connections.max.reauth.ms", "0"),
        ("delete.topic.enable", "true"),
        ("log.retention.ms", "604800000"),
        ("message.max.bytes", "1048588"),
        ("node.id", "0"),
        ("num.partitions", "1"),
        ("super.users", ""),
    ] {
        let found = value(&told, name);
        assert_eq!((found.value.as_deref(), found.config_source, found.read_only), (Some(expected), 5, true), "{name}");
    }
    assert!(told.configs.is_sorted_by(|a, b| a.name.as_str() < b.name.as_str()), "each once, by name");
    let all = describe(&mut bench, 4, BROKER, "", None).await;
    assert_eq!((all.error_code, all.configs.len()), (0, 0));
    for (kind, name, error) in
        [(BROKER, "1", 42), (BROKER, "x", 42), (TOPIC, "absent", 3), (8, "0", 42), (16, "", 42), (32, "g", 42)]
    {
        let refused = describe(&mut bench, 4, kind, name, None).await;
        assert_eq!(
            (refused.error_code, refused.error_message.is_some(), refused.configs.len()),
            (error, true, 0),
            "{kind} {name}"
        );
    }
}

#[tokio::test]
async fn all_settings_of_the_port_are_told() {
    let mut bench = Bench::new().await;
    let told = describe(&mut bench, 4, BROKER, "0", None).await;
    for (name, expected) in [
        ("advertised.listeners", ""),
        ("connection.failed.authentication.delay.ms", "100"),
        ("connections.authentication.max.ms", "30000"),
        ("listeners", "127.0.0.1:0"),
        ("max.connections.per.ip.overrides", ""),
        ("queued.max.request.bytes", "536870912"),
        ("queued.max.response.bytes", "536870912"),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512"),
        ("sasl.server.max.receive.size", "524288"),
        ("socket.request.max.ms", "120000"),
        ("ssl.client.auth", "none"),
        ("ssl.keystore.location", ""),
        ("ssl.principal.mapping.rules", "DEFAULT"),
        ("ssl.truststore.location", ""),
    ] {
        let found = told.configs.iter().find(|config| config.name.as_str() == name);
        let found = found.unwrap_or_else(|| panic!("{name} is not told"));
        assert_eq!((found.value.as_deref(), found.config_source, found.read_only), (Some(expected), 5, true), "{name}");
    }
}

#[tokio::test]
async fn the_internal_topic_is_described() {
    let mut bench = Bench::new().await;
    let told = describe(&mut bench, 4, TOPIC, "__consumer_offsets", None).await;
    let found = value(&told, "cleanup.policy");
    assert_eq!((found.value.as_deref(), found.config_source, found.read_only), (Some("compact"), 1, true));
    assert_eq!(value(&told, "segment.bytes").value.as_deref(), Some("104857600"));
}
