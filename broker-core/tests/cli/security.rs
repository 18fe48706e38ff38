//! The subcommands against ports with logins and TLS: with whom it works, and what is said where it does not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use broker_core::server::{ClientAuth, SaslMechanism, Server, ServerConfig, SslConfig};
use broker_core::{Broker, ScramMechanism};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::program;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

/// An authority, and what it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Key and chain for these names.
    fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (key.serialize_pem(), params.signed_by(&key, &self.0).unwrap().pem())
    }
}

/// A server in this process with one port of each protocol, and a folder with files for its clients.
struct Guarded {
    server: Option<Server>,
    runtime: Runtime,
    folder: TempDir,
    authority: Authority,
}

/// The ports, in order.
const PORTS: [&str; 4] = ["PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"];

impl Guarded {
    /// `names`: what the server's certificate is for.
    fn new(names: &[&str], client_auth: ClientAuth) -> Self {
        Self::with_logins_for(Duration::ZERO, names, client_auth)
    }

    fn with_logins_for(connections_max_reauth: Duration, names: &[&str], client_auth: ClientAuth) -> Self {
        let authority = Authority::new();
        let truststore_certificates = (client_auth != ClientAuth::None).then(|| authority.0.pem());
        let ssl =
            SslConfig { keystore: Some(authority.sign(names)), client_auth, truststore_certificates, ..SslConfig::default() };
        let mut sasl_enabled_mechanisms = ServerConfig::default().sasl_enabled_mechanisms;
        sasl_enabled_mechanisms.push(SaslMechanism::Plain);
        let listen = PORTS.map(|protocol| format!("{protocol}://127.0.0.1:0")).join(",");
        let config = ServerConfig { listen, ssl, sasl_enabled_mechanisms, connections_max_reauth, ..ServerConfig::default() };
        let broker = Broker::in_memory();
        for mechanism in ScramMechanism::ALL {
            broker.put_user("ann", mechanism, "se;cret", 4096).unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::start(broker, config)).unwrap();
        let this = Self { server: Some(server), runtime, folder: tempfile::tempdir().unwrap(), authority };
        this.write("ours.pem", &this.authority.0.pem());
        this
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn address(&self, protocol: &str) -> SocketAddr {
        let at = PORTS.iter().position(|one| *one == protocol).unwrap();
        self.server.as_ref().unwrap().addresses()[at]
    }

    /// What a client's file says: the protocol, whom it trusts, and who logs in.
    fn properties(&self, protocol: &str, mechanism: &str, password: &str) -> String {
        let mut text = format!("security.protocol={protocol}\n");
        if protocol.ends_with("SSL") {
            text += "ssl.truststore.type=PEM\n";
            text += &format!("ssl.truststore.location={}\n", self.folder.path().join("ours.pem").display());
        }
        if protocol.starts_with("SASL") {
            let module = if mechanism == "PLAIN" { PLAIN } else { SCRAM };
            text += &format!("sasl.mechanism={mechanism}\n");
            text += &format!("sasl.jaas.config={module} required \\\n  username=\"ann\" password=\"{password}\";\n");
        }
        text
    }

    /// Runs a subcommand against the port of a protocol.
    fn run(&self, protocol: &str, properties: &str, words: &[&str]) -> Output {
        let file = self.write("client.properties", properties);
        let address = self.address(protocol).to_string();
        let mut command = program();
        command.args(words).args(["--bootstrap-server", &address]).arg("--command-config").arg(file);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    fn ok(&self, protocol: &str, properties: &str, words: &[&str]) -> String {
        let output = self.run(protocol, properties, words);
        assert!(output.status.success(), "{properties}{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error of listing topics, which names the peer.
    fn refused(&self, protocol: &str, properties: &str) -> String {
        let output = self.run(protocol, properties, &["topics", "list"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{properties}: it went well");
        assert!(told.contains(&self.address(protocol).to_string()), "{told}");
        assert!(!told.contains("cret") && !told.contains("guess"), "no password: {told}");
        told
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

#[test]
fn every_protocol_and_mechanism_gets_in() {
    let guarded = Guarded::new(&["127.0.0.1"], ClientAuth::None);
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let sasl = ["SASL_PLAINTEXT", "SASL_SSL"].into_iter().flat_map(|protocol| mechanisms.map(|one| (protocol, one)));
    for (number, (protocol, mechanism)) in [("PLAINTEXT", ""), ("SSL", "")].into_iter().chain(sasl).enumerate() {
        let topic = format!("t{number}");
        let properties = guarded.properties(protocol, mechanism, "se;cret");
        guarded.ok(protocol, &properties, &["topics", "create", &topic, "--partitions", "1"]);
        // Each of these has connections of its own, to leaders and to the coordinator.
        guarded.ok(protocol, &properties, &["perf", "produce", "-t", &topic, "--num-records", "1000", "--record-size", "1000"]);
        let words = ["consume", "-t", &topic, "-g", "readers", "--from-beginning", "-n", "1000"];
        assert_eq!(guarded.ok(protocol, &properties, &words).lines().count(), 1000, "{protocol} {mechanism}");
        assert!(guarded.ok(protocol, &properties, &["groups", "describe", "readers"]).contains(&topic));
    }
}

#[test]
fn who_runs_for_longer_than_a_login_holds_logs_in_again() {
    let guarded = Guarded::with_logins_for(Duration::from_secs(2), &["127.0.0.1"], ClientAuth::None);
    let properties = guarded.properties("SASL_PLAINTEXT", "SCRAM-SHA-256", "se;cret");
    guarded.ok("SASL_PLAINTEXT", &properties, &["topics", "create", "t", "--partitions", "1"]);
    let file = guarded.write("client.properties", &properties);
    let address = guarded.address("SASL_PLAINTEXT").to_string();
    let begin = |words: &[&str]| {
        let mut command = program();
        command.args(words).args(["--bootstrap-server", &address]).arg("--command-config").arg(&file);
        let (nothing, piped) = (std::process::Stdio::null(), std::process::Stdio::piped);
        command.stdin(nothing).stdout(piped()).stderr(piped()).spawn().unwrap()
    };
    // Always with some requests on their way; one after the other; and with connections that rest for longer than that.
    let rate = ["--num-records", "4500", "--throughput", "1000", "--batch-size", "1", "--linger-ms", "1000"];
    let begun = [
        begin(&[&["perf", "produce", "-t", "t"][..], &rate].concat()),
        begin(&[&["perf", "produce", "-t", "t", "--acks", "0"][..], &rate].concat()),
        begin(&["consume", "-t", "t", "--from-beginning", "-n", "9000"]),
        begin(&["consume", "-t", "t", "-g", "readers", "--timeout-ms", "2000"]),
    ];
    for child in begun {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_property_of_the_command_line_wins_and_the_file_may_say_where() {
    let guarded = Guarded::new(&["127.0.0.1"], ClientAuth::None);
    let mut text = guarded.properties("SASL_PLAINTEXT", "SCRAM-SHA-256", "guess");
    text += &format!("bootstrap.servers={}\n", guarded.address("SASL_PLAINTEXT"));
    let file = guarded.write("client.properties", &text);
    let jaas = format!("sasl.jaas.config={SCRAM} required username=\"ann\" password=\"se;cret\";");
    let mut command = program();
    command.args(["topics", "list", "--command-property", &jaas, "--command-config"]).arg(file);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_logins_are_named() {
    let guarded = Guarded::new(&["127.0.0.1"], ClientAuth::None);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let told = guarded.refused("SASL_SSL", &guarded.properties("SASL_SSL", mechanism, "guess"));
        assert!(told.contains(&format!("login as 'ann' with {mechanism}: SASL_AUTHENTICATION_FAILED (58)")), "{told}");
    }
    // No login where one is asked for, and the other way round.
    let told = guarded.refused("SASL_PLAINTEXT", &guarded.properties("PLAINTEXT", "", ""));
    assert!(told.contains("closed the connection (spoken to with security.protocol=PLAINTEXT)"), "{told}");
    let told = guarded.refused("PLAINTEXT", &guarded.properties("SASL_PLAINTEXT", "PLAIN", "se;cret"));
    assert!(told.contains("closed the connection (spoken to with security.protocol=SASL_PLAINTEXT)"), "{told}");
}

#[test]
fn servers_that_are_not_trusted_are_named() {
    let guarded = Guarded::new(&["localhost"], ClientAuth::None);
    let properties = guarded.properties("SSL", "", "");
    let told = guarded.refused("SSL", &properties);
    assert!(told.contains("is for ") && told.contains("localhost") && told.contains("not for 127.0.0.1"), "{told}");
    // Without a look at the name it works, but the authority still counts.
    let any_name = format!("{properties}ssl.endpoint.identification.algorithm=\n");
    guarded.ok("SSL", &any_name, &["topics", "list"]);
    guarded.write("ours.pem", &Authority::new().0.pem());
    for properties in [properties, any_name] {
        let told = guarded.refused("SSL", &properties);
        assert!(told.contains("certificate is not trusted: ssl.truststore.location must hold"), "{told}");
    }
    // In the clear, and TLS where nobody speaks it.
    guarded.write("ours.pem", &guarded.authority.0.pem());
    let told = guarded.refused("SSL", &guarded.properties("PLAINTEXT", "", ""));
    assert!(told.contains("wants another protocol than security.protocol=PLAINTEXT"), "{told}");
    let told = guarded.refused("PLAINTEXT", &guarded.properties("SSL", "", ""));
    assert!(told.contains("security.protocol=SSL") && told.contains("is ") && told.contains(" right?"), "{told}");
}

#[test]
fn our_own_certificate_is_shown() {
    let guarded = Guarded::new(&["127.0.0.1"], ClientAuth::Required);
    let properties = guarded.properties("SSL", "", "");
    let told = guarded.refused("SSL", &properties);
    assert!(told.contains("ssl.keystore"), "{told}");
    let (key, chain) = guarded.authority.sign(&["ann"]);
    let file = guarded.write("ann.pem", &format!("{key}{chain}"));
    let stored = format!("{properties}ssl.keystore.type=PEM\nssl.keystore.location={}\n", file.display());
    guarded.ok("SSL", &stored, &["topics", "list"]);
    // The same as texts, as Kafka takes them too.
    let inline = |text: &str| text.trim().replace('\n', "\\n");
    let (key, chain) = (inline(&key), inline(&chain));
    let texts = format!("{properties}ssl.keystore.type=PEM\nssl.keystore.key={key}\nssl.keystore.certificate.chain={chain}\n");
    guarded.ok("SSL", &texts, &["topics", "list"]);
    let (key, chain) = Authority::new().sign(&["eve"]);
    guarded.write("ann.pem", &format!("{key}{chain}"));
    let told = guarded.refused("SSL", &stored);
    assert!(told.contains("refuses TLS with us") || told.contains("closed the connection"), "{told}");
}

#[test]
fn what_is_not_built_is_refused_by_name_and_all_at_once() {
    let guarded = Guarded::new(&["127.0.0.1"], ClientAuth::None);
    let file = guarded.write(
        "client.properties",
        "security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\nssl.truststore.location=/no/such.jks\nretries=3\n",
    );
    let output = program().args(["topics", "list", "--command-config"]).arg(file).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    for part in [
        ":2: sasl.mechanism=GSSAPI: this mechanism is not built: set PLAIN",
        ":4: retries is no setting",
        "sasl.jaas.config is not set",
        "ssl.truststore.type is not set, and Kafka's default JKS is not built: set PEM",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let missing = program().args(["topics", "list", "--command-config", "/no/such.properties"]).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--command-config /no/such.properties: No such file"));
}
