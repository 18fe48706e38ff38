//! Opening a log: what is trusted, what is looked through, and what a crash left that has to go.

use std::io;
use std::sync::Arc;

use super::Log;
use super::compact::swap;
use super::config::LogConfig;
use super::place::{Place, base_of, file_name, kind};
use super::segment::{Scanned, Segment};
use super::segmented::Opened;
use crate::record::BatchError;
use crate::storage::{Disk, FRESH};

/// What is known of a log before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Opening {
    /// Whether the broker that wrote it was stopped in order: then nothing is looked through.
    pub clean: bool,
    /// Everything before it is durable: segments that end there are not looked through.
    pub recovery_point: i64,
    /// The first offset that may be read.
    pub log_start: i64,
    /// Everything before it was compacted, so there may be gaps; none if nothing ever was.
    pub compacted_to: Option<i64>,
}

/// Segments in order, and where they end.
struct Loaded {
    segments: Vec<Segment>,
    end: i64,
    /// Everything before it is durable and sound.
    recovery_point: i64,
    was_clean: bool,
    /// The first base of those that were looked through.
    looked_through_from: i64,
}

impl Log {
    /// Opens or makes a log; what a crash left behind the last whole batch is cut off, and said.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: impl Into<String>,
        config: impl Into<Arc<LogConfig>>,
        opening: Opening,
    ) -> io::Result<Self> {
        let config = config.into();
        let place = Place { disk, folder: folder.into() };
        swap::finish(&place)?;
        let names = sweep(&place)?;
        let mut bases: Vec<i64> = names.iter().filter_map(|name| base_of(name, kind::LOG)).collect();
        bases.sort_unstable();
        let mut snapshots: Vec<i64> = names.iter().filter_map(|name| base_of(name, kind::SNAPSHOT)).collect();
        snapshots.sort_unstable();
        remove_orphans(&place, &names, &bases)?;
        let mut loaded = load(&place, &config, &bases, opening)?;
        if loaded.end < opening.log_start {
            // What may be read begins behind everything that is left.
            tracing::warn!(target: "broker_core::recovery", folder = %place.folder, end = loaded.end, start = opening.log_start, "the log ends before its start: emptied");
            loaded.segments.drain(..).try_for_each(|segment| segment.remove(&place))?;
            (loaded.end, loaded.recovery_point) = (opening.log_start, opening.log_start);
        }
        let unlisted = !opening.clean || loaded.segments.is_empty();
        if loaded.segments.is_empty() {
            loaded.segments.push(Segment::create(&place, loaded.end)?);
        }
        let aborts_unknown = load_aborts(&place, &names, &mut loaded)?;
        let start = opening.log_start.max(loaded.segments[0].base);
        let Loaded { segments, end, recovery_point, was_clean, .. } = loaded;
        let compacted_to = opening.compacted_to;
        Ok(Self::from_parts(
            place,
            config,
            Opened { segments, start, end, recovery_point, snapshots, was_clean, unlisted, compacted_to, aborts_unknown },
        ))
    }
}

/// Removes what was on its way out or unfinished. The names of the other files.
fn sweep(place: &Place) -> io::Result<Vec<String>> {
    let mut names = place.disk.files(&place.folder)?;
    for name in names.extract_if(.., |name| name.ends_with(".deleted") || name.ends_with(FRESH)) {
        place.disk.remove(&place.folder, &name)?;
    }
    Ok(names)
}

/// Indexes whose log is gone.
fn remove_orphans(place: &Place, names: &[String], bases: &[i64]) -> io::Result<()> {
    for name in names {
        let base = [kind::INDEX, kind::TIME_INDEX, kind::TXN_INDEX].iter().find_map(|kind| base_of(name, kind));
        if base.is_some_and(|base| bases.binary_search(&base).is_err()) {
            place.disk.remove(&place.folder, name)?;
        }
    }
    Ok(())
}

fn load(place: &Place, config: &LogConfig, bases: &[i64], opening: Opening) -> io::Result<Loaded> {
    let (first, last) = (bases.first().copied().unwrap_or(0), bases.len().saturating_sub(1));
    let mut loaded = Loaded {
        segments: Vec::with_capacity(bases.len().max(1)),
        end: first,
        recovery_point: opening.recovery_point,
        was_clean: false,
        looked_through_from: i64::MAX,
    };
    if opening.clean && trust(place, config, bases, opening, &mut loaded)? {
        loaded.was_clean = true;
        return Ok(loaded);
    }
    loaded.segments.clear();
    // The one that is appended to is looked through in any case. What stands before it is, from the recovery point on.
    let trusted = bases.iter().skip(1).take_while(|next| **next <= opening.recovery_point).count();
    for base in &bases[..trusted] {
        loaded.segments.push(Segment::there(place, *base)?);
    }
    loaded.end = bases.get(trusted).copied().unwrap_or(first);
    loaded.looked_through_from = loaded.end;
    let mut damaged = false;
    for (index, base) in bases.iter().enumerate().skip(trusted) {
        // A power cut may leave a segment short and the ones behind it whole. Nobody could read over the gap.
        if damaged || *base != loaded.end {
            tracing::warn!(target: "broker_core::recovery", folder = %place.folder, file = file_name(*base, kind::LOG), end = loaded.end, "segment behind the log's end removed");
            Segment::there(place, *base)?.remove(place)?;
            damaged = true;
            continue;
        }
        // What was compacted still ends where the next one starts; what is appended to was not.
        let gaps_to = opening.compacted_to.map_or(*base, |to| bases.get(index + 1).copied().unwrap_or(to));
        damaged = look_through(place, config, *base, gaps_to, &mut loaded)?;
    }
    debug_assert!(trusted <= last);
    end_behind_gaps(place, bases, opening, &mut loaded)?;
    loaded.recovery_point = loaded.recovery_point.min(loaded.end);
    Ok(loaded)
}

