use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::rate::{COUNTS_MS, Rate, SECONDS};
use super::{Entity, EntityFilter, Name, QuotaKind};
use crate::error::{Error, ErrorCode};
use crate::security::Table;
use crate::storage::Disk;

/// Where quotas are kept; `broker::data_folder` knows the name too.
const FILE: &str = "client-quotas";
/// The longest name of a user or client id.
const NAME_MAX: usize = 1024;
/// How many rates are counted before those that are over are looked for.
const RATES: usize = 1024;

type Limits = BTreeMap<Entity, BTreeMap<QuotaKind, f64>>;

/// A change of one quota: its name and value, or none to take it away.
pub(crate) type QuotaChange = (String, Option<f64>);

/// Who counts together, as a hash: a client chooses its name with each request, and a long one would be kept for as long as the rate.
type Counted = [u8; 32];

/// By the kind, the user if the quota is a user's, and the client id if it is a client's.
fn counted(kind: QuotaKind, user: Option<&str>, client: Option<&str>) -> Counted {
    let mut hash = Sha256::new();
    hash.update(kind.name());
    for name in [user, client] {
        hash.update(name.map_or(u64::MAX, |name| name.len() as u64).to_be_bytes());
        hash.update(name.unwrap_or_default());
    }
    hash.finalize().into()
}

/// All quotas, and what was taken of them.
#[derive(Debug)]
pub(crate) struct Quotas {
    table: Table,
    /// Whether there are any: without, nobody counts.
    any: AtomicBool,
    /// Held by who changes quotas, while the disk takes them: who counts does not wait for that.
    changing: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    limits: Limits,
    rates: HashMap<Counted, Rate>,
    /// At how many rates, and when at the latest, those that are over are looked for.
    sweep_at: (usize, u64),
}

impl State {
    /// The quota that is the client's, and whose it is.
    fn nearest(&self, kind: QuotaKind, user: &str, client: &str) -> Option<(&Entity, f64)> {
        let theirs = |(entity, values): (_, &BTreeMap<QuotaKind, f64>)| {
            let nearness = Entity::nearness(entity, user, client)?;
            Some((nearness, entity, *values.get(&kind)?))
        };
        let nearest = self.limits.iter().filter_map(theirs).min_by_key(|(nearness, ..)| *nearness);
        nearest.map(|(_, entity, quota)| (entity, quota))
    }

    /// Forgets the rates that are over, if it is time to.
    fn sweep(&mut self, now: u64) {
        if self.rates.len() < self.sweep_at.0 && now < self.sweep_at.1 {
            return;
        }
        self.rates.retain(|_, rate| !rate.is_over(now));
        let room = RATES.max(2 * self.rates.len());
        if self.rates.capacity() > 2 * room {
            self.rates.shrink_to(room);
        }
        self.sweep_at = (room, now + COUNTS_MS);
    }
}

