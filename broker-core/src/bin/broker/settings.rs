use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use broker_core::BrokerConfig;
use broker_core::server::ServerConfig;

/// What the file and the flags say.
#[derive(Debug)]
pub struct Settings {
    pub broker: BrokerConfig,
    pub server: ServerConfig,
}

impl Default for Settings {
    fn default() -> Self {
        // Clients of a port come one after the other: Kafka's own delay gathers them into one generation.
        let broker = BrokerConfig { group_initial_rebalance_delay_ms: 3000, ..BrokerConfig::default() };
        Self { broker, server: ServerConfig { listen: "127.0.0.1:9092".to_owned(), ..ServerConfig::default() } }
    }
}

impl Settings {
    /// Kafka's defaults, over them the file, over that the flags. All problems are told together.
    pub fn read(file: Option<&Path>, flags: &[String]) -> Result<Self, String> {
        let mut settings = Self::default();
        let mut problems = Vec::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| format!("--config {}: {error}", path.display()))?;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with(['#', '!']) {
                    continue;
                }
                if let Err(problem) = settings.set(line) {
                    problems.push(format!("{}:{}: {problem}", path.display(), number + 1));
                }
            }
        }
        for flag in flags {
            if let Err(problem) = settings.set(flag) {
                problems.push(format!("--set {problem}"));
            }
        }
        problems.extend(settings.broker.validate());
        problems.extend(settings.server.validate());
        if problems.is_empty() { Ok(settings) } else { Err(problems.join("\n")) }
    }

    fn set(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("{line}: expected name=value"))?;
        let (name, value) = (name.trim(), value.trim());
        let (broker, server) = (&mut self.broker, &mut self.server);
        match name {
            "node.id" | "broker.id" => into(&mut server.node_id, name, value),
            "listeners" => {
                server.listen = value.to_owned();
                Ok(())
            }
            "advertised.listeners" => value.split(',').try_for_each(|address| {
                match address.trim().split_once("://") {
                    Some((protocol, address)) => {
                        server.advertised_by.insert(protocol.parse()?, host_and_port(address)?);
                    }
                    None => server.advertised = Some(host_and_port(address.trim())?),
                }
                Ok(())
            }),
            "sasl.enabled.mechanisms" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                server.sasl_enabled_mechanisms = names.map(|one| parsed(name, one)).collect::<Result<_, _>>()?;
                Ok(())
            }
            "ssl.keystore.type" | "ssl.truststore.type" if value == "PEM" => Ok(()),
            "ssl.keystore.type" | "ssl.truststore.type" => Err(format!("{name}={value}: PEM is the one type that is built")),
            "ssl.keystore.location" => path(&mut server.ssl.keystore_location, value),
            "ssl.truststore.location" => path(&mut server.ssl.truststore_location, value),
            "ssl.principal.mapping.rules" => {
                server.ssl.principal_mapping_rules = value.to_owned();
                Ok(())
            }
            "ssl.client.auth" => into(&mut server.ssl.client_auth, name, value),
            "sasl.server.max.receive.size" => into(&mut server.sasl_server_max_receive_size, name, value),
            "connection.failed.authentication.delay.ms" => {
                server.connection_failed_authentication_delay = Duration::from_millis(parsed(name, value)?);
                Ok(())
            }
            "connections.authentication.max.ms" => {
                server.connections_authentication_max = Duration::from_millis(parsed(name, value)?);
                Ok(())
            }
            "connections.max.reauth.ms" => {
                server.connections_max_reauth = Duration::from_millis(parsed(name, value)?);
                Ok(())
            }
            "authorizer.class.name" => {
                server.authorizer_class_name = value.to_owned();
                Ok(())
            }
            "super.users" => {
                let users = value.split(';').map(str::trim).filter(|user| !user.is_empty());
                server.super_users = users.map(str::to_owned).collect();
                Ok(())
            }
            "allow.everyone.if.no.acl.found" => into(&mut server.allow_everyone_if_no_acl_found, name, value),
            "socket.request.max.bytes" => into(&mut server.socket_request_max_bytes, name, value),
            "fetch.max.bytes" => into(&mut server.fetch_max_bytes, name, value),
            "max.connections" => into(&mut server.max_connections, name, value),
            "queued.max.request.bytes" => into(&mut server.queued_max_request_bytes, name, value),
            "queued.max.response.bytes" => into(&mut server.queued_max_response_bytes, name, value),
            "socket.request.max.ms" => {
                server.socket_request_max = Duration::from_millis(parsed(name, value)?);
                Ok(())
            }
            "max.connections.per.ip.overrides" => {
                server.max_connections_per_ip_overrides = overrides(name, value)?;
                Ok(())
            }
            "max.connections.per.ip" => into(&mut server.max_connections_per_ip, name, value),
            "connections.max.idle.ms" => {
                server.connections_max_idle = Duration::from_millis(parsed(name, value)?);
                Ok(())
            }
            "num.partitions" => into(&mut broker.num_partitions, name, value),
            "partitions.max" => into(&mut broker.partitions_max, name, value),
            "auto.create.topics.enable" => into(&mut broker.auto_create_topics_enable, name, value),
            "message.decompressed.bytes.max" => into(&mut broker.message_decompressed_bytes_max, name, value),
            "log.retention.check.interval.ms" => into(&mut broker.log_retention_check_interval_ms, name, value),
            "log.flush.offset.checkpoint.interval.ms" => into(&mut broker.log_flush_offset_checkpoint_interval_ms, name, value),
            "log.open.files.max" => into(&mut broker.log_open_files_max, name, value),
            "log.cleaner.backoff.ms" => into(&mut broker.log_cleaner_backoff_ms, name, value),
            "log.cleaner.dedupe.buffer.size" => into(&mut broker.log_cleaner_dedupe_buffer_size, name, value),
            "offsets.topic.num.partitions" => into(&mut broker.offsets_topic_num_partitions, name, value),
            "offsets.topic.segment.bytes" => into(&mut broker.offsets_topic_segment_bytes, name, value),
            "offsets.retention.minutes" => into(&mut broker.offsets_retention_minutes, name, value),
            "offsets.retention.check.interval.ms" => into(&mut broker.offsets_retention_check_interval_ms, name, value),
            "offset.metadata.max.bytes" => into(&mut broker.offset_metadata_max_bytes, name, value),
            "group.min.session.timeout.ms" => into(&mut broker.group_min_session_timeout_ms, name, value),
            "group.max.session.timeout.ms" => into(&mut broker.group_max_session_timeout_ms, name, value),
            "group.initial.rebalance.delay.ms" => into(&mut broker.group_initial_rebalance_delay_ms, name, value),
            "group.max.size" => into(&mut broker.group_max_size, name, value),
            _ => match broker.topic_defaults.set_default(name, value) {
                Some(set) => set,
                None => set_producers(broker, name, value),
            },
        }
    }
}

