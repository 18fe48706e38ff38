//! Entries of one size in a file that grows at its end. What was noted last waits in memory, so that most appends to a log are
//! one write. It may wait: an index can always be made again from its log.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::place::Place;
use super::read::read_exact;
use crate::storage::DiskFile;

/// So many entries wait at most, but while an index is made anew.
pub(super) const PENDING_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct IndexFile<const N: usize> {
    file: Option<Arc<dyn DiskFile>>,
    pending: Vec<[u8; N]>,
}

/// What an index holds at some moment. Searching it needs no lock.
#[derive(Debug)]
pub(super) struct View<const N: usize> {
    file: Option<Arc<dyn DiskFile>>,
    stored: u64,
    pending: Vec<[u8; N]>,
}

impl<const N: usize> IndexFile<N> {
    /// Opens what there is. False if the file ends within an entry.
    pub fn load(&mut self, place: &Place, base: i64, kind: &str) -> io::Result<bool> {
        self.pending = Vec::new();
        self.file = None;
        let size = place.size(base, kind)?;
        if size > 0 {
            self.file = Some(place.open(base, kind)?);
        }
        Ok(size % N as u64 == 0)
    }

    /// Forgets all entries.
    pub fn clear(&mut self, place: &Place, base: i64, kind: &str) -> io::Result<()> {
        self.pending = Vec::new();
        if self.file.is_none() && place.size(base, kind)? > 0 {
            self.file = Some(place.open(base, kind)?);
        }
        self.file.as_ref().map_or(Ok(()), |file| file.truncate(0))
    }

    fn stored(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.size() / N as u64)
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.stored() + self.pending.len() as u64
    }

    pub fn push(&mut self, entry: [u8; N]) {
        self.pending.push(entry);
    }

    pub fn is_due(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    /// Writes what waits.
    pub fn flush(&mut self, place: &Place, base: i64, kind: &str) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(place.open(base, kind)?);
        }
        let mut bytes = BytesMut::with_capacity(self.pending.len() * N);
        self.pending.iter().for_each(|entry| bytes.extend_from_slice(entry));
        self.file.as_ref().map_or(Ok(()), |file| file.append(bytes.freeze()))?;
        self.pending.clear();
        self.pending.shrink_to(PENDING_MAX);
        Ok(())
    }

    pub fn file(&self) -> Option<&Arc<dyn DiskFile>> {
        self.file.as_ref()
    }

    pub fn view(&self) -> View<N> {
        View { file: self.file.clone(), stored: self.stored(), pending: self.pending.clone() }
    }
}

impl<const N: usize> View<N> {
    fn get(&self, index: u64) -> io::Result<[u8; N]> {
        if let Some(waiting) = index.checked_sub(self.stored) {
            return Ok(self.pending[waiting as usize]);
        }
        let bytes = self.file.as_ref().map_or(Ok(Bytes::new()), |file| read_exact(file.as_ref(), index * N as u64, N))?;
        <[u8; N]>::try_from(&bytes[..])
            .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "the index is shorter than it was"))
    }

    pub fn last(&self) -> io::Result<Option<[u8; N]>> {
        self.len().checked_sub(1).map(|last| self.get(last)).transpose()
    }

    /// The last entry of those, at the front, for which `holds`.
    pub fn last_where(&self, holds: impl Fn(&[u8; N]) -> bool) -> io::Result<Option<[u8; N]>> {
        let (mut from, mut to) = (0, self.len());
        let mut found = None;
        while from < to {
            let middle = from + (to - from) / 2;
            let entry = self.get(middle)?;
            if holds(&entry) {
                found = Some(entry);
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(found)
    }

    fn len(&self) -> u64 {
        self.stored + self.pending.len() as u64
    }

    /// How many entries, at the front, `holds` is true of.
    pub fn count_where(&self, holds: impl Fn(&[u8; N]) -> bool) -> io::Result<u64> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if holds(&self.get(middle)?) { from = middle + 1 } else { to = middle }
        }
        Ok(from)
    }

    /// The entries behind the first ones.
    pub fn entries(&self, skipped: u64) -> impl Iterator<Item = io::Result<[u8; N]>> {
        (skipped..self.len()).map(|index| self.get(index))
    }
}
