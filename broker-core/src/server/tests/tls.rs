//! Ports under TLS: with whom it is agreed on, and with whom not.
#![cfg(feature = "tls")]

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::Decodable;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::frame;
use crate::broker::Broker;
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
    ] {
        let config = ServerConfig { listen: "SASL_SSL://127.0.0.1:0".to_owned(), ssl, ..ServerConfig::default() };
        let told = Server::start(Broker::in_memory(), config).await.expect_err("refused").to_string();
        assert!(told.contains(part), "{part}: {told}");
    }
}
