//! Our batches against those of another library, in both directions and with every codec: what the one writes the other reads, and
//! reads as the same.
//!
//! What that library cannot tell is not asked: it keeps one header of a name, loses who set the timestamps, and splits batches
//! whose sequences do not follow the offsets.

use broker_core::record::{Batch, BatchBuilder, Codec, Compression, batches};
use broker_core::{Broker, NewTopic, PartitionHandle};
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as TheirCompression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;

const CODECS: [(Codec, TheirCompression); 5] = [
    (Codec::None, TheirCompression::None),
    (Codec::Gzip, TheirCompression::Gzip),
    (Codec::Snappy, TheirCompression::Snappy),
    (Codec::Lz4, TheirCompression::Lz4),
    (Codec::Zstd, TheirCompression::Zstd),
];

type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record as both know it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
}

/// Whose batch: id, epoch and first sequence; -1 for nobody's.
type Whose = (i64, i16, i32);

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    // Long runs, so that blocks of all sizes come and codecs have something to do.
    let run = (any::<u8>(), 0usize..9000).prop_map(|(byte, length)| vec![byte; length]);
    prop_oneof![1 => Just(None), 4 => noise.prop_map(Some), 2 => run.prop_map(Some)]
}

fn record() -> impl Strategy<Value = Plain> {
    let headers =
        proptest::collection::btree_map("[a-zé]{0,6}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), 0..4);
    (0i64..4_000_000_000_000, field(), field(), headers).prop_map(|(timestamp, key, value, headers)| Plain {
        timestamp,
        key,
        value,
        headers: headers.into_iter().collect(),
    })
}

fn records() -> impl Strategy<Value = Vec<Plain>> {
    proptest::collection::vec(record(), 1..40)
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![Just((-1, -1, -1)), (0..i64::MAX, 0..i16::MAX, 0..1_000_000i32)]
}

fn ours(records: &[Plain], whose: Whose, codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
    if whose.0 >= 0 {
        builder.producer(whose.0, whose.1, whose.2);
    }
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    builder.build()
}

fn theirs(records: &[Plain], whose: Whose, compression: TheirCompression) -> BytesMut {
    let all: Vec<Record> = (0..)
        .zip(records)
        .map(|(index, record)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: whose.0,
            producer_epoch: whose.1,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(index),
            sequence: whose.2 + index,
            timestamp: record.timestamp,
            key: record.key.clone().map(Bytes::from),
            value: record.value.clone().map(Bytes::from),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (StrBytes::from_string(name.clone()), value.clone().map(Bytes::from)))
                .collect::<IndexMap<_, _>>(),
        })
        .collect();
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &all, &RecordEncodeOptions { version: 2, compression }).expect("encoded");
    out
}

fn read_by_us(bytes: Bytes) -> (Vec<Plain>, Whose, Codec) {
    let mut all = batches(&bytes);
    let batch = all.next().expect("one").expect("a batch");
    assert!(all.next().is_none(), "one batch only");
    batch.verify_crc().expect("sound");
    let plain = batch.decompressed(1 << 30).expect("unpacked");
    let records = plain.records().enumerate().map(|(index, record)| {
        let record = record.expect("sound");
        assert_eq!(record.offset, index as i64);
        let name = |name: &[u8]| String::from_utf8(name.to_vec()).expect("text");
        Plain {
            timestamp: record.timestamp,
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers().map(|header| (name(header.name), header.value.map(<[u8]>::to_vec))).collect(),
        }
    });
    let records: Vec<_> = records.collect();
    assert_eq!(records.len(), batch.count() as usize);
    assert_eq!(batch.max_timestamp(), records.iter().map(|record| record.timestamp).max().unwrap_or(-1));
    let whose = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
    (records, whose, batch.codec().expect("known"))
}

fn read_by_them(mut bytes: Bytes) -> (Vec<Plain>, Whose, TheirCompression) {
    let set = RecordBatchDecoder::decode(&mut bytes).expect("decoded");
    assert!(bytes.is_empty(), "one batch only");
    let first = &set.records[0];
    let whose = (first.producer_id, first.producer_epoch, first.sequence);
    let records = set.records.iter().enumerate().map(|(index, record)| {
        assert_eq!((record.offset, record.timestamp_type), (index as i64, TimestampType::Creation));
        Plain {
            timestamp: record.timestamp,
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_ref().map(|value| value.to_vec())))
                .collect(),
        }
    });
    (records.collect(), whose, set.compression)
}

/// The topic `t` of a broker that lets any time pass but such as no clock shows.
fn topic(broker: &Broker) -> PartitionHandle {
    let mut topic = NewTopic::new("t").partitions(1);
    for (name, value) in [
        ("message.timestamp.after.max.ms", 10_000_000_000_000),
        ("message.timestamp.before.max.ms", 10_000_000_000_000i64),
        ("max.message.bytes", 10_000_000),
    ] {
        topic.configs.insert(name.to_owned(), value.to_string());
    }
    broker.create_topic(&topic).expect("made");
    broker.partition("t", 0).expect("there")
}

/// Whether they can tell all headers: names are text, and each is there once.
fn are_theirs(batch: &Batch) -> bool {
    batch.records().map(|record| record.expect("was taken")).all(|record| {
        let mut names: Vec<&[u8]> = record.headers().map(|header| header.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        names.len() == count && names.iter().all(|name| std::str::from_utf8(name).is_ok())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_write_they_read(records in records(), whose in whose()) {
        for (codec, _) in CODECS {
            let batch = ours(&records, whose, codec).freeze();
            let written = Batch::parse(&batch).expect("a batch").codec().expect("known");
            // A batch that would not shrink stays as it is.
            prop_assert!(written == codec || written == Codec::None);
            let (read, theirs, compression) = read_by_them(batch);
            prop_assert_eq!(compression as i16, written.id());
            prop_assert_eq!(theirs, whose);
            prop_assert_eq!(&read, &records, "{}", codec);
        }
    }

    #[test]
    fn what_they_write_we_read(records in records(), whose in whose()) {
        for (codec, compression) in CODECS {
            let (read, ours, found) = read_by_us(theirs(&records, whose, compression).freeze());
            prop_assert_eq!((ours, found), (whose, codec));
            prop_assert_eq!(&read, &records, "{}", codec);
        }
    }

    #[test]
    fn what_they_write_the_log_takes_and_gives_back(records in records()) {
        let partition = topic(&Broker::in_memory());
        for (codec, compression) in CODECS {
            let sent = theirs(&records, (-1, -1, -1), compression);
            let produced = partition.produce(sent.clone()).expect("taken");
            let run = partition.fetch(produced.base_offset, 1).expect("fetched").batches.remove(0);
            // Kept as it was sent, but for its offset and the leader's epoch.
            prop_assert_eq!(&run[8..12], &sent[8..12], "{}", codec);
            prop_assert_eq!(&run[16..], &sent[16..], "{}", codec);
        }
    }

    #[test]
    fn of_damaged_records_the_log_takes_what_they_read_too(
        records in proptest::collection::vec(record(), 1..5),
        harms in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = theirs(&records, (-1, -1, -1), TheirCompression::None);
        for (at, byte) in harms {
            let at = 61 + at.index((bytes.len() - 61).min(40));
            bytes[at] = byte;
        }
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let partition = topic(&Broker::in_memory());
        if partition.produce(bytes).is_ok() {
            let run = partition.fetch(0, 1).expect("fetched").batches.remove(0);
            let batch = Batch::parse(&run).expect("a batch");
            if are_theirs(&batch) {
                prop_assert_eq!(read_by_us(run.clone()).0, read_by_them(run).0);
            }
        }
    }
}
