//! Rules over the wire: added, described, taken away, refused; and whose they are.

use bytes::Bytes;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::super::records::{batch, fetch, produce};
use super::super::{Bench, versions};
use super::{config, guarded, guarded_by, may, put, rule};
use crate::broker::{Broker, NewTopic};
use crate::security::Operation::{Alter, Read, Write};
use crate::security::ResourceKind::{Cluster, Topic};
use crate::security::{Permission, RuleFilter, ScramMechanism};
use crate::server::{SaslMechanism, ServerConfig};

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

/// `allow User:bob READ` on a topic.
fn new(topic: &'static str) -> AclCreation {
    AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_resource_pattern_type(3)
        .with_principal(text("User:bob"))
        .with_host(text("*"))
        .with_operation(3)
        .with_permission_type(3)
}

/// All rules that a name fits, by one of the ways to fit.
fn asked(topic: Option<&'static str>, pattern: i8) -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(topic.map(text))
        .with_pattern_type_filter(pattern)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

fn filter(topic: Option<&'static str>, pattern: i8) -> DeleteAclsFilter {
    DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(topic.map(text))
        .with_pattern_type_filter(pattern)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

#[tokio::test]
async fn rules_are_added_described_and_taken_away() {
    for version in versions::<CreateAclsRequest>() {
        let mut bench = guarded().await;
        may(&bench, Alter, Cluster);
        let prefixed = new("or").with_resource_pattern_type(4).with_operation(4).with_permission_type(2);
        let creations = vec![new("orders"), new("*"), prefixed, new("orders")];
        let told = bench.ask(version, &CreateAclsRequest::default().with_creations(creations)).await;
        assert_eq!(told.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [0; 4], "{told:?}");
        for (topic, pattern, expected) in [
            (None, 1, vec![("*", 3), ("orders", 3), ("or", 4)]),
            (Some("orders"), 1, vec![("orders", 3)]),
            (Some("orders"), 2, vec![("*", 3), ("orders", 3), ("or", 4)]),
            (Some("orders"), 3, vec![("orders", 3)]),
            (Some("or"), 4, vec![("or", 4)]),
            (Some("orders"), 4, vec![]),
        ] {
            let told = bench.ask(version, &asked(topic, pattern)).await;
            let found: Vec<_> = told.resources.iter().map(|one| (one.resource_name.as_str(), one.pattern_type)).collect();
            assert_eq!((told.error_code, found), (0, expected), "{topic:?} {pattern}");
        }
        let told = bench.ask(version, &asked(Some("or"), 4)).await;
        let one = &told.resources[0].acls[0];
        assert_eq!((one.principal.as_str(), one.host.as_str(), one.operation, one.permission_type), ("User:bob", "*", 4, 2));
        let filters = vec![filter(Some("orders"), 2), filter(Some("orders"), 2), filter(Some("absent"), 1)];
        let told = bench.ask(version, &DeleteAclsRequest::default().with_filters(filters)).await;
        let gone: Vec<_> = told.filter_results.iter().map(|one| (one.error_code, one.matching_acls.len())).collect();
        assert_eq!(gone, [(0, 3), (0, 0), (0, 0)]);
        assert!(bench.ask(version, &asked(None, 1)).await.resources.is_empty());
        assert_eq!(bench.broker.acls().describe(&RuleFilter::default()).len(), 1, "the one about the cluster stays");
    }
}

#[tokio::test]
async fn wrong_rules_and_filters_are_refused_each_for_itself() {
    let mut bench = guarded().await;
    may(&bench, Alter, Cluster);
    for (wrong, told) in [
        (new("t").with_resource_type(6), "resource type 6"),
        (new("t").with_resource_type(1), "resource type 1"),
        (new("t").with_resource_type(4), "'kafka-cluster'"),
        (new("t").with_resource_pattern_type(2), "pattern type 2"),
        (new("t").with_operation(1), "operation 1"),
        (new("t").with_operation(13), "operation 13"),
        (new("t").with_permission_type(1), "permission 1"),
        (new("t").with_principal(text("bob")), "'User:' and a name"),
        (new("t").with_host(text("localhost")), "neither an address"),
        (new(""), "0 bytes"),
    ] {
        let creations = vec![wrong, new("fine")];
        let answer = bench.ask(3, &CreateAclsRequest::default().with_creations(creations)).await;
        assert_eq!(answer.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [42, 0], "{told}");
        let message = answer.results[0].error_message.as_ref().expect("a text");
        assert!(message.contains(told), "{told} in {}", message.as_str());
    }
    assert_eq!(bench.ask(3, &asked(None, 0)).await.error_code, 42);
    assert_eq!(bench.ask(3, &asked(None, 1).with_operation(99)).await.error_code, 42);
    let filters = vec![filter(None, 0), filter(Some("fine"), 1)];
    let answer = bench.ask(3, &DeleteAclsRequest::default().with_filters(filters)).await;
    let codes: Vec<_> = answer.filter_results.iter().map(|one| (one.error_code, one.matching_acls.len())).collect();
    assert_eq!(codes, [(42, 0), (0, 1)]);
}

#[tokio::test]
async fn without_an_authorizer_there_are_no_rules_to_speak_of() {
    let mut bench = Bench::new().await;
    for version in versions::<CreateAclsRequest>() {
        let answer = bench.ask(version, &CreateAclsRequest::default().with_creations(vec![new("t"), new("u")])).await;
        assert_eq!(answer.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54, 54]);
        let answer = bench.ask(version, &DeleteAclsRequest::default().with_filters(vec![filter(None, 1)])).await;
        assert_eq!(answer.filter_results[0].error_code, 54);
    }
    assert!(bench.broker.acls().describe(&RuleFilter::default()).is_empty());
    // Those that are kept from before hold nobody back.
    put(&bench, rule(Permission::Deny, "User:*", Read, Topic, "t"));
    assert_eq!(bench.ask(11, &fetch("t", 0, 0)).await.responses[0].partitions[0].error_code, 0);
}

/// Logs in on a connection of its own.
async fn log_in(bench: &mut Bench, token: &'static [u8]) {
    bench.stream = tokio::net::TcpStream::connect(bench.server.address()).await.expect("connected");
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    assert_eq!(bench.ask(1, &handshake).await.error_code, 0);
    let token = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(token));
    assert_eq!(bench.ask(2, &token).await.error_code, 0);
}

