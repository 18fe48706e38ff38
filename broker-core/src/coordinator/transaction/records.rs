//! The records of `__transaction_state`, in Kafka's layouts: key version 0, value versions 0 and 1. Version 1 is written: it has a
//! place for the producer ids before and behind the current one, and for the version that a transaction was ended as.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut};

use super::init_producer_id::EXHAUSTED_EPOCH;
use super::{NO_EPOCH, NO_PRODUCER, Transaction, TransactionState};

/// A record, read back: the id, and what is known by it; `None` forgets it.
pub(super) type TransactionRecord<'a> = (&'a str, Option<Transaction>);

const KEY: i16 = 0;
/// The newest layout of values that is known.
const VALUE: i16 = 1;
/// The tags of what there is not always: the producer ids before and behind, and the version of the transaction.
const PREVIOUS_PRODUCER_TAG: u32 = 0;
const NEXT_PRODUCER_TAG: u32 = 1;
const CLIENT_VERSION_TAG: u32 = 2;
/// From this version on each transaction has an epoch of its own.
const EPOCH_EACH: i16 = 2;

fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Lengths are stored one higher, so that 0 is none.
fn put_length(out: &mut Vec<u8>, length: usize) {
    put_uvarint(out, length as u32 + 1);
}

/// The buffer is cleared first, so that one serves many.
pub(crate) fn encode_key(id: &str, key: &mut Vec<u8>) {
    key.clear();
    key.put_i16(KEY);
    key.put_i16(id.len() as i16);
    key.put_slice(id.as_bytes());
}

/// The same for a value.
pub(crate) fn encode_value(transaction: &Transaction, value: &mut Vec<u8>) {
    value.clear();
    value.put_i16(VALUE);
    value.put_i64(transaction.producer_id);
    value.put_i16(transaction.producer_epoch);
    value.put_i32(transaction.timeout_ms);
    value.put_i8(transaction.state.number());
    put_length(value, transaction.partitions.len());
    for (topic, numbers) in &transaction.partitions {
        put_length(value, topic.len());
        value.put_slice(topic.as_bytes());
        put_length(value, numbers.len());
        numbers.iter().for_each(|number| value.put_i32(*number));
        put_uvarint(value, 0);
    }
    value.put_i64(transaction.updated_ms);
    value.put_i64(transaction.started_ms);
    let ids = [(PREVIOUS_PRODUCER_TAG, transaction.previous_producer_id), (NEXT_PRODUCER_TAG, transaction.next_producer_id)];
    let ids = ids.iter().filter(|(_, id)| *id != NO_PRODUCER);
    put_uvarint(value, ids.clone().count() as u32 + u32::from(transaction.ended_v2));
    for (tag, id) in ids {
        put_uvarint(value, *tag);
        put_uvarint(value, 8);
        value.put_i64(*id);
    }
    if transaction.ended_v2 {
        put_uvarint(value, CLIENT_VERSION_TAG);
        put_uvarint(value, 2);
        value.put_i16(EPOCH_EACH);
    }
}

fn get_uvarint(input: &mut &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = input.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

fn get_text<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a str> {
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    std::str::from_utf8(text).ok()
}

/// An array's or a text's length; none is -1.
fn get_length(input: &mut &[u8], flexible: bool) -> Option<i64> {
    if flexible { get_uvarint(input).map(|length| i64::from(length) - 1) } else { input.try_get_i32().ok().map(i64::from) }
}

fn skip_tag(input: &mut &[u8], size: u32) -> Option<()> {
    *input = input.get(size as usize..)?;
    Some(())
}

/// Reads a record back; `None` for kinds and versions that this broker does not know.
pub(crate) fn decode<'a>(mut key: &'a [u8], value: Option<&[u8]>) -> Option<TransactionRecord<'a>> {
    if key.try_get_i16().ok()? != KEY {
        return None;
    }
    let length = usize::try_from(key.try_get_i16().ok()?).ok()?;
    let id = get_text(&mut key, length)?;
    let transaction = match value {
        None => None,
        Some(value) => Some(decode_value(value)?),
    };
    // Kafka's last word before it forgets one.
    Some((id, transaction.filter(|transaction| transaction.state != TransactionState::Dead)))
}

fn decode_value(mut input: &[u8]) -> Option<Transaction> {
    let input = &mut input;
    let version = input.try_get_i16().ok().filter(|version| (0..=VALUE).contains(version))?;
    let flexible = version >= 1;
    let producer_id = input.try_get_i64().ok()?;
    let producer_epoch = input.try_get_i16().ok()?;
    let timeout_ms = input.try_get_i32().ok()?;
    let state = TransactionState::of_number(input.try_get_i8().ok()?)?;
    let partitions = decode_partitions(input, flexible)?;
    let updated_ms = input.try_get_i64().ok()?;
    let started_ms = input.try_get_i64().ok()?;
    let (mut previous_producer_id, mut next_producer_id, mut client_version) = (NO_PRODUCER, NO_PRODUCER, 0);
    if flexible {
        for _ in 0..get_uvarint(input)? {
            match (get_uvarint(input)?, get_uvarint(input)?) {
                (PREVIOUS_PRODUCER_TAG, 8) => previous_producer_id = input.try_get_i64().ok()?,
                (NEXT_PRODUCER_TAG, 8) => next_producer_id = input.try_get_i64().ok()?,
                (CLIENT_VERSION_TAG, 2) => client_version = input.try_get_i16().ok()?,
                (_, size) => skip_tag(input, size)?,
            }
        }
    }
    let ended_v2 = client_version >= EPOCH_EACH && (state.is_prepared() || state.has_ended());
    // Not stored, but told by the epoch that came behind it.
    let last_epoch = match producer_epoch {
        _ if !ended_v2 => NO_EPOCH,
        0 if previous_producer_id != NO_PRODUCER => EXHAUSTED_EPOCH,
        epoch => epoch.saturating_sub(1),
    };
    Some(Transaction {
        producer_id,
        producer_epoch,
        last_epoch,
        previous_producer_id,
        next_producer_id,
        ended_v2,
        timeout_ms,
        state,
        partitions,
        updated_ms,
        started_ms,
        updated_at: 0,
        started_at: 0,
        decided_durably: false,
    })
}

fn decode_partitions(input: &mut &[u8], flexible: bool) -> Option<BTreeMap<Arc<str>, BTreeSet<i32>>> {
    let mut partitions: BTreeMap<Arc<str>, BTreeSet<i32>> = BTreeMap::new();
    for _ in 0..get_length(input, flexible)? {
        let length = if flexible { get_length(input, true)? } else { i64::from(input.try_get_i16().ok()?) };
        let topic = get_text(input, usize::try_from(length).ok()?)?;
        let numbers = partitions.entry(Arc::from(topic)).or_default();
        for _ in 0..get_length(input, flexible)? {
            numbers.insert(input.try_get_i32().ok()?);
        }
        if flexible {
            for _ in 0..get_uvarint(input)? {
                let (_, size) = (get_uvarint(input)?, get_uvarint(input)?);
                skip_tag(input, size)?;
            }
        }
    }
    Some(partitions)
}
