//! Which record of each key is the last one.

use std::collections::BTreeMap;

/// What an entry costs beside its key: the offset, the box, its part of a node.
const ENTRY_BYTES: usize = 48;

/// Keys and the last offset of each, in a bounded amount of memory. Whole keys, not their hashes: two that collided would lose
/// one's data.
#[derive(Debug)]
pub(super) struct Keys {
    last: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
    most: usize,
}

impl Keys {
    pub fn new(most: usize) -> Self {
        Self { last: BTreeMap::new(), bytes: 0, most }
    }

    /// A record of this key stands here. False if there is no room for another key; the first one always has room.
    pub fn note(&mut self, key: &[u8], offset: i64) -> bool {
        if let Some(last) = self.last.get_mut(key) {
            *last = offset;
            return true;
        }
        let cost = key.len() + ENTRY_BYTES;
        if self.bytes + cost > self.most && !self.last.is_empty() {
            return false;
        }
        self.bytes += cost;
        self.last.insert(key.into(), offset);
        true
    }

    /// Whether a record is its key's last one, as far as is known.
    pub fn is_last(&self, key: &[u8], offset: i64) -> bool {
        self.last.get(key).is_none_or(|last| offset >= *last)
    }
}
