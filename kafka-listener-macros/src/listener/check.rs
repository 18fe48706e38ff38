//! The rules between the attribute's arguments. Rules about the parameters are the generated code's: see `probe`.

use proc_macro2::Span;

use super::Problems;
use super::args::Args;
use super::value::Value;

/// Adds everything that is wrong.
pub fn check(args: &Args, problems: &mut Problems) {
    source(args, problems);
    names(args, problems);
    ack(args, problems);
    properties(args, problems);
}

/// Exactly one of topics, pattern and partitions.
fn source(args: &Args, problems: &mut Problems) {
    let mut sources: Vec<(&str, Span)> = Vec::new();
    sources.extend(args.topic.as_ref().map(|topic| ("topic", topic.key)));
    sources.extend(args.topics.as_ref().map(|topics| ("topics", topics.key)));
    sources.extend(args.topic_pattern.as_ref().map(|pattern| ("topic_pattern", pattern.key)));
    sources.extend(args.partitions.as_ref().map(|partitions| ("partitions", partitions.key)));
    let tried = ["topic", "topics", "topic_pattern", "partitions"].iter().any(|key| args.mentions(key));
    if sources.is_empty() && !tried {
        let text = "a listener needs something to listen to: write `topic = \"orders\"`, `topics = [\"orders\", \"returns\"]`, \
                    `topic_pattern = \"audit\\\\..*\"` or `partitions = [(\"orders\", \"0-2\")]`";
        problems.add(syn::Error::new(Span::call_site(), text));
    }
    if let Some(((first, _), rest)) = sources.split_first() {
        for (key, place) in rest {
            let text = match (*first, *key) {
                ("topic", "topics") => "`topic` and `topics` together: write one list, `topics = [..]`".to_owned(),
                (first, key) => format!(
                    "`{key}` together with `{first}`: a listener has one source; keep one of them, and write a second listener for the other"
                ),
            };
            problems.add(syn::Error::new(*place, text));
        }
    }
}

/// Topic names as the broker will take them.
fn names(args: &Args, problems: &mut Problems) {
    let topics = args.topic.iter().map(|topic| &topic.value).chain(args.topics.iter().flat_map(|topics| &topics.value));
    let explicit = args.partitions.iter().flat_map(|partitions| &partitions.value).map(|partitions| &partitions.topic);
    for topic in topics.chain(explicit) {
        if !topic.is_open() && !is_topic_name(&topic.text) {
            let text = format!(
                "`{}` is no topic name: at most 249 letters, digits, `.`, `_` and `-`; for a regular expression write `topic_pattern = \"..\"`",
                topic.text
            );
            problems.add(topic.error(text));
        }
    }
}

fn is_topic_name(text: &str) -> bool {
    text.len() <= 249
        && !matches!(text, "." | "..")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A literal mode and its count and time.
fn ack(args: &Args, problems: &mut Problems) {
    let Some(mode) = args.ack_mode.as_ref().filter(|mode| !mode.is_open()) else { return };
    let counts = matches!(mode.text.as_str(), "Count" | "CountTime");
    let times = matches!(mode.text.as_str(), "Time" | "CountTime");
    let ignored = |key: &str, modes: &str| {
        format!("`{key}` means nothing with `ack_mode = {}`: it is for {modes}; drop it, or change the mode", mode.text)
    };
    let missing = |key: &str, example: &str| {
        mode.error(format!("`ack_mode = {}` needs `{key}`: write `ack_mode = {}, {example}`", mode.text, mode.text))
    };
    match &args.ack_count {
        Some(count) if !counts => problems.add(syn::Error::new(count.key, ignored("ack_count", "Count and CountTime"))),
        None if counts && !args.mentions("ack_count") => problems.add(missing("ack_count", "ack_count = 100")),
        _ => {}
    }
    match &args.ack_time {
        Some(time) if !times => problems.add(syn::Error::new(time.key, ignored("ack_time", "Time and CountTime"))),
        None if times && !args.mentions("ack_time") => problems.add(missing("ack_time", "ack_time = \"5s\"")),
        _ => {}
    }
}

/// `key=value`, and no key that the attribute has a name for.
fn properties(args: &Args, problems: &mut Problems) {
    for line in &args.properties {
        if let Err(text) = property(line) {
            problems.add(line.error(text));
        }
    }
}

fn property(line: &Value) -> Result<(), String> {
    if line.text.starts_with("${") {
        // The key itself comes from the configuration: it is looked at when the app starts.
        return Ok(());
    }
    let Some((key, _)) = line.text.split_once('=') else {
        return Err(format!("`{}` is no setting: write \"key=value\", for example \"max.poll.records=50\"", line.text));
    };
    match key.trim() {
        "" => Err(format!("`{}` names no setting: write \"key=value\", for example \"max.poll.records=50\"", line.text)),
        "group.id" => Err("the group is not a property here: write `group_id = \"..\"`".to_owned()),
        "client.id" => Err("the client id is not a property here: write `client_id_prefix = \"..\"`".to_owned()),
        _ => Ok(()),
    }
}
