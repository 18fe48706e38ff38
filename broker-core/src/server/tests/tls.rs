//! Ports under TLS: with whom it is agreed on, and with whom not.
#![cfg(feature = "tls")]

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::Decodable;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::frame;
use crate::broker::{Broker, NewTopic};
use crate::security::{Operation, Pattern, Permission, ResourceKind, Rule};
use crate::server::rights::AUTHORIZER;
use crate::server::tls::{Tls, in_the_clear};
use crate::server::{ClientAuth, Server, ServerConfig, SslConfig};

/// How long anything may take, of real time.
const DEADLINE: Duration = Duration::from_secs(20);

/// An authority, and what it has signed for this machine: chain and key.
struct Authority {
    own: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        Self { own }
    }

    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
        (params.signed_by(&key, &self.own).expect("signed").pem(), key.serialize_pem())
    }

    /// Chain and key of this unit's somebody.
    fn sign_for(&self, name: &str, unit: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.own).expect("signed").pem(), key.serialize_pem())
    }

    fn ssl(&self) -> SslConfig {
        let (chain, key) = self.sign();
        SslConfig { keystore: Some((key, chain)), ..SslConfig::default() }
    }

    /// A client that trusts this authority, and shows what it has signed if asked.
    fn client(&self, shown: Option<(String, String)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.own.pem().as_bytes()).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let builder = builder.with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate")];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key")).expect("both")
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

async fn server(ssl: SslConfig) -> Server {
    let config = ServerConfig {
        listen: "SSL://127.0.0.1:0".to_owned(),
        ssl,
        connections_authentication_max: Duration::from_millis(300),
        ..ServerConfig::default()
    };
    Server::start(Broker::in_memory(), config).await.expect("a server")
}

/// Asks which APIs there are; how many, or nothing if the connection ends instead.
async fn apis(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<usize> {
    stream.write_all(&frame(0, 1, &ApiVersionsRequest::default())).await.ok()?;
    let size = stream.read_i32().await.ok()?;
    let mut answer = vec![0; size as usize];
    stream.read_exact(&mut answer).await.ok()?;
    let answer = ApiVersionsResponse::decode(&mut &answer[4..], 0).expect("an answer");
    Some(answer.api_keys.len())
}

/// Asks about topic `t` under TLS; the error that is told of it, or nothing if the connection ends instead.
async fn topic(server: &Server, client: &TlsConnector) -> Option<i16> {
    let all = async {
        let socket = TcpStream::connect(server.address()).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = client.connect(name, socket).await.ok()?;
        let asked = MetadataRequestTopic::default().with_name(Some(super::name("t")));
        stream.write_all(&frame(1, 1, &MetadataRequest::default().with_topics(Some(vec![asked])))).await.ok()?;
        let size = stream.read_i32().await.ok()?;
        let mut answer = vec![0; size as usize];
        stream.read_exact(&mut answer).await.ok()?;
        Some(MetadataResponse::decode(&mut &answer[4..], 1).expect("an answer").topics[0].error_code)
    };
    tokio::time::timeout(DEADLINE, all).await.expect("an answer, or an end")
}

/// The same under TLS.
async fn asked(server: &Server, client: &TlsConnector) -> Option<usize> {
    let all = async {
        let socket = TcpStream::connect(server.address()).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        apis(&mut client.connect(name, socket).await.ok()?).await
    };
    tokio::time::timeout(DEADLINE, all).await.expect("an answer, or an end")
}

#[tokio::test]
async fn clients_that_trust_the_authority_are_served_and_others_are_not() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = server(authority.ssl()).await;
    assert_eq!(asked(&server, &authority.client(None)).await, Some(crate::server::APIS.len()));
    assert_eq!(asked(&server, &other.client(None)).await, None);
    // Who speaks in the clear, or nothing at all, is let go; the others notice nothing.
    let mut clear = TcpStream::connect(server.address()).await.expect("connected");
    let silent = TcpStream::connect(server.address()).await;
    assert_eq!(tokio::time::timeout(DEADLINE, apis(&mut clear)).await.expect("an end"), None);
    let mut silent = silent.expect("connected");
    let end = tokio::time::timeout(DEADLINE, silent.read_u8()).await.expect("connections.authentication.max.ms is an end");
    assert!(end.is_err());
    assert_eq!(asked(&server, &authority.client(None)).await, Some(crate::server::APIS.len()));
}

#[tokio::test]
async fn certificates_of_clients_are_asked_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (client_auth, without, foreign) in
        [(ClientAuth::Required, false, false), (ClientAuth::Requested, true, false), (ClientAuth::None, true, true)]
    {
        let truststore_certificates = (client_auth != ClientAuth::None).then(|| authority.own.pem());
        let server = server(SslConfig { client_auth, truststore_certificates, ..authority.ssl() }).await;
        assert!(asked(&server, &authority.client(Some(authority.sign()))).await.is_some(), "{client_auth:?}");
        assert_eq!(asked(&server, &authority.client(None)).await.is_some(), without, "{client_auth:?}");
        assert_eq!(asked(&server, &authority.client(Some(other.sign()))).await.is_some(), foreign, "{client_auth:?}");
    }
}

