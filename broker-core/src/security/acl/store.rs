use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::index::Index;
use super::{Operation, Pattern, Permission, ResourceKind, Rule, RuleFilter, Who};
use crate::error::{Error, ErrorCode};
use crate::security::table::Table;
use crate::storage::Disk;

/// Where rules are kept; `broker::data_folder` knows the name too.
const FILE: &str = "acls";

/// All rules.
#[derive(Debug)]
pub(crate) struct Acls {
    table: Table,
    /// Held by who changes rules, while the disk takes them: who decides by `known` does not wait for that.
    changing: Mutex<()>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    rules: Arc<BTreeSet<Rule>>,
    index: Index,
}

impl Acls {
    pub fn load(disk: &Arc<dyn Disk>) -> Result<Self, Error> {
        let table = Table::new(disk.clone(), FILE);
        let rules: BTreeSet<Rule> = table.load(parse)?.into_iter().collect();
        let index = Index::new(&rules)
            .map_err(|error| Error::with_source(ErrorCode::KafkaStorageError, format!("{FILE}: a rule is damaged"), error))?;
        Ok(Self { table, changing: Mutex::default(), known: RwLock::new(Known { rules: Arc::new(rules), index }) })
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one may; `unruled` where no rule is about the resource.
    pub fn may(&self, who: Who<'_>, operation: Operation, kind: ResourceKind, name: &str, unruled: bool) -> bool {
        self.known().index.decide(who, operation, kind, name).unwrap_or(unruled)
    }

    /// Whether one may do this to anything of a kind.
    pub fn may_any(&self, who: Who<'_>, operation: Operation, kind: ResourceKind, unruled: bool) -> bool {
        let known = self.known();
        // Kafka's name for something that no rule is about.
        let nobodys = known.index.decide(who, operation, kind, "hardcode").unwrap_or(unruled);
        nobodys || known.index.decide_any(who, operation, kind)
    }

    /// The rules that fit.
    pub fn describe(&self, filter: &RuleFilter) -> Vec<Rule> {
        let rules = self.known().rules.clone();
        rules.iter().filter(|rule| filter.fits(rule)).cloned().collect()
    }

    /// Adds rules; each is answered for itself.
    pub fn add(&self, new: Vec<Result<Rule, Error>>) -> Vec<Result<(), Error>> {
        let checked: Vec<_> = new.into_iter().map(|rule| rule.and_then(|rule| rule.verdict().map(|_| rule))).collect();
        let fine: Vec<_> = checked.iter().filter_map(|rule| rule.as_ref().ok()).cloned().collect();
        let kept = self.change(|rules| rules.extend(fine));
        let told = |rule: Result<Rule, Error>| match &kept {
            Err(error) => rule.and(Err(Error::new(error.code(), error.to_string()))),
            Ok(()) => rule.map(|_| ()),
        };
        checked.into_iter().map(told).collect()
    }

    /// Takes the rules away that fit, and returns for each filter which those are that none before it fitted.
    pub fn remove(&self, filters: Vec<Result<RuleFilter, Error>>) -> Vec<Result<Vec<Rule>, Error>> {
        let mut gone = Vec::new();
        let kept = self.change(|rules| {
            let one = |filter: Result<RuleFilter, Error>| {
                filter.map(|filter| rules.extract_if(.., |rule| filter.fits(rule)).collect::<Vec<_>>())
            };
            gone = filters.into_iter().map(one).collect();
        });
        let told = |gone: Result<Vec<Rule>, Error>| match &kept {
            Err(error) => gone.and(Err(Error::new(error.code(), error.to_string()))),
            Ok(()) => gone,
        };
        gone.into_iter().map(told).collect()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<Rule>)) -> Result<(), Error> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.known().rules.clone();
        let mut rules = BTreeSet::clone(&before);
        change(&mut rules);
        if rules == *before {
            return Ok(());
        }
        let index = Index::new(&rules)?;
        // First on the disk, so that no rule holds that a restart would not know.
        self.table.store(rules.iter().map(line))?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { rules: Arc::new(rules), index };
        Ok(())
    }
}

