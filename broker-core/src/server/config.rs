use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::rights::AUTHORIZER;
use super::session::SaslMechanism;
use super::tls::{SslConfig, Tls};
use crate::security::ScramMechanism;

use crate::topic_config::{ConfigEntry, ConfigKind};

/// How a broker is reached over TCP, by Kafka's names with `_` for `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// `listeners`: where it listens, `host:port` or `PROTOCOL://host:port`, several separated by commas. On loopback, in the
    /// clear, with a port that the system chooses, unless told otherwise.
    pub listen: String,
    /// `advertised.listeners`: the host and port that clients are told to connect to. If none, each client is told the address
    /// that it reached.
    pub advertised: Option<(String, u16)>,
    /// `advertised.listeners`, where they differ by protocol.
    pub advertised_by: BTreeMap<SecurityProtocol, (String, u16)>,
    /// `sasl.enabled.mechanisms`: how clients may prove who they are, where a protocol asks for it; SCRAM-SHA-256 and
    /// SCRAM-SHA-512. Kafka's default is GSSAPI, which is not built.
    pub sasl_enabled_mechanisms: Vec<SaslMechanism>,
    /// `sasl.server.max.receive.size`: the largest request before the login; 512 KiB.
    pub sasl_server_max_receive_size: usize,
    /// `connection.failed.authentication.delay.ms`: how long who failed to log in waits for the answer; 100 ms.
    pub connection_failed_authentication_delay: Duration,
    /// `connections.authentication.max.ms`: how long a login may take, from the connection's first moment; 30 seconds. This
    /// broker's own.
    pub connections_authentication_max: Duration,
    /// `connections.max.reauth.ms`: how long a login holds; who does not log in again before is let go at its next request. Zero, the
    /// default: as long as the connection.
    pub connections_max_reauth: Duration,
    /// `ssl.*`: certificates, for ports of SSL and SASL_SSL.
    pub ssl: SslConfig,
    /// `authorizer.class.name`: whether rules say who may do what. Empty: nobody's rights are looked at, the default;
    /// `org.apache.kafka.metadata.authorizer.StandardAuthorizer`: they are.
    pub authorizer_class_name: String,
    /// `super.users`: who may do everything, each as `User:name`; nobody.
    pub super_users: Vec<String>,
    /// `allow.everyone.if.no.acl.found`: whether all may do everything to what no rule is about; false.
    pub allow_everyone_if_no_acl_found: bool,
    /// `node.id`: 0.
    pub node_id: i32,
    /// The cluster's name for clients that compare it.
    pub cluster_id: String,
    /// `socket.request.max.bytes`: the largest request; 100 MiB.
    pub socket_request_max_bytes: usize,
    /// `fetch.max.bytes`: the most that one fetch is given, whatever it asks for; 55 MiB. A batch that is larger is given alone.
    pub fetch_max_bytes: usize,
    /// `queued.max.request.bytes`: what requests that arrive, or are being answered, take of memory, all connections together;
    /// 512 MiB, where Kafka has no bound. Over it nothing is read until something is answered. What a connection needs for small
    /// requests, 128 KiB at most, is not counted. As much again may be taken by what requests of more than 512 elements are read into,
    /// and their answers: 256 bytes an element, about.
    pub queued_max_request_bytes: usize,
    /// `queued.max.response.bytes`: the same for answers that clients have not read yet; 512 MiB. This broker's own. As it comes
    /// near, fetches are given less, and clients that do not read are let go after ten seconds.
    pub queued_max_response_bytes: usize,
    /// `socket.request.max.ms`: how long a request may take to arrive, from its first byte to its last; two minutes. This broker's
    /// own: Kafka waits as long as a byte comes now and then.
    pub socket_request_max: Duration,
    /// `max.connections`: connections at a time; 16,384, where Kafka has no bound. What is over it is closed at once.
    pub max_connections: usize,
    /// `max.connections.per.ip`: connections from one address at a time; no bound of its own by default.
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`: the same for some addresses; none by default. Kafka takes host names too.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `connections.max.idle.ms`: how long a connection may say nothing, or leave its answers unread; ten minutes.
    pub connections_max_idle: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            advertised: None,
            advertised_by: BTreeMap::new(),
            sasl_enabled_mechanisms: ScramMechanism::ALL.map(SaslMechanism::Scram).to_vec(),
            sasl_server_max_receive_size: 524_288,
            connection_failed_authentication_delay: Duration::from_millis(100),
            connections_authentication_max: Duration::from_secs(30),
            connections_max_reauth: Duration::ZERO,
            ssl: SslConfig::default(),
            authorizer_class_name: String::new(),
            super_users: Vec::new(),
            allow_everyone_if_no_acl_found: false,
            node_id: 0,
            cluster_id: "embedded-kafka-cluster".to_owned(),
            socket_request_max_bytes: 104_857_600,
            fetch_max_bytes: 57_671_680,
            queued_max_request_bytes: 512 << 20,
            queued_max_response_bytes: 512 << 20,
            socket_request_max: Duration::from_secs(120),
            max_connections: 16_384,
            max_connections_per_ip: usize::MAX,
            max_connections_per_ip_overrides: BTreeMap::new(),
            connections_max_idle: Duration::from_secs(600),
        }
    }
}

/// How a setting is told.
type Told = (&'static str, ConfigKind, fn(&ServerConfig) -> String);

/// All settings, by name.
const SETTINGS: &[Told] = &[
    ("advertised.listeners", ConfigKind::String, ServerConfig::advertised_ports),
    ("allow.everyone.if.no.acl.found", ConfigKind::Boolean, |c| c.allow_everyone_if_no_acl_found.to_string()),
    ("authorizer.class.name", ConfigKind::String, |c| c.authorizer_class_name.clone()),
    ("connection.failed.authentication.delay.ms", ConfigKind::Int, |c| ms(c.connection_failed_authentication_delay)),
    ("connections.authentication.max.ms", ConfigKind::Long, |c| ms(c.connections_authentication_max)),
    ("connections.max.idle.ms", ConfigKind::Long, |c| ms(c.connections_max_idle)),
    ("connections.max.reauth.ms", ConfigKind::Long, |c| ms(c.connections_max_reauth)),
    // There is one broker, and topics can be deleted.
    ("default.replication.factor", ConfigKind::Int, |_| "1".to_owned()),
    ("delete.topic.enable", ConfigKind::Boolean, |_| "true".to_owned()),
    ("fetch.max.bytes", ConfigKind::Int, |c| c.fetch_max_bytes.to_string()),
    ("listeners", ConfigKind::String, |c| c.listen.clone()),
    ("max.connections", ConfigKind::Int, |c| c.max_connections.to_string()),
    ("max.connections.per.ip", ConfigKind::Int, |c| c.max_connections_per_ip.min(i32::MAX as usize).to_string()),
    ("max.connections.per.ip.overrides", ConfigKind::String, |c| {
        listed(c.max_connections_per_ip_overrides.iter().map(|(ip, most)| format!("{ip}:{most}")))
    }),
    ("node.id", ConfigKind::Int, |c| c.node_id.to_string()),
    ("queued.max.request.bytes", ConfigKind::Long, |c| c.queued_max_request_bytes.to_string()),
    ("queued.max.response.bytes", ConfigKind::Long, |c| c.queued_max_response_bytes.to_string()),
    ("sasl.enabled.mechanisms", ConfigKind::List, |c| {
        listed(c.sasl_enabled_mechanisms.iter().map(|mechanism| mechanism.name().to_owned()))
    }),
    ("sasl.server.max.receive.size", ConfigKind::Int, |c| c.sasl_server_max_receive_size.to_string()),
    ("socket.request.max.bytes", ConfigKind::Int, |c| c.socket_request_max_bytes.to_string()),
    ("socket.request.max.ms", ConfigKind::Long, |c| ms(c.socket_request_max)),
    ("ssl.client.auth", ConfigKind::String, |c| c.ssl.client_auth.name().to_owned()),
    ("ssl.keystore.location", ConfigKind::String, |c| path(c.ssl.keystore_location.as_deref())),
    ("ssl.principal.mapping.rules", ConfigKind::String, |c| match c.ssl.principal_mapping_rules.as_str() {
        "" => "DEFAULT".to_owned(),
        rules => rules.to_owned(),
    }),
    ("ssl.truststore.location", ConfigKind::String, |c| path(c.ssl.truststore_location.as_deref())),
    ("super.users", ConfigKind::String, |c| c.super_users.join(";")),
];

/// `host:port`; an IPv6 address in brackets.
fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn ms(time: Duration) -> String {
    time.as_millis().to_string()
}

fn path(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

fn listed(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(",")
}

impl ServerConfig {
    /// All settings, as clients are told of them: values, and whether they are the defaults.
    pub fn describe(&self) -> Vec<ConfigEntry> {
        let default = Self::default();
        let one = |(name, kind, told): &Told| ConfigEntry::of_broker(name, *kind, told(self), &told(&default));
        SETTINGS.iter().map(one).collect()
    }

    fn advertised_ports(&self) -> String {
        let all = self.advertised.iter().map(|(host, port)| joined(host, *port));
        let by =
            self.advertised_by.iter().map(|(protocol, (host, port))| format!("{}://{}", protocol.name(), joined(host, *port)));
        listed(all.chain(by))
    }

    /// Every setting that makes no sense, one text each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, text: String| {
            if !fine {
                problems.push(text);
            }
        };
        let endpoints = self.endpoints();
        check(endpoints.is_ok(), endpoints.as_ref().err().cloned().unwrap_or_default());
        let tls = self.tls();
        check(tls.is_ok(), tls.err().unwrap_or_default().join("; "));
        let sasl = endpoints.as_ref().is_ok_and(|all| all.iter().any(|one| one.protocol.is_sasl()));
        check(
            !sasl || !self.sasl_enabled_mechanisms.is_empty(),
            "sasl.enabled.mechanisms is empty: nobody could log in".to_owned(),
        );
        let reauth_ms = self.connections_max_reauth.as_millis();
        check(
            sasl || reauth_ms == 0 || endpoints.is_err(),
            format!("connections.max.reauth.ms is {reauth_ms}, but nobody logs in: no port is SASL_PLAINTEXT or SASL_SSL"),
        );
        check(
            (1024..=i32::MAX as usize).contains(&self.sasl_server_max_receive_size),
            format!("sasl.server.max.receive.size is {}: 1024 to 2147483647", self.sasl_server_max_receive_size),
        );
        check(!self.connections_authentication_max.is_zero(), "connections.authentication.max.ms is 0: at least 1".to_owned());
        self.check_authorizer(&mut check);
        check(self.node_id >= 0, format!("node.id is {}: 0 or more", self.node_id));
        check(!self.cluster_id.is_empty(), "the cluster's id is empty".to_owned());
        check(
            (1024..=i32::MAX as usize).contains(&self.socket_request_max_bytes),
            format!("socket.request.max.bytes is {}: 1024 to 2147483647", self.socket_request_max_bytes),
        );
        check(
            (1024..=i32::MAX as usize).contains(&self.fetch_max_bytes),
            format!("fetch.max.bytes is {}: 1024 to 2147483647", self.fetch_max_bytes),
        );
        for (name, bytes) in [
            ("queued.max.request.bytes", self.queued_max_request_bytes),
            ("queued.max.response.bytes", self.queued_max_response_bytes),
        ] {
            check(bytes >= 1 << 20, format!("{name} is {bytes}: at least 1048576"));
        }
        check(!self.socket_request_max.is_zero(), "socket.request.max.ms is 0: at least 1".to_owned());
        check(self.max_connections >= 1, "max.connections is 0: at least 1".to_owned());
        check(self.max_connections_per_ip >= 1, "max.connections.per.ip is 0: at least 1".to_owned());
        check(!self.connections_max_idle.is_zero(), "connections.max.idle.ms is 0: at least 1".to_owned());
        problems
    }

    /// Whether rights are looked at.
    pub(super) fn has_authorizer(&self) -> bool {
        !self.authorizer_class_name.is_empty()
    }

    fn check_authorizer(&self, check: &mut impl FnMut(bool, String)) {
        let class = &self.authorizer_class_name;
        check(
            !self.has_authorizer() || class == AUTHORIZER,
            format!("authorizer.class.name is '{class}', which is not built: {AUTHORIZER} is, or none"),
        );
        for user in &self.super_users {
            let named = user.strip_prefix("User:").is_some_and(|name| !name.is_empty());
            check(named, format!("super.users: '{user}' is not 'User:' and a name, as in User:ann;User:bob"));
        }
        let nobody_asks = |name: &str| format!("{name} is set, but no authorizer.class.name: nobody's rights are looked at");
        check(self.has_authorizer() || self.super_users.is_empty(), nobody_asks("super.users"));
        check(self.has_authorizer() || !self.allow_everyone_if_no_acl_found, nobody_asks("allow.everyone.if.no.acl.found"));
    }
}

/// How a port speaks, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    /// `PLAINTEXT`: in the clear, and nobody says who they are.
    Plaintext,
    /// `SASL_PLAINTEXT`: in the clear, after a login.
    SaslPlaintext,
    /// `SSL`: under TLS; who shows a certificate is its owner, who shows none nobody.
    Ssl,
    /// `SASL_SSL`: under TLS, after a login.
    SaslSsl,
}

impl SecurityProtocol {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether clients log in.
    pub const fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether it is under TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

impl FromStr for SecurityProtocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "PLAINTEXT" => Ok(Self::Plaintext),
            "SASL_PLAINTEXT" => Ok(Self::SaslPlaintext),
            "SSL" => Ok(Self::Ssl),
            "SASL_SSL" => Ok(Self::SaslSsl),
            _ => Err(format!("'{name}' is none of PLAINTEXT, SASL_PLAINTEXT, SSL and SASL_SSL")),
        }
    }
}

/// One port: where, and how it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// How it speaks.
    pub protocol: SecurityProtocol,
    /// `host:port`.
    pub address: String,
}

impl ServerConfig {
    /// Keys and certificates, if some port needs them.
    pub(super) fn tls(&self) -> Result<Option<Tls>, Vec<String>> {
        let needed = self.endpoints().is_ok_and(|all| all.iter().any(|one| one.protocol.is_tls()));
        needed.then(|| Tls::new(&self.ssl)).transpose()
    }

    /// What `listen` says.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, String> {
        let one = |text: &str| match text.split_once("://") {
            None => Ok(Endpoint { protocol: SecurityProtocol::Plaintext, address: text.to_owned() }),
            Some((protocol, address)) => Ok(Endpoint { protocol: protocol.parse()?, address: address.to_owned() }),
        };
        self.listen.split(',').map(|text| one(text.trim())).collect()
    }

    /// How many connections this address, in its canonical form, may have at a time.
    pub(super) fn max_connections_from(&self, ip: IpAddr) -> usize {
        let of = |written: &IpAddr| written.to_canonical() == ip;
        let own = self.max_connections_per_ip_overrides.iter().find(|(written, _)| of(written));
        own.map_or(self.max_connections_per_ip, |(_, most)| *most)
    }
}
