//! Kafka's file of what each producer wrote last, so that a log need not be walked for it when it is opened again. Only the last batch
//! of each is in it; those before it are looked up at the log's end while their producer may still send them again.
//!
//! Version (i16, 1), CRC-32C of all behind it (u32), a count (i32), then for each producer: id i64, epoch i16, last sequence
//! i32, last offset i64, its distance from the batch's first one i32, timestamp i64, coordinator's epoch i32 (-1 for none), first
//! offset of its open transaction i64 (-1 for none). The timestamp is when it wrote last by the broker's clock: what it is forgotten by.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::producer_state::{Appended, ProducerState, ProducerStates};
use crate::log::Log;
use crate::record::checksum::crc32c;
use crate::record::{at, header};

const VERSION: i16 = 1;
/// Where what the checksum covers starts.
const COVERED: usize = 6;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
/// How long a producer may go on sending a batch: five times what clients give one by default (`delivery.timeout.ms`).
const RETRIES_MS: i64 = 600_000;
/// How far back its batches are looked for.
const TAIL_BYTES: u64 = 8 << 20;

/// A snapshot's bytes.
pub(super) fn encode(producers: &ProducerStates) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + producers.len() * ENTRY_BYTES);
    out.put_i16(VERSION);
    out.put_u32(0);
    out.put_i32(producers.len() as i32);
    for (id, state) in producers.iter() {
        let last =
            state.appended().last().copied().unwrap_or(Appended { last_sequence: -1, last_offset: -1, ..Appended::default() });
        out.put_i64(id);
        out.put_i16(state.epoch);
        out.put_i32(last.last_sequence);
        out.put_i64(last.last_offset);
        out.put_i32(last.offset_delta);
        out.put_i64(state.seen_ms());
        out.put_i32(state.coordinator_epoch);
        out.put_i64(state.transaction.unwrap_or(-1));
    }
    let crc = crc32c(&out[COVERED..]);
    out[2..COVERED].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// The producers of a snapshot as of `offset`; what is wrong with it otherwise.
pub(super) fn decode(bytes: &[u8], offset: i64, now_ms: i64) -> Result<ProducerStates, String> {
    if bytes.len() < HEADER_BYTES {
        return Err(format!("{} bytes are no snapshot", bytes.len()));
    }
    let (mut rest, covered) = (bytes, &bytes[COVERED..]);
    let (version, found) = (rest.get_i16(), rest.get_u32());
    if version != VERSION {
        return Err(format!("its version is {version}, not {VERSION}"));
    }
    let computed = crc32c(covered);
    if found != computed {
        return Err(format!("its checksum is {found:08x}, its bytes give {computed:08x}"));
    }
    let count = i64::from(rest.get_i32());
    if i64::try_from(rest.len()) != Ok(count * ENTRY_BYTES as i64) {
        return Err(format!("{} bytes are not {count} producers", rest.len()));
    }
    let mut producers = ProducerStates::default();
    while rest.has_remaining() {
        let (id, epoch, last_sequence) = (rest.get_i64(), rest.get_i16(), rest.get_i32());
        let (last_offset, offset_delta, timestamp) = (rest.get_i64(), rest.get_i32(), rest.get_i64());
        let (coordinator_epoch, transaction) = (rest.get_i32(), rest.get_i64());
        let sound = id >= 0 && epoch >= 0 && last_offset < offset && offset_delta >= 0 && (-1..offset).contains(&transaction);
        if !sound || last_sequence >= 0 && last_offset < i64::from(offset_delta) {
            let text = format!("epoch {epoch}, offset {last_offset}, delta {offset_delta}, transaction from {transaction}");
            return Err(format!("producer {id}: {text}"));
        }
        let last = (last_sequence >= 0).then_some(Appended { last_sequence, last_offset, offset_delta, timestamp });
        // A clock that was put back must not make it stay for ever.
        let mut state = ProducerState::with_last(epoch, last, timestamp.min(now_ms));
        (state.coordinator_epoch, state.transaction) = (coordinator_epoch, (transaction >= 0).then_some(transaction));
        producers.insert(id, state);
    }
    Ok(producers)
}

/// The producers of a log that was opened: from the newest snapshot that may be used and is sound, and from what was appended
/// behind it.
pub(super) fn load(log: &mut Log, now_ms: i64, expiration_ms: i64) -> io::Result<Loaded> {
    let (limit, all) = (log.snapshot_limit().min(log.aborts_unknown_from()), log.take_snapshots());
    let (mut producers, mut snapshot, mut damaged) = (ProducerStates::default(), None, Vec::new());
    for offset in all.iter().rev().copied().filter(|offset| *offset <= limit) {
        let Some(bytes) = log.read_snapshot(offset)? else { continue };
        match decode(&bytes, offset, now_ms) {
            Ok(found) => {
                (producers, snapshot) = (found, Some(offset));
                break;
            }
            Err(what) => {
                tracing::warn!(target: "broker_core::recovery", offset, what, "a snapshot of producers is damaged: an older one is used, or the log itself");
                damaged.push(offset);
            }
        }
    }
    producers.forget(now_ms, expiration_ms);
    if snapshot == Some(log.end()) {
        refill(log, &mut producers, now_ms);
    }
    // Not only what may be read: a producer goes on behind what was deleted, too.
    let from = snapshot.unwrap_or_else(|| log.first_base());
    let mut aborted = Vec::new();
    let mut read = |batch: &[u8]| {
        // The walk may begin before what was asked for.
        let last = header::i64(batch, at::BASE_OFFSET).saturating_add(header::i32(batch, at::LAST_OFFSET_DELTA).into());
        if last >= from {
            aborted.extend(producers.read(batch, now_ms));
        }
    };
    crate::log::headers(log, from, &mut read)?;
    if let Some(to) = log.compacted_to() {
        // Only what is decided is compacted, and a marker goes when its transaction is gone and its time is over: of one that the
        // snapshot has as open and that begins before there, what ended it is gone.
        producers.close_before(to);
        producers.forget(now_ms, expiration_ms);
    }
    producers.transactions.settle(i64::MAX);
    log.restore_aborts(from, &aborted)?;
    log.remove_snapshots(&all, snapshot, &damaged)?;
    Ok(Loaded { producers, snapshot })
}

/// Looks up the batches before the last one of producers that may still send them again: the stop of a broker may have come between
/// a batch and its answer. It is no loss if that cannot be read.
fn refill(log: &mut Log, producers: &mut ProducerStates, now_ms: i64) {
    if producers.iter().all(|(_, state)| now_ms.saturating_sub(state.seen_ms()) >= RETRIES_MS) {
        return;
    }
    let mut walked = ProducerStates::default();
    let done = log.tail(TAIL_BYTES).and_then(|from| {
        crate::log::headers(log, from, |batch| {
            walked.read(batch, now_ms);
        })
    });
    match done {
        Ok(()) => producers.refill(&walked),
        Err(error) => {
            tracing::warn!(target: "broker_core::recovery", %error, "of each producer only its last batch is known: the log's end cannot be read");
        }
    }
}

/// What loading found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub producers: ProducerStates,
    /// The offset of the snapshot that was used.
    pub snapshot: Option<i64>,
}
