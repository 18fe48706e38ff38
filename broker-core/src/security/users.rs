use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::scram::{ScramCredential, ScramMechanism};
use super::table::Table;
use crate::error::{Error, ErrorCode};
use crate::storage::Disk;

/// Where users are kept; `broker::data_folder` knows the name too.
pub(super) const FILE: &str = "scram-users";
/// The longest name.
const NAME_MAX: usize = 1024;

type Known = BTreeMap<(String, ScramMechanism), ScramCredential>;

/// Users and what is kept of their passwords.
#[derive(Debug)]
pub(crate) struct Users {
    table: Table,
    /// Held by who changes users, while the disk takes them: who logs in does not wait for that.
    changing: Mutex<()>,
    known: Mutex<Known>,
    /// What credentials of users that do not exist are made of.
    secret: [u8; 32],
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
        let known = Mutex::new(table.load(parse)?.into_iter().collect());
        Ok(Self { table, changing: Mutex::default(), known, secret: random()? })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All, or one's: who, how, and with how many iterations.
    pub fn describe(&self, user: Option<&str>) -> Vec<(String, ScramMechanism, u32)> {
        let known = self.known();
        let wanted = known.iter().filter(|((name, _), _)| user.is_none_or(|user| user == name));
        wanted.map(|((name, mechanism), kept)| (name.clone(), *mechanism, kept.iterations)).collect()
    }

    /// Whether this can be done, as users are now.
    pub fn check(&self, user: &str, mechanism: ScramMechanism, change: &UserChange) -> Result<(), Error> {
        match change {
            UserChange::Put(credential) => check_name(user).and_then(|()| check_iterations(credential.iterations)),
            UserChange::Remove if self.known().contains_key(&(user.to_owned(), mechanism)) => Ok(()),
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
        let mut changed = self.known().clone();
        match change {
            UserChange::Put(credential) => changed.insert(key, credential),
            UserChange::Remove => changed.remove(&key),
        };
        // First on the disk, so that nobody comes in whom a restart would not know.
        self.table.store(changed.iter().map(line))?;
        *self.known() = changed;
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

    /// What a login is checked against: of a user who does not exist, something that looks like it and that nothing fits.
    pub fn credential(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        let found = self.known().get(&(user.to_owned(), mechanism)).cloned();
        found.unwrap_or_else(|| {
            let salt = mechanism.hmac(&self.secret, user.as_bytes());
            let keys = |what: &str| mechanism.hmac(&self.secret, format!("{what}{user}").as_bytes());
            ScramCredential {
                salt: salt[..32].to_vec(),
                stored_key: keys("stored:"),
                server_key: keys("server:"),
                iterations: ScramCredential::ITERATIONS_MIN,
            }
        })
    }

    /// Whether a user has this password, by any mechanism.
    pub fn has_password(&self, user: &str, password: &str) -> bool {
        let has = |mechanism: &ScramMechanism| self.known().contains_key(&(user.to_owned(), *mechanism));
        let mut all: Vec<_> = ScramMechanism::ALL.into_iter().filter(has).collect();
        if all.is_empty() {
            // It takes as long for who does not exist.
            all.push(ScramMechanism::Sha256);
        }
        all.into_iter().any(|mechanism| self.credential(user, mechanism).is(mechanism, password))
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

fn random<const N: usize>() -> Result<[u8; N], Error> {
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
