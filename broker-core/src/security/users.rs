use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::nobody::{Kind, Nobody};
use super::scram::{ScramCredential, ScramMechanism};
use super::table::Table;
use crate::error::{Error, ErrorCode};
use crate::storage::Disk;

/// Where users are kept; `broker::data_folder` knows the name too.
pub(super) const FILE: &str = "scram-users";
/// The longest name.
const NAME_MAX: usize = 1024;
/// The longest salt: whoever asks is told it, or one that is made up to be as long.
const SALT_MAX: usize = 1024;

type Credentials = BTreeMap<(String, ScramMechanism), ScramCredential>;

/// All users, as they are at one moment.
#[derive(Debug)]
struct Known {
    all: Credentials,
    /// Kinds of credentials, by mechanism; of one that nobody has, those of the other.
    kinds: BTreeMap<ScramMechanism, BTreeSet<Kind>>,
}

impl Known {
    fn new(all: Credentials) -> Arc<Self> {
        let of = |mechanism: Option<ScramMechanism>| -> BTreeSet<Kind> {
            let those = all.iter().filter(|((_, other), _)| mechanism.is_none_or(|mechanism| mechanism == *other));
            those.map(|(_, kept)| Kind::of(kept)).collect()
        };
        let kinds = ScramMechanism::ALL.into_iter().map(|mechanism| {
            let own = of(Some(mechanism));
            (mechanism, if own.is_empty() { of(None) } else { own })
        });
        let kinds = kinds.collect();
        Arc::new(Self { all, kinds })
    }
}

/// Users and what is kept of their passwords.
#[derive(Debug)]
pub(crate) struct Users {
    table: Table,
    /// Held by who changes users, while the disk takes them: who logs in does not wait for that.
    changing: Mutex<()>,
    known: Mutex<Arc<Known>>,
    nobody: Nobody,
}

/// A change of one user.
#[derive(Debug)]
pub(crate) enum UserChange {
    Put(ScramCredential),
    Remove,
}

impl Users {
    pub fn load(disk: &Arc<dyn Disk>) -> Result<Self, Error> {
        let table = Table::new(disk.clone(), FILE);
        let known: Credentials = table.load(parse)?.into_iter().collect();
        let nobody = Nobody::load(disk)?;
        if !known.is_empty() {
            nobody.keep()?;
        }
        Ok(Self { table, changing: Mutex::default(), known: Mutex::new(Known::new(known)), nobody })
    }

    fn known(&self) -> Arc<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All, or one's: who, how, and with how many iterations.
    pub fn describe(&self, user: Option<&str>) -> Vec<(String, ScramMechanism, u32)> {
        let known = self.known();
        let wanted = known.all.iter().filter(|((name, _), _)| user.is_none_or(|user| user == name));
        wanted.map(|((name, mechanism), kept)| (name.clone(), *mechanism, kept.iterations)).collect()
    }

    /// Whether this can be done, as users are now.
    pub fn check(&self, user: &str, mechanism: ScramMechanism, change: &UserChange) -> Result<(), Error> {
        match change {
            UserChange::Put(credential) if credential.salt.len() > SALT_MAX => {
                let text = format!("a salt of {} bytes: {SALT_MAX} at most", credential.salt.len());
                Err(Error::new(ErrorCode::UnacceptableCredential, text))
            }
            UserChange::Put(credential) => check_name(user).and_then(|()| check_iterations(credential.iterations)),
            UserChange::Remove if self.known().all.contains_key(&(user.to_owned(), mechanism)) => Ok(()),
            UserChange::Remove => {
                let text = format!("user '{user}' has no credential for {}", mechanism.name());
                Err(Error::new(ErrorCode::ResourceNotFound, text))
            }
        }
    }

    /// Changes one user's credential of one mechanism.
    pub fn change(&self, user: &str, mechanism: ScramMechanism, change: UserChange) -> Result<(), Error> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check(user, mechanism, &change)?;
        let key = (user.to_owned(), mechanism);
        let mut changed = self.known().all.clone();
        match change {
            UserChange::Put(credential) => changed.insert(key, credential),
            UserChange::Remove => changed.remove(&key),
        };
        // First on the disk, so that nobody comes in whom a restart would not know.
        self.nobody.keep()?;
        self.table.store(changed.iter().map(line))?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::new(changed);
        Ok(())
    }

    /// Gives a user a password, salted afresh.
    pub fn put_password(&self, user: &str, mechanism: ScramMechanism, password: &str, iterations: u32) -> Result<(), Error> {
        check_iterations(iterations)?;
        if password.is_empty() {
            return Err(Error::new(ErrorCode::UnacceptableCredential, format!("user '{user}': the password is empty")));
        }
        let salt: [u8; 32] = random()?;
        self.change(user, mechanism, UserChange::Put(ScramCredential::new(mechanism, password, &salt, iterations)))
    }

    /// What a login is checked against: of a user who does not exist, something that looks like it and that nothing fits. It takes
    /// as long to find either.
    pub fn credential(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        let known = self.known();
        let made_up = self.nobody.credential(user, mechanism, &known.kinds[&mechanism]);
        known.all.get(&(user.to_owned(), mechanism)).cloned().unwrap_or(made_up)
    }

    /// Whether a user has this password, by any mechanism. Milliseconds of work, as many for who has one password, two, or none.
    pub fn has_password(&self, user: &str, password: &str) -> bool {
        let fits = |mechanism: &ScramMechanism| self.credential(user, *mechanism).is(*mechanism, password);
        ScramMechanism::ALL.iter().filter(|mechanism| fits(mechanism)).count() > 0
    }
}

