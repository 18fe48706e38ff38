//! Logins: who gets in, who does not, and what may be asked before.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest, MetadataRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Bench, versions};
use crate::security::ScramMechanism;
use crate::server::{SaslMechanism, ServerConfig};

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

async fn guarded() -> Bench {
    guarded_for(Duration::ZERO).await
}

/// A login holds for so long.
pub(super) async fn guarded_for(connections_max_reauth: Duration) -> Bench {
    let mut sasl_enabled_mechanisms = ServerConfig::default().sasl_enabled_mechanisms;
    sasl_enabled_mechanisms.push(SaslMechanism::Plain);
    let listen = "SASL_PLAINTEXT://127.0.0.1:0".to_owned();
    let config = ServerConfig { listen, sasl_enabled_mechanisms, connections_max_reauth, ..ServerConfig::default() };
    let bench = Bench::with(config).await;
    bench.broker.put_user("ann", ScramMechanism::Sha256, "secret", 4096).expect("a user");
    bench
}

pub(super) fn mechanism(name: &'static str) -> SaslHandshakeRequest {
    SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name))
}

pub(super) fn token(bytes: &'static [u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(bytes))
}

#[tokio::test]
async fn with_the_password_everything_is_served() {
    for version in versions::<SaslAuthenticateRequest>() {
        let mut bench = guarded().await;
        assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
        let agreed = bench.ask(1, &mechanism("PLAIN")).await;
        assert_eq!((agreed.error_code, agreed.mechanisms.len()), (0, 3));
        let answer = bench.ask(version, &token(b"\0ann\0secret")).await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0), "{:?}", answer.error_message);
        assert_eq!(bench.ask(1, &MetadataRequest::default().with_topics(None)).await.topics.len(), 2);
    }
}

