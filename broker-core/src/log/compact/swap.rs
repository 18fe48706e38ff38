//! New files for old ones, so that a crash at any moment leaves either: `.cleaned` is being written and worth nothing, `.swap` is
//! whole and takes the place of what it covers.

use std::io;

use super::super::heads::Heads;
use super::super::place::{Place, base_of, file_name, kind};

/// The kinds of files that one compacted segment is written as.
pub(in super::super) const CLEANED: [&str; 3] = ["log.cleaned", "index.cleaned", "timeindex.cleaned"];
pub(in super::super) const SWAP: &str = "log.swap";
/// Its index of aborted transactions, if it or what it is made from has one. It gets its name before the log does: without it
/// nobody would see that there should be one.
pub(in super::super) const TXN_CLEANED: &str = "txnindex.cleaned";
pub(in super::super) const TXN_SWAP: &str = "txnindex.swap";

/// Ends what a crash cut short; true if anything was done. Called before a log's files are looked at.
pub(in super::super) fn finish(place: &Place) -> io::Result<bool> {
    let names = place.disk.files(&place.folder)?;
    let mut swaps: Vec<i64> = names.iter().filter_map(|name| base_of(name, SWAP)).collect();
    swaps.sort_unstable();
    let of_no_swap = |name: &str| base_of(name, TXN_SWAP).is_some_and(|base| swaps.binary_search(&base).is_err());
    let cleaned = |name: &str| CLEANED.iter().chain([&TXN_CLEANED]).any(|kind| base_of(name, kind).is_some());
    let mut done = false;
    for name in names.iter().filter(|name| cleaned(name) || of_no_swap(name)) {
        place.disk.remove(&place.folder, name)?;
        done = true;
    }
    for base in swaps {
        finish_one(place, base, &names)?;
        done = true;
    }
    Ok(done)
}

fn finish_one(place: &Place, base: i64, names: &[String]) -> io::Result<()> {
    let file = place.open(base, SWAP)?;
    let mut last_offset = base;
    for head in Heads::new(file.as_ref(), 0, file.size()) {
        // It was durable before it got its name.
        last_offset = head?.map_err(io::Error::other)?.last_offset;
    }
    drop(file);
    let logs: Vec<i64> = names.iter().filter_map(|name| base_of(name, kind::LOG)).collect();
    let covered: Vec<i64> = logs.iter().copied().filter(|at| (base..=last_offset).contains(at)).collect();
    // The first one that it covers has its name until it takes that, and the one behind begins where it ends.
    let takes_its_place =
        logs.contains(&base) && (logs.contains(&last_offset.saturating_add(1)) || !reach_behind(place, last_offset, &covered)?);
    if !takes_its_place {
        tracing::warn!(target: "broker_core::recovery", folder = %place.folder, file = file_name(base, SWAP), "a compaction that was left is not finished: other segments have come since");
        return discard(place, base);
    }
    tracing::info!(target: "broker_core::recovery", folder = %place.folder, file = file_name(base, SWAP), covered = covered.len(), "a compaction is finished");
    put_in_place(place, base, &covered)
}

/// Whether one of the segments holds what is behind an offset.
fn reach_behind(place: &Place, offset: i64, segments: &[i64]) -> io::Result<bool> {
    for base in segments {
        let file = place.open(*base, kind::LOG)?;
        for head in Heads::new(file.as_ref(), 0, file.size()) {
            // What is damaged is replaced, as far as anybody can tell.
            let Ok(head) = head? else { break };
            if head.last_offset > offset {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Removes a compacted segment that nobody needs.
pub(in super::super) fn discard(place: &Place, base: i64) -> io::Result<()> {
    [SWAP, CLEANED[1], CLEANED[2], TXN_SWAP].iter().try_for_each(|kind| place.remove(base, kind))
}

/// Gives the new segment's indexes their names. A crash before costs no more than making them anew.
pub(in super::super) fn name_indexes(place: &Place, base: i64) -> io::Result<()> {
    for (from, to) in [(CLEANED[1], kind::INDEX), (CLEANED[2], kind::TIME_INDEX)] {
        if place.size(base, from)? > 0 {
            place.rename(base, from, to)?;
        } else {
            place.remove(base, from)?;
        }
    }
    Ok(())
}

/// Removes the segments that a swap file covers, then gives it their first one's name. Each step may be done again.
pub(in super::super) fn put_in_place(place: &Place, base: i64, covered: &[i64]) -> io::Result<()> {
    for at in covered {
        place.remove(*at, kind::INDEX)?;
        place.remove(*at, kind::TIME_INDEX)?;
        if *at != base {
            place.remove(*at, kind::TXN_INDEX)?;
            place.remove(*at, kind::LOG)?;
            place.remove(*at, kind::SNAPSHOT)?;
        }
    }
    if place.is_there(base, TXN_SWAP)? {
        place.rename(base, TXN_SWAP, kind::TXN_INDEX)?;
    }
    // Both at once would be too much behind a crash.
    place.disk.sync_folder(&place.folder)?;
    place.rename(base, SWAP, kind::LOG)
}
