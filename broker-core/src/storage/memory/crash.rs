//! What a power cut leaves.

use super::disk::{Folder, MemoryDisk};

/// What is kept of what was not durable.
#[derive(Debug, Clone, Copy)]
enum Unsynced {
    Nothing,
    /// By chance.
    Some(u64),
}

impl Unsynced {
    /// A number below `limit`; 0 where nothing is kept.
    fn draw(&mut self, limit: u64) -> u64 {
        let Self::Some(state) = self else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

impl MemoryDisk {
    /// The worst that a power cut leaves: of each file in a synced folder what was synced, and nothing else. A removal counts as
    /// durable at once.
    pub fn crash(&self) {
        self.lose(Unsynced::Nothing);
    }

    /// What else a power cut may leave, by chance: of what was appended and not synced a part, at times with a flipped bit or with
    /// zeros at its end; of the files that came into a folder since it was synced the first ones; of removals that nobody made
    /// durable the last ones are undone. A file system keeps the order of both.
    pub fn crash_by_chance(&self, seed: u64) {
        self.lose(Unsynced::Some(seed));
    }

    fn lose(&self, mut unsynced: Unsynced) {
        self.heal();
        let mut folders = self.folders_mut();
        for folder in folders.values_mut() {
            folder.undo_removals(&mut unsynced);
            folder.forget_files(&mut unsynced);
            for entry in folder.files.values_mut() {
                entry.durable = true;
                let mut content = entry.content.lock();
                let (synced, size) = (content.synced, content.size);
                let left = synced + unsynced.draw(size - synced + 1);
                content.cut(left);
                if left > synced {
                    match unsynced.draw(4) {
                        0 => {
                            let bit = unsynced.draw(8);
                            content.change(synced + unsynced.draw(left - synced), |byte| *byte ^= 1 << bit);
                        }
                        1 => (synced + unsynced.draw(left - synced)..left).for_each(|at| content.change(at, |byte| *byte = 0)),
                        _ => {}
                    }
                }
                (content.synced, content.torn) = (content.size, 0);
            }
        }
        folders.retain(|_, folder| !folder.files.is_empty());
    }
}

impl Folder {
    fn forget_files(&mut self, unsynced: &mut Unsynced) {
        let mut fresh: Vec<u64> = self.files.values().filter(|entry| !entry.durable).map(|entry| entry.made).collect();
        fresh.sort_unstable();
        let forgotten = fresh.split_off(unsynced.draw(fresh.len() as u64 + 1) as usize);
        self.files.retain(|_, entry| entry.durable || !forgotten.contains(&entry.made));
    }

    fn undo_removals(&mut self, unsynced: &mut Unsynced) {
        let kept = self.removed.len() - unsynced.draw(self.removed.len() as u64 + 1) as usize;
        for (name, entry) in self.removed.drain(..).skip(kept) {
            self.files.entry(name).or_insert(entry);
        }
    }
}
