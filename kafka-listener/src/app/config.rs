//! The app's configuration: code over environment over file, and the `${name:default}` in listeners' texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::client::Properties;
use crate::client::config::{ConsumerConfig, ProducerConfig, unknown_setting};

/// Where a value may come from, strongest first: set in code, the environment, a file.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    code: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

/// Something in the configuration is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

/// The table of a configuration file that holds Kafka's own names.
const KAFKA_TABLE: &str = "kafka.";
/// The prefix of environment variables that hold Kafka's own names.
const KAFKA_VARIABLE: &str = "KAFKA_";

/// Kafka's own settings for all of the app, by whose they are. What both clients know is both's.
#[derive(Debug, Default)]
pub(crate) struct KafkaSettings {
    /// `bootstrap.servers`: chooses the backend.
    pub bootstrap_servers: Option<String>,
    pub consumer: Properties,
    pub producer: Properties,
    /// What no client knows, where we were asked for it: refused.
    pub unknown: Vec<String>,
    /// `KAFKA_*` variables that no client knows. The environment is not ours alone (Kafka's own scripts and Kubernetes set
    /// such), so they are told and left alone.
    pub foreign: Vec<String>,
}

impl KafkaSettings {
    fn take(&mut self, key: &str, value: &str, place: impl Fn() -> String) {
        if key == "bootstrap.servers" {
            self.bootstrap_servers = Some(value.to_owned());
            return;
        }
        let (consumer, producer) = whose(key);
        if consumer {
            self.consumer.set(key, value);
        }
        if producer {
            self.producer.set(key, value);
        }
        if !consumer && !producer {
            self.unknown.push(unknown_setting(key, &place()));
        }
    }
}

/// Whether a setting is the consumer's, and whether it is the producer's.
fn whose(key: &str) -> (bool, bool) {
    (ConsumerConfig::knows(key), ProducerConfig::knows(key))
}

impl Settings {
    /// Only what is set in code.
    pub fn in_code(code: BTreeMap<String, String>) -> Self {
        Self { code, ..Self::default() }
    }

    /// Adds the environment, given as names and values.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = variables.into_iter().collect();
        self
    }

    /// Adds a TOML file; one that is missing or damaged is an error that names it.
    pub fn with_file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let named = |error: &dyn std::fmt::Display| ConfigError(format!("configuration file {}: {error}", path.display()));
        let read = config::Config::builder().add_source(config::File::from(PathBuf::from(path)).format(config::FileFormat::Toml));
        let table: config::Map<String, config::Value> =
            read.build().and_then(config::Config::try_deserialize).map_err(|error| named(&error))?;
        for (key, value) in table {
            flatten(key, value, &mut self.file).map_err(|error| named(&error))?;
        }
        Ok(self)
    }

    /// The value of a name: code, else the environment (`audit.concurrency` is `AUDIT_CONCURRENCY`), else the file.
    pub fn get(&self, name: &str) -> Option<&str> {
        let variable = variable(name);
        self.code.get(name).or_else(|| self.environment.get(&variable)).or_else(|| self.file.get(name)).map(String::as_str)
    }

    /// Kafka's own settings: the file's `[kafka]` table under `KAFKA_*` variables under what is set in code.
    /// `KAFKA_GROUP_ID` is `group.id`.
    pub(crate) fn kafka(&self, code: &Properties) -> KafkaSettings {
        let file = self.file.iter().filter_map(|(key, value)| key.strip_prefix(KAFKA_TABLE).map(|key| (key, value)));
        let mut found = KafkaSettings::default();
        file.for_each(|(key, value)| found.take(key, value, || "in the configuration file's [kafka] table".to_owned()));
        for (variable, value) in &self.environment {
            let Some(name) = variable.strip_prefix(KAFKA_VARIABLE) else { continue };
            let name = name.to_ascii_lowercase().replace('_', ".");
            if whose(&name) == (false, false) {
                found.foreign.push(variable.clone());
            } else {
                found.take(&name, value, || format!("as {variable} in the environment"));
            }
        }
        code.iter().for_each(|(key, value)| found.take(key, value, || "in code".to_owned()));
        found
    }

    /// Replaces every `${name}` and `${name:default}`; a name that is nowhere and has no default is an error. What is put in is
    /// not looked through again: a `${` in it is an error, too, and never a part of the text.
    pub fn resolve(&self, text: &str) -> Result<String, ConfigError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let Some(end) = inner.find('}') else {
                return Err(ConfigError(format!("'{text}' has a '${{' without its '}}'")));
            };
            let (name, default) = match inner[..end].split_once(':') {
                Some((name, default)) => (name.trim(), Some(default)),
                None => (inner[..end].trim(), None),
            };
            if default.is_some_and(|default| default.contains("${")) {
                return Err(ConfigError(format!("'{text}': a default cannot hold a name; write what it is, or set '{name}'")));
            }
            match (self.get(name), default) {
                (Some(value), _) if value.contains("${") => {
                    return Err(ConfigError(format!(
                        "'{name}' holds '{value}', which is not replaced again; set it to the value itself"
                    )));
                }
                (Some(value), _) => out.push_str(value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => {
                    return Err(ConfigError(format!(
                        "'{name}' is set nowhere: give '${{{name}:a default}}', set it in code or in the file, or as {} in the environment",
                        variable(name)
                    )));
                }
            }
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The process's environment. It is not ours alone: what is no text is somebody else's, or told if it looks like ours.
pub(super) fn environment() -> Vec<(String, String)> {
    let texts = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        if name.starts_with(KAFKA_VARIABLE) && value.to_str().is_none() {
            tracing::warn!(target: "kafka_listener::app", variable = name, "this variable of the environment is not UTF-8; it is left alone");
        }
        Some((name, value.into_string().ok()?))
    });
    texts.collect()
}

