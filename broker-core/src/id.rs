use std::fmt;
use std::sync::Arc;

/// A partition of a topic. Displayed as Kafka does: `orders-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A topic's id: the same as long as the topic lives, another one if a topic of its name is made again. Displayed as Kafka does:
/// its sixteen bytes in URL-safe base 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

const BASE_64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// Of no topic.
    pub const NONE: Self = Self([0; 16]);
    /// Of `__consumer_offsets`, in each cluster.
    pub(crate) const OFFSETS: Self = Self([0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 50]);
    /// Of `__transaction_state`, in each cluster.
    pub(crate) const TRANSACTIONS: Self = Self([0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 51]);

    /// An id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A random id (a UUID of version 4).
    pub(crate) fn random(high: u64, low: u64) -> Self {
        let (high, low) = (high & !0xf000 | 0x4000, low & (u64::MAX >> 2) | 1 << 63);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// From its text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut value = 0u128;
        let digits = text.as_bytes();
        let (last, front) = digits.split_last().filter(|_| digits.len() == 22)?;
        let digit = |byte: &u8| BASE_64.iter().position(|one| one == byte);
        for byte in front {
            value = value << 6 | digit(byte)? as u128;
        }
        // The last digit holds two bits.
        let two = digit(last).filter(|digit| digit % 16 == 0)?;
        Some(Self((value << 2 | (two / 16) as u128).to_be_bytes()))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let front = (0..21).map(|n| (value >> (122 - 6 * n)) as usize % 64);
        let digits: String = front.chain([(value as usize % 4) * 16]).map(|digit| char::from(BASE_64[digit])).collect();
        f.write_str(&digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_read_as_they_are_shown() {
        assert_eq!(TopicId::NONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
        for n in 0..1000u64 {
            let id = TopicId::random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n.wrapping_mul(0xbf58_476d_1ce4_e5b9));
            assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        }
        for wrong in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAA+A"]
        {
            assert_eq!(TopicId::parse(wrong), None, "{wrong}");
        }
    }
}