/// Where segments behind one that may have gaps are gone, an empty one takes their place: what is appended to must have no gap, or the
/// next start would take it for damage and cut off what was appended behind it.
fn end_behind_gaps(place: &Place, bases: &[i64], opening: Opening, loaded: &mut Loaded) -> io::Result<()> {
    let Some(last) = loaded.segments.last() else { return Ok(()) };
    if opening.compacted_to.is_none() || bases.last() == Some(&last.base) || last.size() == 0 {
        return Ok(());
    }
    loaded.segments.push(Segment::create(place, loaded.end)?);
    place.disk.sync_folder(&place.folder)
}

/// Reads the indexes of aborted transactions that are there; the bases of segments whose own is not to be trusted.
fn load_aborts(place: &Place, names: &[String], loaded: &mut Loaded) -> io::Result<Vec<i64>> {
    let mut there: Vec<i64> = names.iter().filter_map(|name| base_of(name, kind::TXN_INDEX)).collect();
    there.sort_unstable();
    let mut unknown = Vec::new();
    for index in 0..loaded.segments.len() {
        let end = loaded.segments.get(index + 1).map_or(loaded.end, |next| next.base);
        let segment = &mut loaded.segments[index];
        if segment.base >= loaded.looked_through_from {
            unknown.push(segment.base);
        } else if there.binary_search(&segment.base).is_ok()
            && let Err(damage) = segment.aborts.load(place, end)?
        {
            let file = file_name(segment.base, kind::TXN_INDEX);
            tracing::warn!(target: "broker_core::recovery", folder = %place.folder, file, damage, "an index of aborted transactions is damaged");
            unknown.push(segment.base);
        }
    }
    Ok(unknown)
}

/// Takes everything as it is, if the last segment agrees with its indexes and ends where the log was closed.
fn trust(place: &Place, config: &LogConfig, bases: &[i64], opening: Opening, loaded: &mut Loaded) -> io::Result<bool> {
    for base in bases {
        loaded.segments.push(Segment::there(place, *base)?);
    }
    let Some(last) = loaded.segments.last_mut() else { return Ok(true) };
    let point = opening.recovery_point;
    // What was compacted was durable before.
    let least = last.base.max(opening.compacted_to.unwrap_or(0));
    match last.peek(place, config)? {
        Some(end) if end == point && point >= least => {
            loaded.end = end;
            Ok(true)
        }
        found => {
            tracing::warn!(target: "broker_core::recovery", folder = %place.folder, ?found, point, "the log is not as it was closed: looked through");
            Ok(false)
        }
    }
}

/// Checks all batches of a segment, cuts off what is damaged, makes its indexes anew. True if something was cut off.
fn look_through(place: &Place, config: &LogConfig, base: i64, gaps_to: i64, loaded: &mut Loaded) -> io::Result<bool> {
    let mut segment = Segment::there(place, base)?;
    let scanned = segment.scan(place, config, loaded.end, gaps_to)?;
    let cut = scanned.damage.is_some();
    if let Some(damage) = scanned.damage {
        let (size, position) = (segment.size(), scanned.size);
        if scanned.end < loaded.recovery_point {
            return Err(not_torn(place, base, &scanned, loaded.recovery_point, &damage));
        }
        tracing::warn!(target: "broker_core::recovery", folder = %place.folder, file = file_name(base, kind::LOG), position, cut = size - position, %damage, "torn tail cut off");
        segment.file.truncate(scanned.size)?;
    }
    segment.seal(place)?;
    loaded.end = scanned.end;
    loaded.segments.push(segment);
    Ok(cut)
}

/// What was made durable was whole then: a crash leaves no damage there, and cutting it off would throw away what is behind it.
fn not_torn(place: &Place, base: i64, scanned: &Scanned, durable: i64, damage: &BatchError) -> io::Error {
    let (file, position, offset) = (file_name(base, kind::LOG), scanned.size, scanned.end);
    let text = format!(
        "{}/{file} is damaged at position {position} (offset {offset}), although everything before offset {durable} was durable: \
         {damage}. Nothing was changed; put the file back from a copy, or cut it to {position} bytes to go on without what is \
         behind",
        place.folder
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}