#[tokio::test]
async fn without_it_nothing_is() {
    for wrong in [&b"\0ann\0Secret"[..], b"\0bob\0secret", b"bob\0ann\0secret", b"ann", b"\0\0", b"\xff\0ann\0secret"] {
        let mut bench = guarded().await;
        assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
        let answer = bench.ask(2, &token(wrong)).await;
        let told = answer.error_message.as_deref().unwrap_or_default();
        assert_eq!((answer.error_code, told), (58, "Authentication failed: invalid credentials"));
        assert!(bench.receive_raw().await.is_none(), "closed");
    }
    let mut bench = guarded().await;
    let answer = bench.ask(1, &mechanism("GSSAPI")).await;
    let names: Vec<_> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
    assert_eq!((answer.error_code, names), (33, vec!["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]));
    assert!(bench.receive_raw().await.is_none(), "closed");
}

#[tokio::test]
async fn before_the_login_only_the_login_is_served() {
    let mut bench = guarded().await;
    bench.send(1, &MetadataRequest::default().with_topics(None)).await;
    assert!(bench.receive_raw().await.is_none(), "closed");
    let mut bench = guarded().await;
    bench.send(0, &token(b"\0ann\0secret")).await;
    assert_eq!(bench.receive::<SaslAuthenticateRequest>(0, 1).await.error_code, 34, "no handshake came before");
    assert!(bench.receive_raw().await.is_none(), "closed");
    // Large requests wait until it is known who sends them.
    let mut bench = guarded().await;
    bench.send_raw(&1_000_000i32.to_be_bytes()).await;
    assert!(bench.receive_raw().await.is_none(), "closed");
    // Where no login is asked for, none is served.
    let mut bench = Bench::new().await;
    bench.send(1, &mechanism("PLAIN")).await;
    assert!(bench.receive_raw().await.is_none(), "closed");
}

#[tokio::test]
async fn an_old_handshake_is_followed_by_bare_tokens() {
    let mut bench = guarded().await;
    assert_eq!(bench.ask(0, &mechanism("PLAIN")).await.error_code, 0);
    bench.send_raw(b"\0\0\0\x0b\0ann\0secret").await;
    assert_eq!(bench.stream.read_i32().await.expect("an answer"), 0);
    assert_eq!(bench.ask(1, &MetadataRequest::default().with_topics(None)).await.topics.len(), 2);
    let mut bench = guarded().await;
    assert_eq!(bench.ask(0, &mechanism("PLAIN")).await.error_code, 0);
    bench.stream.write_all(b"\0\0\0\x0b\0ann\0Secret").await.expect("written");
    assert!(bench.receive_raw().await.is_none(), "closed without a word");
}

/// A second client of the same server.
async fn beside(bench: &Bench) -> TcpStream {
    TcpStream::connect(bench.server.address()).await.expect("connected")
}

/// Waits until so many connections are open.
async fn connections(bench: &Bench, wanted: u64) {
    let all = async {
        while bench.server.metrics().connections != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("so many connections within the deadline");
}

#[tokio::test]
async fn while_a_password_is_looked_at_others_are_served() {
    let mut bench = guarded().await;
    let turns = bench.server.shared.passwords.all_turns().await;
    assert_eq!(bench.ask(1, &mechanism("PLAIN")).await.error_code, 0);
    let correlation = bench.send(2, &token(b"\0ann\0secret")).await;
    let mut other = beside(&bench).await;
    std::mem::swap(&mut bench.stream, &mut other);
    assert_eq!(bench.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    std::mem::swap(&mut bench.stream, &mut other);
    drop(turns);
    let answer = bench.receive::<SaslAuthenticateRequest>(2, correlation).await;
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
}

#[tokio::test]
async fn who_waits_for_its_password_to_be_looked_at_may_go_and_is_let_go() {
    for bare in [false, true] {
        let mut bench = guarded().await;
        let _turns = bench.server.shared.passwords.all_turns().await;
        let talk = async |bench: &mut Bench| {
            assert_eq!(bench.ask(if bare { 0 } else { 1 }, &mechanism("PLAIN")).await.error_code, 0);
            match bare {
                true => bench.send_raw(b"\0\0\0\x0b\0ann\0secret").await,
                false => drop(bench.send(2, &token(b"\0ann\0secret")).await),
            }
        };
        // The client goes.
        talk(&mut bench).await;
        connections(&bench, 1).await;
        let next = beside(&bench).await;
        connections(&bench, 2).await;
        bench.stream = next;
        connections(&bench, 1).await;
        // It has as long as a login, and is not told that its password is wrong.
        talk(&mut bench).await;
        super::reauth::later(Duration::from_secs(31)).await;
        let end = tokio::time::timeout(DEADLINE, bench.receive_raw()).await.expect("an end within the deadline");
        assert!(end.is_none(), "closed without a word");
        connections(&bench, 0).await;
        assert_eq!(bench.server.metrics().failed_logins, 0);
        // The server stops.
        bench.stream = beside(&bench).await;
        talk(&mut bench).await;
        tokio::time::timeout(DEADLINE, bench.server.stop()).await.expect("stopped within the deadline");
    }
}

#[tokio::test]
async fn users_are_administered() {
    let mut bench = Bench::new().await;
    let put = |name: &'static str, mechanism, iterations| {
        ScramCredentialUpsertion::default()
            .with_name(StrBytes::from_static_str(name))
            .with_mechanism(mechanism)
            .with_iterations(iterations)
            .with_salt(Bytes::from_static(b"salt"))
            .with_salted_password(Bytes::from_static(b"salted"))
    };
    let puts = vec![put("ann", 1, 4096), put("bob", 1, 100), put("eve", 7, 4096), put("", 1, 4096)];
    let answer = bench.ask(0, &AlterUserScramCredentialsRequest::default().with_upsertions(puts)).await;
    let told: Vec<_> = answer.results.iter().map(|one| (one.user.as_str(), one.error_code)).collect();
    assert_eq!(told, [("", 93), ("ann", 0), ("bob", 93), ("eve", 33)]);
    // A salt goes to whoever asks.
    let salted = |bytes| put("large", 1, 4096).with_salt(Bytes::from(vec![b's'; bytes]));
    let answer = bench.ask(0, &AlterUserScramCredentialsRequest::default().with_upsertions(vec![salted(1025)])).await;
    assert_eq!(answer.results[0].error_code, 93);
    // One change of a user in one request, whatever the mechanisms are; else nothing of that user is changed.
    for (one, other, error) in
        [((1, 4096), (2, 4096), 92), ((1, 4096), (2, 100), 92), ((1, 100), (2, 4096), 93), ((7, 4096), (1, 4096), 33)]
    {
        let puts = vec![put("bob", one.0, one.1), put("bob", other.0, other.1)];
        let answer = bench.ask(0, &AlterUserScramCredentialsRequest::default().with_upsertions(puts)).await;
        assert_eq!((answer.results.len(), answer.results[0].error_code), (1, error));
    }
    let answer = bench.ask(0, &AlterUserScramCredentialsRequest::default().with_upsertions(vec![put("ann", 2, 8192)])).await;
    assert_eq!(answer.results[0].error_code, 0);
    let all = bench.ask(0, &DescribeUserScramCredentialsRequest::default().with_users(None)).await;
    let infos: Vec<_> = all.results[0].credential_infos.iter().map(|one| (one.mechanism, one.iterations)).collect();
    assert_eq!((all.results.len(), all.results[0].user.as_str(), infos), (1, "ann", vec![(1, 4096), (2, 8192)]));
    let remove =
        |mechanism| ScramCredentialDeletion::default().with_name(StrBytes::from_static_str("ann")).with_mechanism(mechanism);
    for (deletions, error) in [(vec![remove(1), remove(2)], 92), (vec![remove(1)], 0), (vec![remove(1)], 91)] {
        let answer = bench.ask(0, &AlterUserScramCredentialsRequest::default().with_deletions(deletions)).await;
        assert_eq!(answer.results[0].error_code, error);
    }
    let user = |name: &'static str| UserName::default().with_name(StrBytes::from_static_str(name));
    let asked = vec![user("ann"), user("bob"), user("bob2"), user("bob2")];
    let some = bench.ask(0, &DescribeUserScramCredentialsRequest::default().with_users(Some(asked))).await;
    assert_eq!(some.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [0, 91, 92]);
}