fn set_producers(broker: &mut BrokerConfig, name: &str, value: &str) -> Result<(), String> {
    match name {
        "producer.id.expiration.ms" => into(&mut broker.producer_id_expiration_ms, name, value),
        "producer.id.expiration.check.interval.ms" => into(&mut broker.producer_id_expiration_check_interval_ms, name, value),
        "transaction.max.timeout.ms" => into(&mut broker.transaction_max_timeout_ms, name, value),
        "transactional.id.expiration.ms" => into(&mut broker.transactional_id_expiration_ms, name, value),
        "transaction.state.log.num.partitions" => into(&mut broker.transaction_state_log_num_partitions, name, value),
        "transaction.state.log.segment.bytes" => into(&mut broker.transaction_state_log_segment_bytes, name, value),
        "transaction.abort.timed.out.transaction.cleanup.interval.ms" => {
            into(&mut broker.transaction_abort_timed_out_transaction_cleanup_interval_ms, name, value)
        }
        "transaction.remove.expired.transaction.cleanup.interval.ms" => {
            into(&mut broker.transaction_remove_expired_transaction_cleanup_interval_ms, name, value)
        }
        _ => Err(format!("{name} is no setting of this broker: {}", instead(name))),
    }
}

/// What to do about a name that is none.
fn instead(name: &str) -> String {
    match name {
        "log.dir" | "log.dirs" => return "the folder is --dir".to_owned(),
        "log.retention.hours" | "log.retention.minutes" => return "log.retention.ms is".to_owned(),
        "log.roll.hours" => return "log.roll.ms is".to_owned(),
        _ => {}
    }
    let all = BrokerConfig::default().describe().into_iter().chain(ServerConfig::default().describe());
    let near = all.map(|entry| (distance(name, entry.name), entry.name)).filter(|(letters, _)| (1..=3).contains(letters)).min();
    near.map_or_else(|| "take it out".to_owned(), |(_, near)| format!("did you mean {near}?"))
}

/// How many letters must be added, dropped or changed.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

fn parsed<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|error| format!("{name}={value}: {error}"))
}

fn into<T: FromStr<Err: Display>>(field: &mut T, name: &str, value: &str) -> Result<(), String> {
    *field = parsed(name, value)?;
    Ok(())
}

/// `ADDRESS:NUMBER`, separated by commas.
fn overrides(name: &str, value: &str) -> Result<BTreeMap<IpAddr, usize>, String> {
    let one = |text: &str| {
        let (ip, count) = text.rsplit_once(':').ok_or_else(|| format!("{name}: '{text}': expected address:number"))?;
        Ok((parsed(name, ip.trim_matches(['[', ']']))?, parsed(name, count)?))
    };
    value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
}

