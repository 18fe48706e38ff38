//! The attribute's values: each a text with the place where it was written.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprUnary, Lit, UnOp};

/// A value as text, whatever it was written as: `3`, `"3"`, `true`, `Manual`.
#[derive(Debug, Clone)]
pub struct Value {
    /// The text; it may hold `${..}`.
    pub text: String,
    /// The expression, for messages.
    pub place: Expr,
}

impl Value {
    /// Whether configuration decides it at start.
    pub fn is_open(&self) -> bool {
        self.text.contains("${")
    }

    /// An error at the value.
    pub fn error(&self, text: impl std::fmt::Display) -> syn::Error {
        syn::Error::new_spanned(&self.place, text)
    }
}

/// A value and the key before it.
#[derive(Debug, Clone)]
pub struct Keyed<T> {
    /// Where the key stands.
    pub key: Span,
    /// The value.
    pub value: T,
}

/// Explicit partitions of one topic.
#[derive(Debug, Clone)]
pub struct Partitions {
    /// The topic.
    pub topic: Value,
    /// Partition numbers.
    pub partitions: Value,
    /// Where to start.
    pub offset: Option<Value>,
}

type Read<T> = Result<T, syn::Error>;

fn text_of(place: &Expr) -> Option<String> {
    match place {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

fn closed(value: Value) -> Read<Value> {
    let mut rest = value.text.as_str();
    while let Some(start) = rest.find("${") {
        match rest[start..].find('}') {
            Some(end) if end > 2 => rest = &rest[start + end + 1..],
            Some(_) => return Err(value.error("`${}` names nothing: write `${name}` or `${name:default}`")),
            None => return Err(value.error("`${` is not closed: write `${name}` or `${name:default}`")),
        }
    }
    Ok(value)
}

/// A string, not empty. `example` is what would work.
pub fn text(place: Expr, example: &str) -> Read<Value> {
    match text_of(&place) {
        Some(text) if text.trim().is_empty() => Err(syn::Error::new_spanned(place, format!("an empty string: write {example}"))),
        Some(text) => closed(Value { text, place }),
        None => Err(syn::Error::new_spanned(place, format!("a string is expected here: write {example}"))),
    }
}

/// A list of strings, not empty.
pub fn texts(place: Expr, example: &str) -> Read<Vec<Value>> {
    match place {
        Expr::Array(list) if !list.elems.is_empty() => list.elems.into_iter().map(|element| text(element, example)).collect(),
        place => Err(syn::Error::new_spanned(place, format!("a list of strings is expected here: write {example}"))),
    }
}

/// A whole number from 1, written as a number or a string; `word` is a word that may stand in its place.
pub fn count(place: Expr, word: Option<&str>, example: &str) -> Read<Value> {
    let text = match &place {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if number.suffix().is_empty() => number.base10_digits().to_owned(),
        _ => text_of(&place)
            .ok_or_else(|| syn::Error::new_spanned(&place, format!("a number is expected here: write {example}")))?,
    };
    let value = closed(Value { text, place })?;
    let fits = value.is_open() || word == Some(value.text.as_str()) || value.text.parse::<u32>().is_ok_and(|number| number >= 1);
    if fits { Ok(value) } else { Err(value.error(format!("`{}` is no whole number from 1: write {example}", value.text))) }
}

/// A duration of at least a millisecond, as a string.
pub fn duration(place: Expr) -> Read<Value> {
    let example = "a duration such as `ack_time = \"500ms\"`, `\"5s\"` or `\"1m 30s\"`";
    let value = text(place, example)?;
    if value.is_open() {
        return Ok(value);
    }
    match humantime::parse_duration(&value.text) {
        Ok(time) if time.as_millis() > 0 => Ok(value),
        Ok(_) => Err(value.error(format!("`{}` is less than a millisecond: write {example}", value.text))),
        Err(error) => Err(value.error(format!("`{}` is no duration ({error}): write {example}", value.text))),
    }
}

/// `true`, `false`, or a string that holds one.
pub fn boolean(place: Expr, example: &str) -> Read<Value> {
    let text = match &place {
        Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) => Some(value.value.to_string()),
        _ => text_of(&place),
    };
    let wrong = |place: &Expr| syn::Error::new_spanned(place, format!("`true` or `false` is expected here: write {example}"));
    let value = closed(Value { text: text.ok_or_else(|| wrong(&place))?, place })?;
    if value.is_open() || matches!(value.text.as_str(), "true" | "false") { Ok(value) } else { Err(wrong(&value.place)) }
}

/// The ack modes' names.
pub const MODES: [&str; 7] = ["Record", "Batch", "Time", "Count", "CountTime", "Manual", "ManualImmediate"];

/// An ack mode: `Manual`, `AckMode::Manual`, or a string.
pub fn ack_mode(place: Expr) -> Read<Value> {
    let text = match &place {
        Expr::Path(path) if path.qself.is_none() => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => text_of(&place),
    };
    let Some(text) = text else {
        let text = format!("an ack mode is expected here: one of {}", MODES.join(", "));
        return Err(syn::Error::new_spanned(place, text));
    };
    let mut value = closed(Value { text, place })?;
    if value.is_open() {
        return Ok(value);
    }
    let plain = |text: &str| text.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase();
    match MODES.iter().find(|mode| plain(mode) == plain(&value.text)) {
        // Spring's spelling becomes ours, so that the checks of generated code know one.
        Some(mode) => value.text = (*mode).to_owned(),
        None => {
            let nearest = super::nearest::nearest(&value.text, &MODES);
            let text = format!("`{}` is no ack mode: write `{nearest}`, or one of {}", value.text, MODES.join(", "));
            return Err(value.error(text));
        }
    }
    Ok(value)
}

const PARTITIONS: &str = "`partitions = [(\"orders\", \"0-2\"), (\"returns\", \"0, 3\", offset = \"beginning\")]`";

/// A list of `("topic", "numbers")` or `("topic", "numbers", offset = "start")`.
pub fn partitions(place: Expr) -> Read<Vec<Partitions>> {
    match place {
        Expr::Array(list) if !list.elems.is_empty() => list.elems.into_iter().map(partitions_of_topic).collect(),
        place => {
            Err(syn::Error::new_spanned(place, format!("a list of topics with partitions is expected here: write {PARTITIONS}")))
        }
    }
}

fn partitions_of_topic(place: Expr) -> Read<Partitions> {
    let wrong = |place: &dyn quote::ToTokens| {
        syn::Error::new_spanned(
            place.to_token_stream(),
            format!("a topic and its partitions are expected here: write {PARTITIONS}"),
        )
    };
    let Expr::Tuple(tuple) = &place else { return Err(wrong(&place)) };
    let mut parts = tuple.elems.iter().cloned();
    let (Some(topic), Some(numbers), offset, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(wrong(&place));
    };
    let topic = text(topic, PARTITIONS)?;
    let numbers = text(numbers, PARTITIONS)?;
    if !numbers.is_open() && !is_partition_list(&numbers.text) {
        return Err(numbers.error(format!(
            "`{}` is no list of partitions: write numbers and ranges from low to high, such as \"0\", \"0-2\" or \"0-2, 7\"",
            numbers.text
        )));
    }
    let offset = offset.map(start_offset).transpose()?;
    Ok(Partitions { topic, partitions: numbers, offset })
}

fn is_partition_list(text: &str) -> bool {
    text.split(',').all(|part| match part.trim().split_once('-') {
        Some((low, high)) => match (low.trim().parse::<i32>(), high.trim().parse::<i32>()) {
            (Ok(low), Ok(high)) => 0 <= low && low <= high,
            _ => false,
        },
        None => part.trim().parse::<u32>().is_ok(),
    })
}

fn start_offset(place: Expr) -> Read<Value> {
    let example = "`offset = \"committed\"`, `\"beginning\"`, `\"end\"`, an offset (`120`), so many before the end (`-10`), or `\"timestamp:1700000000000\"`";
    let Expr::Assign(assign) = &place else {
        return Err(syn::Error::new_spanned(place, format!("only the start offset may stand here: write {example}")));
    };
    if !matches!(&*assign.left, Expr::Path(path) if path.path.is_ident("offset")) {
        return Err(syn::Error::new_spanned(&assign.left, format!("only `offset` may stand here: write {example}")));
    }
    let place = (*assign.right).clone();
    let value = match number_of(&place) {
        Some(text) => Value { text, place },
        None => text(place, example)?,
    };
    let known = value.is_open()
        || matches!(value.text.as_str(), "committed" | "beginning" | "end")
        || value.text.parse::<i64>().is_ok()
        || value.text.strip_prefix("timestamp:").is_some_and(|millis| millis.trim().parse::<i64>().is_ok());
    if known { Ok(value) } else { Err(value.error(format!("`{}` is no start offset: write {example}", value.text))) }
}

fn number_of(place: &Expr) -> Option<String> {
    match place {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Some(number.base10_digits().to_owned()),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => number_of(expr).map(|digits| format!("-{digits}")),
        _ => None,
    }
}

/// A path, for `crate = ..`.
pub fn path(place: Expr) -> Read<syn::Path> {
    match place {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path),
        place => Err(syn::Error::new(place.span(), "a path is expected here: write `crate = my_framework::kafka_listener`")),
    }
}