/// Four numbers, and three names in base64.
fn line(rule: &Rule) -> String {
    let [name, principal, host] = [&rule.name, &rule.principal, &rule.host].map(|name| STANDARD.encode(name));
    let (kind, pattern) = (rule.kind.code(), rule.pattern.code());
    format!("{kind} {pattern} {} {} {name} {principal} {host}", rule.operation.code(), rule.permission.code())
}

fn parse(line: &str) -> Option<Rule> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [kind, pattern, operation, permission, name, principal, host] = parts[..] else { return None };
    let name_of = |text: &str| String::from_utf8(STANDARD.decode(text).ok()?).ok();
    Some(Rule {
        kind: ResourceKind::of_code(kind.parse().ok()?)?,
        name: name_of(name)?,
        pattern: Pattern::of_code(pattern.parse().ok()?)?,
        principal: name_of(principal)?,
        host: name_of(host)?,
        operation: Operation::of_code(operation.parse().ok()?)?,
        permission: Permission::of_code(permission.parse().ok()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::*;
    use crate::storage::MemoryDisk;

    #[test]
    fn rules_are_kept_and_what_is_none_is_refused() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let acls = Acls::load(&disk).expect("none yet");
        let fine = rule(Permission::Allow, "User:an n", "*", Operation::Read, "t*");
        let nameless = Rule { name: String::new(), ..fine.clone() };
        let told = acls.add(vec![Ok(fine.clone()), Ok(nameless), Err(Error::new(ErrorCode::InvalidRequest, "no rule"))]);
        assert_eq!(told.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
        let again = Acls::load(&disk).expect("read back");
        assert_eq!(again.describe(&RuleFilter::default()), std::slice::from_ref(&fine));
        let all = || Ok(RuleFilter::default());
        let gone = again.remove(vec![all(), Err(Error::new(ErrorCode::InvalidRequest, "no filter")), all()]);
        let gone: Vec<_> = gone.into_iter().map(Result::ok).collect();
        assert_eq!(gone, [Some(vec![fine]), None, Some(vec![])]);
        assert!(Acls::load(&disk).expect("read back").describe(&RuleFilter::default()).is_empty());
    }

    /// Whatever was going on when the power went: all of a change or nothing of it, and what was answered for is there.
    #[test]
    fn rules_outlive_a_crash_and_a_change_that_failed_holds_nowhere() {
        let names = |acls: &Acls| acls.describe(&RuleFilter::default()).into_iter().map(|rule| rule.name).collect::<Vec<_>>();
        let put =
            |acls: &Acls, name| acls.add(vec![Ok(rule(Permission::Allow, "User:ann", "*", Operation::Read, name))]).remove(0);
        let who = Who { principal: "User:ann", host: std::net::Ipv4Addr::LOCALHOST.into() };
        for operations in 0..12 {
            let disk = MemoryDisk::new();
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let acls = Acls::load(&shared).expect("none yet");
            put(&acls, "first").expect("kept");
            disk.fail_after(operations);
            let second = put(&acls, "second");
            disk.heal();
            assert_eq!(names(&acls).len(), if second.is_ok() { 2 } else { 1 }, "{operations}");
            assert_eq!(acls.may(who, Operation::Read, ResourceKind::Topic, "second", false), second.is_ok(), "{operations}");
            disk.crash();
            let after = names(&Acls::load(&shared).expect("whole"));
            assert!(after.iter().any(|name| name == "first"), "{operations}");
            assert!(second.is_err() || after.len() == 2, "{operations}: {after:?}");
        }
    }

    #[test]
    fn damaged_rules_are_none() {
        for damaged in ["", "2 3 3 3 dA== dA==", "9 3 3 3 dA== dA== dA==", "2 3 3 3 ? dA== dA=="] {
            assert_eq!(parse(damaged), None, "{damaged}");
        }
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Table::new(disk.clone(), FILE).store(["2 3 3 3 dA== dA== Kg==".to_owned()].into_iter()).expect("written");
        let error = Acls::load(&disk).expect_err("principal 't' is none");
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
        assert!(error.to_string().starts_with("acls: a rule is damaged"), "{error}");
    }
}
