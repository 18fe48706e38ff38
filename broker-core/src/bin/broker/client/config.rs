//! How the subcommands reach a cluster: `--command-config` and `--command-property`, by the names of Kafka's clients.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_core::server::{SaslMechanism, SecurityProtocol};
use tokio_rustls::TlsConnector;

use super::jaas::Jaas;
use super::login::Login;
use super::properties;
use super::tls::{Pem, Tls};

/// All settings that there are.
const NAMES: &[&str] = &[
    "bootstrap.servers",
    "client.id",
    "request.timeout.ms",
    "sasl.jaas.config",
    "sasl.mechanism",
    "security.protocol",
    "ssl.endpoint.identification.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.type",
];

/// How a broker is spoken to.
#[derive(Clone)]
pub struct Config {
    /// Where the file says that the cluster is.
    pub bootstrap: Option<String>,
    pub protocol: SecurityProtocol,
    pub login: Option<Login>,
    pub tls: Option<TlsConnector>,
    /// Whether we have a certificate of our own.
    pub shows_certificate: bool,
    pub client_id: String,
    /// How long connecting, and each answer, may take.
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: None,
            protocol: SecurityProtocol::Plaintext,
            login: None,
            tls: None,
            shows_certificate: false,
            client_id: "broker-cli".to_owned(),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// The file, over it the flags (`NAME=VALUE`). All problems are told together, a line each.
    pub fn read(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self, String> {
        let mut draft = Draft::default();
        if let Some(path) = file {
            let text = std::fs::read(path).map_err(|error| format!("--command-config {}: {error}", path.display()))?;
            let text = String::from_utf8(text)
                .map_err(|_| format!("--command-config {}: it is no text in UTF-8: save it as such", path.display()))?;
            let (found, problems) = properties::parse(&text);
            draft.problems.extend(problems.into_iter().map(|problem| format!("{}:{problem}", path.display())));
            for one in found {
                draft.values.insert(one.name, (one.value.trim().to_owned(), format!("{}:{}: ", path.display(), one.line)));
            }
        }
        for (name, value) in flags {
            draft.values.insert(name.clone(), (value.trim().to_owned(), "--command-property ".to_owned()));
        }
        draft.finish()
    }

    /// In words, for errors.
    pub fn describe(&self) -> String {
        let certificate = if self.tls.is_some() && !self.shows_certificate { ", without ssl.keystore" } else { "" };
        format!("security.protocol={}{certificate}", self.protocol.name())
    }
}

/// Values by name, each with its place, and what is wrong so far.
#[derive(Default)]
struct Draft {
    values: BTreeMap<String, (String, String)>,
    problems: Vec<String>,
}

impl Draft {
    fn finish(mut self) -> Result<Config, String> {
        self.refuse_what_is_not_built();
        let bootstrap = self.text("bootstrap.servers").map(|(value, _)| value);
        let mut config = Config { bootstrap, ..Config::default() };
        if let Some((value, _)) = self.text("client.id") {
            config.client_id = value;
        }
        if let Some(protocol) = self.parsed("security.protocol", |value| value.to_uppercase().parse()) {
            config.protocol = protocol;
        }
        let least_ms = |value: &str| match value.parse::<u64>() {
            Ok(ms @ 1..=0x7fff_ffff) => Ok(Duration::from_millis(ms)),
            _ => Err("1 to 2147483647 milliseconds".to_owned()),
        };
        if let Some(timeout) = self.parsed("request.timeout.ms", least_ms) {
            config.request_timeout = timeout;
        }
        config.login = self.login(config.protocol);
        if let Some(tls) = self.tls(config.protocol) {
            config.shows_certificate = tls.shown.is_some();
            match tls.connector() {
                Ok(connector) => config.tls = Some(connector),
                Err(problems) => self.problems.extend(problems),
            }
        }
        if self.problems.is_empty() { Ok(config) } else { Err(self.problems.join("\n")) }
    }

    fn refuse_what_is_not_built(&mut self) {
        for (name, (_, place)) in &self.values {
            if NAMES.contains(&&**name) {
                continue;
            }
            let next = if name.starts_with("sasl.") {
                "is not built: a login is sasl.mechanism (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512) with sasl.jaas.config".to_owned()
            } else if name.starts_with("ssl.") && name.ends_with(".password") {
                "is not built: PEM stores have no password, and the key in one must not be encrypted; take it out".to_owned()
            } else if name.starts_with("ssl.") {
                "is not built: TLS 1.2 and 1.3 are spoken, with stores in PEM; take it out".to_owned()
            } else {
                format!("is no setting of these subcommands: take it out; there are {}", NAMES.join(", "))
            };
            self.problems.push(format!("{place}{name} {next}"));
        }
    }