/// The environment's spelling of a name.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn flatten(key: String, value: config::Value, into: &mut BTreeMap<String, String>) -> Result<(), config::ConfigError> {
    match value.kind {
        config::ValueKind::Table(table) => {
            table.into_iter().try_for_each(|(name, value)| flatten(format!("{key}.{name}"), value, into))
        }
        config::ValueKind::Array(values) => {
            let is_text =
                |value: &config::Value| !matches!(value.kind, config::ValueKind::Table(_) | config::ValueKind::Array(_));
            if values.iter().all(is_text) {
                let texts = values.into_iter().map(config::Value::into_string).collect::<Result<Vec<_>, _>>()?;
                into.insert(key, texts.join(","));
            } else if key.starts_with(KAFKA_TABLE) {
                let text = format!("'{key}' is a list of tables or lists; a setting is a text, a number, or a list of those");
                return Err(config::ConfigError::Message(text));
            }
            // Else it is somebody else's: no name could stand for it.
            Ok(())
        }
        _ => {
            into.insert(key, value.into_string()?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let code = BTreeMap::from([("a".to_owned(), "code".to_owned())]);
        let mut settings = Settings::in_code(code).with_environment(
            [("A", "env"), ("B_C", "env"), ("KAFKA_GROUP_ID", "env")].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        settings.file.extend(
            [("b.c", "file"), ("d", "file"), ("open", "${d}"), ("kafka.group.id", "file"), ("kafka.client.id", "file")]
                .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        settings
    }

    #[test]
    fn texts_are_resolved_code_over_environment_over_file() {
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("${a}", Ok("code")),
            ("x-${b.c}-${d}", Ok("x-env-file")),
            ("${nowhere:7}", Ok("7")),
            ("${nowhere:}", Ok("")),
            ("${nowhere}", Err("'nowhere' is set nowhere")),
            ("${a", Err("without its")),
            ("${nowhere:${a}}", Err("a default cannot hold a name")),
            ("${a:${b.c}}", Err("a default cannot hold a name")),
            ("${d}${open}", Err("'open' holds '${d}'")),
        ] {
            match (settings().resolve(text), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
                (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{text}: {got}"),
                (got, expected) => panic!("{text}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn kafka_settings_come_from_everywhere() {
        let kafka = settings().kafka(&Properties::new().with("acks", "1").with("bootstrap.servers", "b:9092"));
        assert_eq!(kafka.consumer.get("group.id"), Some("env"));
        assert_eq!(kafka.consumer.get("client.id"), Some("file"));
        assert_eq!(kafka.producer.get("client.id"), Some("file"), "both clients have one");
        assert_eq!((kafka.producer.get("acks"), kafka.consumer.get("acks")), (Some("1"), None));
        assert_eq!((kafka.producer.get("group.id"), kafka.bootstrap_servers.as_deref()), (None, Some("b:9092")));
        assert!(kafka.unknown.is_empty() && kafka.foreign.is_empty());
    }

    #[test]
    fn what_no_client_knows_is_named_with_its_place() {
        let mut settings = Settings::default().with_environment(
            [("KAFKA_HOME", "x"), ("KAFKA_PORT_9092_TCP", "x"), ("KAFKA_LINGER_MS", "7")]
                .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        settings.file.insert("kafka.max.pol.records".to_owned(), "5".to_owned());
        let kafka = settings.kafka(&Properties::new().with("lingr.ms", 3));
        assert_eq!(
            kafka.unknown,
            [
                "'max.pol.records', set in the configuration file's [kafka] table, is no setting of a consumer or producer; did you mean 'max.poll.records'?",
                "'lingr.ms', set in code, is no setting of a consumer or producer; did you mean 'linger.ms'?",
            ]
        );
        assert_eq!(kafka.foreign, ["KAFKA_HOME", "KAFKA_PORT_9092_TCP"]);
        assert_eq!(kafka.producer.get("linger.ms"), Some("7"));
    }

    #[test]
    fn a_file_is_read_and_a_damaged_one_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("app.toml");
        std::fs::write(&path, "[kafka]\n\"group.id\" = \"g\"\nmax.poll.records = 7\n[audit]\nconcurrency = 2\n")
            .expect("written");
        let settings = Settings::default().with_file(&path).expect("read");
        assert_eq!(settings.get("audit.concurrency"), Some("2"));
        let kafka = settings.kafka(&Properties::new()).consumer;
        assert_eq!((kafka.get("group.id"), kafka.get("max.poll.records")), (Some("g"), Some("7")));
        std::fs::write(&path, "[kafka").expect("written");
        let error = Settings::default().with_file(&path).expect_err("damaged").to_string();
        assert!(error.contains("app.toml"), "{error}");
    }
}
