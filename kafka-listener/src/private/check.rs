//! The rules about a listener's parameters, evaluated by the compiler: generated code asks each rule at the argument or the
//! attribute value that would be wrong, and fails there with the rule's text.

use super::{Endpoint, ListenerSpec};
use crate::extract::Param;

/// The endpoint of an attribute that is wrong.
pub const NOTHING: Endpoint =
    Endpoint { spec: ListenerSpec::EMPTY, params: &[], invoke: |_| Box::pin(std::future::ready(Ok(()))) };

/// Fails the evaluation with a rule's text, at the caller's place.
#[track_caller]
pub const fn refuse(rule: &'static str) {
    panic!("{}", rule)
}

/// What is wrong with parameter `index`.
pub const fn argument(endpoint: &Endpoint, index: usize) -> Option<&'static str> {
    match endpoint.params[index] {
        Param::Record | Param::Batch if payload_before(endpoint, index) => Some(
            "a listener takes one payload, and this is the second: take key and value together as `ConsumerRecord<K, V>`, or the key as `Key<T>` and a header as `Header<N>`",
        ),
        Param::Metadata if takes_batch(endpoint) || says(endpoint.spec.batch, "true") => Some(
            "this is about one record, and the listener takes a batch: take it with each element, as in `Batch<(Key<K>, Json<T>)>` or `Batch<ConsumerRecord<K, V>>`",
        ),
        Param::Acknowledgment if container_commits(endpoint) => Some(
            "an `Acknowledgment` needs a manual ack mode: write `ack_mode = Manual` or `ack_mode = ManualImmediate`, or leave the parameter out",
        ),
        _ => None,
    }
}

/// What is wrong with the value of `ack_mode`.
pub const fn ack_mode(endpoint: &Endpoint) -> Option<&'static str> {
    let mode = endpoint.spec.ack_mode;
    if says(mode, "Record") && takes_batch(endpoint) {
        return Some(
            "`ack_mode = Record` commits after each record, and the listener takes a batch: write `ack_mode = Batch`, or take one record (`Json<T>`)",
        );
    }
    if (says(mode, "Manual") || says(mode, "ManualImmediate")) && !may_acknowledge(endpoint) {
        return Some(
            "a manual ack mode without an `Acknowledgment` would never commit: add the parameter `ack: Acknowledgment`, or write `ack_mode = Batch`",
        );
    }
    None
}

/// What is wrong with the value of `batch`.
pub const fn batch(endpoint: &Endpoint) -> Option<&'static str> {
    if says(endpoint.spec.batch, "true") && takes_record(endpoint) {
        return Some("`batch = true`, and the listener takes the payload of one record: take `Batch<T>`, or leave `batch` out");
    }
    if says(endpoint.spec.batch, "false") && takes_batch(endpoint) {
        return Some(
            "`batch = false`, and the listener takes a batch: take the payload of one record (`Json<T>`), or leave `batch` out",
        );
    }
    None
}

const fn payload_before(endpoint: &Endpoint, index: usize) -> bool {
    let mut before = 0;
    while before < index {
        if matches!(endpoint.params[before], Param::Record | Param::Batch) {
            return true;
        }
        before += 1;
    }
    false
}

const fn takes_batch(endpoint: &Endpoint) -> bool {
    let mut index = 0;
    while index < endpoint.params.len() {
        if matches!(endpoint.params[index], Param::Batch) {
            return true;
        }
        index += 1;
    }
    false
}

const fn takes_record(endpoint: &Endpoint) -> bool {
    let mut index = 0;
    while index < endpoint.params.len() {
        if matches!(endpoint.params[index], Param::Record) {
            return true;
        }
        index += 1;
    }
    false
}

/// A delivery taken as it is may hold an acknowledgment too.
const fn may_acknowledge(endpoint: &Endpoint) -> bool {
    let mut index = 0;
    while index < endpoint.params.len() {
        if matches!(endpoint.params[index], Param::Acknowledgment | Param::Other) {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether a literal mode is one of the container's own. A mode from configuration is looked at when the app starts.
const fn container_commits(endpoint: &Endpoint) -> bool {
    let mode = endpoint.spec.ack_mode;
    says(mode, "Record") || says(mode, "Batch") || says(mode, "Time") || says(mode, "Count") || says(mode, "CountTime")
}

const fn says(value: Option<&'static str>, word: &str) -> bool {
    let Some(value) = value else { return false };
    let (value, word) = (value.as_bytes(), word.as_bytes());
    if value.len() != word.len() {
        return false;
    }
    let mut index = 0;
    while index < word.len() {
        if value[index] != word[index] {
            return false;
        }
        index += 1;
    }
    true
}