    fn text(&self, name: &str) -> Option<(String, String)> {
        self.values.get(name).filter(|(value, _)| !value.is_empty()).cloned()
    }

    fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn parsed<T, E: Display>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let (value, place) = self.values.get(name)?;
        parse(value).map_err(|error| self.problems.push(format!("{place}{name}={value}: {error}"))).ok()
    }

    /// Settings that the protocol has no use for are a mistake: of the protocol, most likely.
    fn refuse_unused(&mut self, begins: &str, protocol: SecurityProtocol, next: &str) {
        let unused = self.values.iter().filter(|(name, _)| name.starts_with(begins) && NAMES.contains(&&***name));
        let told = unused.map(|(name, (_, place))| {
            format!("{place}{name} is set, but security.protocol={} has no use for it: {next}", protocol.name())
        });
        self.problems.extend(told.collect::<Vec<_>>());
    }

    fn login(&mut self, protocol: SecurityProtocol) -> Option<Login> {
        if !protocol.is_sasl() {
            self.refuse_unused("sasl.", protocol, "set SASL_PLAINTEXT or SASL_SSL, or take it out");
            return None;
        }
        let built = "set PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
        let mechanism = match self.is_set("sasl.mechanism") {
            true => self.parsed("sasl.mechanism", |value| {
                value.parse::<SaslMechanism>().map_err(|_| format!("this mechanism is not built: {built}"))
            }),
            false => {
                self.problems.push(format!("sasl.mechanism is not set, and Kafka's default GSSAPI is not built: {built}"));
                None
            }
        };
        let Some((text, place)) = self.text("sasl.jaas.config") else {
            let text = "sasl.jaas.config is not set: it says who logs in, as in Kafka's documentation";
            self.problems.push(text.to_owned());
            return None;
        };
        let jaas = Jaas::parse(&text).and_then(|jaas| mechanism.map_or(Ok(()), |one| jaas.fits(one)).map(|()| jaas));
        let jaas = jaas.map_err(|problem| self.problems.push(format!("{place}sasl.jaas.config: {problem}"))).ok();
        Some(Login { mechanism: mechanism?, jaas: jaas? })
    }

    fn tls(&mut self, protocol: SecurityProtocol) -> Option<Tls> {
        if !protocol.is_tls() {
            self.refuse_unused("ssl.", protocol, "set SSL or SASL_SSL, or take it out");
            return None;
        }
        let check_name = match self.values.get("ssl.endpoint.identification.algorithm") {
            None => true,
            Some((value, _)) if value.is_empty() => false,
            Some((value, _)) if value.eq_ignore_ascii_case("https") => true,
            Some((value, place)) => {
                let text = "https, or nothing for no check of the name";
                self.problems.push(format!("{place}ssl.endpoint.identification.algorithm={value}: {text}"));
                return None;
            }
        };
        let trusts = self.store("ssl.truststore", "ssl.truststore.location", "ssl.truststore.certificates");
        let shown = self.shown();
        let Some(authorities) = trusts? else {
            let text = "ssl.truststore.location is not set: name a PEM file with the authorities that are trusted; those of the \
                        system are not read";
            self.problems.push(text.to_owned());
            return None;
        };
        Some(Tls { authorities, shown: shown?, check_name })
    }

    /// PEM by location or by text; outside `None` if that is a problem, inside if there is none.
    fn store(&mut self, store: &str, location: &'static str, inline: &'static str) -> Option<Option<Pem>> {
        let kind = format!("{store}.type");
        let found = match (self.text(location), self.text(inline)) {
            (Some(_), Some(_)) => {
                self.problems.push(format!("{location} and {inline}: give one of them"));
                return None;
            }
            (Some((path, _)), None) => Some(Pem::File(location, PathBuf::from(path))),
            (None, Some((text, _))) => Some(Pem::Text(inline, text)),
            (None, None) => None,
        };
        match self.values.get(&kind) {
            Some((value, place)) if !value.eq_ignore_ascii_case("PEM") => {
                let text = "PEM is the one type that is built: keytool -exportcert -rfc and openssl pkcs12 write it";
                self.problems.push(format!("{place}{kind}={value}: {text}"));
                None
            }
            None if found.is_some() => {
                self.problems.push(format!("{kind} is not set, and Kafka's default JKS is not built: set PEM, with PEM files"));
                None
            }
            _ => Some(found),
        }
    }

