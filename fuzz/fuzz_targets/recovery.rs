//! Any bytes as the files of a partition: opened, read everywhere, written to, opened again.

#![no_main]

use std::sync::Arc;

use broker_core::record::{BatchBuilder, batches};
use broker_core::storage::MemoryDisk;
use broker_core::{Broker, BrokerConfig, CommittedOnly, Error, PartitionHandle, TransactionEnd};
use fuzz::{Folder, check_allocated};
use libfuzzer_sys::fuzz_target;

/// Bytes that opening may allocate for each byte that it is given: a producer of 61 bytes takes a state of its own.
const FACTOR: usize = 64;
/// What a broker without data allocates.
const BROKER: usize = 1 << 20;
/// At how many offsets it is read.
const READS: i64 = 40;

fn open(disk: &MemoryDisk) -> Result<Broker, Error> {
    let config = BrokerConfig { offsets_topic_num_partitions: 1, ..BrokerConfig::default() };
    Broker::builder().disk(Arc::new(disk.clone())).config(config).seed(1).open()
}

/// Reads at some offsets; false if anything was not there.
fn read(partition: &PartitionHandle) -> bool {
    let (start, end, stable) = (partition.log_start(), partition.end_offset(), partition.stable_offset());
    assert!(start <= stable && stable <= end, "{start} to {stable} to {end}");
    let step = ((end - start) / READS).max(1) as usize;
    let mut whole = true;
    let mut packed = false;
    for offset in (start..end).step_by(step) {
        let Ok(found) = partition.fetch(offset, 1000) else {
            whole = false;
            continue;
        };
        let mut first = true;
        for batch in found.batches.iter().flat_map(batches) {
            let batch = batch.expect("what is handed out is whole");
            assert!(!first || batch.last_offset() >= offset, "{} for {offset}", batch.last_offset());
            packed |= batch.attributes() & 7 != 0;
            first = false;
        }
    }
    for offset in (start..stable).step_by(step) {
        let Ok(found) = partition.fetch_committed(offset, 1000) else { continue };
        let mut only = CommittedOnly::new(found.aborted);
        for batch in found.batches.iter().flat_map(batches) {
            let batch = batch.expect("what is handed out is whole");
            assert!(batch.base_offset() < stable, "{} is not stable, only what is before {stable}", batch.base_offset());
            only.leaves_out(&batch);
        }
    }
    if !packed {
        for timestamp in [0, 1000, i64::MAX] {
            whole &= partition.offset_for_timestamp(timestamp).is_ok();
        }
        whole &= partition.offset_of_max_timestamp().is_ok();
    }
    whole
}

fn write(partition: &PartitionHandle) {
    let mut builder = BatchBuilder::new();
    for (producer, within) in [(None, false), (Some(1), false), (Some(1), true), (Some(1000), false), (Some(1001), true)] {
        if let Some(producer) = producer {
            builder.producer(producer, 0, 0);
        }
        if within {
            builder.transactional();
        }
        builder.append(1000, Some(b"k"), Some(b"v"), &[]);
        let end = partition.end_offset();
        if let Ok(produced) = partition.produce(builder.build()) {
            assert!(produced.duplicate || produced.base_offset == end, "{produced:?}, the end was {end}");
        }
    }
    let open: Vec<_> = partition.producers().into_iter().filter(|producer| producer.transaction_start.is_some()).collect();
    for (number, producer) in open.iter().enumerate() {
        let (producer_epoch, coordinator_epoch) = (producer.epoch, producer.coordinator_epoch.max(0));
        let end = TransactionEnd { producer_id: producer.id, producer_epoch, coordinator_epoch, committed: number % 2 == 0 };
        if partition.end_transaction(&end).is_err() {
            return;
        }
    }
    assert_eq!(partition.stable_offset(), partition.end_offset(), "all of {open:?} were ended");
}

fuzz_target!(|data: &[u8]| {
    let Some(folder) = Folder::read(data) else { return };
    let disk = folder.disk();
    let opened = check_allocated("opening", FACTOR * data.len() + BROKER, || open(&disk));
    let Ok(broker) = opened else { return };
    let Ok(partition) = broker.partition("t", 0) else { return };
    read(&partition);
    write(&partition);
    let (start, end) = (partition.log_start(), partition.end_offset());
    drop((partition, broker));
    // As after a kill. Damage in what was trusted, being durable, may be seen only now.
    match open(&disk) {
        Ok(broker) => {
            let partition = broker.partition("t", 0).expect("it was there");
            assert_eq!((partition.log_start(), partition.end_offset()), (start, end));
            read(&partition);
        }
        Err(error) => assert!(folder.clean || folder.recovery_point > 0, "it was recovered, and is refused now: {error}"),
    }
});
