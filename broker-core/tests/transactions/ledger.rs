//! What was done and told so far: what must be seen of each transaction, and what may.

use std::collections::BTreeMap;

/// The partitions that are written to: what is in the first two is in memory until the machine writes it, the others are synced.
pub const PARTITIONS: [(&str, i32); 4] = [("cached", 0), ("cached", 1), ("synced", 0), ("synced", 1)];

pub const fn is_synced(place: usize) -> bool {
    place >= 2
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has asked for a commit: nothing of it may ever be seen.
    #[default]
    Never,
    /// A commit was asked for and not answered, or it was told to come again: all of it, or nothing.
    Maybe,
    /// It is told to be committed: all of it.
    Committed,
}

#[derive(Debug, Clone, Default)]
pub struct Transaction {
    pub fate: Fate,
    /// Whether it is of version 2, with an epoch of its own.
    pub v2: bool,
    /// Whether its end was asked for, by it or by who came after it, or it was told that there is none.
    pub over: bool,
    pub abort_asked: bool,
    /// Place, offset and value of what was acknowledged.
    pub records: Vec<(usize, i64, String)>,
    /// Whose it is, and the offset that it stores for the group of that name.
    pub id: String,
    pub offset: Option<i64>,
    /// When it is aborted, if nobody ends it.
    pub deadline: i64,
}

/// What who reads what is committed sees of a place.
pub struct View {
    pub stable: i64,
    /// Offset and value.
    pub seen: Vec<(i64, String)>,
}

/// What who reads sees of all places, and the offset of each group that has one.
pub struct Seen {
    pub views: Vec<View>,
    pub offsets: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub transactions: Vec<Transaction>,
    pub now: i64,
    /// Whether the topics are there, and the transactional ids that are known.
    pub ready: bool,
    pub ids: Vec<String>,
}

impl Ledger {
    pub fn committed(&self) -> usize {
        self.transactions.iter().filter(|one| one.fate == Fate::Committed).count()
    }

    /// Compares what is seen with what was told. `lost`: a power cut may have taken the ends of logs that are not synced. There, of
    /// version 1, even what was aborted may be seen, if its marker is lost and the producer's next transaction, of the same epoch, was
    /// committed.
    pub fn compare(&self, Seen { views, offsets }: &Seen, lost: bool) -> Result<(), String> {
        for (number, one) in self.transactions.iter().enumerate() {
            // What is behind an open transaction is seen later.
            let keeps = |place: usize| !lost || is_synced(place) || one.v2 && one.fate == Fate::Never;
            let counts = |place: usize, offset: i64| offset < views[place].stable && keeps(place);
            let is_seen = |place: usize, offset: i64, value: &str| {
                views[place].seen.iter().any(|(at, found)| *at == offset && found == value)
            };
            let (there, missing): (Vec<_>, Vec<_>) = (one.records.iter())
                .filter(|(place, offset, _)| counts(*place, *offset))
                .partition(|(place, offset, value)| is_seen(*place, *offset, value));
            let all = missing.is_empty();
            let fine = match one.fate {
                Fate::Never => there.is_empty(),
                Fate::Maybe => all || there.is_empty(),
                Fate::Committed => all,
            };
            if !fine {
                return Err(format!("transaction {number} is {:?}: {there:?} are seen, {missing:?} are not", one.fate));
            }
            // The offsets are not synced.
            let stored = one.offset.filter(|_| !lost);
            let found = offsets.get(&one.id).copied().unwrap_or(-1);
            let is_wrong = |stored: i64| match one.fate {
                Fate::Never => found == stored,
                Fate::Committed => found < stored,
                // With its records; who came later has stored more.
                Fate::Maybe => !there.is_empty() && found < stored || !missing.is_empty() && found == stored,
            };
            if let Some(stored) = stored.filter(|stored| is_wrong(*stored)) {
                return Err(format!(
                    "transaction {number} of {} is {:?} and stored {stored}: the group is at {found}",
                    one.id, one.fate
                ));
            }
        }
        self.compare_places(views, lost)
    }

    /// What is seen was written there, in this order and once, by a transaction that may be seen.
    fn compare_places(&self, views: &[View], lost: bool) -> Result<(), String> {
        let may = self.transactions.iter().filter(|one| one.fate != Fate::Never).flat_map(|one| &one.records);
        let may: BTreeMap<(usize, i64), &str> = may.map(|(place, offset, value)| ((*place, *offset), &value[..])).collect();
        for (place, View { seen: found, .. }) in views.iter().enumerate().filter(|(place, _)| !lost || is_synced(*place)) {
            if let Some(strange) = found.iter().find(|(offset, value)| may.get(&(place, *offset)) != Some(&&value[..])) {
                return Err(format!(
                    "{:?}: {strange:?} is seen, and was not written by a transaction that is committed",
                    PARTITIONS[place]
                ));
            }
            if let Some(pair) = found.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                return Err(format!("{:?}: {pair:?} are out of order", PARTITIONS[place]));
            }
        }
        Ok(())
    }

    /// The groups for which an offset is stored that is not decided at this time.
    pub fn unstable(&self, now: i64) -> impl Iterator<Item = &str> {
        let open = self.transactions.iter().filter(move |one| !one.over && one.fate == Fate::Never && now < one.deadline);
        open.filter(|one| one.offset.is_some()).map(|one| &one.id[..])
    }

    /// The first offset of each transaction that is open at this time, by place.
    pub fn undecided(&self, now: i64) -> impl Iterator<Item = (usize, i64)> + '_ {
        let open = self.transactions.iter().filter(move |one| !one.over && one.fate == Fate::Never && now < one.deadline);
        open.flat_map(|one| one.records.iter().map(|(place, offset, _)| (*place, *offset)))
    }
}
