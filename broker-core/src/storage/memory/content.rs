//! What one file holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Pieces as they were appended: they are read back as slices of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Content {
    /// Pieces and where each starts.
    pieces: Vec<(u64, Bytes)>,
    pub size: u64,
    /// What a power cut leaves of it at least.
    pub synced: u64,
    /// How much of it is the part of an append that failed: who has the file open does not count it.
    pub torn: u64,
}

/// A file's content, shared by who has it open.
#[derive(Debug, Default, Clone)]
pub(super) struct Shared(Arc<Mutex<Content>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy that goes its own way.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }
}

impl Content {
    pub fn append(&mut self, bytes: Bytes) {
        let start = self.size;
        self.size += bytes.len() as u64;
        self.pieces.push((start, bytes));
    }

    /// A part of what was to be appended.
    pub fn tear(&mut self, bytes: Bytes) {
        self.torn += bytes.len() as u64;
        self.append(bytes);
    }

    /// Its size without what an append left that failed.
    pub fn whole(&self) -> u64 {
        self.size - self.torn
    }

    pub fn cut(&mut self, size: u64) {
        while let Some((start, piece)) = self.pieces.last_mut() {
            if *start >= size {
                self.pieces.pop();
            } else {
                piece.truncate((size - *start) as usize);
                break;
            }
        }
        let cut = self.size.saturating_sub(size);
        self.torn = self.torn.saturating_sub(cut);
        self.size = self.size.min(size);
        self.synced = self.synced.min(size);
    }

    pub fn read(&self, position: u64, length: usize) -> Bytes {
        let length = length.min(self.whole().saturating_sub(position) as usize);
        if length == 0 {
            return Bytes::new();
        }
        let index = self.pieces.partition_point(|(start, _)| *start <= position) - 1;
        let (start, piece) = &self.pieces[index];
        let from = (position - start) as usize;
        piece.slice(from..piece.len().min(from + length))
    }

    /// Writes over what is there.
    pub fn change(&mut self, position: u64, with: impl FnOnce(&mut u8)) {
        if position >= self.size {
            return;
        }
        let index = self.pieces.partition_point(|(start, _)| *start <= position) - 1;
        let (start, piece) = &mut self.pieces[index];
        // Who has read the piece goes on with it as it was.
        let mut bytes = piece.to_vec();
        with(&mut bytes[(position - *start) as usize]);
        *piece = Bytes::from(bytes);
    }
}
