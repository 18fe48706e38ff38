//! The attribute's arguments, typed, each with its place.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Token};

use super::Problems;
use super::nearest::nearest;
use super::value::{self, Keyed, Partitions, Value};

/// Everything the attribute says.
#[derive(Default)]
pub struct Args {
    pub krate: Option<syn::Path>,
    pub id: Option<Value>,
    pub topic: Option<Keyed<Value>>,
    pub topics: Option<Keyed<Vec<Value>>>,
    pub topic_pattern: Option<Keyed<Value>>,
    pub partitions: Option<Keyed<Vec<Partitions>>>,
    pub group_id: Option<Value>,
    pub client_id_prefix: Option<Value>,
    pub container_factory: Option<Value>,
    pub concurrency: Option<Value>,
    pub batch: Option<Value>,
    pub ack_mode: Option<Value>,
    pub ack_count: Option<Keyed<Value>>,
    pub ack_time: Option<Keyed<Value>>,
    pub auto_startup: Option<Value>,
    pub properties: Vec<Value>,
    /// A value of these keys was there and wrong: its absence is no second problem.
    pub broken: Vec<String>,
}

/// The keys, in the order of the documentation.
pub const KEYS: [&str; 16] = [
    "id",
    "topic",
    "topics",
    "topic_pattern",
    "partitions",
    "group_id",
    "client_id_prefix",
    "container_factory",
    "concurrency",
    "batch",
    "ack_mode",
    "ack_count",
    "ack_time",
    "auto_startup",
    "properties",
    "crate",
];

impl Args {
    /// Reads `key = value, ..`. What is wrong is added to the problems, and reading goes on behind it.
    pub fn parse(tokens: TokenStream, problems: &mut Problems) -> Self {
        let mut args = Args::default();
        let read = |input: ParseStream<'_>| {
            args.read_all(input, problems);
            Ok(())
        };
        // The reader takes every token, so the parser has nothing to complain about.
        if let Err(error) = read.parse2(tokens) {
            problems.add(error);
        }
        args
    }

    /// Whether the key was written, rightly or wrongly.
    pub fn mentions(&self, key: &str) -> bool {
        self.broken.iter().any(|broken| broken == key)
    }

    fn read_all(&mut self, input: ParseStream<'_>, problems: &mut Problems) {
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            if let Err(error) = self.read_one(input, &mut seen) {
                problems.add(error);
                skip_to_comma(input);
            }
            if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                problems.add(input.error("`,` is expected between two keys"));
                skip_to_comma(input);
                let _ = input.parse::<Token![,]>();
            }
        }
    }

    fn read_one(&mut self, input: ParseStream<'_>, seen: &mut Vec<String>) -> Result<(), syn::Error> {
        let key = input.call(Ident::parse_any).map_err(|error| {
            syn::Error::new(error.span(), "a key is expected here: write `key = value`, for example `topic = \"orders\"`")
        })?;
        let name = key.to_string();
        if !KEYS.contains(&name.as_str()) {
            self.unknown(&name);
            let text =
                format!("unknown key `{name}`: did you mean `{}`? The keys are {}", nearest(&name, &KEYS), KEYS.join(", "));
            return Err(syn::Error::new(key.span(), text));
        }
        if seen.contains(&name) {
            return Err(syn::Error::new(key.span(), format!("`{name}` is given twice: keep one{}", plural(&name))));
        }
        seen.push(name.clone());
        self.broken.push(name.clone());
        if input.parse::<Token![=]>().is_err() {
            return Err(syn::Error::new(key.span(), format!("`{name}` needs a value: write `{}`", example(&name))));
        }
        let place = input
            .parse::<Expr>()
            .map_err(|error| syn::Error::new(error.span(), format!("a value is expected here: write `{}`", example(&name))))?;
        self.set(&name, key.span(), place)?;
        self.broken.pop();
        Ok(())
    }

    /// A misspelt key counts as the one that was meant, so that it does not also count as missing.
    fn unknown(&mut self, name: &str) {
        self.broken.push(nearest(name, &KEYS).to_owned());
    }

    fn set(&mut self, name: &str, key: Span, place: Expr) -> Result<(), syn::Error> {
        let example = format!("`{}`", example(name));
        match name {
            "id" => self.id = Some(value::text(place, &example)?),
            "topic" => self.topic = Some(Keyed { key, value: value::text(place, &example)? }),
            "topics" => self.topics = Some(Keyed { key, value: value::texts(place, &example)? }),
            "topic_pattern" => self.topic_pattern = Some(Keyed { key, value: value::text(place, &example)? }),
            "partitions" => self.partitions = Some(Keyed { key, value: value::partitions(place)? }),
            "group_id" => self.group_id = Some(value::text(place, &example)?),
            "client_id_prefix" => self.client_id_prefix = Some(value::text(place, &example)?),
            "container_factory" => self.container_factory = Some(value::text(place, &example)?),
            "concurrency" => {
                let example = "`concurrency = 3`, `concurrency = \"auto\"` or `concurrency = \"${name:1}\"`";
                self.concurrency = Some(value::count(place, Some("auto"), example)?);
            }
            "batch" => self.batch = Some(value::boolean(place, &example)?),
            "ack_mode" => self.ack_mode = Some(value::ack_mode(place)?),
            "ack_count" => self.ack_count = Some(Keyed { key, value: value::count(place, None, &example)? }),
            "ack_time" => self.ack_time = Some(Keyed { key, value: value::duration(place)? }),
            "auto_startup" => self.auto_startup = Some(value::boolean(place, &example)?),
            "properties" => self.properties = value::texts(place, &example)?,
            "crate" => self.krate = Some(value::path(place)?),
            _ => unreachable!("{name} is in KEYS and not here"),
        }
        Ok(())
    }
}

/// A use of the key that works.
pub fn example(key: &str) -> &'static str {
    match key {
        "id" => "id = \"audit\"",
        "topic" => "topic = \"orders\"",
        "topics" => "topics = [\"orders\", \"returns\"]",
        "topic_pattern" => "topic_pattern = \"audit\\\\..*\"",
        "partitions" => "partitions = [(\"orders\", \"0-2\")]",
        "group_id" => "group_id = \"billing\"",
        "client_id_prefix" => "client_id_prefix = \"billing\"",
        "container_factory" => "container_factory = \"careful\"",
        "concurrency" => "concurrency = 3",
        "batch" => "batch = true",
        "ack_mode" => "ack_mode = Manual",
        "ack_count" => "ack_count = 100",
        "ack_time" => "ack_time = \"5s\"",
        "auto_startup" => "auto_startup = false",
        "properties" => "properties = [\"max.poll.records=50\"]",
        _ => "crate = my_framework::kafka_listener",
    }
}

fn plural(name: &str) -> &'static str {
    match name {
        "topic" => ", or write `topics = [..]`",
        _ => "",
    }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        let _ = input.parse::<TokenTree>();
    }
}
