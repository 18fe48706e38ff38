//! May the app start? Every listener is resolved here, attribute over factory over default, and every problem is reported
//! together, before the first poll.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use super::config::Settings;
use crate::ack::AckMode;
use crate::client::config::{ConsumerConfig, OffsetReset};
use crate::client::{Admin, Backend, NewTopic, Properties, SeekTo, StartOffset, Subscription, TopicPartition};
use crate::container::{Concurrency, ContainerProperties, FOREVER, Source};
use crate::extract::Param;
use crate::factory::{ContainerFactory, DEFAULT_FACTORY, LEAST_TIME};
use crate::registry::{OwnedListener, OwnedListenerSpec, OwnedPartitionSpec};

/// What preflight looks at.
pub(super) struct Preflight<'a> {
    pub settings: &'a Settings,
    pub factories: &'a BTreeMap<Arc<str>, ContainerFactory>,
    pub states: &'a BTreeSet<TypeId>,
    /// Kafka's settings for all of the app: file, environment, code.
    pub kafka: &'a Properties,
    /// What is wrong with those alone: told once, not for each listener.
    pub told: &'a [String],
    pub backend: &'a dyn Backend,
}

/// A listener that may start.
pub(super) struct Ready {
    pub properties: ContainerProperties,
    pub factory: ContainerFactory,
    pub listener: OwnedListener,
}

/// Collects the problems of one listener, each with its name and place.
struct Problems<'a> {
    place: String,
    found: &'a mut Vec<String>,
}

impl Problems<'_> {
    fn add(&mut self, text: impl Display) {
        self.found.push(format!("{}: {text}", self.place));
    }

    fn take<T, E: Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }
}

/// Resolves all listeners; the second list names every problem.
pub(super) fn check(preflight: &Preflight<'_>, listeners: Vec<OwnedListener>) -> (Vec<Ready>, Vec<String>) {
    let mut found: Vec<String> = preflight.factories.values().flat_map(ContainerFactory::problems).collect();
    let mut ready = Vec::new();
    let mut ids: BTreeMap<Arc<str>, String> = BTreeMap::new();
    for listener in listeners {
        let place = place(&listener.spec);
        let before = found.len();
        let mut problems = Problems { place: place.clone(), found: &mut found };
        let resolved = resolve(preflight, listener, &mut problems);
        let Some(resolved) = resolved else { continue };
        if let Some(other) = ids.insert(resolved.properties.id.clone(), place.clone()) {
            found.push(format!(
                "{place}: the id '{}' is taken by {other}; give each listener an id of its own: id = \"...\"",
                resolved.properties.id
            ));
        }
        if found.len() == before {
            ready.push(resolved);
        }
    }
    found.extend(shared_names(&ready));
    warn_shared_groups(&ready);
    (ready, found)
}

/// Members of one group that have the same name would put each other out.
fn shared_names(ready: &[Ready]) -> Vec<String> {
    let mut found = Vec::new();
    let of = |one: &Ready| match (&one.properties.source, one.properties.group_id.clone()) {
        (Source::Subscribed(_), Some(group)) => {
            one.properties.consumer.get("group.instance.id").map(|name| (group, name.to_owned(), one.properties.concurrency))
        }
        _ => None,
    };
    let named: Vec<_> = ready.iter().filter_map(|one| of(one).map(|names| (one, names))).collect();
    for (at, (one, (group, name, workers))) in named.iter().enumerate() {
        let meets = |(_, (other_group, other, others)): &&(&Ready, (Arc<str>, String, Concurrency))| {
            group == other_group && (name == other || has(name, *workers, other, *others) || has(other, *others, name, *workers))
        };
        if let Some((other, _)) = named[..at].iter().find(meets) {
            let (place, other) = (place(&one.listener.spec), &other.properties.id);
            let text = "already; give each a name of its own";
            found.push(format!("{place}: group.instance.id = \"{name}\" is listener '{other}''s in group '{group}' {text}"));
        }
    }
    found
}

