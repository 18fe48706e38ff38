//! The app's configuration: code over environment over file, and the `${name:default}` in listeners' texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::client::Properties;

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
    pub fn kafka(&self, code: &Properties) -> Properties {
        let file = self.file.iter().filter_map(|(key, value)| key.strip_prefix(KAFKA_TABLE).map(|key| (key, value)));
        let environment = self.environment.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(KAFKA_VARIABLE)?.to_ascii_lowercase().replace('_', ".");
            (!name.is_empty()).then_some((name, value))
        });
        let file: Properties = file.collect();
        let environment: Properties = environment.collect();
        code.over(&environment.over(&file))
    }

    /// Replaces every `${name}` and `${name:default}`; a name that is nowhere and has no default is an error.
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
            match (self.get(name), default) {
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
            let texts = values.into_iter().map(config::Value::into_string).collect::<Result<Vec<_>, _>>()?;
            into.insert(key, texts.join(","));
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
            [("b.c", "file"), ("d", "file"), ("kafka.group.id", "file"), ("kafka.client.id", "file")]
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
        let kafka = settings().kafka(&Properties::new().with("acks", "1"));
        assert_eq!(kafka.get("group.id"), Some("env"));
        assert_eq!(kafka.get("client.id"), Some("file"));
        assert_eq!(kafka.get("acks"), Some("1"));
    }

    #[test]
    fn a_file_is_read_and_a_damaged_one_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("app.toml");
        std::fs::write(&path, "[kafka]\n\"group.id\" = \"g\"\nmax.poll.records = 7\n[audit]\nconcurrency = 2\n")
            .expect("written");
        let settings = Settings::default().with_file(&path).expect("read");
        assert_eq!(settings.get("audit.concurrency"), Some("2"));
        let kafka = settings.kafka(&Properties::new());
        assert_eq!((kafka.get("group.id"), kafka.get("max.poll.records")), (Some("g"), Some("7")));
        std::fs::write(&path, "[kafka").expect("written");
        let error = Settings::default().with_file(&path).expect_err("damaged").to_string();
        assert!(error.contains("app.toml"), "{error}");
    }
}
