//! Allocations on the data path grow with batches, not with records.

use std::alloc::System;

use broker_core::record::{Batch, BatchBuilder, Codec, Compression, batches};
use broker_core::{Broker, NewTopic, PartitionHandle};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: usize = 200;
const VALUE: [u8; 100] = [7; 100];

/// How often was allocated, and how many bytes are held now that were not before.
fn allocations(work: impl FnOnce()) -> (usize, usize) {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    (change.allocations + change.reallocations, change.bytes_allocated.saturating_sub(change.bytes_deallocated))
}

fn produce(partition: &PartitionHandle, builder: &mut BatchBuilder, records: usize) {
    for _ in 0..BATCHES {
        for _ in 0..records {
            builder.append(1_700_000_000_000, Some(b"key"), Some(&VALUE), &[("trace", Some(b"1"))]);
        }
        partition.produce(builder.build()).expect("produced");
    }
}

fn read(partition: &PartitionHandle) -> usize {
    let (mut next, mut bytes) = (0, 0);
    while next < partition.end_offset() {
        for run in partition.fetch(next, 1 << 20).expect("fetched").batches {
            for batch in batches(&run).map(|batch| batch.expect("sound")) {
                for record in batch.records().map(|record| record.expect("sound")) {
                    bytes += record.value().map_or(0, <[u8]>::len) + record.headers().count();
                }
                next = batch.last_offset() + 1;
            }
        }
    }
    bytes
}

/// Allocations of producing, and of reading, batches of this many records; bytes held per batch that was produced.
fn measure(broker: &Broker, topic: &str, records: usize) -> (usize, usize, usize) {
    broker.create_topic(&NewTopic::new(topic).partitions(1)).expect("made");
    let partition = broker.partition(topic, 0).expect("there");
    let mut builder = BatchBuilder::new();
    // The first batch pays for what stays: the log's vectors, the builder's chunk.
    produce(&partition, &mut builder, records);
    let (produced, held) = allocations(|| produce(&partition, &mut builder, records));
    let mut bytes = 0;
    let (fetched, _) = allocations(|| bytes = read(&partition));
    assert_eq!(bytes, 2 * BATCHES * records * (VALUE.len() + 1));
    (produced, fetched, held / BATCHES)
}

/// One test: another one on another thread would be counted too.
#[test]
fn produce_and_fetch_allocate_by_the_batch() {
    plain_batches();
    as_clients_send_them();
    large_lz4_blocks_that_are_only_claimed();
    topics_are_found_by_their_ids();
}

/// However many there are: a lookup that went through all of them would hold each of them for a moment.
fn topics_are_found_by_their_ids() {
    let broker = Broker::in_memory();
    let ids: Vec<_> =
        (0..500).map(|n| broker.create_topic(&NewTopic::new(format!("t{n}")).partitions(1)).expect("made").id).collect();
    let (allocated, _) = allocations(|| {
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(*broker.topic_by_id(*id).expect("there").name, *format!("t{n}"));
        }
    });
    assert!(allocated <= 2 * ids.len(), "{allocated} allocations for {} lookups", ids.len());
    broker.delete_topic("t7").expect("deleted");
    assert_eq!((broker.topic_by_id(ids[7]), broker.topic_by_id(ids[8]).is_some()), (None, true));
}

/// Some clients say that their blocks are of 4 MiB, whatever is in them.
fn large_lz4_blocks_that_are_only_claimed() {
    let Ok(compression) = Compression::new(Codec::Lz4) else { return };
    let mut builder = BatchBuilder::new().compression(compression);
    builder.append(1_700_000_000_000, None, Some(&[7; 1000]), &[]);
    let mut bytes = builder.build();
    let header = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
    assert_eq!(bytes[61..68], header, "independent blocks of 64 KiB");
    bytes[66..68].copy_from_slice(&[0x70, 0x73]);
    let batch = Batch::parse(&bytes.freeze()).expect("a batch");
    let region = Region::new(ALLOCATOR);
    let plain = batch.decompressed(1 << 20).expect("unpacked");
    let allocated = region.change().bytes_allocated;
    assert_eq!(plain.records().next().expect("one").expect("sound").value(), Some(&[7; 1000][..]));
    println!("lz4: {allocated} bytes allocated for a batch of {} that claims blocks of 4 MiB", batch.size());
    assert!(allocated < 300_000, "{allocated} bytes for a batch of {}", batch.size());
}

