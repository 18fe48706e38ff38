//! TLS on ports of `SSL` and `SASL_SSL`: settings by Kafka's names, keys and certificates in PEM.

use std::path::PathBuf;
use std::str::FromStr;

/// Whether clients show a certificate, by Kafka's `ssl.client.auth`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// `none`: they are not asked.
    #[default]
    None,
    /// `requested`: one that is shown must be good.
    Requested,
    /// `required`: without a good one there is no connection.
    Required,
}

impl ClientAuth {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Requested => "requested",
            Self::Required => "required",
        }
    }
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::None),
            "requested" => Ok(Self::Requested),
            "required" => Ok(Self::Required),
            _ => Err(format!("'{name}' is none of none, requested and required")),
        }
    }
}

/// The broker's certificate, and whose certificates it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SslConfig {
    /// `ssl.keystore.location`: a PEM file with the private key, not encrypted, and the certificates up to the authority.
    pub keystore_location: Option<PathBuf>,
    /// `ssl.keystore.key` and `ssl.keystore.certificate.chain`: the same as PEM texts, in place of a file.
    pub keystore: Option<(String, String)>,
    /// `ssl.truststore.location`: a PEM file with the authorities that sign clients' certificates.
    pub truststore_location: Option<PathBuf>,
    /// `ssl.truststore.certificates`: the same as a PEM text.
    pub truststore_certificates: Option<String>,
    /// `ssl.client.auth`; none.
    pub client_auth: ClientAuth,
    /// `ssl.principal.mapping.rules`: what the owner of a client's certificate is called; `DEFAULT`, or nothing, is the whole
    /// distinguished name.
    pub principal_mapping_rules: String,
}

#[cfg(feature = "tls")]
pub(super) use built::{Tls, in_the_clear};