impl Quotas {
    pub fn load(disk: &Arc<dyn Disk>) -> Result<Self, Error> {
        let table = Table::new(disk.clone(), FILE);
        let mut limits = Limits::new();
        for (entity, kind, value) in table.load(parse)? {
            limits.entry(entity).or_default().insert(kind, value);
        }
        let any = AtomicBool::new(!limits.is_empty());
        Ok(Self {
            table,
            any,
            changing: Mutex::default(),
            state: Mutex::new(State { limits, rates: HashMap::new(), sweep_at: (RATES, 0) }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Counts what a client has taken; how long it must wait for that, in milliseconds.
    pub fn record(&self, kind: QuotaKind, user: &str, client: &str, now: u64, bytes: u64) -> u64 {
        if !self.any() {
            return 0;
        }
        let nearest = |state: &State| {
            let (entity, quota) = state.nearest(kind, user, client)?;
            Some((entity.user.is_some(), entity.client.is_some(), quota))
        };
        let Some((users, clients, quota)) = nearest(&self.state()) else { return 0 };
        // Not under the lock: a long name takes a while.
        let counted = counted(kind, users.then_some(user), clients.then_some(client));
        let mut state = self.state();
        state.sweep(now);
        let rate = state.rates.entry(counted).or_default();
        rate.record(now, bytes);
        rate.wait(now, quota)
    }

    /// The most bytes that a client may take at once: what its quota gives in all the time that counts.
    pub fn most(&self, kind: QuotaKind, user: &str, client: &str) -> usize {
        match self.state().nearest(kind, user, client) {
            Some((_, quota)) => (quota * SECONDS) as usize,
            None => usize::MAX,
        }
    }

    /// The quotas of the entities that fit.
    pub fn describe(&self, filter: &EntityFilter) -> Vec<(Entity, Vec<(QuotaKind, f64)>)> {
        let state = self.state();
        let fitting = state.limits.iter().filter(|(entity, _)| filter.fits(entity));
        fitting.map(|(entity, values)| (entity.clone(), values.iter().map(|(kind, value)| (*kind, *value)).collect())).collect()
    }

    /// Changes an entity's quotas: all of them or, with an error, none. `validate_only`: only says whether it could be done.
    pub fn alter(&self, entity: &Entity, changes: &[QuotaChange], validate_only: bool) -> Result<(), Error> {
        check(entity)?;
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut limits = self.state().limits.clone();
        let values = limits.entry(entity.clone()).or_default();
        for (name, value) in changes {
            let kind = kind_of(name)?;
            match value {
                None => {
                    values.remove(&kind);
                }
                Some(value) if *value >= 1.0 && value.fract() == 0.0 && *value <= i64::MAX as f64 => {
                    values.insert(kind, *value);
                }
                Some(value) => {
                    return Err(Error::new(ErrorCode::InvalidRequest, format!("{name} is {value}: a whole number, at least 1")));
                }
            }
        }
        limits.retain(|_, values| !values.is_empty());
        if validate_only {
            return Ok(());
        }
        // First on the disk, so that no quota is lost that somebody was told of.
        self.table.store(limits.iter().flat_map(|(entity, values)| values.iter().map(move |one| line(entity, one))))?;
        self.any.store(!limits.is_empty(), Ordering::Release);
        self.state().limits = limits;
        Ok(())
    }
}

fn check(entity: &Entity) -> Result<(), Error> {
    if entity.user.is_none() && entity.client.is_none() {
        return Err(Error::new(ErrorCode::InvalidRequest, "a quota is a user's, a client-id's, or both's; neither is named"));
    }
    for name in [&entity.user, &entity.client].into_iter().flatten() {
        if let Name::Of(name) = name
            && (name.is_empty() || name.len() > NAME_MAX)
        {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("the name '{name}' has {} bytes: 1 to {NAME_MAX}", name.len()),
            ));
        }
    }
    Ok(())
}

fn kind_of(name: &str) -> Result<QuotaKind, Error> {
    QuotaKind::of_name(name).ok_or_else(|| {
        let text = match name {
            "request_percentage" | "controller_mutation_rate" | "connection_creation_rate" => {
                format!("quota {name} is not built; there are producer_byte_rate and consumer_byte_rate")
            }
            _ => format!("'{name}' is no quota; there are producer_byte_rate and consumer_byte_rate"),
        };
        Error::new(ErrorCode::InvalidRequest, text)
    })
}

/// `producer_byte_rate 1024 USER CLIENT`, each of the two `-`, `*`, or `=` and base64.
fn line(entity: &Entity, (kind, value): (&QuotaKind, &f64)) -> String {
    let name = |name: &Option<Name>| match name {
        None => "-".to_owned(),
        Some(Name::Default) => "*".to_owned(),
        Some(Name::Of(name)) => format!("={}", STANDARD.encode(name)),
    };
    format!("{} {value} {} {}", kind.name(), name(&entity.user), name(&entity.client))
}

fn parse(line: &str) -> Option<(Entity, QuotaKind, f64)> {
    let name = |text: &str| match text {
        "-" => Some(None),
        "*" => Some(Some(Name::Default)),
        _ => {
            let bytes = STANDARD.decode(text.strip_prefix('=')?).ok()?;
            Some(Some(Name::Of(String::from_utf8(bytes).ok()?)))
        }
    };
    let parts: Vec<&str> = line.split(' ').collect();
    let [kind, value, user, client] = parts[..] else { return None };
    let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 1.0)?;
    Some((Entity { user: name(user)?, client: name(client)? }, QuotaKind::of_name(kind)?, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;
    use crate::storage::held::HeldDisk;

    fn of(user: Option<&str>, client: Option<&str>) -> Entity {
        let name = |name: &str| if name == "*" { Name::Default } else { Name::Of(name.to_owned()) };
        Entity { user: user.map(name), client: client.map(name) }
    }

    fn set(quotas: &Quotas, entity: &Entity, value: f64) -> Result<(), Error> {
        quotas.alter(entity, &[("producer_byte_rate".to_owned(), Some(value))], false)
    }

    #[test]
    fn the_nearest_quota_counts_and_defaults_count_for_each() {
        let quotas = Quotas::load(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>)).expect("none yet");
        let record = |user: &str, client: &str, bytes| quotas.record(QuotaKind::Produce, user, client, 0, bytes);
        assert_eq!(record("ann", "app", u64::MAX / 2), 0, "no quotas, no waiting");
        set(&quotas, &of(None, Some("*")), 1000.0).expect("set");
        assert_eq!(record("ann", "app", 20_000), 10_000);
        assert_eq!(record("ann", "other", 5_000), 0, "each client id counts for itself");
        assert_eq!(record("bob", "other", 15_000), 10_000, "whoever its user is");
        set(&quotas, &of(Some("ann"), None), 1_000_000.0).expect("set");
        assert_eq!(record("ann", "app", 20_000), 0, "a user's quota is nearer than a client id's");
        assert_eq!(quotas.record(QuotaKind::Fetch, "bob", "other", 0, 1 << 40), 0, "reading is another quota");
    }

    #[test]
    fn quotas_are_kept() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let quotas = Quotas::load(&disk).expect("none yet");
        let entities = [of(Some("an n"), Some("*")), of(None, Some("app"))];
        entities.iter().for_each(|entity| set(&quotas, entity, 7.0).expect("set"));
        quotas.alter(&entities[1], &[("consumer_byte_rate".to_owned(), Some(9.0))], true).expect("could be set");
        let kept = Quotas::load(&disk).expect("read back");
        let all = kept.describe(&EntityFilter::default());
        assert_eq!(
            all,
            [(entities[1].clone(), vec![(QuotaKind::Produce, 7.0)]), (entities[0].clone(), vec![(QuotaKind::Produce, 7.0)])]
        );
        kept.alter(&entities[0], &[("producer_byte_rate".to_owned(), None)], false).expect("taken away");
        assert_eq!(Quotas::load(&disk).expect("read back").describe(&EntityFilter::default()).len(), 1);
    }

    #[test]
    fn what_is_no_quota_is_refused_and_changes_nothing() {
        let quotas = Quotas::load(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>)).expect("none yet");
        let long = "x".repeat(NAME_MAX + 1);
        for (entity, name, value, part) in [
            (of(None, None), "producer_byte_rate", 1.0, "neither is named"),
            (of(Some(""), None), "producer_byte_rate", 1.0, "has 0 bytes"),
            (of(Some(&long), None), "producer_byte_rate", 1.0, "has 1025 bytes"),
            (of(Some("a"), None), "producer_byte_rate", 0.0, "at least 1"),
            (of(Some("a"), None), "producer_byte_rate", 1.5, "whole number"),
            (of(Some("a"), None), "producer_byte_rate", f64::NAN, "whole number"),
            (of(Some("a"), None), "request_percentage", 50.0, "is not built"),
            (of(Some("a"), None), "bytes", 50.0, "is no quota"),
        ] {
            let told = quotas.alter(&entity, &[(name.to_owned(), Some(value))], false).expect_err("refused").to_string();
            assert!(told.contains(part), "{told}");
        }
        assert!(quotas.describe(&EntityFilter::default()).is_empty());
    }

