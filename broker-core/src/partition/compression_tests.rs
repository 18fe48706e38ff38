use bytes::BytesMut;

use super::tests::{NOW, all, but, memory, open, put};
use super::{PartitionConfig, PartitionHandle};
use crate::error::ErrorCode;
use crate::record::{Batch, BatchBuilder, Codec, Compression, at};

fn built() -> impl Iterator<Item = Codec> {
    Codec::ALL.into_iter().filter(|codec| codec.is_built())
}

/// A hundred alike records, one a millisecond.
fn batch(codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
    for n in 0..100 {
        builder.append(NOW - 100 + n, Some(b"k"), Some(&[b'v'; 100]), &[]);
    }
    builder.build()
}

fn produce(partition: &PartitionHandle, batch: BytesMut) -> Result<i64, ErrorCode> {
    partition.produce(batch).map(|produced| produced.base_offset).map_err(|error| error.code())
}

fn large() -> PartitionConfig {
    but(|topic| topic.max_message_bytes = 1 << 20)
}

#[test]
fn a_compressed_batch_is_kept_as_it_was_sent() {
    let partition = open(&memory(), large());
    let mut sent = Vec::new();
    for (n, codec) in built().enumerate() {
        let bytes = batch(codec);
        sent.push(bytes.to_vec());
        assert_eq!(produce(&partition, bytes), Ok(100 * n as i64), "{codec}");
    }
    let stored = all(&partition);
    assert_eq!(stored.iter().map(|batch| batch.codec().expect("known")).collect::<Vec<_>>(), built().collect::<Vec<_>>());
    for (batch, sent) in stored.iter().zip(sent) {
        assert_eq!(batch.bytes()[at::MAGIC..], sent[at::MAGIC..]);
        let plain = batch.decompressed(1 << 20).expect("fits");
        let offsets: Vec<_> = plain.records().map(|record| record.expect("sound").offset).collect();
        assert_eq!(offsets, (batch.base_offset()..batch.base_offset() + 100).collect::<Vec<_>>());
    }
    let (first, last) = (partition.offset_for_timestamp(NOW - 50), partition.offset_for_timestamp(NOW));
    assert_eq!((first.expect("read"), last.expect("read")), (Some((50, NOW - 50)), None));
}

#[test]
fn a_compressed_batch_is_stamped_without_packing_it_again() {
    for codec in built() {
        let partition = open(&memory(), but(|topic| (topic.max_message_bytes, topic.log_append_time) = (1 << 20, true)));
        let bytes = batch(codec);
        let block = bytes[at::RECORDS..].to_vec();
        assert_eq!(produce(&partition, bytes), Ok(0));
        let stored = all(&partition).remove(0);
        stored.verify_crc().expect("computed anew");
        assert_eq!((stored.is_log_append_time(), &stored.bytes()[at::RECORDS..]), (true, &block[..]), "{codec}");
        let plain = stored.decompressed(1 << 20).expect("fits");
        assert!(plain.records().all(|record| record.expect("sound").timestamp == NOW), "{codec}");
    }
}

#[test]
fn what_is_wrong_inside_a_compressed_batch_is_found() {
    for codec in built().filter(|codec| *codec != Codec::None) {
        let partition = open(&memory(), PartitionConfig { decompressed_bytes_max: 20_000, ..large() });
        let refused = |damage: &dyn Fn(&mut BytesMut)| {
            let mut bytes = batch(codec);
            damage(&mut bytes);
            produce(&partition, bytes).expect_err("refused")
        };
        let fewer: &dyn Fn(&mut BytesMut) = &|bytes| {
            put(bytes, at::COUNT, &99i32.to_be_bytes());
            put(bytes, at::LAST_OFFSET_DELTA, &98i32.to_be_bytes());
        };
        assert_eq!(refused(fewer), ErrorCode::InvalidRecord, "{codec}: a record is left over");
        let more: &dyn Fn(&mut BytesMut) = &|bytes| {
            put(bytes, at::COUNT, &101i32.to_be_bytes());
            put(bytes, at::LAST_OFFSET_DELTA, &100i32.to_be_bytes());
        };
        assert_eq!(refused(more), ErrorCode::InvalidRecord, "{codec}: a record is missing");
        let cut: &dyn Fn(&mut BytesMut) = &|bytes| {
            bytes.truncate(at::RECORDS + 9);
            let length = (bytes.len() - 12) as i32;
            put(bytes, at::LENGTH, &length.to_be_bytes());
        };
        assert_eq!(refused(cut), ErrorCode::InvalidRecord, "{codec}: the block is cut");
        assert_eq!(refused(&|bytes| put(bytes, at::ATTRIBUTES, &[0, 6])), ErrorCode::UnsupportedCompressionType, "{codec}");
        let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
        builder.append(NOW, None, Some(&[0; 20_000]), &[]);
        assert_eq!(produce(&partition, builder.build()), Err(ErrorCode::MessageTooLarge), "{codec}: 20,000 bytes and a bit");
        assert_eq!(partition.end_offset(), 0);
        assert_eq!(produce(&partition, batch(codec)), Ok(0));
    }
}

#[test]
fn a_batch_counts_by_its_compressed_size() {
    for codec in built().filter(|codec| *codec != Codec::None) {
        let bytes = batch(codec);
        let partition = open(&memory(), but(|topic| topic.max_message_bytes = bytes.len() as i64));
        assert_eq!(Batch::parse(&bytes.clone().freeze()).expect("a batch").codec(), Ok(codec));
        assert_eq!(produce(&partition, bytes), Ok(0), "{codec}");
        assert_eq!(produce(&partition, batch(Codec::None)), Err(ErrorCode::MessageTooLarge));
    }
}