/// What a batch may cost that is unpacked to be checked: its bytes as they grow, and what the codec makes anew each time.
const UNPACKED: usize = 10;

/// Batches of an idempotent producer, with each codec, built before: appended as they came.
fn as_clients_send_them() {
    let broker = Broker::in_memory();
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_built()) {
        let mut counts = Vec::new();
        for records in [10, 400] {
            let topic = format!("sent-{codec}-{records}");
            broker.create_topic(&NewTopic::new(&*topic).partitions(1)).expect("made");
            let partition = broker.partition(&topic, 0).expect("there");
            let mut builder = BatchBuilder::new().compression(Compression::new(codec).expect("built"));
            let mut sent = Vec::new();
            for number in 0..2 * BATCHES {
                builder.producer(7, 0, (number * records) as i32);
                for _ in 0..records {
                    builder.append(1_700_000_000_000, Some(b"key"), Some(&VALUE), &[("trace", Some(b"1"))]);
                }
                sent.push(builder.build());
            }
            let again = sent[2 * BATCHES - 1].clone();
            let mut rest = sent.split_off(BATCHES).into_iter();
            let append = |batch| assert!(!partition.produce(batch).expect("produced").duplicate);
            sent.into_iter().for_each(append);
            let (produced, _) = allocations(|| rest.by_ref().for_each(append));
            assert!(partition.produce(again).expect("known").duplicate);
            let (fetched, _) = allocations(|| {
                let mut next = 0;
                while next < partition.end_offset() {
                    for run in partition.fetch(next, 1 << 20).expect("fetched").batches {
                        next = batches(&run).map(|batch| batch.expect("sound").last_offset() + 1).last().unwrap_or(next);
                    }
                }
            });
            println!("{codec}: {BATCHES} batches of {records}: {produced} allocations to append, {fetched} to fetch both rounds");
            let most = if codec == Codec::None { 2 } else { UNPACKED } * BATCHES;
            assert!(produced <= most, "{codec}: {produced} allocations for {BATCHES} batches of {records}");
            assert!(fetched <= 3 * BATCHES, "{codec}: {fetched} allocations to fetch {} batches of {records}", 2 * BATCHES);
            counts.push(produced);
        }
        // Only what is unpacked may grow some steps more.
        assert!(counts[1] <= counts[0] + 4 * BATCHES, "{codec}: forty times the records: {counts:?}");
    }
}

fn plain_batches() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (kind, broker) in [("memory", Broker::in_memory()), ("files", Broker::open(dir.path()).expect("opened"))] {
        let mut counts = Vec::new();
        for records in [1, 10, 100, 400] {
            let (produced, fetched, held) = measure(&broker, &format!("records-{records}"), records);
            println!(
                "{kind}: {BATCHES} batches of {records}: {produced} allocations to produce, {fetched} to fetch both rounds, {held} bytes held a batch"
            );
            // A chunk and its count for a batch that does not fit beside others, now and then a longer index or list.
            assert!(produced <= 3 * BATCHES, "{kind}: {produced} allocations for {BATCHES} batches of {records}");
            assert!(fetched <= 3 * BATCHES, "{kind}: {fetched} allocations for {} batches of {records}", 2 * BATCHES);
            // The header and the record, its place in the log, and what a chunk leaves unused.
            let most = 2 * (61 + 130 * records) + 500;
            assert!(held <= most, "{kind}: a batch of {records} holds {held} bytes, {most} at most");
            counts.push(produced);
        }
        assert!(counts[0] < BATCHES / 2, "{kind}: batches of one record share their allocations: {counts:?}");
    }
}
