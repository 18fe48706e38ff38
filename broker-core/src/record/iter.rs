use std::ops::Range;

use super::batch::{Batch, BatchError};
use super::{CODEC_BITS, LOG_APPEND_TIME_BIT, at, header, varint};

/// The records of a batch, decoded one by one as they are asked for. Ends behind the first damaged one.
#[derive(Debug, Clone)]
pub struct Records<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) at: usize,
    pub(super) index: i32,
    pub(super) count: i32,
    pub(super) base_offset: i64,
    pub(super) base_timestamp: i64,
    pub(super) append_timestamp: Option<i64>,
}

/// One record, borrowed from its batch. Ranges are places in the batch's bytes, so that a client can slice them.
#[derive(Debug, Clone)]
pub struct RecordView<'b> {
    bytes: &'b [u8],
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    header_count: i64,
}

impl<'b> Records<'b> {
    pub(super) fn new(batch: &'b Batch) -> Self {
        Self::over(batch.bytes())
    }

    /// The records of one whole batch's bytes.
    pub(crate) fn over(bytes: &'b [u8]) -> Self {
        let attributes = header::i16(bytes, at::ATTRIBUTES);
        let append_time = attributes & LOG_APPEND_TIME_BIT != 0;
        Self {
            bytes,
            // A compressed block has no record that could be read: start at the end, where the first read fails.
            at: if attributes & CODEC_BITS == 0 { at::RECORDS } else { bytes.len() },
            index: 0,
            count: header::i32(bytes, at::COUNT),
            base_offset: header::i64(bytes, at::BASE_OFFSET),
            base_timestamp: header::i64(bytes, at::BASE_TIMESTAMP),
            append_timestamp: append_time.then(|| header::i64(bytes, at::MAX_TIMESTAMP)),
        }
    }

    /// Where the next record starts in the batch's bytes: with [`resume`](Self::resume), iteration can go on later.
    pub fn position(&self) -> (usize, i32) {
        (self.at, self.index)
    }

    /// Goes on at a place that [`position`](Self::position) gave for the same batch.
    pub fn resume(mut self, position: (usize, i32)) -> Self {
        (self.at, self.index) = position;
        self
    }

    /// Whether, all records taken, no byte is left over.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn decode(&mut self) -> Option<RecordView<'b>> {
        let bytes = self.bytes;
        let mut at = self.at;
        let length = usize::try_from(varint::get(bytes, &mut at)?).ok()?;
        let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
        let bytes = &bytes[..end];
        // The record's attributes: unused so far.
        at += 1;
        let timestamp_delta = varint::get(bytes, &mut at)?;
        let offset_delta = varint::get(bytes, &mut at)?;
        let key = field(bytes, &mut at)?;
        let value = field(bytes, &mut at)?;
        let headers_at = at;
        let header_count = varint::get(bytes, &mut at)?;
        if header_count < 0 || at > end {
            return None;
        }
        self.at = end;
        Some(RecordView {
            bytes: self.bytes,
            offset: self.base_offset.wrapping_add(offset_delta),
            timestamp: self.append_timestamp.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers: headers_at..end,
            header_count,
        })
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<RecordView<'b>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let index = self.index;
        match self.decode() {
            Some(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            None => {
                self.index = self.count;
                Some(Err(match header::i16(self.bytes, at::ATTRIBUTES) & CODEC_BITS {
                    0 => BatchError::Record(index),
                    codec => BatchError::Compressed(codec),
                }))
            }
        }
    }
}

/// A length and that many bytes: outer `None` is damage, inner `None` is null, whose length is -1 and no other.
#[inline]
fn field(bytes: &[u8], at: &mut usize) -> Option<Option<Range<usize>>> {
    let length = varint::get(bytes, at)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= bytes.len())?;
    let range = *at..end;
    *at = end;
    Some(Some(range))
}

