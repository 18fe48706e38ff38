//! Passing over records without looking at each: of most batches no more has to be known than what holds for all their records.

use prefetch_index::prefetch_index;

use super::iter::Records;

/// Bytes that are looked at at once: a record's numbers before its key, and those between key and value.
const WINDOW_BYTES: usize = 8;
/// Bytes of a line of the processor's caches.
const LINE_BYTES: usize = 64;
/// How far ahead of the record that is looked at memory is fetched: far enough that it has come when its record is next, and still
/// in the fastest cache by then.
const AHEAD_BYTES: usize = 2048;

/// What is known of the records that were passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainRun {
    pub count: i32,
    /// The earliest timestamp, and the latest. Of no record, they are the other way round.
    pub earliest: i64,
    pub latest: i64,
    /// Whether their offsets follow one another from the batch's first.
    pub consecutive: bool,
    /// Whether each has a key.
    pub keyed: bool,
}

impl Default for PlainRun {
    fn default() -> Self {
        Self { count: 0, earliest: i64::MAX, latest: i64::MIN, consecutive: true, keyed: true }
    }
}

impl Records<'_> {
    /// Passes over the records in front that are whole, have no headers, are shorter than a megabyte and within 17 minutes of the
    /// batch's base timestamp, as most are. The iterator says what is behind them, and is asked for the last one too: it may end
    /// where no window of bytes fits.
    pub(crate) fn pass_plain(&mut self) -> PlainRun {
        let bytes = self.bytes;
        let (mut at, mut index, mut fetched) = (self.at, self.index, self.at);
        let (mut least, mut most, mut disorder, mut nulls) = (i64::MAX, i64::MIN, 0, 0);
        while index < self.count {
            while fetched < bytes.len().min(at + AHEAD_BYTES) {
                prefetch_index(bytes, fetched);
                fetched += LINE_BYTES;
            }
            let Some(record) = plain(bytes, at) else { break };
            at = record.end;
            least = least.min(record.timestamp_delta);
            most = most.max(record.timestamp_delta);
            disorder |= record.offset_delta ^ i64::from(index);
            nulls |= record.null_key;
            index += 1;
        }
        let (passed, base) = (index - self.index, self.base_timestamp);
        // The broker's own time for all, or timestamps that come round at the end of time: the iterator knows how.
        let (true, Some(earliest), Some(latest)) =
            (passed > 0 && self.append_timestamp.is_none(), base.checked_add(least), base.checked_add(most))
        else {
            return PlainRun::default();
        };
        (self.at, self.index) = (at, index);
        PlainRun { count: passed, earliest, latest, consecutive: disorder == 0 && self.base_offset == 0, keyed: nulls == 0 }
    }
}

struct Plain {
    end: usize,
    timestamp_delta: i64,
    offset_delta: i64,
    /// 1 if its key is null.
    null_key: u64,
}

/// The record that starts here, if it is plain.
#[inline(always)]
fn plain(bytes: &[u8], at: usize) -> Option<Plain> {
    let (mut front, mut at) = (Window::at(bytes, at)?, at);
    let size = front.length()?;
    at += front.taken;
    let end = at + size;
    // Behind the attributes.
    let mut front = Window::at(bytes, at + 1)?;
    let timestamp_delta = front.number()?;
    let offset_delta = front.number()?;
    let (key_bytes, null_key) = front.field()?;
    at += 1 + front.taken + key_bytes;
    let mut between = Window::at(bytes, at)?;
    let (value_bytes, _) = between.field()?;
    // One byte is left: no headers.
    at += between.taken + value_bytes;
    if at + 1 != end || bytes.get(at) != Some(&0) {
        return None;
    }
    Some(Plain { end, timestamp_delta, offset_delta, null_key })
}

/// Eight bytes, of which varints of at most three bytes are taken. Behind the eighth there is nothing: one that would reach over it is
/// left to the iterator.
struct Window {
    bits: u64,
    taken: usize,
}