/// Whether a user can have this name.
pub(crate) fn is_name(user: &str) -> bool {
    (1..=NAME_MAX).contains(&user.len()) && !user.contains(char::is_control)
}

fn check_name(user: &str) -> Result<(), Error> {
    if !is_name(user) {
        let text = format!("a user's name is 1 to {NAME_MAX} bytes, without control characters");
        return Err(Error::new(ErrorCode::UnacceptableCredential, text));
    }
    Ok(())
}

fn check_iterations(iterations: u32) -> Result<(), Error> {
    let (least, most) = (ScramCredential::ITERATIONS_MIN, ScramCredential::ITERATIONS_MAX);
    if !(least..=most).contains(&iterations) {
        return Err(Error::new(ErrorCode::UnacceptableCredential, format!("{iterations} iterations: {least} to {most}")));
    }
    Ok(())
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::with_source(ErrorCode::UnknownServerError, "the system gives no random numbers", error.to_string())
    })?;
    Ok(bytes)
}

/// A nonce that nobody has seen.
pub(crate) fn nonce() -> Result<String, Error> {
    Ok(STANDARD.encode(random::<18>()?))
}

fn line(((user, mechanism), kept): (&(String, ScramMechanism), &ScramCredential)) -> String {
    let [salt, stored, server] = [&kept.salt, &kept.stored_key, &kept.server_key].map(|bytes| STANDARD.encode(bytes));
    format!("{} {} {salt} {stored} {server} {user}", mechanism.name(), kept.iterations)
}

