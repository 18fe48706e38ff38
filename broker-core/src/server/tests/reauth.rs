//! Logins that end, and clients that log in again on the same connection.

use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{advance, pause, resume};

use super::sasl::{guarded_for, mechanism, token};
use super::{Bench, versions};
use crate::security::ScramMechanism;
use crate::server::{SaslMechanism, ServerConfig};

const ANN: &[u8] = b"\0ann\0secret";
/// How long a login holds here.
const SESSION: Duration = Duration::from_secs(60);

pub(super) async fn later(by: Duration) {
    pause();
    advance(by).await;
    resume();
}

async fn log_in(bench: &mut Bench) {
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    let answer = bench.ask(2, &token(ANN)).await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 60_000), "{:?}", answer.error_message);
}

async fn serves(bench: &mut Bench) {
    assert_eq!(bench.ask(1, &MetadataRequest::default().with_topics(None)).await.topics.len(), 2);
}

async fn closed(bench: &mut Bench) {
    assert!(bench.receive_raw().await.is_none(), "closed");
}

#[tokio::test]
async fn who_logs_in_again_in_time_goes_on() {
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    for _ in 0..3 {
        later(SESSION - Duration::from_secs(1)).await;
        serves(&mut bench).await;
        log_in(&mut bench).await;
    }
    later(SESSION - Duration::from_secs(1)).await;
    serves(&mut bench).await;
}

#[tokio::test]
async fn whose_login_is_over_may_only_log_in() {
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    // Nothing happens to who says nothing.
    later(SESSION + Duration::from_secs(1)).await;
    log_in(&mut bench).await;
    serves(&mut bench).await;
    later(SESSION + Duration::from_secs(1)).await;
    bench.send(1, &MetadataRequest::default().with_topics(None)).await;
    closed(&mut bench).await;
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    later(SESSION + Duration::from_secs(1)).await;
    bench.send(0, &ApiVersionsRequest::default()).await;
    closed(&mut bench).await;
}

#[tokio::test]
async fn every_login_ends_and_who_can_be_told_when_is() {
    for version in versions::<SaslAuthenticateRequest>() {
        let mut bench = guarded_for(SESSION).await;
        bench.ask(1, &mechanism("PLAIN")).await;
        let told = bench.ask(version, &token(ANN)).await.session_lifetime_ms;
        assert_eq!(told, if version == 0 { 0 } else { 60_000 });
        later(SESSION + Duration::from_secs(1)).await;
        bench.send(1, &MetadataRequest::default().with_topics(None)).await;
        closed(&mut bench).await;
    }
    // After an old handshake too.
    let mut bench = guarded_for(SESSION).await;
    for _ in 0..2 {
        assert_eq!(bench.ask(0, &mechanism("PLAIN")).await.error_code, 0);
        bench.stream.write_all(b"\0\0\0\x0b\0ann\0secret").await.expect("written");
        assert_eq!(bench.stream.read_i32().await.expect("an answer"), 0);
        serves(&mut bench).await;
        later(SESSION + Duration::from_secs(1)).await;
    }
    bench.send(1, &MetadataRequest::default().with_topics(None)).await;
    closed(&mut bench).await;
}

#[tokio::test]
async fn the_second_login_must_be_that_of_the_first_user_by_the_same_mechanism() {
    for (how, proof) in [("PLAIN", &b"\0ann\0Secret"[..]), ("PLAIN", b"\0bob\0secret"), ("SCRAM-SHA-256", b"n,,n=ann,r=nonce")] {
        let mut bench = guarded_for(SESSION).await;
        bench.broker.put_user("bob", ScramMechanism::Sha256, "secret", 4096).expect("a user");
        log_in(&mut bench).await;
        assert_eq!(bench.ask(1, &mechanism(how)).await.error_code, 0);
        let answer = bench.ask(2, &token(proof)).await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (58, 0), "{how}");
        closed(&mut bench).await;
    }
    // Who is no user any more does not stay.
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    bench.broker.remove_user("ann", ScramMechanism::Sha256).expect("removed");
    serves(&mut bench).await;
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    assert_eq!(bench.ask(2, &token(ANN)).await.error_code, 58);
    closed(&mut bench).await;
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    assert_eq!(bench.ask(1, &mechanism("GSSAPI")).await.error_code, 33);
    closed(&mut bench).await;
}

#[tokio::test]
async fn while_it_logs_in_again_nothing_else_is_served() {
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    bench.send(1, &MetadataRequest::default().with_topics(None)).await;
    closed(&mut bench).await;
    // A token that no handshake came before is none.
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    assert_eq!(bench.ask(2, &token(ANN)).await.error_code, 34);
    closed(&mut bench).await;
}

#[tokio::test]
async fn a_second_login_has_time_of_its_own_and_no_more() {
    let mut bench = guarded_for(SESSION).await;
    log_in(&mut bench).await;
    // Longer than a login may take, since the connection's first moment.
    later(Duration::from_secs(50)).await;
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    later(Duration::from_secs(20)).await;
    assert_eq!(bench.ask(2, &token(ANN)).await.error_code, 0);
    later(Duration::from_secs(10)).await;
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    later(Duration::from_secs(31)).await;
    closed(&mut bench).await;
}

#[tokio::test]
async fn nobody_logs_in_again_more_than_once_a_second() {
    // As with Kafka also where logins do not end.
    let mut bench = guarded_for(Duration::ZERO).await;
    for _ in 0..2 {
        assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
        let answer = bench.ask(2, &token(ANN)).await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
    }
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 34);
    // It is who it was.
    serves(&mut bench).await;
    later(Duration::from_secs(1)).await;
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    assert_eq!(bench.ask(2, &token(ANN)).await.error_code, 0);
    serves(&mut bench).await;
}

#[tokio::test]
async fn where_nobody_logs_in_no_login_ends() {
    let told = ServerConfig { connections_max_reauth: SESSION, ..ServerConfig::default() }.validate();
    assert_eq!(told, ["connections.max.reauth.ms is 60000, but nobody logs in: no port is SASL_PLAINTEXT or SASL_SSL"]);
    let mut bench = Bench::new().await;
    bench.send(1, &SaslHandshakeRequest::default()).await;
    closed(&mut bench).await;
    let listen = "PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0".to_owned();
    let sasl_enabled_mechanisms = vec![SaslMechanism::Plain];
    let config = ServerConfig { listen, sasl_enabled_mechanisms, connections_max_reauth: SESSION, ..ServerConfig::default() };
    let mut bench = Bench::with(config).await;
    later(SESSION + Duration::from_secs(1)).await;
    serves(&mut bench).await;
}