impl<'b> RecordView<'b> {
    /// The key; `None` is null.
    pub fn key(&self) -> Option<&'b [u8]> {
        self.key.clone().map(|range| &self.bytes[range])
    }

    /// The value; `None` is null.
    pub fn value(&self) -> Option<&'b [u8]> {
        self.value.clone().map(|range| &self.bytes[range])
    }

    /// Where the key lies in the batch's bytes.
    pub fn key_range(&self) -> Option<Range<usize>> {
        self.key.clone()
    }

    /// Where the value lies in the batch's bytes.
    pub fn value_range(&self) -> Option<Range<usize>> {
        self.value.clone()
    }

    /// Where the headers lie in the batch's bytes, their count first.
    pub fn headers_range(&self) -> Range<usize> {
        self.headers.clone()
    }

    /// The headers as they are in the batch, their count first.
    pub(crate) fn header_bytes(&self) -> &'b [u8] {
        &self.bytes[self.headers.clone()]
    }

    /// How many headers there are, as the record says.
    pub fn header_count(&self) -> i64 {
        self.header_count
    }

    /// Whether the headers are whole, named, and end where the record does.
    pub(crate) fn headers_are_sound(&self) -> bool {
        let (bytes, mut at) = (&self.bytes[..self.headers.end], self.headers.start);
        let named = |at: &mut usize| matches!(field(bytes, at), Some(Some(_))) && field(bytes, at).is_some();
        // Each header takes bytes, so that a wrong count ends at the record's end.
        varint::get(bytes, &mut at).is_some_and(|count| (0..count).all(|_| named(&mut at))) && at == bytes.len()
    }

    /// The headers in order, duplicates included; ends early at damaged bytes.
    pub fn headers(&self) -> impl Iterator<Item = HeaderView<'b>> + use<'b> {
        let (bytes, mut at) = (&self.bytes[..self.headers.end], self.headers.start);
        let count = varint::get(bytes, &mut at).unwrap_or(0);
        (0..count).map_while(move |_| {
            let name = field(bytes, &mut at)??;
            let value = field(bytes, &mut at)?;
            Some(HeaderView { name: &bytes[name], value: value.map(|range| &bytes[range]) })
        })
    }
}

