//! A segment's index of aborted transactions, in Kafka's format: those whose marker stands in it, by the marker's offset. The file is
//! there only if there is such a transaction.
//!
//! An entry: version i16 (0), producer's id i64, first offset i64, marker's offset i64, and what was stable behind the marker i64.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::Log;
use super::index_file::{IndexFile, View};
use super::place::{Place, file_name, kind};
use crate::storage::{DiskFile, read_whole, replace};

const ENTRY_BYTES: usize = 34;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The marker's.
    pub last_offset: i64,
    /// Everything before it was decided with the marker: what is aborted later begins there or behind.
    pub last_stable: i64,
}

impl Aborted {
    pub(super) fn of(bytes: [u8; ENTRY_BYTES]) -> Self {
        let mut rest = &bytes[2..];
        let (producer_id, first_offset) = (rest.get_i64(), rest.get_i64());
        Self { producer_id, first_offset, last_offset: rest.get_i64(), last_stable: rest.get_i64() }
    }

    fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let mut rest = &mut bytes[2..];
        for field in [self.producer_id, self.first_offset, self.last_offset, self.last_stable] {
            rest.put_i64(field);
        }
        bytes
    }
}

#[derive(Debug)]
pub(super) struct TxnIndex {
    base: i64,
    kind: &'static str,
    /// Most segments have none, and there may be very many.
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    file: IndexFile<ENTRY_BYTES>,
    last: Option<Aborted>,
    /// Whether the file holds what nobody has made durable, or begun to.
    unsynced: bool,
}

impl TxnIndex {
    pub fn new(base: i64) -> Self {
        Self::named(base, kind::TXN_INDEX)
    }

    /// In a file of another name: of a segment that is being written.
    pub fn named(base: i64, kind: &'static str) -> Self {
        Self { base, kind, held: None }
    }

    /// Opens what there is of a segment that ends at `end`; what is wrong with it, if it cannot be trusted.
    pub fn load(&mut self, place: &Place, end: i64) -> io::Result<Result<(), &'static str>> {
        self.held = None;
        let mut file = IndexFile::default();
        let whole = file.load(place, self.base, self.kind)?;
        if file.file().is_none() {
            return Ok(Ok(()));
        }
        let held = self.held.insert(Box::new(Held { file, ..Held::default() }));
        if !whole {
            return Ok(Err("it ends within an entry"));
        }
        let mut before = self.base - 1;
        for entry in held.file.view().entries(0) {
            let entry = entry?;
            let aborted = Aborted::of(entry);
            let Aborted { producer_id, first_offset, last_offset, last_stable } = aborted;
            if entry[..2] != [0, 0] {
                return Ok(Err("an entry's version is not 0"));
            }
            if last_offset <= before || last_offset >= end || !(0..last_offset).contains(&first_offset) {
                return Ok(Err("an entry's offsets are out of order"));
            }
            if producer_id < 0 || !(0..=last_offset + 1).contains(&last_stable) {
                return Ok(Err("an entry is none"));
            }
            (before, held.last) = (last_offset, Some(aborted));
        }
        Ok(Ok(()))
    }

    /// A marker stands in the segment. It is written at once: there are not many.
    pub fn note(&mut self, place: &Place, aborted: &Aborted) -> io::Result<()> {
        let held = self.held.get_or_insert_default();
        held.file.push(aborted.bytes());
        (held.last, held.unsynced) = (Some(*aborted), true);
        held.file.flush(place, self.base, self.kind)
    }

    pub fn is_empty(&self) -> bool {
        self.last().is_none()
    }

    fn last(&self) -> Option<Aborted> {
        self.held.as_ref()?.last
    }

    /// The file, if it is there.
    pub fn file(&self) -> Option<Arc<dyn DiskFile>> {
        self.held.as_ref()?.file.file().cloned()
    }

    /// The file, if it has to be synced: with its marker, since nobody looks for an entry that is gone once the marker is durable.
    pub fn take_unsynced(&mut self) -> Option<Arc<dyn DiskFile>> {
        let held = self.held.as_mut()?;
        if std::mem::take(&mut held.unsynced) { held.file.file().cloned() } else { None }
    }

    /// Makes these its entries, whatever the file holds. A crash leaves either, whole. True if something was changed.
    fn restore(&mut self, place: &Place, entries: &[Aborted]) -> io::Result<bool> {
        let (name, expected) = (file_name(self.base, self.kind), entries.iter().flat_map(Aborted::bytes).collect::<Vec<u8>>());
        let found = read_whole(place.disk.as_ref(), &place.folder, &name)?.unwrap_or_default();
        let changed = found != expected;
        if changed && expected.is_empty() {
            place.remove(self.base, self.kind)?;
        } else if changed {
            tracing::warn!(target: "broker_core::recovery", folder = %place.folder, file = name, entries = entries.len(), "an index of aborted transactions is made anew");
            replace(place.disk.as_ref(), &place.folder, &name, Bytes::copy_from_slice(&expected))?;
        }
        self.held = None;
        if let Some(last) = entries.last() {
            let held = self.held.get_or_insert_default();
            held.file.load(place, self.base, self.kind)?;
            held.last = Some(*last);
            // It is what it was before a kill, perhaps, and nobody knows whether the disk has it.
            held.unsynced = !changed;
        }
        Ok(changed)
    }
}