/// Whether a container of several workers gives one of them the name that the only worker of another has.
fn has(name: &str, workers: Concurrency, other: &str, others: Concurrency) -> bool {
    let number = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.parse::<usize>().ok());
    let most = match workers {
        Concurrency::Fixed(1) => return false,
        Concurrency::Fixed(most) => most,
        Concurrency::Auto => usize::MAX,
    };
    matches!(others, Concurrency::Fixed(1)) && number.is_some_and(|number| (1..=most).contains(&number))
}

fn place(spec: &OwnedListenerSpec) -> String {
    let name = spec.id.as_deref().unwrap_or(&spec.function);
    if spec.file.is_empty() { format!("listener '{name}'") } else { format!("listener '{name}' ({}:{})", spec.file, spec.line) }
}

/// Listeners of one group that share a topic split its partitions, which is seldom meant.
fn warn_shared_groups(ready: &[Ready]) {
    let mut seen: BTreeMap<(Arc<str>, Arc<str>), Arc<str>> = BTreeMap::new();
    for one in ready {
        let (Some(group), Source::Subscribed(Subscription::Topics(topics))) = (&one.properties.group_id, &one.properties.source)
        else {
            continue;
        };
        for topic in topics {
            if let Some(other) = seen.insert((group.clone(), topic.clone()), one.properties.id.clone()) {
                tracing::warn!(target: "kafka_listener::app", %topic, %group, listener = %one.properties.id, %other,
                    "these listeners share topic and group: they split its partitions; give each a group of its own if each shall see every record");
            }
        }
    }
}

fn resolve(preflight: &Preflight<'_>, listener: OwnedListener, problems: &mut Problems<'_>) -> Option<Ready> {
    let spec = resolve_texts(preflight.settings, &listener.spec, problems);
    let factory = factory(preflight, &spec, problems)?;
    let id: Arc<str> = Arc::from(spec.id.clone().unwrap_or_else(|| spec.function.clone()));
    if id.trim().is_empty() {
        problems.add("the id is empty; give id = \"...\"");
    }
    let source = source(&spec, problems);
    let mut properties = ContainerProperties::new(id, source.unwrap_or(Source::Partitions(Vec::new())));
    apply_factory(&mut properties, &factory);
    apply_spec(&mut properties, &spec, problems);
    shape(&mut properties, &listener, &spec, &factory, problems);
    consumer_settings(preflight, &mut properties, &spec, &factory, problems);
    modes(&properties, &listener, &spec, &factory, problems);
    states(preflight, &listener, problems);
    rejections(&properties, &listener, &factory, problems);
    Some(Ready { properties, factory, listener: OwnedListener { spec, handler: listener.handler } })
}

/// Replaces `${..}` everywhere.
fn resolve_texts(settings: &Settings, spec: &OwnedListenerSpec, problems: &mut Problems<'_>) -> OwnedListenerSpec {
    let mut resolved = spec.clone();
    let mut one = |key: &str, text: &mut String| match settings.resolve(text) {
        Ok(value) => *text = value,
        Err(error) => problems.add(format!("{key}: {error}")),
    };
    let options = [
        ("id", &mut resolved.id),
        ("topic_pattern", &mut resolved.topic_pattern),
        ("group_id", &mut resolved.group_id),
        ("client_id_prefix", &mut resolved.client_id_prefix),
        ("container_factory", &mut resolved.container_factory),
        ("concurrency", &mut resolved.concurrency),
        ("batch", &mut resolved.batch),
        ("ack_mode", &mut resolved.ack_mode),
        ("ack_count", &mut resolved.ack_count),
        ("ack_time", &mut resolved.ack_time),
        ("auto_startup", &mut resolved.auto_startup),
    ];
    for (key, value) in options {
        if let Some(text) = value {
            one(key, text);
        }
    }
    resolved.topics.iter_mut().for_each(|text| one("topic", text));
    resolved.properties.iter_mut().for_each(|text| one("properties", text));
    for partition in &mut resolved.partitions {
        one("partitions", &mut partition.topic);
        one("partitions", &mut partition.partitions);
        if let Some(offset) = &mut partition.offset {
            one("partitions", offset);
        }
    }
    // `topic = "${topics}"` may name several.
    resolved.topics = resolved.topics.iter().flat_map(|text| text.split(',')).map(|topic| topic.trim().to_owned()).collect();
    resolved
}