/// One header, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'b> {
    /// Its name, mostly UTF-8.
    pub name: &'b [u8],
    /// Its value; `None` is null.
    pub value: Option<&'b [u8]>,
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    use super::super::{BatchBuilder, Codec, CodecError, Compression, batches};
    use super::*;

    fn unhex(text: &str) -> Bytes {
        let text: String = text.split_whitespace().collect();
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
    }

    const GOLDEN_A: &str = "0000000000000000 0000003a 00000000 02 e99b8dd8 0000 00000000 0000018bcfe56800 0000018bcfe56800 ffffffffffffffff ffff ffffffff 00000001 10000000026b027600";
    const GOLDEN_B: &str = "0000000000000000 00000049 00000000 02 bb3bed3a 0010 00000001 0000018bcfe56800 0000018bcfe56805 00000000000003e8 0003 00000000 00000002 1e000000010a68656c6c6f0202680231 0e000a02026b0100";
    const GOLDEN_C: &str = "0000000000000007 00000042 00000002 02 8a773c25 0030 00000000 0000018bcfe56800 0000018bcfe56800 00000000000003e8 0003 ffffffff 00000001 20000000080000 00010c00000000000500";

    #[test]
    fn golden_a_is_written_and_read() {
        let mut builder = BatchBuilder::new();
        builder.append(1_700_000_000_000, Some(b"k"), Some(b"v"), &[]);
        let mut built = builder.build();
        // A producer sends epoch -1; the golden bytes are as a leader of epoch 0 stored them.
        built[at::LEADER_EPOCH..at::LEADER_EPOCH + 4].copy_from_slice(&[0; 4]);
        assert_eq!(built.freeze(), unhex(GOLDEN_A));
    }

    #[test]
    fn golden_b_and_c_are_read() {
        let b = Batch::parse(&unhex(GOLDEN_B)).expect("a batch");
        b.verify_crc().expect("sound");
        assert_eq!(
            (b.size(), b.producer_id(), b.producer_epoch(), b.base_sequence(), b.is_transactional()),
            (85, 1000, 3, 0, true)
        );
        let records: Vec<_> = b.records().map(|record| record.expect("sound")).collect();
        assert_eq!((records[0].key(), records[0].value()), (None, Some(&b"hello"[..])));
        assert_eq!(records[0].headers().collect::<Vec<_>>(), [HeaderView { name: b"h", value: Some(b"1") }]);
        assert_eq!((records[1].key(), records[1].value(), records[1].timestamp), (Some(&b"k"[..]), None, 1_700_000_000_005));
        let c = Batch::parse(&unhex(GOLDEN_C)).expect("a batch");
        c.verify_crc().expect("sound");
        assert_eq!((c.size(), c.base_offset(), c.leader_epoch(), c.is_control()), (78, 7, 2, true));
    }

    #[test]
    fn timestamps_may_lie_as_far_apart_as_they_can() {
        let stamps = [i64::MAX, -1, i64::MIN, 0, i64::MAX];
        let mut builder = BatchBuilder::new();
        for timestamp in stamps {
            builder.append(timestamp, None, None, &[]);
        }
        let batch = Batch::parse(&builder.build().freeze()).expect("a batch");
        let read: Vec<i64> = batch.records().map(|record| record.expect("sound").timestamp).collect();
        assert_eq!((read.as_slice(), batch.max_timestamp()), (&stamps[..], i64::MAX));
    }

    #[test]
    fn a_compressed_batch_is_read_once_it_is_decompressed() {
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_built()) {
            let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
            // A builder is used again: what it compressed must leave no trace.
            for round in 0..3u8 {
                let values: Vec<Vec<u8>> = (0..100).map(|n| vec![round * 50 + n; 50]).collect();
                for (n, value) in values.iter().enumerate() {
                    builder.append(1000 + n as i64, None, Some(value), &[("h", Some(b"1"))]);
                }
                let batch = Batch::parse(&builder.build().freeze()).expect("a batch");
                batch.verify_crc().expect("sound");
                assert_eq!((batch.codec(), batch.count(), batch.max_timestamp()), (Ok(codec), 100, 1099));
                if codec != Codec::None {
                    assert!(batch.size() < 3000, "{codec}: {} bytes", batch.size());
                    let refused: Vec<_> = batch.records().map(|record| record.map(|record| record.offset)).collect();
                    assert_eq!(refused, [Err(BatchError::Compressed(codec.id()))]);
                }
                let plain = batch.decompressed(1 << 20).expect("fits");
                assert_eq!((plain.codec(), plain.size()), (Ok(Codec::None), Batch::parse(plain.bytes()).expect("whole").size()));
                let read: Vec<_> = plain.records().map(|record| record.expect("sound").value().map(<[u8]>::to_vec)).collect();
                assert_eq!(read, values.into_iter().map(Some).collect::<Vec<_>>(), "{codec}");
            }
        }
    }

    #[test]
    fn a_batch_that_would_not_shrink_stays_as_it_is() {
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_built()) {
            let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
            builder.append(0, None, Some(b"v"), &[]);
            let batch = Batch::parse(&builder.build().freeze()).expect("a batch");
            assert_eq!((batch.codec(), batch.size()), (Ok(Codec::None), 69), "{codec}");
        }
    }

    #[test]
    fn an_unknown_codec_is_refused() {
        let mut bytes = BytesMut::from(&unhex(GOLDEN_A)[..]);
        bytes[22] |= 5;
        let batch = Batch::parse(&bytes.freeze()).expect("a batch");
        assert_eq!(batch.decompressed(1000).map(drop), Err(BatchError::Codec(CodecError::Unknown(5))));
    }

    /// Headers, given as the bytes behind the value of a one-record batch.
    fn with_headers(headers: &[u8]) -> Batch {
        let mut bytes = BytesMut::from(&unhex(GOLDEN_A)[..at::RECORDS]);
        let body = [&[0, 0, 0, 1, 1][..], headers].concat();
        varint::put(&mut bytes, body.len() as i64);
        bytes.extend_from_slice(&body);
        let length = (bytes.len() - 12) as i32;
        bytes[at::LENGTH..at::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        Batch::parse(&bytes.freeze()).expect("a batch")
    }

    #[test]
    fn damaged_headers_are_seen() {
        for (headers, sound) in [
            (&[0][..], true),
            (&[2, 2, b'h', 2, b'1'], true),
            (&[2, 2, b'h', 1], true),
            (&[2, 0, 0], true),
            (&[2, 2, b'h', 3], false),
            (&[0, 0], false),
            (&[2], false),
            (&[2, 1, 1], false),
            (&[4, 2, b'h', 1], false),
            (&[2, 2, b'h', 8, b'1'], false),
            (&[0xfe, 0xff, 0xff, 0xff, 0x0f, 2, b'h', 1], false),
        ] {
            let batch = with_headers(headers);
            let record = batch.records().next().expect("one").expect("sound so far");
            assert_eq!(record.headers_are_sound(), sound, "{headers:?}");
            assert!(record.headers().count() <= 1, "{headers:?}: reading ends where the bytes do");
        }
    }

    #[test]
    fn null_has_one_length() {
        for (at, length, sound) in [(5, 1, true), (5, 3, false), (5, 0x7f, false), (6, 3, false)] {
            let mut bytes = BytesMut::from(&with_headers(&[0]).bytes()[..]);
            // length, attributes, timestamp, offset, key, value, headers
            bytes[at::RECORDS + at - 1] = length;
            let batch = Batch::parse(&bytes.freeze()).expect("a batch");
            assert_eq!(batch.records().next().expect("one").is_ok(), sound, "{length:x} at {at}");
        }
    }

    type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

    fn parts() -> impl Strategy<Value = Vec<Parts>> {
        let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        let header = ("[a-z]{0,8}", bytes());
        let record = (0i64..2_000_000_000_000, bytes(), bytes(), proptest::collection::vec(header, 0..4));
        proptest::collection::vec(record, 1..30)
    }

    proptest! {
        #[test]
        fn what_is_appended_is_read(records in parts()) {
            let mut builder = BatchBuilder::new();
            for (timestamp, key, value, headers) in &records {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers);
            }
            let batch = Batch::parse(&builder.build().freeze()).expect("a batch");
            prop_assert!(batch.verify_crc().is_ok());
            prop_assert_eq!(batch.max_timestamp(), records.iter().map(|record| record.0).max().unwrap_or(0));
            let read: Vec<_> = batch.records().map(|record| record.expect("sound")).collect();
            prop_assert_eq!(read.len(), records.len());
            for (index, (read, (timestamp, key, value, headers))) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(read.offset, index as i64);
                prop_assert_eq!(read.timestamp, *timestamp);
                prop_assert_eq!(read.key(), key.as_deref());
                prop_assert_eq!(read.value(), value.as_deref());
                let got: Vec<_> = read.headers().map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec))).collect();
                let put: Vec<_> = headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect();
                prop_assert_eq!(got, put);
            }
        }

        #[test]
        fn damaged_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), sound in any::<bool>()) {
            if sound && bytes.len() >= 61 {
                bytes[16] = 2;
                let length = (bytes.len() - 12) as i32;
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
            }
            for batch in batches(&Bytes::from(bytes)).flatten() {
                let _ = batch.verify_crc();
                for record in batch.records().flatten() {
                    let _ = (record.key(), record.value(), record.headers().count());
                }
            }
        }
    }
}
