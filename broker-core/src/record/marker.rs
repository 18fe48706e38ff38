//! The control batch that ends a producer's transaction in a partition: Kafka's format.
//!
//! One record. Its key: version i16 (0), type i16 (0 abort, 1 commit); its value: version i16 (0), the coordinator's epoch i32.

use bytes::{Buf, BufMut, BytesMut};

use super::builder::set_crc;
use super::{CONTROL_BIT, LENGTH_END, Records, TRANSACTIONAL_BIT, at, header};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// A marker's size as it is written here.
pub(crate) const MARKER_BYTES: usize = 78;
/// Its key's and its value's.
const KEY_BYTES: usize = 4;
const VALUE_BYTES: usize = 6;
/// No marker is larger, whoever wrote it: what a walk over headers reads of a control batch.
pub(crate) const MARKER_BYTES_MAX: usize = 128;

/// What a marker says of its producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub commits: bool,
    pub coordinator_epoch: i32,
}

impl Marker {
    /// Of a control batch, from its first [`MARKER_BYTES_MAX`] bytes; none if it is of another kind, or was emptied.
    pub fn of(batch: &[u8]) -> Option<Self> {
        if header::i16(batch, at::ATTRIBUTES) & CONTROL_BIT == 0 {
            return None;
        }
        let record = Records::over(batch).next()?.ok()?;
        let (mut key, mut value) = (record.key()?, record.value()?);
        if key.len() < KEY_BYTES || value.len() < VALUE_BYTES {
            return None;
        }
        // A later version has more behind the same fields.
        let (_, kind, _) = (key.get_i16(), key.get_i16(), value.get_i16());
        matches!(kind, ABORT | COMMIT).then(|| Self { commits: kind == COMMIT, coordinator_epoch: value.get_i32() })
    }

    /// The batch, of this producer; its offset is 0.
    pub fn batch(self, producer_id: i64, producer_epoch: i16, timestamp: i64) -> BytesMut {
        let mut out = BytesMut::with_capacity(MARKER_BYTES);
        out.put_i64(0);
        out.put_i32((MARKER_BYTES - LENGTH_END) as i32);
        out.put_i32(-1);
        out.put_u8(2);
        out.put_u32(0);
        out.put_i16(TRANSACTIONAL_BIT | CONTROL_BIT);
        out.put_i32(0);
        out.put_i64(timestamp);
        out.put_i64(timestamp);
        out.put_i64(producer_id);
        out.put_i16(producer_epoch);
        out.put_i32(-1);
        out.put_i32(1);
        // The record: 16 bytes, no attributes, at the batch's own timestamp and offset. Lengths are zigzag.
        out.put_slice(&[16 << 1, 0, 0, 0]);
        out.put_u8((KEY_BYTES as u8) << 1);
        out.put_i16(0);
        out.put_i16(if self.commits { COMMIT } else { ABORT });
        out.put_u8((VALUE_BYTES as u8) << 1);
        out.put_i16(0);
        out.put_i32(self.coordinator_epoch);
        out.put_u8(0);
        set_crc(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BatchBuilder;

    /// Kafka's bytes of a marker at offset 7, stamped by a leader of epoch 2.
    const GOLDEN: &str = "00000000000000070000004200000002028a773c25003000000000\
        0000018bcfe568000000018bcfe5680000000000000003e80003ffffffff000000012000000008000000010c00000000000500";

    fn golden() -> Vec<u8> {
        let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("text"), 16).expect("hex")).collect()
    }

    #[test]
    fn its_bytes_are_kafkas() {
        let marker = Marker { commits: true, coordinator_epoch: 5 };
        let mut batch = marker.batch(1000, 3, 1_700_000_000_000);
        assert_eq!(batch.capacity(), MARKER_BYTES);
        batch[..8].copy_from_slice(&7i64.to_be_bytes());
        batch[at::LEADER_EPOCH..at::LEADER_EPOCH + 4].copy_from_slice(&2i32.to_be_bytes());
        assert_eq!(batch[..], golden()[..]);
        assert_eq!(Marker::of(&golden()), Some(marker));
        let aborts = Marker { commits: false, coordinator_epoch: -1 };
        assert_eq!(Marker::of(&aborts.batch(1, 0, -1)), Some(aborts));
    }

    #[test]
    fn what_is_no_marker_is_told_from_one() {
        let mut builder = BatchBuilder::new();
        builder.append(0, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
        let mut data = builder.build();
        assert_eq!(Marker::of(&data), None, "a batch of data");
        data[at::ATTRIBUTES + 1] |= CONTROL_BIT as u8;
        assert!(Marker::of(&data).is_some());
        for (key, value) in [(&[0u8, 0, 0, 2][..], &[0u8; 6][..]), (&[0, 0, 0], &[0; 6]), (&[0, 0, 0, 1], &[0; 5])] {
            builder.append(0, Some(key), Some(value), &[]);
            let mut other = builder.build();
            other[at::ATTRIBUTES + 1] |= CONTROL_BIT as u8;
            assert_eq!(Marker::of(&other), None, "{key:?} {value:?}");
        }
        let mut emptied = golden();
        emptied[at::COUNT..at::COUNT + 4].fill(0);
        assert_eq!(Marker::of(&emptied), None);
        for cut in at::RECORDS..golden().len() {
            assert_eq!(Marker::of(&golden()[..cut]), None, "cut to {cut}");
        }
    }
}