fn factory(preflight: &Preflight<'_>, spec: &OwnedListenerSpec, problems: &mut Problems<'_>) -> Option<ContainerFactory> {
    let name = spec.container_factory.as_deref().unwrap_or(DEFAULT_FACTORY);
    let found = preflight.factories.get(name).cloned();
    if found.is_none() && is_unresolved(name) {
        return None;
    }
    if found.is_none() && spec.container_factory.is_some() {
        let known: Vec<_> = preflight.factories.keys().map(|name| name.as_ref()).collect();
        let known =
            if known.is_empty() { "none was given to the app".to_owned() } else { format!("there are: {}", known.join(", ")) };
        problems.add(format!(
            "container_factory = \"{name}\" is unknown; {known}. Add it with .factory(ContainerFactory::named(\"{name}\"))"
        ));
        return None;
    }
    Some(found.unwrap_or_default())
}

fn source(spec: &OwnedListenerSpec, problems: &mut Problems<'_>) -> Option<Source> {
    let given = usize::from(!spec.topics.is_empty())
        + usize::from(spec.topic_pattern.is_some())
        + usize::from(!spec.partitions.is_empty());
    if given != 1 {
        problems.add("exactly one of topic (or topics), topic_pattern and partitions must be given");
        return None;
    }
    if let Some(pattern) = &spec.topic_pattern {
        // As it is used: whole names must match.
        if let Err(error) = regex::Regex::new(&format!("^(?:{pattern})$"))
            && !is_unresolved(pattern)
        {
            problems.add(format!("topic_pattern = \"{pattern}\" is no regular expression: {error}"));
        }
        return Some(Source::Subscribed(Subscription::Pattern(pattern.clone())));
    }
    if !spec.topics.is_empty() {
        for topic in spec.topics.iter().filter(|topic| !is_unresolved(topic)) {
            if let Err(error) = topic_name(topic) {
                problems.add(error);
            }
        }
        let topics: BTreeSet<&String> = spec.topics.iter().collect();
        return Some(Source::Subscribed(Subscription::Topics(
            topics.into_iter().map(|topic| Arc::from(topic.as_str())).collect(),
        )));
    }
    let mut all = BTreeMap::new();
    let told = |one: &&OwnedPartitionSpec| {
        [Some(&one.topic), Some(&one.partitions), one.offset.as_ref()].into_iter().flatten().any(|text| is_unresolved(text))
    };
    for partition in spec.partitions.iter().filter(|one| !told(one)) {
        if let Err(error) = topic_name(&partition.topic) {
            problems.add(error);
        }
        let start = match partition.offset.as_deref().map(start_offset) {
            None => StartOffset::Committed,
            Some(Ok(start)) => start,
            Some(Err(error)) => {
                problems.add(error);
                continue;
            }
        };
        match partition_numbers(&partition.partitions) {
            Ok(numbers) => {
                for number in numbers {
                    let partition = TopicPartition::new(partition.topic.as_str(), number);
                    if all.insert(partition.clone(), start).is_some() {
                        problems.add(format!("partition {partition} is given twice"));
                    }
                }
            }
            Err(error) => problems.add(error),
        }
    }
    Some(Source::Partitions(all.into_iter().collect()))
}

