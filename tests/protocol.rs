//! `docs/PROTOCOL.md` says what the server does: its table of APIs is made from the server's own table and from the heads of the
//! APIs' files, which must agree. `docs/BROKER.md` holds all settings with their defaults.
//! `PROTOCOL_WRITE=1 cargo test -p integration-tests --test protocol` writes both anew.

use std::path::{Path, PathBuf};

use broker_core::BrokerConfig;
use broker_core::server::{APIS, Api, ServerConfig};

const BEGIN: &str = "<!-- APIs: made from the code -->\n";
const SETTINGS_BEGIN: &str = "<!-- settings: made from the code -->\n";
const END: &str = "<!-- end -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// `DescribeConfigs` is in `describe_configs.rs`.
fn file(api: &Api) -> String {
    let mut name = String::new();
    for c in api.name.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    format!("broker-core/src/server/api/{name}.rs")
}

/// The paragraphs of a file's head, each on one line.
fn head(api: &Api) -> Vec<String> {
    let path = root().join(file(api));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    lines.split(|line| line.is_empty()).map(|paragraph| paragraph.join(" ")).collect()
}

/// What the head must begin with.
fn title(api: &Api) -> String {
    match (api.read_min, api.max) {
        (min, max) if min == max => format!("{} ({}), version {min}", api.name, api.key),
        (min, max) => format!("{} ({}), versions {min} to {max}", api.name, api.key),
    }
}

#[test]
fn each_file_says_what_the_table_says() {
    for api in APIS {
        let title = title(api);
        let head = head(api);
        let rest = head[0].strip_prefix(&title).unwrap_or_else(|| panic!("{}: it must begin with '{title}'", file(api)));
        assert!(rest.starts_with([':', ';', '.', ' ']), "{}: it begins with '{}'", file(api), head[0]);
    }
}

fn table() -> String {
    let mut table = format!("{BEGIN}\n| key | API | versions | what | left out |\n| --- | --- | --- | --- | --- |\n");
    for api in APIS {
        let head = head(api);
        let what = head[0].strip_prefix(&title(api)).unwrap_or_default().trim_start_matches([':', ';', '.', ' ']);
        let left_out = head.iter().find_map(|paragraph| paragraph.strip_prefix("Left out: ")).unwrap_or_default();
        let versions = match api.max {
            max if max == api.min => max.to_string(),
            max => format!("{}–{max}", api.min),
        };
        let row = format!("| {} | {} | {versions} | {what} | {left_out} |", api.key, api.name);
        table.push_str(&row.replace("  ", " "));
        table.push('\n');
    }
    table + "\n" + END
}

/// What the program's defaults differ in, and what is told but cannot be given.
const PROGRAMS: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "3000"), ("listeners", "127.0.0.1:9092")];
const GIVEN: &[&str] = &["default.replication.factor", "delete.topic.enable"];

/// All settings as a file of them.
fn settings() -> String {
    let mut all = BrokerConfig::default().describe();
    all.extend(ServerConfig::default().describe());
    all.retain(|entry| !GIVEN.contains(&entry.name));
    all.sort_by_key(|entry| entry.name);
    let mut text = format!("{SETTINGS_BEGIN}\n```properties\n");
    for entry in all {
        let program = PROGRAMS.iter().find(|(name, _)| *name == entry.name).map(|(_, value)| *value);
        let value = program.unwrap_or(&entry.value);
        let unset = if value.is_empty() { "# " } else { "" };
        text.push_str(&format!("{unset}{}={value}\n", entry.name));
    }
    text + "```\n\n" + END
}

fn holds(document: &str, begin: &str, part: &str) {
    let path = root().join(document);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{document}: no '{begin}'"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{document}: no '{END}' behind '{begin}'"));
    let expected = format!("{before}{part}{after}");
    if std::env::var_os("PROTOCOL_WRITE").is_some() {
        std::fs::write(&path, &expected).expect("written");
    } else {
        assert!(text == expected, "{document} is behind the code: run this test again with PROTOCOL_WRITE=1");
    }
}

#[test]
fn the_documents_hold_the_apis_and_the_settings() {
    holds("docs/PROTOCOL.md", BEGIN, &table());
    holds("docs/BROKER.md", SETTINGS_BEGIN, &settings());
}