impl Window {
    #[inline(always)]
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let bytes = bytes.get(at..)?.first_chunk::<WINDOW_BYTES>()?;
        Some(Self { bits: u64::from_le_bytes(*bytes), taken: 0 })
    }

    /// A varint's bits as they are, of at most three bytes.
    #[inline(always)]
    fn raw(&mut self) -> Option<u64> {
        let bits = self.bits;
        let (raw, taken) = if bits & 0x80 == 0 {
            (bits & 0x7f, 1)
        } else if bits & 0x8000 == 0 {
            (bits & 0x7f | bits >> 1 & 0x3f80, 2)
        } else if bits & 0x80_0000 == 0 {
            (bits & 0x7f | bits >> 1 & 0x3f80 | bits >> 2 & 0x1f_c000, 3)
        } else {
            return None;
        };
        self.bits >>= 8 * taken;
        self.taken += taken;
        (self.taken <= WINDOW_BYTES).then_some(raw)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<i64> {
        let raw = self.raw()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A length, not below 0.
    #[inline(always)]
    fn length(&mut self) -> Option<usize> {
        let raw = self.raw()?;
        (raw & 1 == 0).then_some((raw >> 1) as usize)
    }

    /// How many bytes a field takes, and 1 if it is null: then its length is -1, and it takes none.
    #[inline(always)]
    fn field(&mut self) -> Option<(usize, u64)> {
        let raw = self.raw()?;
        if raw & 1 != 0 && raw != 1 {
            return None;
        }
        Some(((raw >> 1) as usize, raw & 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{BatchBuilder, at};

    fn is_plain_by_its_numbers(record: &crate::record::RecordView<'_>, base: i64) -> bool {
        let small = |range: &Option<std::ops::Range<usize>>| range.as_ref().is_none_or(|range| range.len() < 1 << 20);
        let delta = record.timestamp.wrapping_sub(base);
        record.header_count() == 0
            && (-1 << 20..1 << 20).contains(&delta)
            && small(&record.key_range())
            && small(&record.value_range())
    }

    proptest! {
        #[test]
        fn what_is_passed_over_is_as_the_iterator_sees_it(
            records in prop::collection::vec((
                prop_oneof![8 => -2000i64..2000, 1 => any::<i64>()],
                prop::option::weighted(0.8, 0usize..300),
                prop::option::weighted(0.8, prop_oneof![4 => 0usize..300, 1 => 8100usize..8300]),
                prop::bool::weighted(0.03),
            ), 1..40),
            damage in prop::option::of((0usize..4000, any::<u8>())),
        ) {
            let mut builder = BatchBuilder::new();
            for (timestamp, key, value, header) in records {
                let (key, value) = (key.map(|size| vec![1; size]), value.map(|size| vec![2; size]));
                let headers: &[(&str, Option<&[u8]>)] = if header { &[("h", None)] } else { &[] };
                builder.append(timestamp, key.as_deref(), value.as_deref(), headers);
            }
            let mut bytes = builder.build();
            let whole = damage.is_none();
            if let Some((place, byte)) = damage {
                let place = at::RECORDS + place % (bytes.len() - at::RECORDS);
                bytes[place] = byte;
            }
            let (mut passing, mut looking) = (Records::over(&bytes), Records::over(&bytes));
            let run = passing.pass_plain();
            let mut seen = PlainRun::default();
            for index in 0..run.count {
                let record = looking.next().expect("there is one").expect("sound");
                prop_assert!(record.headers_are_sound());
                seen.count += 1;
                seen.earliest = seen.earliest.min(record.timestamp);
                seen.latest = seen.latest.max(record.timestamp);
                seen.consecutive &= record.offset == i64::from(index);
                seen.keyed &= record.key().is_some();
            }
            prop_assert_eq!(run, seen);
            prop_assert_eq!(passing.position(), looking.position());
            let base = crate::record::header::i64(&bytes, at::BASE_TIMESTAMP);
            // Where it stops it has a reason.
            if let Some(Ok(next)) = passing.next()
                && whole
                && base.checked_add(-1 << 20).is_some()
                && base.checked_add(1 << 20).is_some()
            {
                prop_assert!(!is_plain_by_its_numbers(&next, base) || bytes.len() - passing.position().0 < WINDOW_BYTES || run.count == 0, "{next:?}");
            }
        }
    }

    /// Numbers may take more bytes than they need: these three of three bytes are one more than are looked at at once.
    #[test]
    fn a_number_that_ends_behind_what_is_looked_at_is_left_to_the_iterator() {
        let mut builder = BatchBuilder::new();
        builder.append(0, Some(b""), Some(&[0x41; 14]), &[]);
        let mut bytes = builder.build().to_vec();
        bytes.truncate(at::RECORDS);
        // Length, attributes, time and offset 0, a key of a million bytes, which end with the record; a value of 8, no headers.
        bytes.extend_from_slice(&[0x28, 0, 0x80, 0x80, 0, 0x80, 0x80, 0, 0x80, 0x80, 0x7f, 0x10]);
        bytes.extend_from_slice(&[0x41; 8]);
        bytes.extend_from_slice(&[0; 12]);
        bytes[at::RECORDS + 20] = 0;
        assert!(Records::over(&bytes).next().is_some_and(|record| record.is_err()), "the key is not whole");
        assert_eq!(Records::over(&bytes).pass_plain(), PlainRun::default());
    }

    #[test]
    fn all_records_but_the_last_bytes_are_passed_over() {
        let mut builder = BatchBuilder::new();
        for n in 0..5000 {
            builder.append(1_700_000_000_000 + n, Some(b"key"), Some(&[b'v'; 100]), &[]);
        }
        let bytes = builder.build();
        let run = Records::over(&bytes).pass_plain();
        let (earliest, latest) = (1_700_000_000_000, 1_700_000_004_999);
        assert_eq!(run, PlainRun { count: 5000, earliest, latest, consecutive: true, keyed: true });
    }
}