fn path(field: &mut Option<PathBuf>, value: &str) -> Result<(), String> {
    *field = Some(PathBuf::from(value));
    Ok(())
}

/// `host:port`; the host may be an IPv6 address in brackets.
pub fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let wrong = || format!("'{address}': expected host:port");
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_all_problems_are_told() {
        let file = std::env::temp_dir().join(format!("broker-settings-{}", std::process::id()));
        std::fs::write(&file, "# a comment\nnum.partitions=3\nnode.id = 7\n\n").expect("written");
        let read = Settings::read(Some(&file), &["num.partitions=4".to_owned()]).expect("fine");
        assert_eq!((read.broker.num_partitions, read.server.node_id), (4, 7));
        std::fs::write(&file, "nonsense\nlog.dirs=/tmp\nnum.partitions=many\n").expect("written");
        let told = Settings::read(Some(&file), &["node.id=-1".to_owned()]).expect_err("refused");
        std::fs::remove_file(&file).expect("removed");
        for part in [
            ":1: nonsense: expected name=value",
            ":2: log.dirs is no setting of this broker",
            ":3: num.partitions=many: invalid digit",
            "node.id is -1: 0 or more",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn every_setting_that_the_broker_tells_of_can_be_given() {
        let told = BrokerConfig::default().describe().into_iter().chain(ServerConfig::default().describe());
        // What cannot be otherwise is told, too; what is empty is not set.
        let given = told.filter(|entry| !["default.replication.factor", "delete.topic.enable"].contains(&entry.name));
        let refused = given.filter(|entry| !entry.value.is_empty()).filter_map(|entry| {
            let flag = format!("{}={}", entry.name, entry.value);
            Settings::read(None, &[flag]).err()
        });
        assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn rights_by_kafkas_names() {
        let class = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
        let flags = [
            format!("authorizer.class.name={class}"),
            "super.users=User:ann; User:CN=bob,O=x;".to_owned(),
            "allow.everyone.if.no.acl.found=true".to_owned(),
        ];
        let server = Settings::read(None, &flags).expect("fine").server;
        assert_eq!((server.authorizer_class_name.as_str(), server.allow_everyone_if_no_acl_found), (class, true));
        assert_eq!(server.super_users, ["User:ann", "User:CN=bob,O=x"]);
        let wrong = ["authorizer.class.name=Mine", "super.users=ann,bob", "allow.everyone.if.no.acl.found=yes"];
        let told = Settings::read(None, &wrong.map(str::to_owned)).expect_err("refused");
        for part in [
            "authorizer.class.name is 'Mine', which is not built",
            "super.users: 'ann,bob' is not 'User:' and a name, as in User:ann;User:bob",
            "allow.everyone.if.no.acl.found=yes: provided string was not `true` or `false`",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn transactions_by_kafkas_names() {
        let names = [
            "transaction.max.timeout.ms",
            "transactional.id.expiration.ms",
            "transaction.state.log.num.partitions",
            "transaction.state.log.segment.bytes",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "transaction.remove.expired.transaction.cleanup.interval.ms",
        ];
        let all_to = |value: &str| Settings::read(None, &names.map(|name| [name, value].join("=")));
        let broker = all_to("7").expect("fine").broker;
        assert_eq!((broker.transaction_max_timeout_ms, broker.transactional_id_expiration_ms), (7, 7));
        assert_eq!((broker.transaction_state_log_num_partitions, broker.transaction_state_log_segment_bytes), (7, 7));
        let told = all_to("0").expect_err("refused");
        names.iter().for_each(|name| assert!(told.contains(&format!("{name} is 0")), "{name} in {told}"));
    }

    #[test]
    fn how_long_a_login_holds_is_for_ports_with_logins() {
        let flags = ["connections.max.reauth.ms=2000".to_owned(), ["listeners", "SASL_PLAINTEXT://127.0.0.1:0"].join("=")];
        let server = Settings::read(None, &flags).expect("fine").server;
        assert_eq!(server.connections_max_reauth, Duration::from_secs(2));
        let told = Settings::read(None, &flags[..1]).expect_err("refused");
        assert!(told.contains("connections.max.reauth.ms is 2000, but nobody logs in"), "{told}");
        let told = Settings::read(None, &["connections.max.reauth.ms=soon".to_owned()]).expect_err("refused");
        assert!(told.contains("connections.max.reauth.ms=soon: invalid digit"), "{told}");
    }

    #[test]
    fn addresses() {
        assert_eq!(host_and_port("a.example:9092"), Ok(("a.example".to_owned(), 9092)));
        assert_eq!(host_and_port("[::1]:9092"), Ok(("::1".to_owned(), 9092)));
        for wrong in ["a", ":1", "a:", "a:b", "a:70000"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
