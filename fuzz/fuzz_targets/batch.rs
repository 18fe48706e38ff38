//! Any bytes as a run of record batches: walked, checked, unpacked, and every record read.

#![no_main]

use broker_core::record::{Batch, batches};
use bytes::Bytes;
use fuzz::check_allocated;
use libfuzzer_sys::fuzz_target;

/// What a batch may unpack to.
const UNPACKED_MAX: usize = 1 << 20;
/// Bytes that may be allocated for each byte that is given or comes out of a codec: what comes out grows by doubling.
const FACTOR: usize = 8;
/// Bytes that walking and reading may allocate: once, so that slices may share what is given.
const SHARED: usize = 64;
/// What codecs take for themselves, whatever they are given.
const CODECS: usize = 2 << 20;
/// The same for each byte that they are given, up to `BUFFERS_MAX`: LZ4 has buffers of what a block may give, four times as
/// large at most.
const BUFFERS_FACTOR: usize = 4 * 4 * 255;
const BUFFERS_MAX: usize = 16 << 20;

fn read(batch: &Batch) -> usize {
    let mut read = 0;
    for record in batch.records() {
        let Ok(record) = record else { break };
        read += record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
        read += record.headers().map(|header| header.name.len() + header.value.map_or(0, <[u8]>::len)).sum::<usize>();
    }
    assert!(read <= batch.size(), "records of {read} bytes in a batch of {}", batch.size());
    read
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    check_allocated("walking and reading", SHARED, || {
        let mut walked = 0;
        for batch in batches(&bytes) {
            let Ok(batch) = batch else { break };
            walked += batch.size();
            let _ = (batch.verify_crc(), batch.codec(), batch.last_offset(), batch.delete_horizon(), batch.is_control());
            read(&batch);
        }
        assert!(walked <= bytes.len());
    });
    for batch in batches(&bytes).flatten() {
        let mut unpacked = 0;
        let buffers = (BUFFERS_FACTOR * batch.size()).min(BUFFERS_MAX);
        let most = FACTOR * (batch.size() + UNPACKED_MAX) + CODECS + buffers;
        check_allocated("unpacking", most, || {
            if let Ok(plain) = batch.decompressed(UNPACKED_MAX) {
                unpacked = plain.size();
                assert!(plain.size() <= UNPACKED_MAX + batch.size().max(61), "{} bytes", plain.size());
                read(&plain);
            }
        });
        // Again, with as much as it was: the limit is exact.
        if let Some(records) = unpacked.checked_sub(61) {
            assert!(batch.decompressed(records).is_ok(), "{records} bytes of records came out, and the limit is that");
        }
    }
});