#[cfg(feature = "tls")]
mod built {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig};
    use tokio_rustls::TlsAcceptor;

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::server::TlsStream;

    use super::{ClientAuth, SslConfig};
    use crate::security::{PrincipalRules, subject};

    /// Makes TLS streams of sockets, and knows whose the clients' certificates are.
    #[derive(Clone)]
    pub struct Tls {
        acceptor: TlsAcceptor,
        rules: Arc<PrincipalRules>,
    }

    impl std::fmt::Debug for Tls {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Tls")
        }
    }

    const KEYSTORE: &str = "a PEM file with the private key and the certificates up to the authority";
    const TRUSTSTORE: &str = "a PEM file with the authorities that sign clients' certificates";

    fn read(path: &Path, setting: &str, expected: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| format!("{setting} = {}: {error}; it is {expected}", path.display()))
    }

    fn certificates(pem: &[u8], setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match all.map_err(|error| format!("{setting}: a damaged certificate: {error}"))? {
            none if none.is_empty() => {
                Err(format!("{setting}: no certificate in it (PEM is expected; JKS and PKCS12 are not built)"))
            }
            some => Ok(some),
        }
    }

    fn key(pem: &[u8], setting: &str) -> Result<PrivateKeyDer<'static>, String> {
        PrivateKeyDer::from_pem_slice(pem)
            .map_err(|error| format!("{setting}: no private key in it, or one that is encrypted (PEM is expected): {error}"))
    }

    impl Tls {
        /// Reads keys and certificates; every problem, one text each.
        pub fn new(config: &SslConfig) -> Result<Self, Vec<String>> {
            let mut problems = Vec::new();
            let mut noted = |problem: String| problems.push(problem);
            let own = own(config).map_err(&mut noted).ok();
            let roots = roots(config).map_err(&mut noted).ok();
            let rules = PrincipalRules::parse(&config.principal_mapping_rules);
            let rules = rules.map_err(|problem| noted(format!("ssl.principal.mapping.rules: {problem}"))).ok();
            let (Some((chain, key)), Some(roots), Some(rules)) = (own, roots, rules) else { return Err(problems) };
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let one = |error: &dyn std::fmt::Display| vec![format!("ssl.*: {error}")];
            let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
            let builder = builder.map_err(|error| one(&error))?;
            let builder = match roots {
                None => builder.with_no_client_auth(),
                Some(roots) => {
                    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                    let verifier = match config.client_auth {
                        ClientAuth::Required => verifier,
                        ClientAuth::None | ClientAuth::Requested => verifier.allow_unauthenticated(),
                    };
                    builder.with_client_cert_verifier(verifier.build().map_err(|error| one(&error))?)
                }
            };
            let config = builder.with_single_cert(chain, key).map_err(|error| vec![format!("ssl.keystore: {error}")])?;
            Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), rules: Arc::new(rules) })
        }

        /// Agrees with a client.
        pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> std::io::Result<TlsStream<S>> {
            self.acceptor.accept(stream).await
        }

        /// What the owner of the client's certificate is called, if it has shown one that names somebody; in words if it
        /// cannot be read, or the rules know no such client.
        pub fn owner<S>(&self, stream: &TlsStream<S>) -> Result<Option<String>, String> {
            self.called(stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(AsRef::as_ref))
        }

        pub(in crate::server) fn called(&self, certificate: Option<&[u8]>) -> Result<Option<String>, String> {
            let Some(certificate) = certificate else { return Ok(None) };
            let name = subject(certificate).ok_or("the subject of its certificate cannot be read")?;
            if name.is_empty() {
                return Ok(None);
            }
            let called = self.rules.name(&name).filter(|called| !called.is_empty());
            called.map(Some).ok_or_else(|| format!("no rule of ssl.principal.mapping.rules fits '{name}'"))
        }
    }

    /// Whether TLS failed since a client sent what is none: a request of Kafka's, as it seems.
    pub fn in_the_clear(error: &std::io::Error) -> bool {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        matches!(cause, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
    }

    type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    fn own(config: &SslConfig) -> Result<Own, String> {
        match (&config.keystore_location, &config.keystore) {
            (Some(path), None) => {
                let setting = format!("ssl.keystore.location = {}", path.display());
                let pem = read(path, "ssl.keystore.location", KEYSTORE)?;
                Ok((certificates(&pem, &setting)?, key(&pem, &setting)?))
            }
            (None, Some((own, chain))) => {
                Ok((certificates(chain.as_bytes(), "ssl.keystore.certificate.chain")?, key(own.as_bytes(), "ssl.keystore.key")?))
            }
            (Some(_), Some(_)) => Err("ssl.keystore.location and ssl.keystore.key: give one of them".to_owned()),
            (None, None) => Err(format!("a port with TLS needs ssl.keystore.location: {KEYSTORE}")),
        }
    }

    /// Whose certificates are taken; `None` if clients are not asked.
    fn roots(config: &SslConfig) -> Result<Option<RootCertStore>, String> {
        if config.client_auth == ClientAuth::None {
            return Ok(None);
        }
        let (pem, setting) = match (&config.truststore_location, &config.truststore_certificates) {
            (Some(path), None) => {
                (read(path, "ssl.truststore.location", TRUSTSTORE)?, format!("ssl.truststore.location = {}", path.display()))
            }
            (None, Some(text)) => (text.clone().into_bytes(), "ssl.truststore.certificates".to_owned()),
            (Some(_), Some(_)) => {
                return Err("ssl.truststore.location and ssl.truststore.certificates: give one of them".to_owned());
            }
            (None, None) => {
                return Err("ssl.client.auth asks for certificates: ssl.truststore.location must say whose are good".to_owned());
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&pem, &setting)? {
            roots.add(certificate).map_err(|error| format!("{setting}: {error}"))?;
        }
        Ok(Some(roots))
    }
}

/// In place of TLS in a build without it.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Clone)]
pub(super) enum Tls {}

#[cfg(not(feature = "tls"))]
impl Tls {
    pub fn new(_: &SslConfig) -> Result<Self, Vec<String>> {
        Err(vec!["SSL and SASL_SSL need the cargo feature `tls` of broker-core, which this build does not have".to_owned()])
    }
}
