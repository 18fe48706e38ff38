//! The consumer protocol's bytes: what a member says when it joins, and what the leader gives it.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::MemberSubscription;
use crate::id::TopicPartition;

/// The version that is written: topics, owned partitions, generation, rack.
const VERSION: i16 = 3;

/// The bytes are no subscription or assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no {0} of the consumer protocol")]
pub struct ProtocolError(&'static str);

/// A member's subscription as bytes (version 3).
pub fn encode_subscription(subscription: &MemberSubscription) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    out.put_i32(subscription.topics.len() as i32);
    subscription.topics.iter().for_each(|topic| put_string(&mut out, topic));
    out.put_i32(-1);
    put_partitions(&mut out, &subscription.owned);
    out.put_i32(subscription.generation);
    out.put_i16(-1);
    out.freeze()
}

/// Reads a subscription of any version: what a later one adds is passed over.
pub fn decode_subscription(bytes: &[u8]) -> Result<MemberSubscription, ProtocolError> {
    let wrong = ProtocolError("subscription");
    let mut input = bytes;
    let version = input.try_get_i16().map_err(|_| wrong)?;
    let topics =
        (0..input.try_get_i32().map_err(|_| wrong)?).map(|_| get_string(&mut input).ok_or(wrong)).collect::<Result<_, _>>()?;
    skip_bytes(&mut input).ok_or(wrong)?;
    let owned = if version >= 1 { get_partitions(&mut input).ok_or(wrong)? } else { Vec::new() };
    let generation = if version >= 2 { input.try_get_i32().map_err(|_| wrong)? } else { -1 };
    Ok(MemberSubscription { topics, owned, generation })
}

/// A member's partitions as bytes; with none it is still a valid, empty assignment.
pub fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_partitions(&mut out, partitions);
    out.put_i32(-1);
    out.freeze()
}

/// Reads an assignment of any version.
pub fn decode_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, ProtocolError> {
    let wrong = ProtocolError("assignment");
    let mut input = bytes;
    input.try_get_i16().map_err(|_| wrong)?;
    get_partitions(&mut input).ok_or(wrong)
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn get_string(input: &mut &[u8]) -> Option<Arc<str>> {
    let length = usize::try_from(input.try_get_i16().ok()?).ok()?;
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    std::str::from_utf8(text).ok().map(Arc::from)
}

fn skip_bytes(input: &mut &[u8]) -> Option<()> {
    let length = input.try_get_i32().ok()?;
    if let Ok(length) = usize::try_from(length) {
        *input = input.split_at_checked(length)?.1;
    }
    Some(())
}

fn put_partitions(out: &mut BytesMut, partitions: &[TopicPartition]) {
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    let topics: Vec<&[&TopicPartition]> = sorted.chunk_by(|a, b| a.topic == b.topic).collect();
    out.put_i32(topics.len() as i32);
    for topic in topics {
        put_string(out, &topic[0].topic);
        out.put_i32(topic.len() as i32);
        topic.iter().for_each(|partition| out.put_i32(partition.partition));
    }
}

fn get_partitions(input: &mut &[u8]) -> Option<Vec<TopicPartition>> {
    let mut partitions = Vec::new();
    for _ in 0..input.try_get_i32().ok()? {
        let topic = get_string(input)?;
        for _ in 0..input.try_get_i32().ok()? {
            partitions.push(TopicPartition::new(topic.clone(), input.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}
