//! TLS to a broker: whom it trusts, what it shows, and why there is none.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

/// PEM from a file, or as the setting's value.
#[derive(Debug, Clone)]
pub enum Pem {
    File(&'static str, PathBuf),
    Text(&'static str, String),
}

impl Pem {
    fn name(&self) -> String {
        match self {
            Self::File(name, path) => format!("{name}={}", path.display()),
            Self::Text(name, _) => (*name).to_owned(),
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(_, path) => std::fs::read(path).map_err(|error| format!("{}: {error}", self.name())),
            Self::Text(_, text) => Ok(text.clone().into_bytes()),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match all.map_err(|error| format!("{}: a damaged certificate: {error}", self.name()))? {
            none if none.is_empty() => Err(format!("{}: no certificate in it; PEM is expected", self.name())),
            some => Ok(some),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| {
            format!("{}: no private key in it, or one that is encrypted (openssl pkey decrypts it): {error}", self.name())
        })
    }
}

/// What a client's side of TLS is made of.
#[derive(Debug)]
pub struct Tls {
    pub authorities: Pem,
    /// Our own chain and key, if the broker wants one.
    pub shown: Option<(Pem, Pem)>,
    pub check_name: bool,
}

impl Tls {
    /// Reads what it names; every problem, one text each.
    pub fn connector(&self) -> Result<TlsConnector, Vec<String>> {
        let mut problems = Vec::new();
        let roots = self.roots().map_err(|problem| problems.push(problem)).ok();
        let shown = self.shown.as_ref().map(|(chain, key)| {
            (chain.certificates().map_err(|one| problems.push(one)), key.key().map_err(|one| problems.push(one)))
        });
        let (Some(roots), true) = (roots, problems.is_empty()) else { return Err(problems) };
        self.built(roots, shown.and_then(|(chain, key)| Some((chain.ok()?, key.ok()?)))).map_err(|problem| vec![problem])
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        let mut roots = RootCertStore::empty();
        for certificate in self.authorities.certificates()? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", self.authorities.name()))?;
        }
        Ok(Arc::new(roots))
    }

    fn built(
        &self,
        roots: Arc<RootCertStore>,
        shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<TlsConnector, String> {
        let failed = |error: &dyn std::fmt::Display| format!("ssl.*: {error}");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| failed(&error))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build();
        let builder = match self.check_name {
            true => builder.with_root_certificates(roots),
            false => {
                let verifier = AnyName(verifier.map_err(|error| failed(&error))?);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| format!("ssl.keystore: {error}"))?,
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// `ssl.endpoint.identification.algorithm=`: any name will do, but not any authority.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        revoked: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.0.verify_server_cert(own, others, name, revoked, now) {
            // The name is looked at last: all else is good.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Why a stream under TLS failed, and the next step; `None` if it is not about TLS.
pub fn cause(error: &io::Error) -> Option<String> {
    use CertificateError::{BadSignature, NotValidForNameContext, UnknownIssuer};
    let inner: &(dyn Error + 'static) = error.get_ref()?;
    Some(match inner.downcast_ref::<rustls::Error>()? {
        // A bad signature: an authority of the same name has another key.
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "its certificate is not trusted: ssl.truststore.location must hold the authority that signed it".to_owned()
        }
        rustls::Error::InvalidCertificate(NotValidForNameContext { expected, presented }) => format!(
            "its certificate is for {}, not for {}: connect by a name that it has, or set ssl.endpoint.identification.algorithm \
             to nothing",
            presented.join(", "),
            expected.to_str()
        ),
        rustls::Error::InvalidCertificate(error) => format!("its certificate is not good: {error}"),
        rustls::Error::InvalidMessage(_) => "it does not speak TLS: is security.protocol right?".to_owned(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a certificate of ours: set ssl.keystore.location".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("it refuses TLS with us ({alert:?}); a certificate of ours is ssl.keystore.location")
        }
        other => other.to_string(),
    })
}