fn parse(line: &str) -> Option<((String, ScramMechanism), ScramCredential)> {
    let mut parts = line.splitn(6, ' ');
    let mechanism = parts.next()?.parse().ok()?;
    let iterations = parts.next()?.parse().ok()?;
    let mut bytes = || STANDARD.decode(parts.next()?).ok();
    let (salt, stored_key, server_key) = (bytes()?, bytes()?, bytes()?);
    let user = parts.next()?.to_owned();
    Some(((user, mechanism), ScramCredential { salt, stored_key, server_key, iterations }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;
    use crate::storage::held::HeldDisk;

    #[test]
    fn users_are_kept_salted_and_come_back() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let users = Users::load(&disk).expect("none yet");
        users.put_password("ann with spaces", ScramMechanism::Sha256, "secret", 4096).expect("kept");
        users.put_password("bob", ScramMechanism::Sha512, "geheim", 8192).expect("kept");
        assert!(users.has_password("bob", "geheim") && !users.has_password("bob", "secret"));
        assert!(!users.has_password("nobody", "secret"));
        // One who has two passwords: whichever mechanism one is for.
        users.put_password("bob", ScramMechanism::Sha256, "another", 4096).expect("kept");
        assert!(users.has_password("bob", "geheim") && users.has_password("bob", "another"));
        users.change("bob", ScramMechanism::Sha256, UserChange::Remove).expect("removed");
        assert_eq!(users.credential("nobody", ScramMechanism::Sha256), users.credential("nobody", ScramMechanism::Sha256));
        let again = Users::load(&disk).expect("read back");
        let all = [("ann with spaces", ScramMechanism::Sha256, 4096), ("bob", ScramMechanism::Sha512, 8192)];
        assert_eq!(again.describe(None), all.map(|(user, how, rounds)| (user.to_owned(), how, rounds)));
        assert!(again.has_password("ann with spaces", "secret"));
        let text = again.table.read().expect("a file");
        assert!(!text.contains("secret") && !text.contains("geheim"), "{text}");
        again.change("bob", ScramMechanism::Sha512, UserChange::Remove).expect("removed");
        assert!(again.change("bob", ScramMechanism::Sha512, UserChange::Remove).is_err());
        assert!(!again.has_password("bob", "geheim"));
        for (user, password, iterations) in
            [("", "p", 4096), ("a\nb", "p", 4096), ("a", "", 4096), ("a", "p", 4095), ("a", "p", 20_000)]
        {
            assert!(again.put_password(user, ScramMechanism::Sha256, password, iterations).is_err(), "{user:?}");
        }
    }

    /// What a client is told of someone before it has proved anything.
    fn shown(users: &Users, user: &str, mechanism: ScramMechanism) -> (Vec<u8>, u32) {
        let credential = users.credential(user, mechanism);
        (credential.salt, credential.iterations)
    }

    #[test]
    fn who_is_no_user_looks_like_one() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let users = Users::load(&disk).expect("none yet");
        users.put_password("ann", ScramMechanism::Sha256, "secret", 8192).expect("kept");
        users.put_password("bob", ScramMechanism::Sha256, "secret", 12_000).expect("kept");
        let long = ScramCredential::of_salted(ScramMechanism::Sha512, b"salted", &[7; 100], 5000);
        users.change("eve", ScramMechanism::Sha512, UserChange::Put(long)).expect("kept");
        let nobodies: Vec<String> = (0..100).map(|number| format!("nobody{number}")).collect();
        let all = |users: &Users| -> Vec<_> {
            nobodies.iter().flat_map(|user| ScramMechanism::ALL.map(|mechanism| shown(users, user, mechanism))).collect()
        };
        let before = all(&users);
        let kinds: std::collections::BTreeSet<_> = before.iter().map(|(salt, rounds)| (salt.len(), *rounds)).collect();
        assert_eq!(
            kinds.into_iter().collect::<Vec<_>>(),
            [(32, 8192), (32, 12_000), (100, 5000)],
            "as real ones, and all of them"
        );
        let salts: std::collections::BTreeSet<_> = before.iter().map(|(salt, _)| salt).collect();
        assert_eq!(salts.len(), before.len(), "no two alike");
        assert_eq!(all(&Users::load(&disk).expect("read back")), before, "after a restart, too");
        // Other brokers' are others.
        let other: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let others = Users::load(&other).expect("none yet");
        assert_ne!(shown(&others, "nobody1", ScramMechanism::Sha256).0, shown(&users, "nobody1", ScramMechanism::Sha256).0);
    }

    #[test]
    fn who_is_no_user_looks_like_one_that_kafkas_tools_made() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let users = Users::load(&disk).expect("none yet");
        // As Kafka's ScramFormatter.secureRandomBytes makes them: 130 random bits in base 36.
        let salt = b"1kqtn0e4u8ba3o6spw5z7hx2fy";
        let made = ScramCredential::of_salted(ScramMechanism::Sha256, b"salted", salt, 4096);
        users.change("ann", ScramMechanism::Sha256, UserChange::Put(made)).expect("kept");
        let text = |salt: &[u8]| salt.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(text(&shown(&users, "ann", ScramMechanism::Sha256).0));
        assert!(text(&shown(&users, "nobody", ScramMechanism::Sha256).0), "ann is told from nobody");
    }

    #[test]
    fn users_of_before_get_a_secret() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Users::load(&disk).expect("none yet").put_password("ann", ScramMechanism::Sha256, "secret", 4096).expect("kept");
        disk.remove(crate::storage::TOP, super::super::nobody::FILE).expect("removed");
        let users = Users::load(&disk).expect("read");
        let shown = |users: &Users| shown(users, "nobody", ScramMechanism::Sha256);
        assert_eq!(shown(&Users::load(&disk).expect("read back")), shown(&users));
        crate::storage::replace(disk.as_ref(), crate::storage::TOP, super::super::nobody::FILE, "0\nshort\n".into())
            .expect("written");
        let told = Users::load(&disk).expect_err("refused").to_string();
        assert!(told.contains("scram-secret: line 2"), "{told}");
    }

    #[test]
    fn who_logs_in_does_not_wait_for_the_disk() {
        let (disk, holder) = HeldDisk::with_holder();
        let users = Users::load(&disk).expect("none yet");
        let put = |user| users.put_password(user, ScramMechanism::Sha256, "secret", 4096).expect("kept");
        holder.beside(
            || put("ann"),
            || {
                assert!(!users.has_password("ann", "secret"), "not before a restart would know it");
                assert!(users.describe(None).is_empty());
            },
        );
        // Changes still come one after the other: none is lost.
        holder.beside(|| put("bob"), || assert!(users.has_password("ann", "secret")));
        assert_eq!(users.describe(None).len(), 2);
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        for (text, part) in [("1\n", "version '1'"), ("0\nSCRAM-SHA-256 4096 nonsense\n", "line 2")] {
            crate::storage::replace(disk.as_ref(), crate::storage::TOP, FILE, text.into()).expect("written");
            let told = Users::load(&disk).expect_err("refused").to_string();
            assert!(told.contains(part), "{told}");
        }
    }
}
