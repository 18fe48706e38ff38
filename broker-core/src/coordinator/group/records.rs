//! The records of `__consumer_offsets`, in Kafka's layouts: offset commits (key 1, value 3) and group metadata (key 2, value 3).

use bytes::{Buf, BufMut, Bytes};

use super::OffsetCommit;

/// A record, read back.
#[derive(Debug, Clone)]
pub(crate) enum GroupRecord<'a> {
    /// An offset; `None` removes it.
    Offset {
        group: &'a str,
        topic: &'a str,
        partition: i32,
        /// And when it was stored.
        offset: Option<(OffsetCommit<'a>, i64)>,
    },
    /// A group's generation; `None` removes the group.
    Group { group: &'a str, stored: Option<StoredGroup<'a>> },
    /// An offset of a producer's transaction.
    Within { producer: i64, group: &'a str, commit: OffsetCommit<'a>, stored_at: i64 },
    /// A producer's transaction ended.
    End { producer: i64, committed: bool },
}

impl GroupRecord<'_> {
    /// The same as part of a producer's transaction. Only offsets are stored that way.
    pub fn within(self, producer: i64) -> Self {
        match self {
            Self::Offset { group, offset: Some((commit, stored_at)), .. } => Self::Within { producer, group, commit, stored_at },
            other => other,
        }
    }
}

/// What is read back of a generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredGroup<'a> {
    pub generation: i32,
    pub protocol_type: &'a str,
    pub timestamp: i64,
    pub has_members: bool,
}

/// A generation's members, as they are stored.
#[derive(Debug)]
pub(crate) struct MemberRecord<'a> {
    pub protocol_type: &'a str,
    pub protocol: Option<&'a str>,
    pub leader: Option<&'a str>,
    /// Since when there are none.
    pub empty_since: Option<i64>,
    pub members: Vec<StoredMember<'a>>,
}

#[derive(Debug)]
pub(crate) struct StoredMember<'a> {
    pub id: &'a str,
    pub instance: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub rebalance_timeout: i32,
    pub session_timeout: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// The newest layout of values that is known.
pub(super) const VALUE: i16 = 3;

/// The longest text that a record can hold: what is to be stored is checked for it before.
pub(super) const TEXT_BYTES_MAX: usize = i16::MAX as usize;

fn put_string(out: &mut Vec<u8>, text: &str) {
    // A length that wraps would have what is behind read as other fields.
    let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES_MAX)];
    out.put_i16(bytes.len() as i16);
    out.put_slice(bytes);
}

fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

/// Key and value of an offset commit; both buffers are cleared first, so that one pair serves many.
pub(crate) fn encode_commit(group: &str, commit: &OffsetCommit<'_>, now_ms: i64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    key.clear();
    key.put_i16(OFFSET_KEY);
    put_string(key, group);
    put_string(key, commit.topic);
    key.put_i32(commit.partition);
    value.clear();
    value.put_i16(VALUE);
    value.put_i64(commit.offset);
    value.put_i32(commit.leader_epoch);
    put_string(value, commit.metadata);
    value.put_i64(now_ms);
}

/// Key and value of a group's metadata.
pub(crate) fn encode_group(
    group: &str,
    generation: i32,
    members: &MemberRecord<'_>,
    now_ms: i64,
    key: &mut Vec<u8>,
    value: &mut Vec<u8>,
) {
    key.clear();
    key.put_i16(GROUP_KEY);
    put_string(key, group);
    value.clear();
    value.put_i16(VALUE);
    put_string(value, members.protocol_type);
    value.put_i32(generation);
    put_option(value, members.protocol);
    put_option(value, members.leader);
    value.put_i64(members.empty_since.unwrap_or(now_ms));
    value.put_i32(members.members.len() as i32);
    for member in &members.members {
        put_string(value, member.id);
        put_option(value, member.instance);
        put_string(value, member.client_id);
        put_string(value, member.client_host);
        value.put_i32(member.rebalance_timeout);
        value.put_i32(member.session_timeout);
        put_bytes(value, &member.subscription);
        put_bytes(value, &member.assignment);
    }
}

pub(super) fn get_string<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(input.try_get_i16().ok()?).ok()?;
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    std::str::from_utf8(text).ok()
}

/// Reads a record back; `None` for kinds and versions that this broker does not know.
pub(crate) fn decode<'a>(mut key: &'a [u8], value: Option<&'a [u8]>) -> Option<GroupRecord<'a>> {
    match key.try_get_i16().ok()? {
        0 | OFFSET_KEY => {
            let (group, topic) = (get_string(&mut key)?, get_string(&mut key)?);
            let partition = key.try_get_i32().ok()?;
            let offset = match value {
                None => None,
                Some(mut value) => {
                    let version = value.try_get_i16().ok()?;
                    if !(0..=VALUE).contains(&version) {
                        return None;
                    }
                    let offset = value.try_get_i64().ok()?;
                    let leader_epoch = if version >= 3 { value.try_get_i32().ok()? } else { -1 };
                    let metadata = get_string(&mut value)?;
                    let stored_at = value.try_get_i64().ok()?;
                    Some((OffsetCommit { topic, partition, offset, leader_epoch, metadata }, stored_at))
                }
            };
            Some(GroupRecord::Offset { group, topic, partition, offset })
        }
        GROUP_KEY => {
            let group = get_string(&mut key)?;
            let stored = match value {
                None => None,
                Some(value) => Some(decode_group(value)?),
            };
            Some(GroupRecord::Group { group, stored })
        }
        _ => None,
    }
}

pub(super) fn get_option<'a>(input: &mut &'a [u8]) -> Option<Option<&'a str>> {
    if input.starts_with(&(-1i16).to_be_bytes()) {
        input.advance(2);
        return Some(None);
    }
    get_string(input).map(Some)
}

fn decode_group(mut value: &[u8]) -> Option<StoredGroup<'_>> {
    let version = value.try_get_i16().ok()?;
    if !(0..=VALUE).contains(&version) {
        return None;
    }
    let protocol_type = get_string(&mut value)?;
    let generation = value.try_get_i32().ok()?;
    get_option(&mut value)?;
    get_option(&mut value)?;
    let timestamp = if version >= 2 { value.try_get_i64().ok()? } else { -1 };
    let has_members = value.try_get_i32().ok()? > 0;
    Some(StoredGroup { generation, protocol_type, timestamp, has_members })
}