/// The topics that listeners name and that are neither there nor declared. With `missing_topics_fatal` each is a problem; else it
/// is told.
pub(super) async fn missing_topics(admin: &dyn Admin, ready: &[Ready], declared: &[NewTopic]) -> Vec<String> {
    let mut found = Vec::new();
    for one in ready {
        let (id, fatal) = (&one.properties.id, one.properties.missing_topics_fatal);
        let names: BTreeSet<&str> = match &one.properties.source {
            Source::Subscribed(Subscription::Topics(topics)) => topics.iter().map(AsRef::as_ref).collect(),
            Source::Subscribed(Subscription::Pattern(_)) => continue,
            Source::Partitions(all) => all.iter().map(|(partition, _)| partition.topic.as_ref()).collect(),
        };
        for name in names {
            match admin.topic(name).await {
                Ok(Some(_)) => {}
                Ok(None) if declared.iter().any(|topic| topic.name == name) => {}
                Ok(None) if fatal => found.push(format!(
                    "listener '{id}': topic '{name}' does not exist (missing_topics_fatal); declare it: .topic(NewTopic::new(\"{name}\"))"
                )),
                Ok(None) => {
                    tracing::info!(target: "kafka_listener::app", topic = %name, listener = %id, "the topic does not exist yet; it is made when somebody first uses it");
                }
                Err(error) => found.push(format!("topic '{name}': {error}")),
            }
        }
    }
    found
}

fn topic_name(topic: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(legal) {
        return Err(format!("topic \"{topic}\" is no topic name: 1 to 249 of letters, digits, '.', '_' and '-'"));
    }
    Ok(())
}

/// It still holds a `${..}`: that was told, and what is wrong with the text as it stands says nothing more.
fn is_unresolved(text: &str) -> bool {
    text.contains("${")
}