#[tokio::test]
async fn the_owner_of_a_certificate_has_rights_by_its_name() {
    const REFUSED: i16 = 29;
    let authority = Authority::new();
    for (rules, called) in [("", "User:CN=ann\\, B.,OU=staff"), ("RULE:^CN=(.*?)\\\\?,.*OU=staff$/$1/L", "User:ann")] {
        let ssl = SslConfig {
            client_auth: ClientAuth::Requested,
            truststore_certificates: Some(authority.own.pem()),
            principal_mapping_rules: rules.to_owned(),
            ..authority.ssl()
        };
        let broker = Broker::in_memory();
        broker.create_topic(&NewTopic::new("t")).expect("a topic");
        let rule = Rule {
            kind: ResourceKind::Topic,
            name: "t".to_owned(),
            pattern: Pattern::Literal,
            principal: called.to_owned(),
            host: "*".to_owned(),
            operation: Operation::Describe,
            permission: Permission::Allow,
        };
        broker.acls().add(vec![Ok(rule)]).remove(0).expect("a rule");
        let (listen, authorizer_class_name) = ("SSL://127.0.0.1:0".to_owned(), AUTHORIZER.to_owned());
        let config = ServerConfig { listen, ssl, authorizer_class_name, ..ServerConfig::default() };
        let server = Server::start(broker, config).await.expect("a server");
        assert_eq!(topic(&server, &authority.client(Some(authority.sign_for("ann, B.", "staff")))).await, Some(0), "{called}");
        // Somebody else: refused, or with the rules nobody at all.
        let other = if rules.is_empty() { Some(REFUSED) } else { None };
        assert_eq!(topic(&server, &authority.client(Some(authority.sign_for("ann, B.", "guests")))).await, other);
        assert_eq!(topic(&server, &authority.client(None)).await, Some(REFUSED), "nobody in particular");
    }
}

#[test]
fn who_shows_a_certificate_that_cannot_be_read_is_not_nobody() {
    let authority = Authority::new();
    let config = ServerConfig { listen: "SSL://127.0.0.1:0".to_owned(), ssl: authority.ssl(), ..ServerConfig::default() };
    let tls = config.tls().expect("good").expect("a port under TLS");
    let (chain, _) = authority.sign_for("ann", "staff");
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate");
    assert_eq!(tls.called(None), Ok(None));
    assert_eq!(tls.called(Some(&certificate)), Ok(Some("CN=ann,OU=staff".to_owned())));
    let told = tls.called(Some(&certificate[..100])).expect_err("refused");
    assert!(told.contains("subject"), "{told}");
    // A certificate for a place, say: good, but nobody's.
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
    params.distinguished_name = DistinguishedName::new();
    assert_eq!(tls.called(Some(params.signed_by(&key, &authority.own).expect("signed").der())), Ok(None));
}

#[tokio::test]
async fn a_file_is_read_and_what_is_wrong_is_told() {
    let authority = Authority::new();
    let (chain, key) = authority.sign();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "{key}{chain}").expect("written");
    let server = server(SslConfig { keystore_location: Some(file.path().to_owned()), ..SslConfig::default() }).await;
    assert!(asked(&server, &authority.client(None)).await.is_some());
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let at = |path: &std::path::Path| SslConfig { keystore_location: Some(path.to_owned()), ..SslConfig::default() };
    for (ssl, part) in [
        (SslConfig::default(), "needs ssl.keystore.location"),
        (at(std::path::Path::new("/no/such/file.pem")), "ssl.keystore.location = /no/such/file.pem: No such file"),
        (at(empty.path()), "no certificate in it (PEM is expected"),
        (
            SslConfig { keystore: Some((String::new(), chain.clone())), ..SslConfig::default() },
            "ssl.keystore.key: no private key",
        ),
        (SslConfig { keystore_location: Some(file.path().to_owned()), ..authority.ssl() }, "give one of them"),
        (SslConfig { client_auth: ClientAuth::Required, ..authority.ssl() }, "ssl.truststore.location must say"),
        (
            SslConfig { principal_mapping_rules: "RULE:a".to_owned(), ..authority.ssl() },
            "ssl.principal.mapping.rules: 'RULE:a' is not RULE:pattern",
        ),
    ] {
        let config = ServerConfig { listen: "SASL_SSL://127.0.0.1:0".to_owned(), ssl, ..ServerConfig::default() };
        let told = Server::start(Broker::in_memory(), config).await.expect_err("refused").to_string();
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test]
async fn a_request_in_the_clear_is_told_from_damaged_tls() {
    let tls = Tls::new(&Authority::new().ssl()).expect("a key and a certificate");
    for (sent, clear) in [(&[0, 0, 0, 23, 0, 18, 0, 3][..], true), (&[22, 3, 1, 0, 4, 1, 2, 3, 4], false)] {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(sent).await.expect("written");
        let error = tls.accept(server).await.expect_err("no TLS");
        assert_eq!(in_the_clear(&error), clear, "{error}");
    }
}
