//! Which partition a record goes to (cold): by its key as Kafka's Java client does, or, without one, sticking to a partition
//! until a batch's worth of bytes went there.

use broker_core::record::murmur2;

/// The partition of a key.
pub(super) fn keyed(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// Sticks to a partition until `batch.size` bytes went there, then moves to another at random (KIP-794).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    partition: Option<usize>,
    bytes: usize,
}

impl Sticky {
    /// The partition of a record of this size.
    pub fn next(&mut self, size: usize, batch_size: usize, partitions: usize, random: impl FnOnce() -> u64) -> usize {
        let stays = self.partition.filter(|partition| *partition < partitions && self.bytes < batch_size);
        let partition = stays.unwrap_or_else(|| {
            self.bytes = 0;
            match (self.partition, partitions) {
                (_, 0 | 1) => 0,
                // Another one, if there is one.
                (Some(last), count) if last < count => (last + 1 + (random() % (count as u64 - 1)) as usize) % count,
                (_, count) => (random() % count as u64) as usize,
            }
        });
        self.partition = Some(partition);
        self.bytes += size;
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_vectors() {
        for (key, hash, of_thousand) in [
            ("", 275_646_681, 681),
            ("21", -973_932_308, 340),
            ("abc", 479_470_107, 107),
            ("foobar", -790_332_482, 166),
            ("a-little-bit-long-string", -985_981_536, 112),
            ("a-little-bit-longer-string", -1_486_304_829, 819),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 677),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
            assert_eq!(keyed(key.as_bytes(), 1000), of_thousand, "{key}");
        }
    }

    #[test]
    fn a_partition_is_left_after_a_batch() {
        let mut sticky = Sticky::default();
        let mut draws = 0u64;
        let mut next = |sticky: &mut Sticky| {
            sticky.next(400, 1000, 3, || {
                draws += 1;
                draws
            })
        };
        let seen: Vec<usize> = (0..6).map(|_| next(&mut sticky)).collect();
        assert_eq!((seen[0], seen[1], seen[2]), (seen[0], seen[0], seen[0]));
        assert_ne!(seen[3], seen[0]);
    }
}
