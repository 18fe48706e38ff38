//! The checksum of batches and of snapshots: CRC-32C.

use crc_fast::CrcAlgorithm;

/// Of these bytes.
#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::crc32c;

    #[test]
    fn known_bytes_give_known_sums() {
        for (bytes, sum) in [(&b""[..], 0), (b"123456789", 0xe306_9283), (&[0; 32], 0x8a91_36aa), (&[255; 32], 0x62a8_ab43)] {
            assert_eq!(crc32c(bytes), sum, "{bytes:?}");
        }
    }

    proptest! {
        /// Another library's sum, from every place and of every length: short and long ones go other ways.
        #[test]
        fn sums_are_those_of_another_library(bytes in prop::collection::vec(any::<u8>(), 0..5000), from in 0..64usize) {
            let bytes = &bytes[from.min(bytes.len())..];
            prop_assert_eq!(crc32c(bytes), ::crc32c::crc32c(bytes));
        }
    }
}