/// `0`, `0-5`, `0-5, 7`.
fn partition_numbers(text: &str) -> Result<Vec<i32>, String> {
    let wrong = || format!("partitions \"{text}\": expected numbers and ranges such as \"0-5, 7\"");
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: i32 = first.trim().parse().map_err(|_| wrong())?;
        let last: i32 = last.trim().parse().map_err(|_| wrong())?;
        if first < 0 || last < first || last - first > 100_000 {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

fn start_offset(text: &str) -> Result<StartOffset, String> {
    let at = |to| Ok(StartOffset::At(to));
    match text.trim() {
        "committed" => Ok(StartOffset::Committed),
        "beginning" => at(SeekTo::Beginning),
        "end" => at(SeekTo::End),
        other => {
            if let Some(time) = other.strip_prefix("timestamp:") {
                return time
                    .trim()
                    .parse()
                    .map(SeekTo::Timestamp)
                    .map(StartOffset::At)
                    .map_err(|_| format!("offset \"{text}\": expected milliseconds since 1970 behind 'timestamp:'"));
            }
            match other.parse::<i64>() {
                Ok(offset) if offset >= 0 => at(SeekTo::Offset(offset)),
                Ok(offset) if offset > i64::MIN => at(SeekTo::FromEnd(-offset)),
                _ => Err(format!(
                    "offset \"{text}\": expected committed, beginning, end, a number, a negative number (from the end) or timestamp:<ms>"
                )),
            }
        }
    }
}

macro_rules! take_set {
    ($from:expr => $to:expr; $($name:ident),* $(,)?) => {
        $(if let Some(value) = $from.$name.clone() { $to.$name = value; })*
    };
}

fn apply_factory(properties: &mut ContainerProperties, factory: &ContainerFactory) {
    let settings = &factory.settings;
    take_set!(settings => properties; ack_mode, ack_count, ack_time, concurrency, async_acks, max_unacked, ack_timeout,
        sync_commits, commit_retries, sync_commit_timeout, poll_timeout, shutdown_timeout, poll_error_back_off,
        missing_topics_fatal, auto_startup);
    properties.idle_event_interval = settings.idle_event_interval;
    properties.idle_partition_event_interval = settings.idle_partition_event_interval;
    properties.lag_event_interval = settings.lag_event_interval;
    for time in [
        Some(&mut properties.ack_time),
        Some(&mut properties.ack_timeout),
        Some(&mut properties.sync_commit_timeout),
        Some(&mut properties.poll_timeout),
        Some(&mut properties.shutdown_timeout),
        Some(&mut properties.poll_error_back_off),
        properties.idle_event_interval.as_mut(),
        properties.idle_partition_event_interval.as_mut(),
        properties.lag_event_interval.as_mut(),
    ] {
        time.into_iter().for_each(|time| *time = FOREVER.min(*time));
    }
}

fn apply_spec(properties: &mut ContainerProperties, spec: &OwnedListenerSpec, problems: &mut Problems<'_>) {
    if let Some(mode) = spec.ack_mode.as_ref().filter(|mode| !is_unresolved(mode))
        && let Some(mode) = problems.take(AckMode::from_str(mode).map_err(|error| format!("ack_mode: {error}")))
    {
        properties.ack_mode = mode;
    }
    if let Some(count) = number(&spec.ack_count, "ack_count", 1, problems) {
        properties.ack_count = count;
    }
    if let Some(text) = spec.ack_time.as_ref().filter(|text| !is_unresolved(text)) {
        match humantime::parse_duration(text) {
            Ok(time) if time >= LEAST_TIME => properties.ack_time = time.min(FOREVER),
            Ok(_) => problems.add(format!("ack_time = \"{text}\": expected at least a millisecond, for example \"5s\"")),
            Err(error) => problems.add(format!("ack_time = \"{text}\" is no duration such as \"5s\": {error}")),
        }
    }
    match spec.concurrency.as_deref() {
        Some("auto") => properties.concurrency = Concurrency::Auto,
        Some(_) => {
            if let Some(workers) = number(&spec.concurrency, "concurrency", 1, problems) {
                properties.concurrency = Concurrency::Fixed(workers as usize);
            }
        }
        None => {}
    }
    if let Some(start) = boolean(&spec.auto_startup, "auto_startup", problems) {
        properties.auto_startup = start;
    }
}

fn number(text: &Option<String>, key: &str, least: u64, problems: &mut Problems<'_>) -> Option<u64> {
    let text = text.as_ref().filter(|text| !is_unresolved(text))?;
    match text.trim().parse::<u64>() {
        Ok(number) if number >= least => Some(number),
        _ => {
            let auto = if key == "concurrency" { " or \"auto\"" } else { "" };
            problems.add(format!("{key} = \"{text}\": expected a whole number from {least}{auto}"));
            None
        }
    }
}

fn boolean(text: &Option<String>, key: &str, problems: &mut Problems<'_>) -> Option<bool> {
    let text = text.as_ref().filter(|text| !is_unresolved(text))?;
    match text.trim() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            problems.add(format!("{key} = \"{other}\": expected true or false"));
            None
        }
    }
}

/// The parameters decide the shape; what else was said must agree.
fn shape(
    properties: &mut ContainerProperties,
    listener: &OwnedListener,
    spec: &OwnedListenerSpec,
    factory: &ContainerFactory,
    problems: &mut Problems<'_>,
) {
    let takes = |kind: fn(&Param) -> bool| listener.handler.params.iter().any(kind);
    let batch = takes(|param| matches!(param, Param::Batch));
    let record = takes(|param| matches!(param, Param::Record));
    let said = boolean(&spec.batch, "batch", problems).or(factory.settings.batch);
    properties.batch = batch || (!record && said == Some(true));
    if batch && record {
        problems.add("a listener takes one payload, and this takes a batch and the payload of one record: leave one of them out");
    }
    match said {
        Some(true) if record => {
            problems.add("batch = true, but the listener takes the payload of one record; take Batch<..> instead")
        }
        Some(false) if batch => {
            problems.add("batch = false, but the listener takes Batch<..>; take the payload of one record instead")
        }
        _ => {}
    }
    if properties.batch && takes(|param| matches!(param, Param::Metadata)) {
        problems.add(
            "a parameter is about one record, and the listener takes a batch: take it with each element, as in Batch<(Key<K>, Json<T>)> or Batch<ConsumerRecord<K, V>>",
        );
    }
}