async fn produced(bench: &mut Bench) -> i16 {
    bench.ask(9, &produce("t", 0, batch(b"v"))).await.responses[0].partition_responses[0].error_code
}

#[tokio::test]
async fn rules_are_those_of_the_user_who_logged_in() {
    let listen = "SASL_PLAINTEXT://127.0.0.1:0".to_owned();
    let sasl_enabled_mechanisms = vec![SaslMechanism::Plain];
    let super_users = vec!["User:root".to_owned()];
    let mut bench = guarded_by(ServerConfig { listen, sasl_enabled_mechanisms, super_users, ..config() }).await;
    for user in ["ann", "bob", "root"] {
        bench.broker.put_user(user, ScramMechanism::Sha256, "secret", 4096).expect("a user");
    }
    put(&bench, rule(Permission::Allow, "User:ann", Write, Topic, "t"));
    log_in(&mut bench, b"\0ann\0secret").await;
    assert_eq!(produced(&mut bench).await, 0);
    log_in(&mut bench, b"\0bob\0secret").await;
    assert_eq!(produced(&mut bench).await, 29);
    // While it is connected.
    put(&bench, rule(Permission::Allow, "User:bob", Write, Topic, "t"));
    assert_eq!(produced(&mut bench).await, 0);
    put(&bench, rule(Permission::Deny, "User:*", Write, Topic, "t"));
    assert_eq!(produced(&mut bench).await, 29);
    // Rules do not hold super users back, not even those that deny.
    log_in(&mut bench, b"\0root\0secret").await;
    assert_eq!(produced(&mut bench).await, 0);
    assert_eq!(bench.ask(3, &CreateAclsRequest::default().with_creations(vec![new("t")])).await.results[0].error_code, 0);
}

#[tokio::test]
async fn rules_are_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    for restarted in [false, true] {
        let broker = Broker::open(dir.path()).expect("opened");
        let mut bench = Bench::on(broker, config()).await;
        if !restarted {
            bench.broker.create_topic(&NewTopic::new("t")).expect("a topic");
            assert_eq!(produced(&mut bench).await, 29);
            put(&bench, rule(Permission::Allow, "User:ANONYMOUS", Write, Topic, "t"));
        }
        assert_eq!(produced(&mut bench).await, 0);
        let Bench { server, broker, .. } = bench;
        server.stop().await;
        broker.close().await.expect("closed");
    }
}

#[tokio::test]
async fn rules_may_be_about_an_address() {
    let mut bench = guarded().await;
    let from = |host: &str| {
        let rule = rule(Permission::Allow, "User:ANONYMOUS", Write, Topic, "t");
        crate::security::Rule { host: host.to_owned(), ..rule }
    };
    put(&bench, from("10.0.0.1"));
    assert_eq!(produced(&mut bench).await, 29);
    put(&bench, from("127.0.0.1"));
    assert_eq!(produced(&mut bench).await, 0);
}

#[test]
fn settings_that_make_no_sense_are_told_all_at_once() {
    let with = |class: &str, users: &[&str], everyone| ServerConfig {
        authorizer_class_name: class.to_owned(),
        super_users: users.iter().map(|user| (*user).to_owned()).collect(),
        allow_everyone_if_no_acl_found: everyone,
        ..ServerConfig::default()
    };
    let class = super::AUTHORIZER;
    assert_eq!(with(class, &["User:ann", "User:CN=bob,O=x"], true).validate(), [""; 0]);
    assert_eq!(
        with("kafka.security.authorizer.AclAuthorizer", &["ann", "User:", "User:bob"], false).validate(),
        [
            "authorizer.class.name is 'kafka.security.authorizer.AclAuthorizer', which is not built: \
         org.apache.kafka.metadata.authorizer.StandardAuthorizer is, or none",
            "super.users: 'ann' is not 'User:' and a name, as in User:ann;User:bob",
            "super.users: 'User:' is not 'User:' and a name, as in User:ann;User:bob",
        ]
    );
    assert_eq!(
        with("", &["User:ann"], true).validate(),
        [
            "super.users is set, but no authorizer.class.name: nobody's rights are looked at",
            "allow.everyone.if.no.acl.found is set, but no authorizer.class.name: nobody's rights are looked at",
        ]
    );
}