    /// Our own chain and key.
    fn shown(&mut self) -> Option<Option<(Pem, Pem)>> {
        const KEY: &str = "ssl.keystore.key";
        let chain = self.store("ssl.keystore", "ssl.keystore.location", "ssl.keystore.certificate.chain")?;
        match (chain, self.text(KEY)) {
            (None, None) => Some(None),
            (Some(file @ Pem::File(..)), None) => Some(Some((file.clone(), file))),
            (Some(chain @ Pem::Text(..)), Some((key, _))) => Some(Some((chain, Pem::Text(KEY, key)))),
            (Some(Pem::File(..)), Some(_)) => {
                self.problems.push(format!("ssl.keystore.location and {KEY}: give one of them"));
                None
            }
            (Some(Pem::Text(..)), None) | (None, Some(_)) => {
                self.problems.push(format!("ssl.keystore.certificate.chain and {KEY} belong together: give both"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Config, String> {
        let flags: Vec<_> = lines.iter().map(|line| line.split_once('=').expect("NAME=VALUE")).collect();
        Config::read(None, &flags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>())
    }

    const ANN: &str = "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"ann\" \
                       password=\"geheim\";";

    #[test]
    fn flags_win_over_the_file() {
        let file = std::env::temp_dir().join(format!("broker-client-{}", std::process::id()));
        std::fs::write(
            &file,
            format!("client.id = one\nsecurity.protocol: SASL_PLAINTEXT\nsasl.mechanism SCRAM-SHA-512\n{ANN}\n"),
        )
        .expect("written");
        let config = Config::read(Some(&file), &[("client.id".to_owned(), "two".to_owned())]).expect("fine");
        assert_eq!((&*config.client_id, config.describe()), ("two", "security.protocol=SASL_PLAINTEXT".to_owned()));
        assert_eq!(
            config.login.map(|login| (login.mechanism.name(), login.jaas.user)),
            Some(("SCRAM-SHA-512", "ann".to_owned()))
        );
        std::fs::write(&file, "nonsense=1\nsasl.kerberos.service.name=kafka\na=\\u1\n").expect("written");
        let told = Config::read(Some(&file), &[]).map(|_| ()).expect_err("refused");
        std::fs::remove_file(&file).expect("removed");
        for part in [":1: nonsense is no setting", ":2: sasl.kerberos.service.name is not built", ":3: '\\u1' is no character"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn every_problem_is_told_with_the_next_step() {
        for (lines, parts) in [
            (
                &["security.protocol=TLS", "request.timeout.ms=0"][..],
                &["'TLS' is none of PLAINTEXT", "request.timeout.ms=0: 1 to"][..],
            ),
            (
                &["ssl.truststore.location=a", ANN],
                &["ssl.truststore.location is set, but security.protocol=PLAINTEXT", "set SASL_PLAINTEXT or SASL_SSL"],
            ),
            (&["security.protocol=SASL_PLAINTEXT"], &["default GSSAPI is not built: set PLAIN", "sasl.jaas.config is not set"]),
            (
                &["security.protocol=sasl_plaintext", "sasl.mechanism=OAUTHBEARER", ANN],
                &["sasl.mechanism=OAUTHBEARER: this mechanism is not built"],
            ),
            (
                &["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", ANN],
                &["its login module is not that of sasl.mechanism=PLAIN"],
            ),
            (&["security.protocol=SSL"], &["ssl.truststore.location is not set"]),
            (
                &["security.protocol=SSL", "ssl.truststore.location=a"],
                &["ssl.truststore.type is not set, and Kafka's default JKS"],
            ),
            (
                &[
                    "security.protocol=SSL",
                    "ssl.truststore.type=PKCS12",
                    "ssl.truststore.location=a",
                    "ssl.truststore.password=p",
                    "ssl.keystore.key=k",
                ],
                &["ssl.truststore.type=PKCS12: PEM is the one", "PEM stores have no password", "belong together"],
            ),
            (
                &["security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=/no/such", "ssl.protocol=TLS"],
                &["ssl.truststore.location=/no/such: No such file", "ssl.protocol is not built"],
            ),
            (&["security.protocol=SSL", "ssl.endpoint.identification.algorithm=LDAPS"], &["https, or nothing"]),
        ] {
            let told = read(lines).map(|_| ()).expect_err("refused");
            assert!(parts.iter().all(|part| told.contains(part)) && !told.contains("geheim"), "{parts:?}: {told}");
        }
    }
}
