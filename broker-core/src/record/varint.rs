//! Zig-zag varints, as records hold them.

/// Appends a number.
pub(crate) fn put(out: &mut impl bytes::BufMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.put_u8(raw as u8);
}

/// How many bytes a number takes.
pub(crate) fn size(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes a number from `bytes` at `at`, and moves `at` behind it; `None` if the bytes end or it is too long.
#[inline]
pub(crate) fn get(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    if first & 0x80 == 0 {
        *at += 1;
        return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
    }
    // Two bytes are as common: the lengths of most records and values, and most offsets in a full batch.
    let second = *bytes.get(*at + 1)?;
    if second & 0x80 == 0 {
        *at += 2;
        let raw = u16::from(first & 0x7f) | u16::from(second) << 7;
        return Some(i64::from(raw >> 1) ^ -i64::from(raw & 1));
    }
    get_long(bytes, at)
}

fn get_long(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_encodings() {
        for (value, hex) in [
            (0, "00"),
            (-1, "01"),
            (1, "02"),
            (-2, "03"),
            (63, "7e"),
            (64, "8001"),
            (-65, "8101"),
            (300, "d804"),
            (2_147_483_647, "feffffff0f"),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            let got: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((got.as_str(), size(value)), (hex, out.len()), "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_got(value: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut at = 0;
            prop_assert_eq!(get(&out, &mut at), Some(value));
            prop_assert_eq!((at, size(value)), (out.len(), out.len()));
        }

        #[test]
        fn damaged_bytes_are_refused_not_read_past(bytes: Vec<u8>) {
            let mut at = 0;
            let _ = get(&bytes, &mut at);
            prop_assert!(at <= bytes.len());
        }
    }
}