    #[test]
    fn who_counts_does_not_wait_for_the_disk() {
        let (disk, holder) = HeldDisk::with_holder();
        let quotas = Quotas::load(&disk).expect("none yet");
        let count = || quotas.record(QuotaKind::Produce, "ann", "app", 0, 20_000);
        holder.beside(|| set(&quotas, &of(Some("ann"), None), 1000.0).expect("set"), || assert_eq!(count(), 0));
        holder.beside(|| set(&quotas, &of(Some("bob"), None), 1000.0).expect("set"), || assert_eq!(count(), 10_000));
    }

    #[test]
    fn rates_that_are_over_are_forgotten() {
        let quotas = Quotas::load(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>)).expect("none yet");
        set(&quotas, &of(None, Some("*")), 1000.0).expect("set");
        for number in 0..100_000u64 {
            quotas.record(QuotaKind::Produce, "", &format!("client-{number}"), number, 1);
        }
        let held = quotas.state().rates.len();
        assert!(held < 30_000, "{held} rates, of which 11 seconds count");
    }

    #[test]
    fn a_crowd_that_went_leaves_nothing_behind() {
        let quotas = Quotas::load(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>)).expect("none yet");
        set(&quotas, &of(None, Some("*")), 1000.0).expect("set");
        for number in 0..100_000u64 {
            quotas.record(QuotaKind::Produce, "", &format!("client-{number}"), 0, 1);
        }
        for now in [11_000, 22_000] {
            quotas.record(QuotaKind::Produce, "", "app", now, 1);
        }
        let state = quotas.state();
        assert_eq!(state.rates.len(), 1);
        assert!(state.rates.capacity() <= 4 * RATES, "room for {} rates", state.rates.capacity());
    }

    /// A client chooses its name, of up to 32 KiB, with each request.
    #[test]
    fn long_names_are_not_kept_and_are_still_told_apart() {
        assert!(!std::mem::needs_drop::<Counted>(), "a rate holds nothing of its client's name");
        let quotas = Quotas::load(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>)).expect("none yet");
        let record = |kind, user: &str, client: &str| quotas.record(kind, user, client, 0, 20_000);
        set(&quotas, &of(None, Some("*")), 1000.0).expect("set");
        let long = "x".repeat(32_000);
        let names = [long.clone() + "a", long.clone() + "b", long, String::new(), "app".to_owned()];
        for name in &names {
            assert_eq!(record(QuotaKind::Produce, "ann", name), 10_000, "its first");
        }
        assert_eq!(record(QuotaKind::Produce, "bob", &names[0]), 30_000, "whoever its user is");
        set(&quotas, &of(Some("*"), Some("*")), 1000.0).expect("set");
        for (user, client) in [("ann", "app"), ("an", "napp"), ("annapp", ""), ("", "annapp"), ("app", "ann")] {
            assert_eq!(record(QuotaKind::Produce, user, client), 10_000, "{user} {client}");
        }
        set(&quotas, &of(Some("ann"), None), 1000.0).expect("set");
        quotas.alter(&of(Some("*"), Some("*")), &[("producer_byte_rate".to_owned(), None)], false).expect("taken away");
        assert_eq!(record(QuotaKind::Produce, "ann", "app"), 10_000, "the user's own rate");
        assert_eq!(record(QuotaKind::Produce, "ann", "other"), 30_000, "by whatever client");
    }

    #[test]
    fn damaged_tables_are_refused() {
        for text in ["producer_byte_rate 1 -", "bytes 1 - *", "producer_byte_rate x - *", "producer_byte_rate 1 - =?"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