impl Log {
    /// From which offset on markers have to be looked at, so that each one is in an index: behind every offset if they are.
    pub fn aborts_unknown_from(&self) -> i64 {
        self.aborts_unknown.first().copied().unwrap_or(i64::MAX)
    }

    /// These are all transactions that were aborted by a marker at or behind `from`: where an index was unknown or is gone, they go
    /// into it.
    pub fn restore_aborts(&mut self, from: i64, found: &[Aborted]) -> io::Result<()> {
        let unknown = std::mem::take(&mut self.aborts_unknown);
        let Self { segments, place, .. } = self;
        let mut rest = found;
        for index in 0..segments.len() {
            let end = segments.get(index + 1).map_or(i64::MAX, |next| next.base);
            let (here, behind) = rest.split_at(rest.partition_point(|aborted| aborted.last_offset < end));
            rest = behind;
            let segment = &mut segments[index];
            let gone = segment.base >= from && segment.aborts.is_empty() && !here.is_empty();
            if unknown.contains(&segment.base) || gone {
                self.unlisted |= segment.aborts.restore(place, here)?;
            }
        }
        Ok(())
    }

    /// A transaction's marker was appended last, and aborts it.
    pub fn note_abort(&mut self, aborted: &Aborted) -> io::Result<()> {
        let active = self.segments.last_mut().expect("a log has a segment");
        self.unlisted |= active.aborts.file().is_none();
        let noted = active.aborts.note(&self.place, aborted);
        self.guard(noted)
    }

    /// Where transactions are listed that were aborted at or behind `from`, and may reach into what is before `upper`.
    pub(super) fn aborts(&self, from: i64, upper: i64) -> Vec<AbortedView> {
        let first = self.segments.partition_point(|segment| segment.base <= from).saturating_sub(1);
        let mut views = Vec::new();
        for segment in &self.segments[first..] {
            let Some(held) = &segment.aborts.held else { continue };
            let Some(last) = held.last else { continue };
            views.push(AbortedView(held.file.view()));
            if last.last_stable >= upper {
                break;
            }
        }
        views
    }
}

/// An index at some moment. Searching it needs no lock.
#[derive(Debug)]
pub(super) struct AbortedView(View<ENTRY_BYTES>);

/// The aborted transactions that have records or their marker from one offset up to another.
pub(super) fn overlapping(views: &[AbortedView], from: i64, upper: i64) -> io::Result<Vec<Aborted>> {
    let mut found = Vec::new();
    for AbortedView(view) in views {
        let first = view.count_where(|bytes| Aborted::of(*bytes).last_offset < from)?;
        for entry in view.entries(first) {
            let aborted = Aborted::of(entry?);
            if aborted.first_offset < upper {
                found.push(aborted);
            }
            if aborted.last_stable >= upper {
                return Ok(found);
            }
        }
    }
    Ok(found)
}