fn consumer_settings(
    preflight: &Preflight<'_>,
    properties: &mut ContainerProperties,
    spec: &OwnedListenerSpec,
    factory: &ContainerFactory,
    problems: &mut Problems<'_>,
) {
    let mut own = Properties::new();
    for line in spec.properties.iter().filter(|line| !is_unresolved(line)) {
        match line.split_once('=').or_else(|| line.split_once(':')) {
            Some((key, _)) if matches!(key.trim(), "group.id" | "client.id") => {
                problems.add(format!(
                    "properties: '{}' is set by {}",
                    key.trim(),
                    if key.trim() == "group.id" { "group_id" } else { "client_id_prefix" }
                ));
            }
            Some((key, value)) => drop(own.set(key.trim(), value.trim())),
            None => problems.add(format!("properties: \"{line}\" is not of the form \"key=value\"")),
        }
    }
    let mut settings = own.over(&factory.properties.over(preflight.kafka));
    let groups = [spec.group_id.as_deref(), spec.id.as_deref(), settings.get("group.id")];
    let group: Option<Arc<str>> = groups.into_iter().flatten().map(str::trim).find(|group| !group.is_empty()).map(Arc::from);
    match (&group, &properties.source) {
        (Some(group), _) => {
            settings.set("group.id", group);
            properties.group_id = Some(group.clone());
        }
        (_, Source::Partitions(_)) => {}
        _ => {
            problems.add("no consumer group: give group_id = \"...\" (or an id, or group.id in the factory or the configuration)")
        }
    }
    let client = spec.client_id_prefix.clone().or_else(|| settings.get("client.id").map(str::to_owned));
    settings.set("client.id", client.unwrap_or_else(|| properties.id.to_string()));
    if settings.get("enable.auto.commit").is_none() {
        settings.set("enable.auto.commit", false);
    }
    // As the consumer reads them: what is wrong with one is told below.
    if let Ok(read) = ConsumerConfig::parse(&settings) {
        properties.auto_commit = read.enable_auto_commit;
        properties.reset_latest = read.auto_offset_reset == OffsetReset::Latest;
        properties.max_poll_interval = read.max_poll_interval;
    }
    for problem in preflight.backend.check_consumer(&settings) {
        if !preflight.told.contains(&problem.to_string()) {
            problems.add(problem);
        }
    }
    properties.consumer = settings;
}

fn modes(
    properties: &ContainerProperties,
    listener: &OwnedListener,
    spec: &OwnedListenerSpec,
    factory: &ContainerFactory,
    problems: &mut Problems<'_>,
) {
    if spec.ack_mode.as_deref().is_some_and(|mode| is_unresolved(mode) || AckMode::from_str(mode).is_err()) {
        return;
    }
    acknowledgment(properties, listener, problems);
    let mode = properties.ack_mode;
    if mode == AckMode::Record && properties.batch {
        problems.add("ack_mode Record cannot serve a batch listener: use Batch, or take one record");
    }
    if mode.is_manual() && properties.auto_commit {
        problems.add(format!(
            "ack_mode {mode} with enable.auto.commit=true: acknowledgments would mean nothing; turn one of them off"
        ));
    }
    if properties.async_acks && !mode.is_manual() {
        problems.add(format!("async_acks needs ack_mode Manual or ManualImmediate, not {mode}"));
    }
    let partitions = matches!(&properties.source, Source::Partitions(all) if !all.is_empty());
    if mode.is_manual() && partitions && properties.group_id.is_none() {
        problems.add(format!(
            "ack_mode {mode} needs a consumer group, else acknowledgments would mean nothing: give group_id = \"...\" (or an id), or take another mode"
        ));
    }
    // A factory may hold them for those of its listeners that choose such a mode themselves.
    let factorys = spec.ack_mode.is_none() || factory.settings.ack_mode == Some(mode);
    for (key, own, of_factory, modes) in [
        ("ack_count", spec.ack_count.is_some(), factory.settings.ack_count.is_some(), [AckMode::Count, AckMode::CountTime]),
        ("ack_time", spec.ack_time.is_some(), factory.settings.ack_time.is_some(), [AckMode::Time, AckMode::CountTime]),
    ] {
        let wanted = modes.contains(&mode);
        if !wanted && (own || of_factory && factorys) {
            problems.add(format!("{key} is set, but ack_mode {mode} ignores it: it is for {} and CountTime", modes[0]));
        }
        if wanted && !own && !of_factory {
            problems.add(format!("ack_mode {mode} needs {key}: give it in the attribute or in the factory"));
        }
    }
}

fn states(preflight: &Preflight<'_>, listener: &OwnedListener, problems: &mut Problems<'_>) {
    for param in &listener.handler.params {
        if let Param::State { id, name } = param
            && !preflight.states.contains(&id())
        {
            problems.add(format!("State<{0}> has no value: give it to the app with .state({0} {{ .. }})", name()));
        }
    }
}

/// What would reject each record when it comes, so that all of them would be given up.
fn rejections(
    properties: &ContainerProperties,
    listener: &OwnedListener,
    factory: &ContainerFactory,
    problems: &mut Problems<'_>,
) {
    let group = listener.handler.params.iter().any(|param| matches!(param, Param::Group));
    if group && properties.group_id.is_none() && matches!(&properties.source, Source::Partitions(all) if !all.is_empty()) {
        problems.add("it takes a GroupId, and has no consumer group: give group_id = \"...\" (or an id), or leave it out");
    }
    if properties.batch && factory.filters_records {
        problems.add(format!(
            "RecordFilterLayer cannot serve a batch listener: filter inside the listener, or take a factory other than '{}'",
            factory.name()
        ));
    }
}

/// A listener that takes an acknowledgment needs a manual mode, and the other way round.
fn acknowledgment(properties: &ContainerProperties, listener: &OwnedListener, problems: &mut Problems<'_>) {
    let takes = listener.handler.takes_acknowledgment();
    let mode = properties.ack_mode;
    let whole = listener.handler.params.iter().any(|param| matches!(param, Param::Other));
    if takes && !mode.is_manual() {
        problems.add(format!("it takes an Acknowledgment, but ack_mode is {mode}: use Manual or ManualImmediate, or take none"));
    }
    if !takes && !whole && mode.is_manual() {
        problems.add(format!("ack_mode {mode} needs an Acknowledgment among the parameters: nothing would ever be committed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_lists_are_read() {
        for (text, expected) in
            [("0", Some(vec![0])), ("0-2, 5", Some(vec![0, 1, 2, 5])), ("", None), ("2-1", None), ("x", None), ("-1", None)]
        {
            assert_eq!(partition_numbers(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn start_offsets_are_read() {
        for (text, expected) in [
            ("committed", Some(StartOffset::Committed)),
            ("beginning", Some(StartOffset::At(SeekTo::Beginning))),
            ("end", Some(StartOffset::At(SeekTo::End))),
            ("17", Some(StartOffset::At(SeekTo::Offset(17)))),
            ("-10", Some(StartOffset::At(SeekTo::FromEnd(10)))),
            ("timestamp:5", Some(StartOffset::At(SeekTo::Timestamp(5)))),
            ("-9223372036854775807", Some(StartOffset::At(SeekTo::FromEnd(i64::MAX)))),
            ("-9223372036854775808", None),
            ("soon", None),
        ] {
            assert_eq!(start_offset(text).ok(), expected, "{text}");
        }
    }
}
